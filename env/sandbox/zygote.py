# SPDX-License-Identifier: MIT
# The warm process of the sandbox: it has everything imported, locked itself in, and forks a clean child for each call.
# Started by box.c, which sends this program through stdin, as: python3 -S -s - SOCKET FILTER TMP_MB MODE SELF RAISED
#                PACKAGES ENTRANCE LEAF
#
# Messages on the SEQPACKET socket (native byte order):
#     from box   "R" call wall_ms memory_mb seed code + the pipe for output and, where groups limit memory, the folder of the
#                call's (memory_mb 0: that alone limits it);  "S" the same, its code being cells: JSON, [[seed, code], ...];
#                "K" call: end it;  "P": are you there?
#     to box     "H" what the box is made of (once), or "E" why there is none;  "P"
#                "D" call wait_status flags cpu_us text: the call has ended. The text says why it never began.
# A child can't write to any of this: it holds the pipe of its output and nothing else when the code begins. Its beginning is
# told through a pipe that it closes before that; its end is what the kernel says of it.
#
# Who takes too long is judged here, by what a call did with its time: computing and sleeping count, waiting for a processor
# does not. A child that was stopped from outside is ended and said to be (STOPPED).
BEGAN, TOO_LONG, STOPPED = 1, 2, 4
READY = min(250, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 1)


class Call:
    def __init__(self, number, pid, ready, limit_s):
        self.number, self.pid, self.ready, self.limit_s = number, pid, ready, limit_s
        self.began_s, self.flags = time.monotonic(), 0
        self.due_s = self.began_s + limit_s
        self.looked_s, self.ran_ns, self.sure_s = self.began_s, 0, 0  # at the last look: when, what it had computed

    # Seconds of its own: all but what it waited for a processor. The kernel counts a wait when it is over, so of one that
    # runs, or would if it had a processor, only what it computed is known - and, if it has computed since the last look, all
    # up to that: a wait of then is over. Else code that sleeps between looks and computes at each would hardly use its time.
    def used_s(self, now_s):
        try:
            ran_ns, waited_ns = (int(n) for n in read_proc("%d/schedstat" % self.pid).split()[:2])
            runs = read_proc("%d/stat" % self.pid).rpartition(b")")[2].split()[0] == b"R"
        except (OSError, IndexError, TypeError, ValueError):
            ran_ns, waited_ns, runs = 0, 0, False
        if not runs:
            return now_s - self.began_s - waited_ns * 1e-9
        if ran_ns > self.ran_ns:
            self.sure_s = max(self.sure_s, self.looked_s - self.began_s - waited_ns * 1e-9)
        self.looked_s, self.ran_ns = now_s, ran_ns
        return max(self.sure_s, ran_ns * 1e-9)


def read_proc(name):
    fd = os.open(name, os.O_RDONLY, dir_fd=PROC)
    try:
        return os.read(fd, 1000)
    finally:
        os.close(fd)


def confine_child():
    if MODE == "namespaces":
        check(libc.unshare(NEWNS | (NEWCGROUP if LEAF >= 0 else 0)), "namespaces of a call")
        mount("tmpfs", TMP, "tmpfs", NOSUID | NODEV | NOEXEC, "size=%dm,nr_inodes=%d,mode=777" % (TMP_MB, 64 * TMP_MB))
        os.chdir(TMP)
        os.environ["TMPDIR"] = TMP
    if RULES is not None:
        check(libc.prctl(NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
        rules = RULES
        if MODE == "namespaces":
            rules = ruleset(LANDLOCK, READABLE + [(path_fd(TMP), SCRATCH)])
        check(libc.syscall(RESTRICT_SELF, rules, 0), "landlock")


def lock_child():
    libc.prctl(DUMPABLE, 0, 0, 0, 0)  # else a crash would start the host's program for core files, whatever the limit on them
    if MODE != "none":
        keep_capabilities(0)
        die_with(ZYGOTE)
        install_filter(FILTERS[MODE == "landlock"])


# What a child does to lock itself in is done once, before the first call: a machine that lacks a layer says so at the start,
# and not by losing each call.
def try_out():
    heard, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            confine_child()
            limit(BASE_BYTES + (64 << 20), 1, 1 << 20)
            lock_child()
        except BaseException as problem:
            os.write(tell, str(problem).encode())
        os._exit(0)
    os.close(tell)
    why = os.read(heard, 1000).decode()
    os.close(heard)
    _, status = os.waitpid(pid, 0)
    if why or status:
        raise OSError(why or "a process that locks itself in ends with status %d" % status)


def child(cells, out, ready, memory_mb, cpu_s):
    die_with(ZYGOTE)
    for number in (signal.SIGINT, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    signal.set_wakeup_fd(-1)
    confine_child()
    null = os.open("/dev/null", os.O_RDWR)
    ready = os.dup2(ready, READY)
    for fd, source in ((0, null), (1, out), (2, out)):
        os.dup2(source, fd)
    os.closerange(3, READY)
    os.closerange(READY + 1, 4096)
    limit(BASE_BYTES + (memory_mb << 20) if memory_mb else resource.RLIM_INFINITY, cpu_s, TMP_MB << 20)
    script = prepare(cells)
    if MODE == "landlock":
        use_notes(*NOTES)
    if MODE != "none":
        os.uname = posix.uname = lambda: posix.uname_result(("Linux", "box", "0", "0", os_machine))
        platform._uname_cache = None
    lock_child()
    os.write(ready, b"K")
    os.close(ready)
    run(cells, script)


# Into the group of zygotes, before this process has others: with the calls' it lies in one that their owner may write to.
# Why not; "": it is there, or there is none.
def enter_group(entrance):
    if entrance < 0:
        return ""
    if not hasattr(libc, "gnu_get_libc_version"):
        return "the C library is not glibc"
    try:
        os.write(entrance, b"0")
        os.close(entrance)
    except OSError as problem:
        return "a process cannot enter a group: %s" % problem
    return ""


def threads():
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:
        return 1


# Whether a child can be born in a group of its own, as the user that this process is by now.
def try_group(group):
    if threads() > 1:  # fork_into does not see them: locks that they hold would stay held in the child
        return "a package that the zygote has imported runs threads"
    try:
        pid = fork_into(group)
    except OSError as problem:
        return "a process cannot be born in a group: %s" % problem
    if pid == 0:
        leave(0)
    os.waitpid(pid, 0)
    return ""


# What went wrong; a limit of this process comes with what raises it.
def sentence(problem):
    text = str(problem)
    for number, limit in (errno.EMFILE, "-n"), (errno.EAGAIN, "-u"):
        if os.strerror(number) in text:
            text += " (raise ulimit %s)" % limit
    return text


# Why a call never began; how far it came is not known.
def say_why(descriptors, problem):
    for fd in descriptors:
        try:
            os.write(fd, ("sandbox: " + sentence(problem)).encode())
            return
        except OSError:
            pass


# One buffer takes all requests, and is wiped once a child has its own: no call finds the code of another in its memory.
BUFFER = bytearray(1 << 21)
BUFFER_AT = ctypes.addressof(ctypes.c_char.from_buffer(BUFFER))


HAVE = 0  # bytes in BUFFER of a request that is not whole yet


# The length of the next message in BUFFER, and what came with it. A long request comes in parts, as no socket buffer of
# the kernel's default size would hold it: "M" and bytes, ..., "L" and the last of them; until then the length is None.
def receive(sock):
    global HAVE
    n, ancillary, _, _ = sock.recvmsg_into([memoryview(BUFFER)[HAVE:]], socket.CMSG_SPACE(8))
    fds = [fd for _, kind, data in ancillary if kind == socket.SCM_RIGHTS for fd in array.array("i", data)]
    kind = BUFFER[HAVE]
    if n == 0 or (HAVE == 0 and kind != ord("M")):
        return n, fds
    BUFFER[HAVE : HAVE + n - 1] = BUFFER[HAVE + 1 : HAVE + n]  # the letter goes
    HAVE += n - 1
    BUFFER[HAVE] = 0
    if kind == ord("M"):
        return None, fds
    length, HAVE = HAVE, 0
    return length, fds


def start(sock, length, fds, calls):
    number, wall_ms, memory_mb, seed = struct.unpack_from("=QIIQ", BUFFER, 1)
    held = list(fds)
    try:
        if not fds:  # there was no room for what came with the request
            raise OSError(os.strerror(errno.EMFILE))
        ready, ready_end = os.pipe()
        held += [ready, ready_end]
        pid = fork_into(fds[1]) if len(fds) > 1 else os.fork()
    except OSError as problem:
        pid, why = None, "sandbox: cannot start a process: " + sentence(problem.strerror or problem)
    if pid == 0:
        try:
            code = BUFFER[25:length].decode("utf-8", "replace")
            cells = json.loads(code) if BUFFER[0] == ord("S") else [(seed, code)]
            ctypes.memset(BUFFER_AT, 0, length)
            child(cells, fds[0], ready_end, memory_mb, wall_ms // 1000 + 2)
        except BaseException as problem:
            say_why((ready_end, READY), problem)
        finally:
            leave(1)
    for fd in held:
        if pid is None or fd != ready:
            os.close(fd)
    if pid is None:  # this call is lost, and no other
        sock.send(b"D" + struct.pack("=QIIQ", number, 0, 0, 0) + why.encode())
        return
    calls[pid] = Call(number, pid, ready, wall_ms / 1000)


def end(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def ended(sock, call, status, usage):
    said = os.read(call.ready, 1000)
    os.close(call.ready)
    if said == b"K":
        call.flags |= BEGAN
        said = b""
    cpu_us = int((usage.ru_utime + usage.ru_stime) * 1e6)
    sock.send(b"D" + struct.pack("=QIIQ", call.number, status, call.flags, cpu_us) + said)


def reap(sock, calls):
    while calls:
        pid, status, usage = os.wait4(-1, os.WNOHANG | os.WUNTRACED | os.WCONTINUED)
        if pid == 0:
            return
        if pid not in calls:
            continue
        if os.WIFSTOPPED(status) or os.WIFCONTINUED(status):
            calls[pid].flags |= STOPPED
            end(pid)
        else:
            ended(sock, calls.pop(pid), status, usage)


def judge(calls, now_s):
    for pid, call in calls.items():
        if now_s < call.due_s:
            continue
        left_s = call.limit_s - call.used_s(now_s)
        if left_s > 0:
            call.due_s = now_s + min(max(left_s, 0.01), 0.2)
        else:
            call.flags |= TOO_LONG
            call.due_s = now_s + 1
            end(pid)


# The time is read before the reap: who is judged by it had not ended then. Were it read after, and this process stopped
# between the two, a call that ended long ago would look as if it had slept.
def look(sock, calls):
    now_s = time.monotonic()
    reap(sock, calls)
    judge(calls, now_s)


def serve(sock):
    calls = {}
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    os.set_blocking(wake_read, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake_write)
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    poll.register(wake_read, select.POLLIN)
    while True:
        wait_ms = max(0, min(c.due_s for c in calls.values()) - time.monotonic()) * 1000 + 1 if calls else None
        for fd, _ in poll.poll(wait_ms):
            if fd == wake_read:
                os.read(wake_read, 4096)
                continue
            length, fds = receive(sock)
            if length is None:
                continue
            if not length:
                os._exit(0)
            if BUFFER[0] in b"RS":
                start(sock, length, fds, calls)
                ctypes.memset(BUFFER_AT, 0, length)
            elif BUFFER[0] == ord("P"):
                sock.send(b"P")
            elif BUFFER[0] == ord("K"):
                number = struct.unpack_from("=Q", BUFFER, 1)[0]
                for pid in [p for p, c in calls.items() if c.number == number]:
                    end(pid)
        look(sock, calls)


def address_space():
    try:
        with open("/proc/self/statm") as f:
            return int(f.read().split()[0]) * resource.getpagesize()
    except OSError:
        return 64 << 20


def read_filters(fd):
    with os.fdopen(fd, "rb") as f:
        return [f.read(struct.unpack("=I", f.read(4))[0]) for _ in range(2)]


# Locks this process in, or becomes another that is. Sets what a child needs to know.
def lock_in(mode):
    global MODE, RULES, READABLE, NOTES, PROC, BASE_BYTES, LANDLOCK, TMP
    folders, why = libraries(), ""
    MODE, RULES, NOTES, BASE_BYTES, LANDLOCK = mode, None, None, address_space(), landlock_version()
    PROC, TMP = None, scratch(folders)
    if mode == "none":
        return ""
    os.chdir("/")
    if mode == "auto":
        PROC, why = namespaces(folders)
        MODE = "landlock" if why else "namespaces"
    if MODE == "landlock":
        if LANDLOCK < 1:
            raise OSError(why + "; and this kernel has no Landlock" if why else "this kernel has no Landlock")
        PROC = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY) if os.path.isdir("/proc") else None
        NOTES = note_libraries(folders)
        READABLE = [(path_fd(p), READ) for p in folders]
        if os.geteuid() == 0:
            become_nobody()
            libc.prctl(DUMPABLE, 0, 0, 0, 0)
            libc.prctl(PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if LANDLOCK >= 1:
        if MODE == "namespaces":
            READABLE = [(path_fd("/"), READ)]
        READABLE += [(path_fd(p), READ_FILE | WRITE_FILE) for p in DEVICES]
        RULES = ruleset(LANDLOCK, READABLE)
    return why


sock = socket.socket(fileno=int(sys.argv[1]))
FILTERS = read_filters(int(sys.argv[2]))
TMP_MB, SELF, RAISED = int(sys.argv[3]), int(sys.argv[5]), int(sys.argv[6])
libc.prctl(PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
libc.prctl(SET_NAME, b"troupe-box", 0, 0, 0)
be_first_to_go()
ENTRANCE, LEAF = int(sys.argv[8]), int(sys.argv[9])
os_machine = os.uname().machine
try:
    no_group = enter_group(ENTRANCE)
    load_packages([p for p in sys.argv[7].split(",") if p])
    open_streams()
    why = lock_in(sys.argv[4])
    ZYGOTE = os.getpid()
    try_out()
    if LEAF >= 0:
        no_group = no_group or try_group(LEAF)
        os.close(LEAF)
    told = [MODE, "landlock %d" % LANDLOCK, "uid %d" % os.getuid(), "proc %d" % (PROC is not None), "base %d" % BASE_BYTES,
            "group " + no_group, "why " + why]
except Exception as problem:
    with contextlib.suppress(OSError):
        sock.send(b"E" + sentence(problem).encode())
    os._exit(1)
gc.collect()
gc.freeze()
try:
    sock.send(b"H" + "\n".join(told).encode())
    serve(sock)
except (BrokenPipeError, ConnectionResetError):  # whoever asked is gone: nobody is left to be told
    os._exit(0 if os.getpid() == ZYGOTE else 1)
