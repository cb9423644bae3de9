# SPDX-License-Identifier: MIT OR Apache-2.0
"""Rust: threads whose locks, channels and parking sleep on futexes by number."""

from language import *

need(rustc="rustc")


def compile(source, target):
    # Not optimized: that would take longer than all the tests.
    return ("rustc", "--edition", "2021", source, "-o", target)


THREADS, SERVER, CROWD = (
    made(f"{name}.rs", compile) for name in ("threads", "server", "crowd")
)


@test
def rust_threads_see_what_they_always_saw(run):
    seen = run.call(THREADS, seconds=50)
    same(seen.status, 7, "the program's own exit status")
    return seen._asdict()


@test
def a_rust_thread_that_overflows_its_stack_is_named(run):
    seen = run.call(THREADS, "overflow", status=-signal.SIGABRT)
    # cogo has a word of its own on this, before the language's handler runs.
    return {"err": re.findall("(?m)^(?:thread|fatal).*overflow.*", seen.err)}


@test
def a_rust_server_answers_hundreds_of_clients_at_once(run):
    return serves(run, SERVER)


@test
def thousands_of_rust_threads_wait_and_are_woken(run):
    return waits_in_a_crowd(run, CROWD, count=4000)


main()
