# SPDX-License-Identifier: MIT OR Apache-2.0
"""OCaml: one thread at a time runs, and another, which sleeps in select, tells it
twenty times a second to let the next."""

from language import *

need(ocamlopt="ocaml-nox", gcc="gcc")


def compile(source, target):
    return (
        *("ocamlopt", "-I", "+unix", "-I", "+threads"),
        *("unix.cmxa", "threads.cmxa", source, "-o", target),
    )


THREADS, SERVER, CROWD = (
    made(f"{name}.ml", compile) for name in ("threads", "server", "crowd")
)


@test
def ocaml_threads_see_what_they_always_saw(run):
    seen = run.call(THREADS, seconds=50)
    same(seen.status, 7, "the program's own exit status")
    return seen._asdict()


@test
def an_ocaml_server_answers_hundreds_of_clients_at_once(run):
    return serves(run, SERVER)


@test
def thousands_of_ocaml_threads_wait_and_are_woken(run):
    return waits_in_a_crowd(run, CROWD, count=2000)


main()
