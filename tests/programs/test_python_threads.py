# SPDX-License-Identifier: MIT OR Apache-2.0
"""Python scripts with threads, queues, sockets, subprocesses and C libraries:
each prints the same at every run, bare or not."""

import os

from harness import *
from peers import self_signed

need(python3="python3", openssl="openssl")


def script(run, name, *args):
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "scripts", name)
    return run.call(PYTHON, path, *args, seconds=50)._asdict()


@test
def threads_meet_at_locks_queues_and_barriers_as_they_always_did(run):
    seen = script(run, "threads.py")
    same(seen["status"], 7, "the script's own exit status")
    return seen


@test
def threads_at_sockets_pipes_and_signals_see_what_they_always_saw(run):
    return script(run, "sockets.py")


@test
def threads_start_feed_and_await_subprocesses(run):
    return script(run, "processes.py")


@test
def c_libraries_under_threads_answer_as_they_always_did(run):
    key, certificate = self_signed(run)
    return script(run, "libraries.py", certificate, key)


main()
