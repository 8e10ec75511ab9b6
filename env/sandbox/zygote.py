# The warm process of the sandbox: a python3 that has everything imported, locked itself into namespaces of its own, and
# forks a clean child for each call. Started by box.c as: python3 -I -S -c ... SOCKET FILTER TMP_MB auto|landlock|none
#
# Where namespaces are not to be had (most containers), each child is confined by Landlock instead: it reads python's
# libraries, writes a folder of its own, and the seccomp filter keeps it from network, processes and signals as ever.
#
# Messages on the SEQPACKET socket:  from box   "R" call wall_ms memory_mb cpu_s code + the pipe for output;  "K" call
#                                    to box     "H" layers (once);  "D" call status
# A child writes its output to the pipe and ends with 0 (fine), 1 (the code raised: its last line is in the output).
import ctypes, gc, os, resource, select, shutil, signal, socket, struct, sys
import bisect, collections, datetime, decimal, fractions, functools, heapq, itertools, json, math, operator, random, re
import statistics, string, time, traceback, array, io

libc = ctypes.CDLL(None, use_errno=True)
NEWNS, NEWIPC, NEWUSER, NEWNET = 0x20000, 0x8000000, 0x10000000, 0x40000000
RDONLY, NOSUID, NODEV, NOEXEC, REMOUNT, BIND, REC, PRIVATE = 1, 2, 4, 8, 32, 4096, 16384, 1 << 18
DETACH, NO_NEW_PRIVS, SECCOMP, PDEATHSIG, DUMPABLE = 2, 38, 22, 1, 4
PIVOT_ROOT = 155


def check(result, what):
    if result < 0:
        raise OSError(ctypes.get_errno(), what + ": " + os.strerror(ctypes.get_errno()))


def mount(source, target, kind, flags, data=None):
    encode = lambda s: s.encode() if s is not None else None
    check(libc.mount(encode(source), encode(target), encode(kind), ctypes.c_ulong(flags), encode(data)), "mount " + target)


def write(path, text):
    with open(path, "w") as f:
        f.write(text)


# A root that holds python's libraries, read-only, and nothing else: no home, no /etc, no /proc.
def enter_root():
    mount(None, "/", None, REC | PRIVATE)
    root = "/tmp"
    mount("tmpfs", root, "tmpfs", NOSUID | NODEV, "size=1m,mode=755")
    for path in ("/usr", "/lib", "/lib64", "/bin", "/lib32"):
        if os.path.islink(path):
            os.symlink(os.readlink(path), root + path)
        elif os.path.isdir(path):
            os.mkdir(root + path)
            mount(path, root + path, None, BIND | REC)
            mount(None, root + path, None, REMOUNT | BIND | RDONLY | NOSUID | NODEV)
    for name in ("tmp", "dev", "old"):
        os.mkdir(root + "/" + name)
    for name in ("null", "zero", "urandom"):
        open(root + "/dev/" + name, "w").close()
        mount("/dev/" + name, root + "/dev/" + name, None, BIND)
    check(libc.syscall(PIVOT_ROOT, root.encode(), (root + "/old").encode()), "pivot_root")
    os.chdir("/")
    check(libc.umount2(b"/old", DETACH), "umount")
    os.rmdir("/old")
    mount(None, "/", None, REMOUNT | BIND | RDONLY | NOSUID | NODEV)


def lock_in():
    uid, gid = os.getuid(), os.getgid()
    check(libc.unshare(NEWUSER | NEWNS | NEWNET | NEWIPC), "user namespaces are not to be had here")
    write("/proc/self/setgroups", "deny")
    write("/proc/self/uid_map", "0 %d 1" % uid)
    write("/proc/self/gid_map", "0 %d 1" % gid)
    enter_root()


# Whether lock_in works here, tried in a child: half a lock could not be undone.
def namespaces_work():
    read, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            lock_in()
        except BaseException as problem:
            os.write(write_end, str(problem).encode())
        os._exit(0)
    os.close(write_end)
    os.waitpid(pid, 0)
    why = os.read(read, 1000).decode()
    os.close(read)
    return why


CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR, REMOVE_DIR, REMOVE_FILE, MAKE_DIR, MAKE_REG, REFER, TRUNCATE = (
    1 << n for n in (0, 1, 2, 3, 4, 5, 7, 8, 13, 14))


def landlock_version():
    return libc.syscall(CREATE_RULESET, None, ctypes.c_size_t(0), 1)


# Landlock (Linux 5.13 on): everything is refused but what the rules name.
def confine(private):
    version = landlock_version()
    handled = (1 << (13 if version < 2 else 14 if version < 3 else 15)) - 1
    attributes = struct.pack("<QQQ", handled, 3, 3)
    size = 8 if version < 4 else 16 if version < 6 else 24
    rules = libc.syscall(CREATE_RULESET, attributes, ctypes.c_size_t(size), 0)
    check(rules, "landlock")
    allowed = [(path, EXECUTE | READ_FILE | READ_DIR) for path in ("/usr", "/lib", "/lib64", "/bin", "/lib32")]
    allowed += [(path, READ_FILE | WRITE_FILE) for path in ("/dev/null", "/dev/zero", "/dev/urandom")]
    allowed += [(private, WRITE_FILE | READ_FILE | READ_DIR | REMOVE_DIR | REMOVE_FILE | MAKE_DIR | MAKE_REG | REFER | TRUNCATE)]
    for path, access in allowed:
        if not os.path.exists(path):
            continue
        parent = os.open(path, os.O_PATH | os.O_CLOEXEC)
        check(libc.syscall(ADD_RULE, rules, 1, struct.pack("<Qi", access & handled, parent), 0), "landlock rule for " + path)
        os.close(parent)
    check(libc.prctl(NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    check(libc.syscall(RESTRICT_SELF, rules, 0), "landlock")
    os.close(rules)


def private_folder(call):
    return "/tmp/troupe-box-%d-%d" % (os.getpid(), call)


# Folders of zygotes that were killed while a call ran.
def sweep():
    for name in os.listdir("/tmp"):
        parts = name.split("-")
        if name.startswith("troupe-box-") and len(parts) == 4 and not os.path.exists("/proc/" + parts[2]):
            shutil.rmtree("/tmp/" + name, ignore_errors=True)


def child(code, out, memory_mb, cpu_s, private):
    libc.prctl(PDEATHSIG, signal.SIGKILL)
    os.dup2(out, 1)
    os.dup2(out, 2)
    null = os.open("/dev/null", os.O_RDONLY)
    os.dup2(null, 0)
    os.closerange(3, 1024)
    if MODE == "landlock":
        os.chdir(private)
        os.environ["TMPDIR"] = private
        confine(private)
    if MODE == "namespaces":
        check(libc.unshare(NEWNS), "mount namespace")
        mount("tmpfs", "/tmp", "tmpfs", NOSUID | NODEV | NOEXEC, "size=%dm,mode=777" % TMP_MB)
        os.chdir("/tmp")
    limit = memory_mb << 20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s))
    resource.setrlimit(resource.RLIMIT_FSIZE, (TMP_MB << 20, TMP_MB << 20))
    resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if FILTER:
        check(libc.prctl(NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
        program = ctypes.create_string_buffer(FILTER, len(FILTER))
        fprog = struct.pack("HxxxxxxP", len(FILTER) // 8, ctypes.addressof(program))
        check(libc.prctl(SECCOMP, 2, fprog, 0, 0), "seccomp")
    sys.stdout = io.TextIOWrapper(io.BufferedWriter(io.FileIO(1, "w", closefd=False)), encoding="utf-8", errors="replace")
    status = 0
    try:
        exec(compile(code, "<code>", "exec"), {"__name__": "__main__"})
    except SystemExit:
        pass
    except BaseException as problem:
        status = 1
        try:
            lines = traceback.format_exception_only(type(problem), problem)
            sys.stdout.write(lines[-1].strip())
        except BaseException:
            os.write(1, b"MemoryError")
    try:
        sys.stdout.flush()
    except BaseException:
        status = 1
    os._exit(status)


def start(message, fds, running):
    call, wall_ms, memory_mb, cpu_s = struct.unpack_from("<QIII", message, 1)
    with os.fdopen(fds[0], "wb", buffering=0, closefd=False):
        private = private_folder(call)
        if MODE == "landlock":
            os.mkdir(private, 0o700)
        pid = os.fork()
        if pid == 0:
            try:
                child(message[21:].decode("utf-8", "replace"), fds[0], memory_mb, cpu_s, private)
            except BaseException as problem:
                os.write(1, ("sandbox: " + str(problem)).encode())
            os._exit(3)
    os.close(fds[0])
    running[pid] = call


def serve(sock):
    running = {}
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    os.set_blocking(wake_read, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake_write)
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    poll.register(wake_read, select.POLLIN)
    while True:
        for fd, _ in poll.poll():
            if fd == wake_read:
                os.read(wake_read, 4096)
                continue
            message, fds, _, _ = socket.recv_fds(sock, 1 << 21, 1)
            if not message:
                os._exit(0)
            if message[:1] == b"R":
                start(message, fds, running)
            elif message[:1] == b"K":
                call = struct.unpack_from("<Q", message, 1)[0]
                for pid, of in running.items():
                    if of == call:
                        os.kill(pid, signal.SIGKILL)
        while running:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            if pid in running:
                call = running.pop(pid)
                if MODE == "landlock":
                    shutil.rmtree(private_folder(call), ignore_errors=True)
                sock.send(b"D" + struct.pack("<QI", call, status))


sock = socket.socket(fileno=int(sys.argv[1]))
with os.fdopen(int(sys.argv[2]), "rb") as f:
    FILTER = f.read()
TMP_MB, MODE = int(sys.argv[3]), sys.argv[4]
libc.prctl(PDEATHSIG, signal.SIGKILL)
try:
    why = namespaces_work() if MODE == "auto" else ""
    if MODE == "auto" and not why:
        lock_in()
        MODE = "namespaces"
    elif MODE != "none":
        MODE = "landlock"
        if landlock_version() < 1:
            raise OSError(why + "; and this kernel has no Landlock" if why else "this kernel has no Landlock")
        sweep()
    sock.send(b"H" + MODE.encode())
except OSError as problem:
    sock.send(b"E" + str(problem).encode())
    os._exit(1)
gc.collect()
gc.freeze()
serve(sock)
