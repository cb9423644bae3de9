# SPDX-License-Identifier: MIT OR Apache-2.0
"""Programs that are linked with libcogo.so and use a library that knows nothing
of it; see crowd.h for what such a program does.

Each test runs its program twice, against a server of its own each time: first
with five hundred plain threads and all of cogo turned off, then with as many
coroutines on two workers.  Both must see the same, and the second must have few
kernel threads while every one of its members waits inside the library.

How many are few: main, two workers, the monitor, the router of signals and the
reporter of --stats are six.  The rest are spares: a call that nothing but a kernel
thread can wait in (a name to be looked up, a file to be synced) has another thread
put in its worker's place, which goes to sleep when both are back, and stays.  How
many were wanted at once is a matter of timing; if members took a thread each, it
would be hundreds, and the limit is far from both.  Exact is that not one kernel
thread waits in a call of the library's at that moment.

The program, or --lacks=PACKAGE where it could not be built, is the first
argument."""

import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "programs"))
# It is for programs that are not linked with us.
os.environ.pop("COGO_RUN_BIN", None)

import harness
from harness import *

MEMBERS, WORKERS, OURS, SPARES = 500, 2, 6, 44
MODES = ("as threads", "as coroutines")

PROGRAM = sys.argv.pop(1)
if PROGRAM.startswith("--lacks="):
    skip(f"{PROGRAM.partition('=')[2]} was not there when the build was set up")
PROGRAM = os.path.abspath(PROGRAM)  # it is started elsewhere


def main():
    harness.main(MODES)


def crowd(run, *args, members=MEMBERS, rounds=10, seconds=50):
    """Runs the program to its end; returns what it counted and saw."""
    process = crowd_begin(run, *args, members=members, rounds=rounds)
    return crowd_end(run, process, seconds=seconds)


def crowd_begin(run, *args, members=MEMBERS, rounds=10):
    options = ["--members", members, "--rounds", rounds]
    environment = {"COGO_DISABLE": "1"}
    if run.under:
        environment = {
            "COGO_WORKERS": str(WORKERS),
            "COGO_STATS": "1",
            "COGO_DUMP": "PWR",
        }
    else:
        options.append("--threads")
    process = run.start(PROGRAM, *options, *args, env=environment, bare=True)
    process.dumps = run.under
    return process


def crowd_end(run, process, seconds=50):
    process.wait(seconds)
    check(
        process.status == 0,
        f"{process.name} ended with {process.status}: {process.err()[-3000:]}",
    )
    seen = dict(re.findall(r"(\S+)=(\S+)", process.out()))
    members, in_flight, elsewhere, at_end, stack = (
        int(seen.pop(key))
        for key in ("members", "in_flight", "elsewhere", "at_end", "stack")
    )
    span, cpu, trips = (
        float(seen.pop("seconds")),
        float(seen.pop("cpu")),
        int(seen["trips"]),
    )
    spares = 0
    if run.under:
        kernel = re.search(r"kernel threads .*?(\d+) spare", process.err())
        check(kernel, "there is no summary:", process.err())
        spares = int(kernel[1])
    print(
        f"    {MODES[run.under]}: {in_flight} kernel threads in flight, {at_end} at "
        f"the end ({spares} of them spare), {trips / max(span, 0.001):.0f} round trips/s, "
        f"{cpu / trips * 1e6:.1f} us of processor each, stack {stack >> 10} KiB",
        flush=True,
    )
    if run.under:
        check(elsewhere == 0, elsewhere, "kernel threads wait in the library")
        check(
            max(in_flight, at_end) <= OURS + SPARES,
            f"{in_flight} kernel threads in flight, {at_end} at the end",
        )
    else:
        check(in_flight > members, in_flight, "threads for", members)
        # So it would have been seen.
        check(elsewhere >= members / 2, elsewhere, "threads wait in the library")
    return seen
