# SPDX-License-Identifier: MIT OR Apache-2.0
"""tinyproxy, a thread per connection: tunnels and plain requests through it."""

import asyncio
import os
import signal

from harness import *
from peers import Meeting, Peers, echoed, everyone, http_get

TUNNELS = 300

need(tinyproxy="tinyproxy")

CONFIG = """
Port {port}
Listen 127.0.0.1
Timeout 60
MaxClients 1000
Allow 127.0.0.1
LogFile "{log}"
LogLevel Info
PidFile "{pid}"
ConnectPort {echo}
ViaProxyName "proxy"
AddHeader "X-Proxied" "{word}"
"""


class Proxy:
    def __init__(self, run, echo):
        self.run, self.echo, self.port = run, echo, free_port()
        self.log = run.log("tinyproxy.log")
        self.pidfile = run.path("tinyproxy.pid")
        self.configure("first")

    def configure(self, word):
        text = CONFIG.format(
            port=self.port,
            log=self.log,
            pid=self.pidfile,
            echo=self.echo,
            word=word,
        )
        self.config = self.run.file("tinyproxy.conf", text)

    def start(self):
        server = self.run.start("tinyproxy", "-d", "-c", self.config)
        server.wait_listening(self.port)
        return server

    def messages(self):
        return self.run.messages(
            slurp(self.log),
            (r"^(\w+) +\w+ \d+ [\d:.]+ \[\d+\]: ", r"\1 "),
            (r"(?i)(fd|file descriptor) \d+", "fd #"),
            # Whether an end closes or resets is a matter of timing.
            (r".*(Closed connection between|closed by|reset by).*", ""),
            # And so is whether they end in the time that it gives them.
            (r".*child_kill_children: \d+ threads still alive!.*", ""),
        )

    async def tunnel(self, i, ready, rounds=4, to=None):
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        target = f"127.0.0.1:{to or self.echo}"
        writer.write(
            f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode()
        )
        head = await reader.readuntil(b"\r\n\r\n")
        status = int(head.split()[1])
        if status != 200:
            await reader.read(-1)
            writer.close()
            return status
        await ready.meet()
        for turn in range(rounds):
            # Mostly small ones, some that fill every buffer on the way.
            size = 300_000 if (i + turn) % 97 == 0 else 1 + (i * 613 + turn) % 9000
            data = pattern(size, f"{i}/{turn}")
            same(await echoed(reader, writer, data), data, f"tunnel {i}")
        writer.close()
        return status

    async def get(self, path, origin):
        return await http_get(self.port, f"http://127.0.0.1:{origin}{path}")


def tunnels(proxy, count, rounds=4, look=None):
    ready = Meeting(count, look)
    return asyncio.run(everyone(count, lambda i: proxy.tunnel(i, ready, rounds)))


@test
def three_hundred_tunnels_at_once_carry_every_byte(run):
    with Peers() as peers:
        proxy = Proxy(run, peers.echo())
        server = proxy.start()
        tunnels(proxy, 20)
        before = server.descriptors()
        answers = tunnels(
            proxy, TUNNELS, look=lambda: run.threads_wait(server, TUNNELS)
        )
        same(set(answers), {200}, "answers to CONNECT")
        run.descriptors_return(server, before)
        return {
            "status": server.stop(),
            "pid file": os.path.exists(proxy.pidfile),
            "messages": proxy.messages(),
        }


@test
def plain_requests_pass_and_forbidden_ones_do_not(run):
    files = {f"/{size}": pattern(size, size) for size in (0, 1, 5000, 200_000)}
    paths = list(files)
    with Peers() as peers:
        proxy = Proxy(run, peers.echo())
        origin = peers.http(files)
        server = proxy.start()

        async def client(i):
            path = paths[i % len(paths)]
            same(await proxy.get(path, origin), (200, files[path]), path)

        asyncio.run(everyone(10, client))
        before = server.descriptors()
        asyncio.run(everyone(400, client, at_once=100))
        seen = {
            "missing": asyncio.run(proxy.get("/missing", origin)),
            "refused": asyncio.run(proxy.get("/", free_port()))[0],
            "forbidden": asyncio.run(proxy.tunnel(0, Meeting(1), to=origin)),
            "stats": asyncio.run(http_get(proxy.port, "http://tinyproxy.stats/"))[
                0
            ],
        }
        run.descriptors_return(server, before)
        seen["asked"] = sorted(peers.asked)
        seen["status"] = server.stop()
        seen["messages"] = proxy.messages()
        return seen


async def reload_and_end(proxy, server, reload):
    """Reloads the configuration while tunnels are open, then ends the proxy
    under them."""
    held = []
    for i in range(30):
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        target = f"127.0.0.1:{proxy.echo}"
        writer.write(f"CONNECT {target} HTTP/1.0\r\n\r\n".encode())
        await reader.readuntil(b"\r\n\r\n")
        held.append((reader, writer))
    proxy.configure("second")
    os.rename(proxy.log, proxy.log + ".old")
    server.send(reload)
    # It turns its log over: the new one appears.
    for _ in range(500):
        if os.path.exists(proxy.log):
            break
        await asyncio.sleep(0.02)
    else:
        raise Failure("no new log after the signal to reload")
    for i, (reader, writer) in enumerate(held):
        data = pattern(5000, i)
        same(await echoed(reader, writer, data), data, f"tunnel {i}")
    ready = Meeting(30)
    await everyone(30, lambda i: proxy.tunnel(i, ready))
    server.send(signal.SIGTERM)
    for reader, writer in held:
        try:
            same(await asyncio.wait_for(reader.read(-1), 20), b"", "the end")
        except ConnectionResetError:
            pass
        writer.close()


@test
def in_the_foreground_usr1_reloads_and_term_ends_its_tunnels(run):
    with Peers() as peers:
        proxy = Proxy(run, peers.echo())
        server = proxy.start()
        asyncio.run(reload_and_end(proxy, server, signal.SIGUSR1))
        return {
            "status": server.wait(),
            "pid file": os.path.exists(proxy.pidfile),
            "messages": proxy.messages(),
        }


@test
def as_a_daemon_hup_reloads_and_term_ends_its_tunnels(run):
    with Peers() as peers:
        proxy = Proxy(run, peers.echo())
        started = run.call("tinyproxy", "-c", proxy.config)
        pid = int(wait_for(lambda: slurp(proxy.pidfile), "the pid file"))
        daemon = run.adopt(pid, "tinyproxy")
        daemon.wait_listening(proxy.port)
        same(set(tunnels(proxy, 50)), {200}, "answers to CONNECT")
        asyncio.run(reload_and_end(proxy, daemon, signal.SIGHUP))
        return {
            "started": started.status,
            "status": daemon.wait(),
            "pid file": os.path.exists(proxy.pidfile),
            "messages": proxy.messages(),
        }


main()
