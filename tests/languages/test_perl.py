# SPDX-License-Identifier: MIT OR Apache-2.0
"""Perl: an interpreter for each thread, all with locks of the C library's."""

from language import *

# Threads are in the package that has prove; one without is always there.
need(prove="perl")


@test
def perl_threads_see_what_they_always_saw(run):
    seen = run.call("perl", program("threads.pl"), seconds=50)
    same(seen.status, 7, "the program's own exit status")
    return {**seen._asdict(), "err": re.sub("0x[0-9a-f]+", "0x#", seen.err)}


@test
def a_perl_server_answers_hundreds_of_clients_at_once(run):
    return serves(run, "perl", program("server.pl"), clients=120)


@test
def hundreds_of_perl_threads_wait_and_are_woken(run):
    return waits_in_a_crowd(run, "perl", program("crowd.pl"), count=300)


main()
