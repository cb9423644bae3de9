# SPDX-License-Identifier: MIT OR Apache-2.0
"""Run Debian's own programs bare and under cogo-run, and compare what they did.

A test is a function whose name is a sentence that can be false.  It takes a
Run, starts programs through it, and returns what it saw (a dict).  The harness
calls it twice, first bare, then under cogo-run, and the two dicts must be
equal: the bare run is the specification.  What must hold in both runs anyway
(every byte echoed, nothing left running) the test asserts itself, with check().

What the harness promises, so that the tests need not:

  - every wait is for a condition and has a cap; nothing passes because of
    timing, and a body that overruns its limit fails with the place where each
    process stood: its registers' system call, its kernel stack, and under
    cogo-run the list of coroutines that --dump prints;
  - every process started here, or orphaned by one that was, ends with the
    body, by its own id; one that was left behind is a failure;
  - the temporary directory goes, whatever happens.

Environment:
  COGO_RUN_BIN      how to call cogo-run (words as in a shell); when it is
                    empty the second run is bare too, which tests the tests
  COGO_RUN_OPTIONS  options for it; default "--dump PWR", a signal that none
                    of the programs uses
  COGO_TEST_PATIENCE  a factor for every cap, for a slow or busy machine
  COGO_TEST_GDB     non-empty: a failure prints gdb's backtraces as well, also
                    of the core that a process has left where it was started
  COGO_TEST_KEEP    non-empty: keep the temporary directories

Exit status: 0 all true, 1 some false, 77 skipped (the package cannot be had).
"""

import asyncio
import atexit
import collections
import ctypes
import os
import re
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback

from checks import *
from packages import PATH, need, skip, which
from peers import standing
from processes import (
    Process, backtrace, children, free_port, proc, slurp, state, unprivileged,
)

PYTHON = "/usr/bin/python3"  # Debian's: the program under test
LIMIT = 60  # seconds for one body in one mode

RUNNER = shlex.split(os.environ.get("COGO_RUN_BIN", ""))


def put_in_reach():
    """A build in root's own folder is out of reach for a server that refuses to
    be root's: then cogo-run and its library are run from where it is not."""
    runner = os.path.realpath(RUNNER[0])
    folder = os.path.dirname(runner)
    library = os.path.join(folder, "..", "libcogo.so")
    above = []
    while folder != "/":
        above.append(folder)
        folder = os.path.dirname(folder)
    if all(os.stat(f).st_mode & 1 for f in above) or not os.path.exists(library):
        return
    copy = tempfile.mkdtemp(prefix="cogo-test-reach-")
    atexit.register(shutil.rmtree, copy)
    os.chmod(copy, 0o755)
    RUNNER[0] = shutil.copy(runner, copy)
    shutil.copy(library, copy)


if RUNNER and os.geteuid() == 0:
    put_in_reach()
OPTIONS = shlex.split(os.environ.get("COGO_RUN_OPTIONS", "--dump PWR"))

tests = []


def test(body=None, *, limit=LIMIT):
    """Registers a body, with its limit in seconds for each mode."""

    def register(function):
        tests.append((function, limit))
        return function

    return register(body) if body else register


Result = collections.namedtuple("Result", "status out err")


class Run:
    """One body in one mode: its directory, its processes, what it saw."""

    def __init__(self, under, folder, bare=None):
        self.under = under  # under cogo-run, or meant to be
        self.mode = "cogo" if under else "bare"
        self.dumps = under and RUNNER and "--dump" in OPTIONS
        self.dir = folder
        self.bare = bare  # the Run that we are held against
        self.processes = []
        self.logs = []  # files to show when something fails
        self.growth = {}  # descriptors more than before, by name
        self.count = 0

    def path(self, *parts):
        return os.path.join(self.dir, *parts)

    def log(self, name):
        """The path of a file that a program writes; a failure shows it."""
        self.logs.append(self.path(name))
        return self.logs[-1]

    def file(self, name, content):
        path = self.path(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(content if isinstance(content, bytes) else content.encode())
        return path

    def environment(self, extra=None):
        # What meson and a login shell add must not reach the program.
        keep = re.compile(r"COGO_(?!RUN|TEST)|ASAN_|UBSAN_|TSAN_|LSAN_")
        return {
            **{k: v for k, v in os.environ.items() if keep.match(k)},
            "PATH": PATH,
            "HOME": self.dir,
            "TMPDIR": self.dir,
            "LC_ALL": "C.UTF-8",
            "TZ": "UTC",
            "PYTHONDONTWRITEBYTECODE": "1",
            **(extra or {}),
        }

    def command(self, argv, bare=False):
        argv = [str(a) for a in argv]
        program = which(argv[0])
        check(program, f"there is no {argv[0]}")
        prefix = RUNNER + OPTIONS + ["--"] if RUNNER else []
        return (prefix if self.under and not bare else []) + [program] + argv[1:]

    def start(
        self,
        *argv,
        env=None,
        stdin=subprocess.DEVNULL,
        stdout=None,
        bare=False,
        cwd=None,
        prefix=(),
    ):
        """Starts a program; its output goes to files, read with out()
        and err().  bare=True: a helper, not under cogo-run in any mode.
        prefix: a command that arranges something and then becomes ours."""
        self.count += 1
        name = os.path.basename(argv[0])
        out, err = (
            self.path(f"{name}.{self.count}.{which}") for which in ("out", "err")
        )
        with open(out, "wb") as to_out, open(err, "wb") as to_err:
            popen = subprocess.Popen(
                [*prefix, *self.command(argv, bare)],
                cwd=cwd or self.dir,
                env=self.environment(env),
                stdin=stdin,
                stdout=stdout or to_out,
                stderr=to_err,
                start_new_session=True,
            )
        process = Process(self, popen.pid, name, out, err)
        process.stdin = popen.stdin
        process.dumps = self.dumps and not bare
        popen.returncode = 0  # we reap it, not subprocess
        self.processes.append(process)
        return process

    def call(self, *argv, seconds=40, status=None, input=None, **options):
        """Runs a program to its end."""
        if input is not None:
            options["stdin"] = open(self.file("stdin", input), "rb")
        process = self.start(*argv, **options)
        if input is not None:
            options["stdin"].close()
        process.wait(seconds)
        result = Result(process.status, process.out(), process.err())
        if status is not None and result.status != status:
            raise Failure(
                f"{' '.join(map(str, argv))} ended with "
                f"{result.status}, wanted {status}:\n"
                f"{result.out[-3000:]}{result.err[-3000:]}"
            )
        return result

    def adopt(self, pid, name):
        """A daemon that its parent has left to us."""

        def ours():
            return pid in children()

        wait_for(ours, f"{name} (pid {pid}) to be left by its parent", 10)
        process = Process(self, pid, name)
        process.dumps = self.dumps
        self.processes.append(process)
        return process

    def descriptors_return(self, process, before, name="load", seconds=6):
        """After the load the process has no descriptor that it had not
        before it; what the bare program keeps, this one may keep."""
        allowed = self.bare.growth.get(name, {}) if self.bare else {}

        def extra():
            now = process.descriptors()
            now.subtract(before)
            grown = {k: n for k, n in now.items() if n > 0}
            self.growth[name] = grown
            return {k: n for k, n in grown.items() if n > allowed.get(k, 0)}

        try:
            wait_for(lambda: not extra(), "descriptors to close", seconds)
        except Overrun:
            if self.bare:
                raise Failure(
                    f"{process.name} has leaked descriptors "
                    f"in the {name}: {extra()}; before: "
                    f"{dict(before)}"
                ) from None

    def threads_wait(self, process, count):
        """So many clients hold a thread each now: bare these are as many
        kernel threads, and under cogo-run they must not be."""
        threads = len(os.listdir(f"/proc/{process.pid}/task"))
        if self.under and RUNNER:
            check(
                threads <= max(20, count / 4),
                threads,
                "kernel threads for",
                count,
                "clients",
            )
        else:
            check(threads >= count, threads, "threads for", count, "clients")

    def messages(self, text, *extra):
        """A log reduced to the set of its messages: dates, numbers and names
        of threads differ between two runs of any program, its words must not.
        extra: (pattern, replacement) pairs, applied first."""
        kinds = set()
        for line in text.replace(self.dir, "DIR").splitlines():
            for old, new in extra:
                line = re.sub(old, new, line)
            line = re.sub(r"0x[0-9a-fA-F]+|\b[0-9a-f]{12,}\b", "#", line)
            line = re.sub(r"\d+", "#", line).strip()
            if line:
                kinds.add(line)
        return kinds

    def leftovers(self):
        """Ends what the body left running; returns what should not have
        been there."""
        known = {p.pid: p for p in self.processes}
        left = []
        for process in self.processes:
            if process.alive():
                left.append(process.name)
                process.kill()
        # Orphans come to us as their parents end.  Some end soon by
        # themselves, because the other end of their pipe is gone.
        end = time.monotonic() + 3
        while orphans := [pid for pid in children() if pid not in known]:
            for pid in orphans:
                if time.monotonic() > end and state(pid) != "Z":
                    left.append(proc(pid, "comm") or str(pid))
                    os.kill(pid, signal.SIGKILL)
                    os.waitpid(pid, 0)
                elif state(pid) == "Z":
                    os.waitpid(pid, 0)
            time.sleep(0.01)
        return left


# ------------------------------------------------------------- main


def overrun(number, frame):
    try:
        where = standing(asyncio.all_tasks())
    except RuntimeError:
        where = "no clients"
    raise Overrun(f"the body overran its limit; {where}")


def one_mode(body, limit, under, folder, bare=None):
    """Runs a body once; returns (run, what it saw, why it failed)."""
    run = Run(under, folder, bare)
    seen = why = None
    begin = time.monotonic()

    def complain(text):
        print(f"\n=== {body.__name__} ({run.mode}): {text}", flush=True)
        return text

    try:
        signal.setitimer(signal.ITIMER_REAL, limit * PATIENCE)
        seen = body(run)
        signal.alarm(0)
    except Exception as error:
        signal.alarm(0)
        if isinstance(error, Failure):
            why = complain(str(error) + place(error))
        else:
            why = complain("".join(traceback.format_exception(error)))
        for process in run.processes[-8:]:
            try:
                process.explain()
            except (OSError, subprocess.TimeoutExpired) as error:
                print(f"--- {process.name}: {error}")
        for core in cores(folder):
            backtrace("-c", core)
        for path in run.logs[-2:]:
            print(f"--- end of {os.path.basename(path)}\n{slurp(path)[-20000:]}")
    finally:
        # An interrupted harness comes this way too.
        signal.alarm(0)
        left = run.leftovers()
    if left and not why:
        why = complain(f"left running: {left}")
    run.seconds = time.monotonic() - begin
    return run, seen, why


def cores(folder):
    return [
        os.path.join(base, name)
        for base, _, names in os.walk(folder)
        for name in names
        if re.fullmatch(r"core(\.\d+)?", name)
    ]


def place(error):
    """The line of the test where it happened."""
    frames = [
        f
        for f in traceback.extract_tb(error.__traceback__)
        if os.path.basename(f.filename).startswith("test_")
    ]
    return f" (line {frames[-1].lineno}: {frames[-1].line})" if frames else ""


def differences(bare, cogo, modes):
    for key in sorted(set(bare) | set(cogo), key=str):
        a, b = bare.get(key), cogo.get(key)
        if a == b:
            continue
        if isinstance(a, (set, frozenset)) and isinstance(b, (set, frozenset)):
            yield f"{key}: only {modes[0]} {short(sorted(a - b), 3000)}, " f"only {modes[1]} {short(sorted(b - a), 3000)}"
        else:
            yield f"{key}: {modes[0]} {short(a, 2000)}, " f"{modes[1]} {short(b, 2000)}"


def one_test(body, limit, modes):
    base = tempfile.mkdtemp(prefix="cogo-test-")
    os.chmod(base, 0o755)  # servers drop to a user of their own
    try:
        folders = [os.path.join(base, mode) for mode in ("bare", "cogo")]
        for folder in folders:
            os.mkdir(folder)
        bare, wanted, why = one_mode(body, limit, False, folders[0])
        times = f"{bare.seconds:.1f} s {modes[0]}"
        if why:
            return False, times + f" (and it fails {modes[0]})"
        cogo, seen, why = one_mode(body, limit, True, folders[1], bare)
        times += f", {cogo.seconds:.1f} s {modes[1]}"
        if why:
            return False, times
        for name, kinds in bare.growth.items():
            if kinds:
                print(f"    after the {name} the bare program keeps {kinds}")
        unlike = list(differences(wanted or {}, seen or {}, modes))
        for line in unlike:
            print(f"=== {body.__name__}: {line}")
        return not unlike, times
    finally:
        if os.environ.get("COGO_TEST_KEEP"):
            print(f"kept: {base}")
        else:
            shutil.rmtree(base, ignore_errors=True)


def main(modes=("bare", "under cogo-run")):
    """Runs the registered tests, or those whose names contain an argument.
    modes: what to call the first run of each, and the second."""
    wanted = sys.argv[1:]
    chosen = [
        t for t in tests if not wanted or any(w in t[0].__name__ for w in wanted)
    ]
    check(chosen, "no test is named like that")
    if not RUNNER and modes[1] == "under cogo-run":
        print("COGO_RUN_BIN is not set: bare against bare")
    # Orphans come to us, so that nothing escapes the count.
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
    # The same number of descriptors everywhere: servers size tables by it.
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    soft = 8192 if hard == resource.RLIM_INFINITY else min(8192, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    core = resource.RLIM_INFINITY if os.environ.get("COGO_TEST_GDB") else 0
    resource.setrlimit(resource.RLIMIT_CORE, (core, core))
    # An interrupted run must clean up like any other.
    signal.signal(signal.SIGALRM, overrun)
    # What our own parent ignores, the programs must not inherit as ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    failed = 0
    for body, limit in chosen:
        true, times = one_test(body, limit, modes)
        sentence = body.__name__.replace("_", " ")
        print(f"{'ok' if true else 'NOT OK'} - {sentence} ({times})", flush=True)
        failed += not true
    sys.exit(1 if failed else 0)
