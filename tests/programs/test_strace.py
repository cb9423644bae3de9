# SPDX-License-Identifier: MIT OR Apache-2.0
"""strace around a server with a thread per client, in both orders: strace of a
program under cogo-run, and strace itself under cogo-run with what it traces.
A tracer stops every kernel thread at every system call and every signal, those
that cogo makes for itself as well."""

import asyncio
import os
import re
import signal
import subprocess

from harness import *
from peers import everyone, http_get

CLIENTS = 120

need(strace="strace", python3="python3")

try:
    subprocess.run(
        ["strace", "-f", "-o", "/dev/null", "true"],
        check=True,
        timeout=20,
        stderr=subprocess.PIPE,
    )
except subprocess.CalledProcessError as error:
    skip(f"strace may not trace here: {error.stderr.decode()[-300:]}")

FILES = {f"file{i}.bin": pattern(100 + i * 3000, i) for i in range(8)}
CALLS = "trace=accept4,openat,clone,clone3,execve,exit_group,listen"


class Traced:
    def __init__(self, run):
        self.run, self.port, self.trace = run, free_port(), run.path("trace")
        for name, content in FILES.items():
            run.file("files/" + name, content)
        self.server = [
            *(PYTHON, "-m", "http.server", "--bind", "127.0.0.1"),
            *("--directory", run.path("files"), self.port),
        ]

    def load(self, count=CLIENTS):
        async def client(i):
            name = f"file{i % len(FILES)}.bin"
            answer = await http_get(self.port, f"/{name}")
            same(answer, (200, FILES[name]), name)

        # The server lets only five wait to be accepted.
        asyncio.run(everyone(count, client, at_once=5))

    def opened(self):
        # One line, or two when other threads came in between.
        whole = slurp(self.trace)
        return {
            name: len(re.findall(rf'openat\(.*/files/{name}"', whole)) for name in FILES
        }

    def seen(self, count=CLIENTS):
        whole = slurp(self.trace)
        threads = len(re.findall(r"^\d+ +clone.*CLONE_THREAD", whole, re.M))
        if self.run.under and RUNNER:
            check(threads <= max(20, count / 4), threads, "kernel threads were made")
        else:
            check(threads >= count, threads, "threads were made for", count)
        return {
            "accepted": len(re.findall(r"accept4(\(| resumed).* = \d+$", whole, re.M)),
            "opened": self.opened(),
            "listens": len(re.findall(r"listen\(\d+, \d+\) += 0", whole)),
        }

    def end(self, tracer):
        """The server is told to end, and its tracer after it has; the status,
        and what the tracer saw of the end."""
        (server,) = tracer.children()
        os.kill(server.pid, signal.SIGINT)
        status = tracer.wait()
        last = [l.split(" ", 1)[1].strip() for l in slurp(self.trace).splitlines()]
        return {
            "status": status,
            "signal": sum(l.startswith("--- SIGINT ") for l in last) > 0,
            "exit": "exit_group(0)" in " ".join(last),
            "exited": last.count("+++ exited with 0 +++") > 0,
        }


@test
def a_server_under_cogo_run_is_traced_to_its_end(run):
    it = Traced(run)
    tracer = run.start(
        *("strace", "-f", "-o", it.trace, "-e", CALLS),
        *run.command(it.server),
        bare=True,
    )
    tracer.wait_listening(it.port)
    it.load()
    return {**it.end(tracer), **it.seen()}


@test
def strace_under_cogo_run_traces_what_it_starts(run):
    it = Traced(run)
    tracer = run.start("strace", "-f", "-o", it.trace, "-e", CALLS, *it.server)
    tracer.wait_listening(it.port)
    it.load()
    return {**it.end(tracer), **it.seen()}


@test
def a_server_goes_on_when_its_tracer_comes_and_goes(run):
    it = Traced(run)
    server = run.start(*it.server)
    server.wait_listening(it.port)
    it.load(20)
    before = server.descriptors()
    seen = {}
    for n in range(2):
        tracer = run.start("strace", "-f", "-o", it.trace, "-p", server.pid, bare=True)
        # It takes hold of all threads before it says so.
        wait_for(lambda: "attached" in tracer.err(), "strace to attach")
        it.load(24)
        tracer.send(signal.SIGINT)
        tracer.wait()
        seen[n] = it.opened()
        it.load(20)
    run.descriptors_return(server, before)
    seen["status"] = server.stop(signal.SIGINT)
    seen["output"] = run.messages(server.out())
    return seen


main()
