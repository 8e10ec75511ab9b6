# The warm process of the sandbox: a python3 that has everything imported, locked itself into namespaces of its own, and
# forks a clean child for each call. Started by box.c as: python3 -I -S -c ... SOCKET FILTER TMP_MB NAMESPACES
#
# Messages on the SEQPACKET socket:  from box   "R" call wall_ms memory_mb cpu_s code + the pipe for output;  "K" call
#                                    to box     "H" layers (once);  "D" call status
# A child writes its output to the pipe and ends with 0 (fine), 1 (the code raised: its last line is in the output).
import ctypes, gc, os, resource, select, signal, socket, struct, sys
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


def child(code, out, memory_mb, cpu_s):
    libc.prctl(PDEATHSIG, signal.SIGKILL)
    os.dup2(out, 1)
    os.dup2(out, 2)
    null = os.open("/dev/null", os.O_RDONLY)
    os.dup2(null, 0)
    os.closerange(3, 1024)
    if NAMESPACES:
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
        pid = os.fork()
        if pid == 0:
            try:
                child(message[21:].decode("utf-8", "replace"), fds[0], memory_mb, cpu_s)
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
                sock.send(b"D" + struct.pack("<QI", running.pop(pid), status))


sock = socket.socket(fileno=int(sys.argv[1]))
with os.fdopen(int(sys.argv[2]), "rb") as f:
    FILTER = f.read()
TMP_MB, NAMESPACES = int(sys.argv[3]), sys.argv[4] == "1"
libc.prctl(PDEATHSIG, signal.SIGKILL)
try:
    if NAMESPACES:
        lock_in()
    sock.send(b"H")
except OSError as problem:
    sock.send(b"E" + str(problem).encode())
    os._exit(1)
gc.collect()
gc.freeze()
serve(sock)
