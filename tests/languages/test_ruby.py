# SPDX-License-Identifier: MIT OR Apache-2.0
"""Ruby: a kernel thread each, of which one at a time runs Ruby, and signals that
interrupt those that wait."""

from language import *

need(ruby="ruby")

RUBY = ("ruby", "-W:no-experimental")


@test
def ruby_threads_see_what_they_always_saw(run):
    seen = run.call(*RUBY, program("threads.rb"), seconds=50)
    same(seen.status, 7, "the program's own exit status")
    return {
        "status": seen.status,
        "out": seen.out,
        "err": re.sub("0x[0-9a-f]+", "0x#", seen.err),
    }


@test
def a_ruby_server_answers_hundreds_of_clients_at_once(run):
    return serves(run, *RUBY, program("server.rb"))


@test
def thousands_of_ruby_threads_wait_and_are_woken(run):
    return waits_in_a_crowd(run, *RUBY, program("crowd.rb"), count=2000)


main()
