# SPDX-License-Identifier: MIT OR Apache-2.0
"""stunnel4, a thread per TLS session, in front of a local echo."""

import asyncio
import os
import signal

from harness import *
from peers import Meeting, Peers, client_tls, echoed, everyone, self_signed

SESSIONS = 1000

need(stunnel4="stunnel4", openssl="openssl")

CONFIG = """
pid = {pid}
foreground = {foreground}
debug = {debug}
syslog = {syslog}
output = {log}
[echo]
accept = 127.0.0.1:{port}
connect = 127.0.0.1:{echo}
cert = {cert}
key = {key}
TIMEOUTclose = 2
"""


def configure(run, echo, foreground="quiet", syslog="yes", debug="notice"):
    key, cert = self_signed(run)
    port = free_port()
    config = CONFIG.format(
        port=port,
        echo=echo,
        key=key,
        cert=cert,
        foreground=foreground,
        syslog=syslog,
        debug=debug,
        pid=run.path("stunnel.pid"),
        log=run.log("stunnel.log"),
    )
    return run.file("stunnel.conf", config), port, client_tls(cert)


def messages(run):
    """What stunnel logged, as a set: an unexpected error shows here."""
    return run.messages(
        slurp(run.path("stunnel.log")),
        (r"^.*? LOG\d\[\w+\]: ", ""),
        # Who closes first, and how much at once, is a matter of timing.
        (r"^(Connection closed|TLS socket closed|TLS closed|transfer: ).*", r"\1"),
        (r"^Session id:.*", ""),
        (r"(from|bound) 127.0.0.1:\d+", r"\1"),
    )


async def session(tls, port, number, ready=None, rounds=3):
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
    if ready:
        await ready.meet()
    total = 0
    for turn in range(rounds):
        # Up to two TLS records, down to one byte.
        data = pattern(
            1 + (number * 7919 + turn * 104729) % 20000, (number, turn).__repr__()
        )
        same(await echoed(reader, writer, data), data, f"session {number}")
        total += len(data)
    writer.close()
    await writer.wait_closed()
    return total


@test
def a_thousand_sessions_at_once_carry_every_byte_both_ways(run):
    with Peers() as peers:
        # libc's syslog() has one lock for all threads, and who waits for it
        # waits in the kernel: then threads are needed. The others have it.
        config, port, tls = configure(run, peers.echo(), syslog="no")
        server = run.start("stunnel4", config)
        server.wait_listening(port)

        async def load(count):
            ready = Meeting(count, lambda: run.threads_wait(server, count))
            return await everyone(count, lambda i: session(tls, port, i, ready))

        asyncio.run(load(20))
        before = server.descriptors()
        totals = asyncio.run(load(SESSIONS))
        run.descriptors_return(server, before)
        status = server.stop()
    return {
        "sessions": len(totals),
        "bytes": sum(totals),
        "status": status,
        "pid file": os.path.exists(run.path("stunnel.pid")),
        "messages": messages(run),
        "stderr": server.err(),
    }


@test
def a_session_cut_short_ends_alone(run):
    with Peers() as peers:
        config, port, tls = configure(run, peers.echo())
        server = run.start("stunnel4", config)
        server.wait_listening(port)

        async def client(i):
            if i % 2:
                return await session(tls, port, i, rounds=8)
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", port, ssl=tls
            )
            writer.write(pattern(5000, i))
            await reader.readexactly(1)
            writer.transport.abort()

        asyncio.run(everyone(10, client))
        before = server.descriptors()
        asyncio.run(everyone(200, client, at_once=60))
        run.descriptors_return(server, before)
        return {"status": server.stop()}


@test
def as_a_daemon_it_reloads_on_hup_and_removes_its_pid_file_on_term(run):
    with Peers() as peers:
        config, port, tls = configure(
            run, peers.echo(), foreground="no", debug="info"
        )
        started = run.call("stunnel4", config)
        pid = int(wait_for(lambda: slurp(run.path("stunnel.pid")), "the pid file"))
        daemon = run.adopt(pid, "stunnel4")
        daemon.wait_listening(port)
        before = daemon.descriptors()
        asyncio.run(everyone(50, lambda i: session(tls, port, i)))
        daemon.send(signal.SIGHUP)
        log = run.path("stunnel.log")
        # It closes its port and opens it again.
        wait_for(lambda: slurp(log).count("bound to 127.0.0.1") == 2, "the reload")
        asyncio.run(everyone(50, lambda i: session(tls, port, i)))
        # Threads that are still at their end make it complain as it stops.
        run.descriptors_return(daemon, before)
        status = daemon.stop()
    return {
        "started": started.status,
        "status": status,
        "pid file": os.path.exists(run.path("stunnel.pid")),
        "messages": messages(run),
    }


main()
