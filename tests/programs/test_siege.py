# SPDX-License-Identifier: MIT OR Apache-2.0
"""siege, a client with a thread per user, against a local server."""

import json
import signal

from harness import *
from peers import Peers

need(siege="siege")

CONFIG = """
verbose = false
color = off
quiet = true
json_output = true
show-logfile = false
logging = false
limit = 1000
protocol = HTTP/1.1
connection = {connection}
parser = false
timeout = 30
failures = 64
"""

FILES = {f"/{size}": pattern(size, size) for size in (10, 1000, 60000)}


def siege(run, peers, port, *words, connection="close"):
    """The counts that siege reports, and what the server saw."""
    config = run.file("siege.conf", CONFIG.format(connection=connection))
    urls = [f"http://127.0.0.1:{port}{path}" for path in FILES]
    urls += [f"http://localhost:{port}/10", f"http://127.0.0.1:{port}/10 POST a=b"]
    urls = run.file("urls", "\n".join(urls) + "\n")
    peers.asked.clear()
    done = run.call("siege", "-R", config, "-f", urls, "-b", *words, seconds=40)
    check("{" in done.out, f"no report, status {done.status}:", done.err[-2000:])
    report = json.loads(done.out[done.out.index("{") :])
    return {
        "status": done.status,
        "asked": sorted(peers.asked),
        **{
            name: report[name]
            for name in (
                "transactions",
                "availability",
                "data_transferred",
                "successful_transactions",
                "failed_transactions",
            )
        },
    }


@test
def every_transaction_of_two_hundred_users_is_counted(run):
    with Peers() as peers:
        port = peers.http(FILES)
        seen = siege(run, peers, port, "-c", 200, "-r", 10)
    same(seen["transactions"], 2000, "transactions")
    same(seen["failed_transactions"], 0, "failures")
    return seen


@test
def kept_connections_and_lookups_count_as_well(run):
    with Peers() as peers:
        port = peers.http(FILES)
        seen = siege(run, peers, port, "-c", 50, "-r", 20, connection="keep-alive")
    same(seen["transactions"], 1000, "transactions")
    return seen


# siege cancels its threads wherever they are, even where they hold a lock, and
# then, bare too, it may wait for ever. So these end while every thread waits for
# an answer that never comes.


@test
def it_stops_by_its_own_clock(run):
    with Peers() as peers:
        port = peers.http(FILES, answers=200)
        seen = siege(run, peers, port, "-c", 20, "-t", "2S")
    same(len(seen.pop("asked")), 220, "requests")
    del seen["data_transferred"]  # which of the URLs were first, varies
    return seen


@test
def it_stops_on_an_interrupt(run):
    with Peers() as peers:
        port = peers.http(FILES, answers=200)
        config = run.file("siege.conf", CONFIG.format(connection="close"))
        process = run.start(
            *("siege", "-R", config, "-c", 20, "-r", 1000, "-b"),
            f"http://127.0.0.1:{port}/1000",
        )
        wait_for(lambda: len(peers.asked) == 220, "every thread to wait")
        status = process.stop(signal.SIGINT)
    out = process.out() + process.err()
    return {
        "status": status,
        "transactions": re.findall(r'"?[Tt]ransactions"?:\s+(\d+)', out),
    }


@test
def a_server_that_is_not_there_is_reported(run):
    with Peers() as peers:
        peers.http(FILES)
        return siege(run, peers, free_port(), "-c", 5, "-r", 2)


main()
