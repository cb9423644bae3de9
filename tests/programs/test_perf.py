# SPDX-License-Identifier: MIT OR Apache-2.0
"""perf record around a server with a thread per client: it counts by a signal
of the kernel's own on every kernel thread, and follows each new one."""

import asyncio
import os
import re
import signal
import subprocess

from harness import *
from peers import everyone, http_get

CLIENTS = 200

need(perf="linux-perf", python3="python3")

# A clock of the kernel's, which virtual machines have as well.
RECORD = ["perf", "record", "-q", "-e", "cpu-clock:u", "-F", "2000", "-o"]

try:
    subprocess.run(
        [*RECORD, "/dev/null", "true"],
        check=True,
        timeout=20,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
except (OSError, subprocess.CalledProcessError) as error:
    why = getattr(error, "stderr", b"") or str(error).encode()
    skip(f"perf may not record here: {why.decode()[-300:]}")

FILES = {f"file{i}.bin": pattern(100 + i * 3000, i) for i in range(8)}


def life(run, nested):
    """nested: perf is under cogo-run, and what it starts inherits that; else
    perf starts cogo-run."""
    for name, content in FILES.items():
        run.file("files/" + name, content)
    port, data = free_port(), run.path("perf.data")
    server = [
        *(PYTHON, "-m", "http.server", "--bind", "127.0.0.1"),
        *("--directory", run.path("files"), port),
    ]
    recorder = run.start(
        *(*RECORD, data, "--", *(server if nested else run.command(server))),
        bare=not nested,
    )
    recorder.wait_listening(port)

    async def client(i):
        name = f"file{i % len(FILES)}.bin"
        same(await http_get(port, f"/{name}"), (200, FILES[name]), name)

    # The server lets only five wait to be accepted.
    asyncio.run(everyone(CLIENTS, client, at_once=5))
    (child,) = recorder.children()
    os.kill(child.pid, signal.SIGINT)
    seen = {"status": recorder.wait()}
    script = run.call(
        *("perf", "script", "-i", data, "-F", "comm,tid,dso,ip,sym"), bare=True
    )
    seen["script"] = script.status
    samples = re.findall(r"^ *(\S.*?) +(\d+) +[0-9a-f]+ ", script.out, re.M)
    check(len(samples) > 20, len(samples), "samples:", script.err, script.out[:1000])
    # Under cogo-run too it is the interpreter that has the most of them.
    seen["of the server"] = sum(c.startswith("python3") for c, _ in samples) > 10
    seen["in the interpreter"] = script.out.count("/python3") > 10
    return seen


@test
def a_server_under_cogo_run_is_recorded(run):
    return life(run, False)


@test
def perf_under_cogo_run_records_what_it_starts(run):
    return life(run, True)


main()
