# SPDX-License-Identifier: MIT OR Apache-2.0
"""A process under test: its life, its ports and descriptors, and where it
stands when it should have moved on."""

import collections
import os
import pwd
import random
import re
import select
import signal
import socket
import subprocess
import sys
import time

from checks import PATIENCE, Failure, Overrun, check, wait_for
from packages import which

DUMP = signal.SIGPWR


def proc(pid, name, default=""):
    try:
        with open(f"/proc/{pid}/{name}", "rb") as file:
            return file.read().decode(errors="replace").rstrip("\n\0")
    except OSError:
        return default


def state(pid):
    """The letter of /proc/PID/stat, or "" when there is no such process."""
    return proc(pid, "stat").rpartition(")")[2].strip()[:1]


def children(parent=None):
    """Everything whose parent that process is, or else we are; zombies
    included."""
    mine = str(parent or os.getpid())
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            fields = proc(entry, "stat").rpartition(")")[2].split()
            if len(fields) > 1 and fields[1] == mine:
                found.append(int(entry))
    return found


class Process:
    """A process that we started, or an orphan of one: we are its reaper."""

    def __init__(self, run, pid, name, out=None, err=None):
        self.run, self.pid, self.name = run, pid, name
        self.out_path, self.err_path = out, err
        self.status = None
        self.dumps = False  # it answers DUMP with its coroutines
        self.handle = os.pidfd_open(pid)

    def alive(self):
        return self.status is None and not self.reap()

    def reap(self):
        if self.status is None:
            done, status = os.waitpid(self.pid, os.WNOHANG)
            if done:
                self.status = os.waitstatus_to_exitcode(status)
                os.close(self.handle)
        return self.status is not None

    def send(self, number):
        if self.alive():
            os.kill(self.pid, number)

    def wait(self, seconds=20, what="to end"):
        if self.status is None:
            seconds *= PATIENCE
            poller = select.poll()
            poller.register(self.handle, select.POLLIN)
            if not poller.poll(seconds * 1000):
                raise Overrun(
                    f"after {seconds} s {self.name} "
                    f"(pid {self.pid}) has yet {what}"
                )
            self.reap()
        return self.status

    def stop(self, number=signal.SIGTERM, seconds=20):
        """Sends the signal, and returns the exit status: a negative one
        is the signal that ended it."""
        check(
            self.alive(),
            f"{self.name} ended before its time, with",
            self.status,
            self.err(),
        )
        self.send(number)
        return self.wait(seconds, f"to end on signal {number}")

    def kill(self):
        if self.status is None and not self.reap():
            os.kill(self.pid, signal.SIGKILL)
            self.wait(10, "to die")

    def out(self):
        return slurp(self.out_path)

    def err(self):
        return slurp(self.err_path)

    def wait_listening(self, *ports, seconds=20):
        def ready():
            check(
                self.alive(),
                f"{self.name} ended at its start, with",
                self.status,
                self.out(),
                self.err(),
            )
            return set(ports) <= listening()

        wait_for(ready, f"{self.name} to listen on {ports}", seconds)

    def children(self):
        """The processes that it has made and not buried."""
        return [Child(self, pid) for pid in children(self.pid) if state(pid) != "Z"]

    def descriptors(self):
        """Its open descriptors, counted by kind."""
        kinds = collections.Counter()
        folder = f"/proc/{self.pid}/fd"
        for fd in os.listdir(folder):
            try:
                kinds[self.kind(os.readlink(f"{folder}/{fd}"))] += 1
            except FileNotFoundError:
                pass
        return kinds

    def kind(self, link):
        if link.startswith(("socket:", "pipe:")):
            return link.partition(":")[0]
        # A log that is turned over is the same descriptor with a new number.
        return re.sub(r"\d+", "#", link.replace(self.run.dir, "DIR"))

    def where(self):
        """Everything the kernel tells about where it stands."""
        yield f"--- {self.name}, pid {self.pid}, state {state(self.pid)}"
        for line in proc(self.pid, "status").splitlines():
            if re.match(r"Threads|Sig|Shd|VmRSS|FDSize", line):
                yield f"    {line}"
        tasks = sorted(os.listdir(f"/proc/{self.pid}/task"), key=int)
        for task in tasks[:24]:
            base = f"task/{task}"
            yield (
                f"    {task} {proc(self.pid, base + '/comm')}: "
                f"{state(f'{self.pid}/{base}')} "
                f"wchan {proc(self.pid, base + '/wchan') or '-'} "
                f"syscall {proc(self.pid, base + '/syscall') or '-'}"
            )
        if len(tasks) > 24:
            yield f"    ... {len(tasks)} threads"

    def explain(self):
        """Prints where it stands; asks cogo-run for its coroutines."""
        if not self.alive():
            if self.status == 0:
                return
            print(f"--- {self.name} has ended with {self.status}")
        else:
            self.show()
        for title, text in (("output", self.out()), ("errors", self.err())):
            if "\0" in text or text.count("\ufffd") > 9:
                print(f"--- {title} of {self.name}: {len(text)} binary characters")
            elif text:
                print(f"--- {title} of {self.name}\n{text[-12000:]}")
        sys.stdout.flush()

    def show(self):
        """Where it stands, alive, and then its children."""
        print("\n".join(self.where()))
        if os.environ.get("COGO_TEST_GDB"):
            backtrace("-p", str(self.pid))
        if self.dumps:
            self.dump()
        for child in self.children():
            child.show()

    def dump(self):
        """The dump is written on the program's stderr: wait until it has
        begun and no longer grows."""
        size = len(self.err())
        self.send(DUMP)
        end = time.monotonic() + 5
        while time.monotonic() < end and self.alive():
            time.sleep(0.3)
            now = len(self.err())
            if now != size:
                size, end = now, min(end, time.monotonic() + 1)


class Child(Process):
    """A process that one under test has made, and buries itself."""

    def __init__(self, parent, pid):
        self.run, self.pid = parent.run, pid
        self.name = f"child of {parent.name}"
        # Its output is its parent's.
        self.out_path, self.err_path = None, None
        self.status = None
        self.dumps = parent.dumps
        self.parent = parent

    def alive(self):
        return state(self.pid) not in ("", "Z")

    def err(self):
        return self.parent.err()


def backtrace(*what):
    """gdb's view of every thread; what: -p PID, or -c CORE."""
    words = ["gdb", "-q", "-batch", "-ex", "set height 0", *what]
    subprocess.run(
        words + ["-ex", "thread apply all bt 30"],
        stdin=subprocess.DEVNULL,
        timeout=60,
    )


def slurp(path):
    if not path or not os.path.exists(path):
        return ""
    with open(path, "rb") as file:
        return file.read().decode(errors="replace")


def listening():
    """The TCP ports in state LISTEN, without disturbing the listener."""
    ports = set()
    for table in ("tcp", "tcp6"):
        for line in proc("self", f"net/{table}").splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A":
                ports.add(int(fields[1].rpartition(":")[2], 16))
    return ports


def free_port():
    """A port below those that the kernel hands to outgoing connections, so
    that no client can take it between this look and the server's bind."""
    for _ in range(200):
        port = random.randrange(20000, 32000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                pass
    raise Failure("no free port")


def unprivileged(*folders):
    """Words before a command, for servers that refuse to be root's; the folders
    become theirs."""
    if os.geteuid() != 0:
        return []
    user = pwd.getpwnam("nobody")
    for folder in folders:
        os.chown(folder, user.pw_uid, user.pw_gid)
    return [
        *("setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}"),
        "--clear-groups",
    ]
