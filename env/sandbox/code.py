# SPDX-License-Identifier: MIT
# How the policy's code is run in a child: as a script of its own, with output in its true order and errors with their lines.
import array, base64, bisect, calendar, cmath, collections, contextlib, copy, csv, dataclasses, datetime, decimal, enum, fractions
import functools, hashlib, heapq, io, itertools, json, linecache, math, numbers, operator, pickle, pprint, queue, random, re
import secrets, selectors, statistics, string, textwrap, threading, traceback, types, typing, uuid, atexit, builtins, posix, warnings
import _sitebuiltins, platform

NAME, EARLIER, MAX_FRAMES = "<code>", "call ", 4

# Held here: code that replaces them by its own still ends.
leave, send, on_signal = os._exit, os.kill, signal.signal
Generator, set_seed = random.Random, random.Random.seed

HARMFUL_TO_LOAD = ("test", "xx", "curses", "dbm", "readline", "ossaudiodev", "nis", "audioop", "tkinter")


# Modules of the recipe's that are imported once, here; afterwards they are imported in no time, and nothing else is found.
def load_packages(names):
    if not names:
        return
    import site
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before = list(sys.path)
        site.venv(set())
        own = sys.prefix == sys.base_prefix  # not in a virtual environment
        for folder in site.getsitepackages() + ([site.getusersitepackages()] if own else []):
            if os.path.isdir(folder) and folder not in sys.path:
                sys.path.append(os.path.realpath(folder))
        for name in names:
            try:
                __import__(name)
            except ImportError as problem:
                raise OSError("%s has no package '%s' (%s)" % (sys.executable, name, problem))
        if "numpy" in sys.modules:
            import numpy.random  # else at the first call, as it is to be seeded
        sys.path[:] = before


# Under Landlock alone no path can be asked about: what python's own libraries hold is noted beforehand, for `import`, and
# extension modules, which the C library would ask about, are loaded beforehand.
def note_libraries(folders):
    stats, lists = {}, {}
    for top in folders:
        if not os.path.exists(os.path.join(top, "os.py")) and "zoneinfo" not in top and "-packages" not in top:
            continue
        for folder, names, files in os.walk(top):
            lists[folder] = names + files
            for name in [""] + files:
                path = os.path.join(folder, name) if name else folder
                try:
                    stats[path] = os.stat(path)
                except OSError:
                    pass
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for folder in [p for p in sys.path if p.endswith("lib-dynload")]:
            for name in sorted(n.split(".")[0] for n in os.listdir(folder)):
                if not any(word in name for word in HARMFUL_TO_LOAD):
                    try:
                        __import__(name)
                    except ImportError:
                        pass
    return stats, lists


def use_notes(stats, lists):
    def find(table, path):
        key = os.path.normpath(os.path.join("/", os.fspath(path)))
        if key not in table:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return table[key]

    def stat(path, *, dir_fd=None, follow_symlinks=True):
        return find(stats, path)

    def listdir(path="."):
        return list(find(lists, path))

    for module in (posix, os):
        module.stat, module.lstat, module.listdir = stat, stat, listdir


# `random`, numpy's random and what they take from the system follow from (seed, task, call): the same call says the same.
def seed_everything(seed):
    Generator.seed = set_seed  # an earlier call may have put its own there
    source = Generator(seed)

    def urandom(n):
        return source.getrandbits(8 * n).to_bytes(n, "little") if n else b""

    def seed_of(self, a=None, version=2):
        set_seed(self, int.from_bytes(urandom(32), "little") if a is None else a, version)

    os.urandom = random._urandom = urandom
    Generator.seed = seed_of
    random.seed = random._inst.seed
    random.seed(seed)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(seed & 0xffffffff)


# Once, in the zygote: a call has but to put its own descriptors in their places. They are made over a pipe, as a call's
# are, since a file remembers whether it can be moved in.
def open_streams():
    reader, writer = os.pipe()
    kept = [os.dup(fd) for fd in (0, 1, 2)]
    for fd, end in ((0, reader), (1, writer), (2, writer)):
        os.dup2(end, fd)
    make_streams()
    for fd, own in enumerate(kept):
        os.dup2(own, fd)
    for fd in [reader, writer] + kept:
        os.close(fd)


def make_streams():
    def stream(fd, errors):
        raw = io.FileIO(fd, "w", closefd=False)
        return io.TextIOWrapper(raw, encoding="utf-8", errors=errors, write_through=True)

    sys.stdout = sys.__stdout__ = stream(1, "replace")
    sys.stderr = sys.__stderr__ = stream(2, "backslashreplace")
    sys.stdin = sys.__stdin__ = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, "r", closefd=False)), encoding="utf-8")


# The error first, then where: a model that reads only the beginning of it has read what counts. The lines themselves it wrote.
def explain(problem):
    text = traceback.format_exception_only(type(problem), problem)
    if isinstance(problem, SyntaxError):
        said = [text[-1].rstrip()]
        if problem.filename == NAME and problem.lineno:
            said.append("  line %d" % problem.lineno)
        return "\n".join(said)
    said, frames = ["".join(text).rstrip()], collections.deque(maxlen=MAX_FRAMES)
    for frame, line in traceback.walk_tb(problem.__traceback__):
        file, name = frame.f_code.co_filename, frame.f_code.co_name
        if file == NAME or file.startswith(EARLIER):
            where = "" if file == NAME else " of " + file
            frames.append("  line %d%s%s" % (line, where, "" if name == "<module>" else ", in " + name))
    return "\n".join(said + list(frames))


def report(problem):
    try:
        if sys.excepthook is not sys.__excepthook__:
            sys.excepthook(type(problem), problem, problem.__traceback__)
        else:
            sys.__stderr__.write(explain(problem))
    except BaseException:
        os.write(1, type(problem).__name__.encode())


# One end of what asyncio wakes itself by: there are no sockets here, and two pipes do.
class PipeEnd:
    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    def fileno(self):
        return self.reader

    def setblocking(self, flag):
        os.set_blocking(self.reader, flag)
        os.set_blocking(self.writer, flag)

    def send(self, data):
        return os.write(self.writer, data)

    def recv(self, n):
        return os.read(self.reader, n)

    def close(self):
        os.close(self.reader)
        os.close(self.writer)


def pipe_pair(*_):
    (a, b), (c, d) = os.pipe(), os.pipe()
    return PipeEnd(a, d), PipeEnd(c, b)


# asyncio runs: with poll, as no epoll is allowed either, and pipes.
def ready_asyncio():
    selectors.DefaultSelector = selectors.PollSelector
    socket.socketpair = pipe_pair


# All that stands ready when the code begins; what fails here is not the code's fault.
def prepare(cells):
    code = cells[-1][1]
    seed_everything(cells[0][0])
    builtins.exit = builtins.quit = sys.exit
    builtins.help = _sitebuiltins._Helper()
    ready_asyncio()
    linecache.cache[NAME] = (len(code), None, [line + "\n" for line in code.split("\n")], NAME)
    script = types.ModuleType("__main__")
    script.__builtins__ = builtins
    sys.modules["__main__"] = script
    sys.argv = [NAME]
    return script


# What ran before, in silence: its output is known, and what it raised was said. An end of the process is none here.
def run_again(cells, script):
    def leave_cell(status):
        raise SystemExit(status)

    streams = [os.dup(fd) for fd in (1, 2)]
    os._exit = posix._exit = leave_cell
    for fd in (1, 2):
        os.dup2(0, fd)
    for i, (seed, code) in enumerate(cells):
        seed_everything(seed)
        try:
            exec(compile(code, "%s%d" % (EARLIER, i + 1), "exec", dont_inherit=True), script.__dict__)
        except BaseException:
            pass
    os._exit = posix._exit = leave
    for fd, own in enumerate(streams, 1):
        os.dup2(own, fd)
        os.close(own)


# Status 0: fine; others: the code's own; the signal RAISED: it raised, and its output says what.
def run(cells, script):
    status, own, (seed, code) = 0, os.getpid(), cells[-1]
    try:
        try:
            if len(cells) > 1:
                run_again(cells[:-1], script)
                seed_everything(seed)
            exec(compile(code, NAME, "exec", dont_inherit=True), script.__dict__)
        finally:
            atexit._run_exitfuncs()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
        if end.code is not None and not isinstance(end.code, int):
            report_text(end.code)
    except BaseException as problem:
        report(problem)
        on_signal(RAISED, signal.SIG_DFL)
        send(own, RAISED)
        status = 1
    leave(status & 255)


def report_text(what):
    try:
        sys.__stderr__.write(str(what) + "\n")
    except BaseException:
        pass
