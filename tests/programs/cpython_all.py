# SPDX-License-Identifier: MIT OR Apache-2.0
"""CPython's own test modules, each of them whole: what tools/soak runs, in
half an hour.  Names as arguments choose, as in the tests beside it."""

from cpython import outcomes
from harness import *

# Its peer is the host of a virtual machine, which need not answer.
VSOCK = ["*.ThreadedVSOCKSocketStreamTest.*"]

MODULES = {  # and what is left out of each
    "test_asyncio": [],
    "test_concurrent_futures": [],
    "test_eintr": [],
    "test_epoll": [],
    "test_faulthandler": [],
    "test_file_eintr": [],
    "test_fork1": [],
    "test_multiprocessing_fork": [],
    "test_multiprocessing_main_handling": [],
    "test_poll": [],
    "test_posix": [],
    "test_pty": [],
    "test_queue": [],
    "test_select": [],
    "test_selectors": [],
    "test_signal": [],
    "test_socket": VSOCK,
    "test_socketserver": [],
    "test_ssl": [],
    "test_subprocess": [],
    "test_thread": [],
    "test_threading": [],
    "test_threading_local": [],
    "test_threadsignals": [],
    "test_time": [],
    "test_wait3": [],
    "test_wait4": [],
}


# These ask for the network, and use its loopback alone.
LOOPBACK = ["test_socketserver"]


def add(module, leave):
    use = "cpu,network" if module in LOOPBACK else "cpu"

    def body(run):
        return outcomes(run, module, leave, use, seconds=550)

    body.__name__ = f"{module}_says_what_it_says_with_threads"
    test(body, limit=600)


for name, leave in MODULES.items():
    add(name, leave)

main()
