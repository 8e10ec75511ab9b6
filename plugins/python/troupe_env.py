#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""troupe_env - Python environments, unchanged, as programs that T.env talks to.

    python3 troupe_env.py KIND:NAME                                          answers requests until stdin ends
    python3 troupe_env.py KIND:NAME --rows N [--seed S] [--config JSON]      prints N rows for data.train
    python3 troupe_env.py KIND:NAME --recipe FOLDER [--model FOLDER] ...     writes a recipe with these rows

KIND is gymnasium, openenv, reasoning_gym, skyrl_gym, textworld or verifiers (a module of troupe_adapters/ each), or
`file`: `file:PATH.py:Class` is a class of your own, derived from Environment below. docs/env_python.md has examples.

    stdin --> reader --> main ----- open -----> Maker: what all episodes share
                          |
                          '-- reset, step --> Episode (a thread each) --> Environment --> answers --> stdout

Each episode has a thread, so that one that hangs or waits holds up no other. Stdout belongs to the protocol: what a
library prints goes to stderr. An exception of the environment is an answer with `error`; what the policy did wrong is
a Mistake. What the packages are like is only known to troupe_adapters/."""
import argparse
import asyncio
import ctypes
import difflib
import importlib
import importlib.util
import inspect
import json
import math
import os
import queue
import random
import signal
import sys
import threading
import time
import traceback

VERSION = 1  # of the protocol
GRACE_S = 5.0  # how long requests and closes may still run once stdin has ended
SEEDS = 1 << 31  # many libraries take no larger seed
PR_SET_CHILD_SUBREAPER = 36
ROLES = ("system", "user", "assistant")


# ---- What the author of an environment sees


class Mistake(Exception):
    """The policy's own mistake; the text is what it reads. The episode continues."""


class Step:
    """What a step brings. `rewards`: a number, or {name: number}; `info`: whatever JSON can say."""

    def __init__(self, observation="", done=False, rewards=None, info=None, ok=True):
        self.observation, self.done, self.rewards, self.info, self.ok = observation, done, rewards, info, ok


class Environment:
    """One episode. Each of its functions may be `async`. All calls of an episode come from one thread."""

    tools = []  # [{"name", "description", "parameters": JSON Schema of an object}]; none: text alone

    def __init__(self, config):
        self.config = config

    def reset(self, row, seed):
        """The prompt: a text, or messages [{"role", "content"}]; None: the row's own. Equal arguments, equal start."""
        raise NotImplementedError

    def step(self, call, text, turn):
        """What follows a turn: a Step, or a text. `call` is {"name", "arguments"}, or None: then `text` is what the policy
        answered. `turn` is all that it wrote. Raise Mistake for what the policy should do otherwise."""
        raise NotImplementedError

    def close(self):
        """Always called, also after an exception and for an episode that was cancelled."""


class Maker:
    """What all episodes of a KIND:NAME share: loaded once, when T.env asks `open`."""

    turns = 8  # for the recipe that --recipe writes
    ask = None  # its instruction; None: how tools are called, and how an answer is written

    def __init__(self, name, config, make=None, tools=()):
        self.name, self.config, self.tools, self.make = name, config, list(tools), make

    def new(self):
        return self.make(self.config)

    def rows(self, count, seed):
        """Rows for data.train. These say no more than which start is meant."""
        for i in range(count):
            yield {"id": f"{self.name}-{seed + i}", "seed": seed + i}

    def close(self):
        """Called once, before the process ends."""


def start_seed(row, seed):
    """A row's own seed comes first: the episodes of a group then have one start. Within what libraries take."""
    own = row.get("seed")
    return (own if isinstance(own, int) and not isinstance(own, bool) else seed) % SEEDS


def nearest(word, names):
    """' (did you mean ...?)', or the names that there are."""
    found = difflib.get_close_matches(word, list(names), 1)
    return f" (did you mean '{found[0]}'?)" if found else f": it has {', '.join(sorted(names))}"


def plain(value):
    """A value as JSON can say it: arrays of numpy, tuples, models of pydantic; numbers that JSON lacks become texts."""
    if value is None or isinstance(value, (bool, int, str)):
        return value if type(value) in (type(None), bool, int, str) else plain_base(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(float(value))
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, (set, frozenset)):
        return sorted((plain(v) for v in value), key=str)
    if hasattr(value, "model_dump"):
        return plain(value.model_dump())
    if hasattr(value, "tolist"):  # numpy's arrays and numbers
        return plain(value.tolist())
    return str(value)


def plain_base(value):
    """An enum or another subclass of int or str: its plain value."""
    return str.__str__(value) if isinstance(value, str) else int(value)


# ---- One episode


class Refused(Exception):
    """A request that cannot be served: the sentence is its answer's `error`."""


def failure(what, error, trace=True):
    """An exception as a sentence; where it came from is said on stderr."""
    if isinstance(error, Refused):
        return str(error)
    if trace:
        traceback.print_exception(type(error), error, error.__traceback__, file=sys.stderr)
    return f"{what} raised {type(error).__name__}: {error}"


def checked_messages(start):
    """What reset returned, as members of the answer."""
    if start is None:
        return {}
    if isinstance(start, str):
        return {"observation": start}
    if not isinstance(start, list) or not start:
        raise Refused(f"reset must return a text, messages or None, not {type(start).__name__}")
    for message in start:
        if not isinstance(message, dict) or message.get("role") not in ROLES or not isinstance(message.get("content"), str):
            raise Refused(f"reset must return messages with a role ({', '.join(ROLES)}) and a text as content, not {message!r}")
    return {"messages": [{"role": m["role"], "content": m["content"]} for m in start]}


def checked_rewards(rewards):
    if rewards is None:
        return None
    rewards = plain(rewards)
    named = rewards if isinstance(rewards, dict) else {"reward": rewards}
    for name, value in named.items():
        if not isinstance(value, (int, float)):
            raise Refused(f"reward '{name}' of a step must be a finite number, not {value!r}")
    return {name: float(value) for name, value in named.items()}


def checked_step(step):
    """What step returned, as members of the answer."""
    if isinstance(step, str):
        step = Step(step)
    if not isinstance(step, Step):
        raise Refused(f"step must return a Step or a text, not {type(step).__name__}")
    if not isinstance(step.observation, str):
        raise Refused(f"the observation of a step must be a text, not {type(step.observation).__name__}")

    answer = {"observation": step.observation, "done": bool(step.done), "ok": bool(step.ok)}
    rewards = checked_rewards(step.rewards)
    if rewards is not None:
        answer["rewards"] = rewards
    if step.info:
        answer["info"] = plain(step.info)
    return answer


def seed_globals(seed):
    """For what draws from Python's or numpy's own generator. With at_once = 1 an episode has them to itself."""
    random.seed(seed)
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        numpy.random.seed(seed)


class Episode:
    """An environment and the thread in which all of its calls are made."""

    def __init__(self, maker, answer):
        self.maker, self.answer = maker, answer
        self.environment, self.loop = None, None
        self.started, self.over = False, False
        self.inbox = queue.SimpleQueue()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while True:
            request = self.inbox.get()
            if request is None:
                break
            method = request["method"]
            try:
                answer = self.reset(request) if method == "reset" else self.step(request)
            except BaseException as error:  # also SystemExit: a library that gives up must not end the others
                answer = {"error": failure(f"{self.maker.name}: {method}", error)}
            self.answer(request["id"], answer)
        self.close()

    def finished(self, value):
        """A coroutine's value; it runs in this episode's own loop, so that it blocks no other."""
        if not inspect.isawaitable(value):
            return value
        if self.loop is None:
            self.loop = asyncio.new_event_loop()
            asyncio.set_event_loop(self.loop)
        return self.loop.run_until_complete(value)

    def reset(self, request):
        seed_globals(request["seed"] % SEEDS)
        self.environment = self.maker.new()
        start = checked_messages(self.finished(self.environment.reset(request["row"], request["seed"])))
        self.started = True
        return start

    def step(self, request):
        if not self.started:
            raise Refused(f"{self.maker.name}: the episode has no start: its reset failed")
        if self.over:
            raise Refused(f"{self.maker.name}: the episode is over, no step can follow")
        call, text = request.get("call"), request.get("text")
        try:
            step = self.finished(self.environment.step(call, text, request.get("turn", text or "")))
        except Mistake as mistake:
            step = Step(str(mistake), ok=False)
        answer = checked_step(step)
        self.over = answer["done"]
        return answer

    def close(self):
        try:
            if self.environment is not None:
                self.finished(self.environment.close())
            if self.loop is not None:
                self.loop.run_until_complete(self.loop.shutdown_asyncgens())
                self.loop.close()
        except BaseException as error:
            print(failure(f"{self.maker.name}: close", error), file=sys.stderr)


# ---- Requests


def need(request, name, kind, words):
    value = request.get(name)
    if not isinstance(value, kind) or isinstance(value, bool):
        found = "is missing" if name not in request else f"is {json.dumps(value)}"
        raise Refused(f"request {request.get('method')!r}: '{name}' {found}, expected {words}")
    return value


def check_step(request):
    """A step has a call or a text."""
    if ("call" in request) == ("text" in request):
        raise Refused("request 'step': expected either 'call' or 'text'")
    if "text" in request:
        need(request, "text", str, "a text")
        return
    call = need(request, "call", dict, "an object")
    if not isinstance(call.get("name"), str) or not isinstance(call.get("arguments", {}), dict):
        raise Refused(f"request 'step': 'call' is {json.dumps(call)}, expected a name and an object of arguments")
    call.setdefault("arguments", {})


def parse(line):
    """A line as a request."""
    try:
        request = json.loads(line.decode("utf-8"))
    except ValueError as error:  # UnicodeDecodeError is one, too
        raise Refused(f"request is not a line of JSON in UTF-8: {error}")
    except RecursionError:
        raise Refused("request is nested too deeply")
    if not isinstance(request, dict):
        raise Refused(f"request is a {type(request).__name__}, expected an object")
    return request


class Server:
    """Takes requests, hands them to episodes, writes answers. `open_maker(config)` is called once."""

    def __init__(self, open_maker, answers):
        self.open_maker, self.answers = open_maker, answers
        self.maker, self.episodes, self.threads = None, {}, []
        self.lock = threading.Lock()

    def answer(self, request_id, members):
        line = json.dumps({"id": request_id, **members}, ensure_ascii=False, allow_nan=False) + "\n"
        data = line.encode("utf-8", "replace")  # half of a surrogate pair has no UTF-8
        with self.lock:
            try:
                self.answers.write(data)
                self.answers.flush()
            except (OSError, ValueError):
                leave(1)  # who asked is gone

    def take(self, line):
        request = {}
        try:
            request = parse(line)
            answer = self.serve(request)
        except Refused as refused:
            answer = {"error": str(refused)}
        if answer is not None and request.get("method") != "close":
            self.answer(request.get("id"), answer)

    def serve(self, request):
        """An answer; None: an episode's thread will give it, or there is none to give."""
        method = request.get("method")
        if method == "close":
            return self.close(request)
        if method not in ("open", "reset", "step"):
            raise Refused(f"method is {json.dumps(method)}, expected open, reset, step or close")
        if not isinstance(request.get("id"), (int, str)) or isinstance(request["id"], bool):
            raise Refused(f"request {method!r}: 'id' is missing, expected a number")
        if method == "open":
            return self.open(request)
        if self.maker is None:
            raise Refused(f"request {method!r} before 'open'")
        return self.reset(request) if method == "reset" else self.step(request)

    def open(self, request):
        if self.maker is not None:
            raise Refused("request 'open': already open")
        if request.get("version", VERSION) != VERSION:
            raise Refused(f"version {json.dumps(request['version'])} of the protocol is not spoken here, {VERSION} is")
        config = request.get("config") or {}
        if not isinstance(config, dict):
            raise Refused(f"request 'open': 'config' is {json.dumps(config)}, expected an object")
        try:
            maker = self.open_maker(config)
            answer = {"name": maker.name, "tools": plain(list(maker.tools))}
        except BaseException as error:
            return {"error": failure("open", error)}
        self.maker = maker
        watch_signals()  # some libraries take them for themselves
        return answer

    def reset(self, request):
        key = need(request, "episode", str, "a text")
        need(request, "row", dict, "an object")
        need(request, "seed", int, "a whole number")
        if key in self.episodes:
            raise Refused(f"episode '{key}' is open already, close it first")
        try:
            episode = self.episodes[key] = Episode(self.maker, self.answer)
        except RuntimeError as error:
            raise Refused(f"episode '{key}': cannot start a thread: {error}")
        self.threads = [t for t in self.threads if t.is_alive()] + [episode.thread]
        episode.inbox.put(request)

    def step(self, request):
        key = need(request, "episode", str, "a text")
        check_step(request)
        if key not in self.episodes:
            raise Refused(f"no episode '{key}' is open, reset it first")
        self.episodes[key].inbox.put(request)

    def close(self, request):
        episode = self.episodes.pop(request.get("episode"), None) if isinstance(request.get("episode"), str) else None
        if episode is not None:
            episode.inbox.put(None)

    def end(self):
        """What was asked is still answered, and all episodes are closed, as far as GRACE_S reaches."""
        deadline = time.monotonic() + GRACE_S
        for episode in self.episodes.values():
            episode.inbox.put(None)
        for thread in self.threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        if self.maker is not None:
            self.maker.close()


# ---- The process


def own_streams():
    """Requests and answers, on files that no library and no child knows: fd 0 is empty, fd 1 is stderr from here on."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return requests, answers


def children():
    """Processes that descend from this one, as /proc tells."""
    parents = {}
    for name in filter(str.isdigit, os.listdir("/proc") if os.path.isdir("/proc") else []):
        try:
            with open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as f:
                state, parent = f.read().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if state not in "ZX":
            parents[int(name)] = int(parent)

    found = {os.getpid()}
    while True:
        more = {pid for pid, parent in parents.items() if parent in found} - found
        if not more:
            return found - {os.getpid()}
        found |= more


def leave(status):
    """Ends this process at once, threads that hang included, and whatever a library has started with it."""
    for _ in range(10):  # one that forks while we look is found at the next look
        alive = children()
        for pid in alive:
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                pass
        if not alive:
            break
    sys.stderr.flush()
    os._exit(status)


def watch_signals():
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _: leave(128 + received))


def adopt_orphans():
    """A child whose own parent has ended becomes ours, so that children() finds it."""
    try:
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    except (OSError, AttributeError):
        pass  # not Linux


def read_lines(requests, lines):
    """Hands lines to the main thread. It may be in the middle of `open` when stdin ends: then it is not waited for."""
    for line in requests:
        lines.put(line)
    lines.put(None)
    time.sleep(2 * GRACE_S)
    leave(1)


def serve(open_maker, streams=None):
    """Answers requests until stdin ends, then ends the process. `open_maker(config)` returns a Maker."""
    requests, answers = streams or own_streams()
    adopt_orphans()
    watch_signals()
    server, lines = Server(open_maker, answers), queue.Queue()
    threading.Thread(target=read_lines, args=(requests, lines), daemon=True).start()
    while True:
        line = lines.get()
        if line is None:
            break
        if line.strip():
            server.take(line)
    server.end()
    leave(0)


# ---- KIND:NAME

KINDS = {  # and what pip calls the package
    "gymnasium": "gymnasium[toy-text]", "openenv": "openenv", "reasoning_gym": "reasoning-gym", "skyrl_gym": "skyrl-gym",
    "textworld": "textworld", "verifiers": "verifiers<0.2",
}


def load_file(path):
    """A Python file as a module, which finds its neighbours."""
    path = os.path.abspath(path)
    if not os.path.exists(path):
        raise Refused(f"there is no file {path}")
    sys.path.insert(0, os.path.dirname(path))
    spec = importlib.util.spec_from_file_location(os.path.splitext(os.path.basename(path))[0], path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def own_class(name, config):
    """The Maker of `PATH.py:Class`."""
    path, colon, class_name = name.rpartition(":")
    if not colon:
        raise Refused(f"file:{name} names no class, expected file:PATH.py:Class")
    found = getattr(load_file(path), class_name, None)
    if not isinstance(found, type):
        raise Refused(f"{path} has no class '{class_name}'")
    if issubclass(found, Maker):
        return found(class_name, config)

    maker = Maker(class_name, config, found, getattr(found, "tools", []))
    if hasattr(found, "rows"):
        maker.rows = lambda count, seed: found.rows(config, count, seed)
    return maker


def how_to_install(kind, package):
    """The command, where the package is the KIND's own and no further one that it wants."""
    if package != kind:
        return ""
    return f": install it by {sys.executable} -m pip install '{KINDS[kind]}', or take a Python that has it"


def open_kind(what, config):
    kind, _, name = what.partition(":")
    if kind == "file":
        return own_class(name, config)
    try:
        return importlib.import_module(f"troupe_adapters.{kind}").open_maker(name, config)
    except ModuleNotFoundError as error:
        raise Refused(f"{what}: {sys.executable} has no Python package '{error.name}'{how_to_install(kind, error.name)}")


def write_rows(what, count, seed, config, answers):
    maker = open_kind(what, config)
    for row in maker.rows(count, seed):
        answers.write(json.dumps(plain(row), ensure_ascii=False).encode("utf-8", "replace") + b"\n")
    answers.flush()


def write_recipe(given):
    from troupe_adapters import recipe

    recipe.check(given.recipe, given.data)
    maker = open_kind(given.what, given.config)
    rows = () if given.data else maker.rows(256 if given.rows is None else given.rows, given.seed)
    recipe.write(given.recipe, given.what, given.config, given.model, maker, rows, given.data)
    path = os.path.join(given.recipe, "recipe.lua")
    print(f"written: {path}\nnext: troupe env test --recipe {path}, troupe train {path}", file=sys.stderr)


def arguments():
    parser = argparse.ArgumentParser(prog="troupe_env.py", description="Python environments as programs for Troupe's T.env.")
    parser.add_argument("what", metavar="KIND:NAME", help=f"KIND: {', '.join(KINDS)}; or file:PATH.py:Class")
    parser.add_argument("--rows", type=int, metavar="N", help="print N rows for data.train")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="of the first row")
    parser.add_argument("--config", type=json.loads, default={}, metavar="JSON", help="for --rows: the recipe's config")
    parser.add_argument("--recipe", metavar="FOLDER", help="write recipe.lua, reward.lua and rows.jsonl there")
    parser.add_argument("--model", default="models/smollm2", metavar="FOLDER", help="for --recipe: the model to train")
    parser.add_argument("--data", metavar="FILE", help="for --recipe: rows of yours, instead of the environment's")
    given = parser.parse_args()
    kind, colon, _ = given.what.partition(":")
    if not colon or kind not in (*KINDS, "file"):
        parser.error(f"'{given.what}' is not KIND:NAME with a KIND of {', '.join(KINDS)} or file")
    return given


def fix_hashes():
    """Sets of texts have another order in each process, unless this is set before Python starts."""
    if "PYTHONHASHSEED" not in os.environ:
        os.environ["PYTHONHASHSEED"] = "0"
        os.execv(sys.executable, [sys.executable] + getattr(sys, "orig_argv", [""] + sys.argv)[1:])


def main():
    given = arguments()
    fix_hashes()
    sys.modules["troupe_env"] = sys.modules["__main__"]  # what adapters and authors import is this very module
    streams = own_streams()
    if given.rows is None and given.recipe is None:
        serve(lambda config: open_kind(given.what, config), streams)
    try:
        if given.recipe is not None:
            write_recipe(given)
        else:
            write_rows(given.what, given.rows, given.seed, given.config, streams[1])
    except BrokenPipeError:
        leave(1)
    except Exception as error:
        trace = given.what.startswith("file:")  # who has written the class looks for the line, others for the reason
        print(f"troupe_env.py: {failure(given.what, error, trace)}", file=sys.stderr)
        leave(1)
    leave(0)


if __name__ == "__main__":
    main()
