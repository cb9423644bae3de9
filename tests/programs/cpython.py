# SPDX-License-Identifier: MIT OR Apache-2.0
"""CPython's own test modules, from the package that Debian makes of them.

They were written against kernel threads and look closely: at the order of
wake-ups, at what a signal interrupts, at what is left after a fork.  Each
module runs as it is, with what it starts, and says of every test whether it
passed, failed or was skipped; bare and under cogo-run that must be the same."""

import os
import re
import subprocess
import xml.etree.ElementTree as ElementTree

from harness import *
from packages import need_file

# A test that fails is tried again, alone: some of them set a limit to time,
# and a busy machine has them fail bare as well.
TRIES = 3

need(python3="python3")
VERSION = subprocess.run(
    [PYTHON, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
    check=True,
    stdout=subprocess.PIPE,
    text=True,
).stdout.strip()
need_file(f"/usr/lib/python{VERSION}/test/test_queue.py", f"libpython{VERSION}-testsuite")


def outcomes(run, module, leave=(), use="cpu", seconds=50):
    """The outcome of each test of a module, but for those whose names match a
    pattern in leave.  use: the resources that its tests may have."""
    leave = [f"--ignore={name}" for name in leave]
    seen = one_try(run, module, ["-u", use, *leave], seconds)
    check(seen, module, "has no tests")
    for _ in range(1, TRIES):
        failed = sorted(name for name, how in seen.items() if how == "failed")
        if not failed:
            break
        print(f"    {run.mode}, once more: {' '.join(failed)}")
        seen |= one_try(
            run, module, ["-u", use, *(f"--match={name}" for name in failed)], seconds
        )
    return seen


def one_try(run, module, options, seconds):
    report = run.path(f"{module}.xml")
    words = ["-m", "test", "-v", "--junit-xml", report]
    done = run.call(PYTHON, *words, *options, module, seconds=seconds)
    # Without a report it did not come to its end.
    check(
        os.path.exists(report),
        f"{module} ended with {done.status}\n{done.out[-6000:]}{done.err[-6000:]}",
    )
    seen = {}
    for case in ElementTree.parse(report).iter("testcase"):
        kinds = {part.tag for part in case}
        how = "skipped" if "skipped" in kinds else "passed"
        if kinds & {"error", "failure"} or case.get("result") != "completed":
            how = "failed"
        # A test of which a part failed is there without a name, see below.
        if case.get("name"):
            seen[case.get("name")] = how
    for title, place in re.findall(
        r"^(?:FAIL|ERROR): (\w+) \(([\w.]+)\)", done.out + done.err, re.M
    ):
        seen[place if place.endswith(title) else f"{place}.{title}"] = "failed"
    check(done.status == 0 or "failed" in seen.values(), module, "ended with", done.status)
    for name, how in seen.items():
        if how == "failed":
            print(excerpt(done.out + done.err, name))
    os.unlink(report)
    return seen


def excerpt(text, name):
    """What the module printed of a test that failed."""
    short_name = name.rpartition(".")[2].partition(" ")[0]
    at = max(text.rfind(f"ERROR: {short_name}"), text.rfind(f"FAIL: {short_name}"))
    return text[at : at + 3000] if at >= 0 else text[-2000:]
