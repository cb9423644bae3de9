# SPDX-License-Identifier: MIT OR Apache-2.0
"""hiredis, against redis-server."""

from library import *

need(redis_server="redis-server")


@test
def five_hundred_connections_park_in_hiredis(run):
    port, socket = free_port(), run.path("socket")
    server = run.start(
        *("redis-server", "--port", port, "--bind", "127.0.0.1"),
        *("--unixsocket", socket, "--save", "", "--appendonly", "no"),
        *("--maxclients", 2 * MEMBERS, "--dir", run.dir),
        bare=True,
    )
    server.wait_listening(port)
    rounds = 20
    seen = crowd(run, socket, port, rounds=rounds)
    seen["status"] = server.stop()
    # Every member's own, and the counter.
    same(seen["keys"], str(MEMBERS * rounds + 1), "keys")
    turns = len(range(0, rounds, 3))
    same(seen["counter"], str(turns * sum(range(MEMBERS))), "the counter")
    return seen


main()
