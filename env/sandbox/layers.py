# SPDX-License-Identifier: MIT
# The layers of the sandbox that Linux gives: namespaces with a root of their own, Landlock, capabilities, limits. First of
# the three parts of the zygote's program (layers.py, code.py, zygote.py; the build joins them).
#
#     troupe -> outer -> keeper -> zygote (process 1 of its namespaces) -> a child for each call
#
# The outer process stays outside of the namespaces, writes their uid maps and waits; the keeper made them and waits, as a
# process namespace begins with the next fork. Each dies with its parent, and with process 1 the kernel ends all the others:
# nothing outlives troupe, however it was killed. Where namespaces are not available, the outer process is the zygote itself,
# and each child, confined by Landlock and the stricter filter, dies with it.
import sys
sys.path = [p for p in sys.path if p]  # this program comes through stdin: no module is looked for in the caller's folder
import ctypes, errno, gc, os, resource, select, signal, socket, struct, time

libc = ctypes.CDLL(None, use_errno=True)
NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET = (1 << n for n in (17, 25, 26, 27, 28, 29, 30))
RDONLY, NOSUID, NODEV, NOEXEC, REMOUNT, BIND, REC, PRIVATE = 1, 2, 4, 8, 32, 4096, 16384, 1 << 18
DETACH, AT_FDCWD, AT_RECURSIVE, MOUNT_SETATTR = 2, -100, 0x8000, 442
PDEATHSIG, DUMPABLE, SET_NAME, SECCOMP, CAPBSET_DROP, SECUREBITS, NO_NEW_PRIVS, CAP_AMBIENT = 1, 4, 15, 22, 24, 28, 38, 47
NOBODY, CAP_SYS_ADMIN = 65534, 21


def check(result, what):
    if result < 0:
        raise OSError(what + ": " + os.strerror(ctypes.get_errno()))


def mount(source, target, kind, flags, data=None):
    encode = lambda s: s.encode() if s is not None else None
    check(libc.mount(encode(source), encode(target), encode(kind), ctypes.c_ulong(flags), encode(data)), "mount " + target)


def write(path, text):
    with open(path, "w") as f:
        f.write(text)


# Dies with its parent, also when that has died already.
def die_with(parent):
    libc.prctl(PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:
        os._exit(0)


# ---- who one is ----

# Where a container has but one id, one stays who one is there.
def try_to(change, *ids):
    try:
        change(*ids)
    except OSError:
        pass


# Never root, whatever troupe is: files of root's are then protected by their modes as well.
def become_nobody():
    try_to(os.setgroups, [])
    try_to(os.setresgid, NOBODY, NOBODY, NOBODY)
    try_to(os.setresuid, NOBODY, NOBODY, NOBODY)


def keep_capabilities(mask):
    header = struct.pack("<Ii", 0x20080522, 0)
    sets = struct.pack("<IIIIII", mask & 0xffffffff, mask & 0xffffffff, 0, mask >> 32, mask >> 32, 0)
    check(libc.capset(header, sets), "capset")


# No capability can come back: not by a program's file, not by a change of the uid, not by inheritance.
def lock_capabilities():
    libc.prctl(CAP_AMBIENT, 4, 0, 0, 0)
    check(libc.prctl(SECUREBITS, 0xef, 0, 0, 0), "securebits")  # noroot, no_setuid_fixup, no_ambient, each locked; keep_caps locked
    capability = 0
    while libc.prctl(CAPBSET_DROP, capability, 0, 0, 0) == 0:
        capability += 1
    keep_capabilities(1 << CAP_SYS_ADMIN)  # to mount each call's /tmp; a child keeps none


# ---- what can be read ----

# The folders that hold python's libraries, the packages that were asked for, and the shared libraries of both.
def libraries():
    folders = {os.path.dirname(os.path.realpath(os.__file__)), "/usr/share/zoneinfo"}
    folders.update(os.path.realpath(p) for p in sys.path if p.endswith("lib-dynload"))
    for module in list(sys.modules.values()):
        path = getattr(module, "__path__", None)
        if path and "." not in module.__name__:
            folders.update(os.path.realpath(p) for p in path)
    try:
        with open("/proc/self/maps") as f:
            folders.update(os.path.dirname(os.path.realpath(line.split(None, 5)[5].strip())) for line in f if ".so" in line)
    except OSError:
        folders.update(("/usr/lib", "/lib"))
    folders = sorted(p for p in folders if p != "/" and os.path.isdir(p))
    return [p for p in folders if not any(p.startswith(q + "/") for q in folders)]


# Where a call's own files are: /tmp, unless packages lie there.
def scratch(folders):
    return "/scratch" if any(p.startswith("/tmp/") for p in folders) else "/tmp"


DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom")


def set_attributes(path, flags):
    check(libc.syscall(MOUNT_SETATTR, AT_FDCWD, path.encode(), AT_RECURSIVE, struct.pack("<QQQQ", flags, 0, 0, 0), 32),
          "mount_setattr " + path)


# Shows what `fd` is open on at `target`, read-only, with all that is mounted below it.
def show(fd, target, flags):
    mount("/proc/self/fd/%d" % fd, target, None, BIND | REC)
    set_attributes(target, RDONLY | NOSUID | flags)
    os.close(fd)


# A read-only root with `libraries`, three devices, and a folder for scratch files (a mount of its own for each call).
# Returns a descriptor of the namespaces' /proc, which is mounted nowhere, or None.
def enter_root(folders, sources):
    mount(None, "/", None, REC | PRIVATE)
    root = next(p for p in ("/tmp", "/var/tmp", "/mnt", "/dev") if os.path.isdir(p))
    mount("tmpfs", root, "tmpfs", NOSUID | NODEV | NOEXEC, "size=1m,nr_inodes=1000,mode=755")
    for path in folders:
        os.makedirs(root + path)
        show(sources[path], root + path, NODEV)
    os.mkdir(root + "/dev")
    for path in DEVICES:
        open(root + path, "w").close()
        show(sources[path], root + path, NOEXEC)
    if not os.path.isdir(root + scratch(folders)):
        os.mkdir(root + scratch(folders))
    proc = open_proc(root + "/proc")
    os.chdir(root)
    check(libc.pivot_root(b".", b"."), "pivot_root")
    check(libc.umount2(b".", DETACH), "umount")
    os.chdir("/")
    mount(None, "/", None, REMOUNT | RDONLY | NOSUID | NODEV | NOEXEC, "size=1m,nr_inodes=1000")
    set_attributes("/", RDONLY | NOSUID)
    return proc


def open_proc(folder):
    os.mkdir(folder)
    try:
        mount("proc", folder, "proc", NOSUID | NODEV | NOEXEC)
        proc = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        check(libc.umount2(folder.encode(), DETACH), "umount")
    except OSError:
        proc = None
    os.rmdir(folder)
    return proc


# ---- namespaces ----

# In the outer process: makes the keeper, maps its ids, and hears how it went. Returns in the zygote (with its /proc), or in
# the outer process with why there are no namespaces.
def namespaces(folders):
    heard, tell = os.pipe()
    mapped, map_now = os.pipe()
    outer = os.getpid()
    keeper = os.fork()
    if keeper == 0:
        os.close(heard)
        os.close(map_now)
        try:
            return keep(folders, outer, tell, mapped), ""
        except BaseException as problem:
            os.write(tell, b"E" + str(problem).encode())
            os._exit(1)
    os.close(tell)
    os.close(mapped)
    why = None
    if os.read(heard, 1) == b"U":
        try:
            map_ids(keeper)
            os.write(map_now, b"M")
        except OSError as problem:
            why = str(problem)
    os.close(map_now)
    said = os.read(heard, 1000).decode()
    if said == "R":
        sys.stdin.close()
        os.closerange(3, 256)
        os.waitpid(keeper, 0)
        os._exit(0)
    os.waitpid(keeper, 0)
    os.close(heard)
    return None, why or said.lstrip("E") or "user namespaces are not available here"


# Inside, every process is user nobody. Outside, too, if troupe runs as root; else it is troupe's user.
def map_ids(pid):
    root = os.geteuid() == 0
    write("/proc/%d/setgroups" % pid, "deny")
    for kind, own in (("gid", os.getegid()), ("uid", os.geteuid())):
        try:
            write("/proc/%d/%s_map" % (pid, kind), "%d %d 1" % (NOBODY, NOBODY if root else own))
        except OSError:
            if not root:
                raise
            write("/proc/%d/%s_map" % (pid, kind), "%d %d 1" % (NOBODY, own))


def keep(folders, outer, tell, mapped):
    die_with(outer)
    if os.geteuid() == 0:
        try_to(os.setgroups, [])
    # A call that is born in a group of its own gets its cgroup namespace there: nsdelegate lets none out of this one's.
    of_groups = 0 if LEAF >= 0 else NEWCGROUP
    if libc.unshare(NEWUSER | NEWNS | NEWPID | NEWNET | NEWIPC | NEWUTS | of_groups) != 0:
        os.write(tell, b"E")
        os._exit(1)
    os.write(tell, b"U")
    if os.read(mapped, 1) != b"M":
        os._exit(1)
    os.close(mapped)
    sources = {p: path_fd(p) for p in folders + list(DEVICES)}  # root's python may lie in a folder that user nobody can't enter
    check(libc.prctl(SECUREBITS, 0x4, 0, 0, 0), "securebits")  # capabilities stay through the change of the uid
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)
    die_with(outer)
    keeper = os.getpid()
    zygote = os.fork()
    if zygote:
        sys.stdin.close()
        os.closerange(3, 256)
        os.waitpid(zygote, 0)
        os._exit(0)
    libc.prctl(PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)  # its parent is in no namespace of its own: getppid says 0
    check(libc.sethostname(b"box", 3), "sethostname")
    proc = enter_root(folders, sources)
    lock_capabilities()
    libc.prctl(DUMPABLE, 0, 0, 0, 0)
    libc.prctl(PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    os.write(tell, b"R")
    os.close(tell)
    return proc


# ---- Landlock ----

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
WRITE_FILE, READ_FILE, READ_DIR, REMOVE_DIR, REMOVE_FILE, MAKE_DIR, MAKE_REG, REFER, TRUNCATE = (
    1 << n for n in (1, 2, 3, 4, 5, 7, 8, 13, 14))
READ, SCRATCH = READ_FILE | READ_DIR, READ_FILE | READ_DIR | WRITE_FILE | REMOVE_DIR | REMOVE_FILE | MAKE_DIR | MAKE_REG | REFER | TRUNCATE


def landlock_version():
    return max(0, libc.syscall(CREATE_RULESET, None, ctypes.c_size_t(0), 1))


# Everything that this kernel's Landlock knows is refused but what `allowed` names: (descriptor of a path, rights).
def ruleset(version, allowed):
    handled = (1 << (13 if version < 2 else 14 if version < 3 else 15 if version < 5 else 16)) - 1
    size = 8 if version < 4 else 16 if version < 6 else 24
    rules = libc.syscall(CREATE_RULESET, struct.pack("<QQQ", handled, 3, 3), ctypes.c_size_t(size), 0)
    check(rules, "landlock")
    for fd, rights in allowed:
        check(libc.syscall(ADD_RULE, rules, 1, struct.pack("<Qi", rights & handled, fd), 0), "landlock rule")
    return rules


def path_fd(path):
    return os.open(path, os.O_PATH | os.O_CLOEXEC)


# ---- a group of one's own ----

CLONE3, INTO_CGROUP, CHILD_SETTID, CHILD_CLEARTID, GET_TID_ADDRESS = 435, 1 << 33, 1 << 24, 1 << 21, 40
held = ctypes.PyDLL(None, use_errno=True)  # calls that keep the interpreter's lock, as a fork has to


# os.fork, but the child is born in the cgroup that `group` is a descriptor of: to move it there takes far longer than the
# rest of a call. The C library keeps a thread's id in memory; the kernel is told where, as glibc's fork would tell it.
def fork_into(group):
    where = ctypes.c_uint64()
    check(held.prctl(GET_TID_ADDRESS, ctypes.byref(where), 0, 0, 0), "prctl")
    flags = INTO_CGROUP | CHILD_SETTID | CHILD_CLEARTID
    words = (ctypes.c_uint64 * 11)(flags, 0, where.value, 0, int(signal.SIGCHLD), 0, 0, 0, 0, 0, group)
    ctypes.pythonapi.PyOS_BeforeFork()
    pid = held.syscall(ctypes.c_long(CLONE3), words, ctypes.c_size_t(ctypes.sizeof(words)))
    if pid == 0:
        ctypes.pythonapi.PyOS_AfterFork_Child()
        return 0
    problem = ctypes.get_errno()
    ctypes.pythonapi.PyOS_AfterFork_Parent()
    if pid < 0:
        raise OSError(problem, os.strerror(problem))
    return pid


# ---- limits ----

def limit(address_space, cpu_s, file_bytes):
    for what, soft, hard in ((resource.RLIMIT_AS, address_space, address_space), (resource.RLIMIT_CPU, cpu_s, cpu_s + 1),
                             (resource.RLIMIT_FSIZE, file_bytes, file_bytes), (resource.RLIMIT_NOFILE, 64, 64),
                             (resource.RLIMIT_CORE, 0, 0), (resource.RLIMIT_MEMLOCK, 0, 0),
                             (resource.RLIMIT_SIGPENDING, 64, 64)):
        max_hard = resource.getrlimit(what)[1]  # of a job, say, under ulimit: it can't be raised, and need not be
        if max_hard != resource.RLIM_INFINITY:
            soft, hard = min(soft, max_hard), min(hard, max_hard)
        resource.setrlimit(what, (soft, hard))


# When the machine itself runs out of memory, the kernel takes a call before it takes the training.
def be_first_to_go():
    try:
        write("/proc/self/oom_score_adj", "1000")
    except OSError:
        pass


def install_filter(program):
    check(libc.prctl(NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    program = program.replace(struct.pack("=I", SELF), struct.pack("=I", os.getpid()))
    held = ctypes.create_string_buffer(program, len(program))
    check(libc.prctl(SECCOMP, 2, struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(held)), 0, 0), "seccomp")
