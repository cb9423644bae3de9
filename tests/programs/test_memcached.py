# SPDX-License-Identifier: MIT OR Apache-2.0
"""memcached with four worker threads, each an event loop of its own, and the
threads that tidy the cache behind them."""

import asyncio
import os
import signal

from harness import *
from peers import Meeting, everyone

CLIENTS = 600

need(memcached="memcached")


def start(run, *options, memory=256):
    port = free_port()
    user = ("-u", "root") if os.geteuid() == 0 else ()
    server = run.start(
        *("memcached", "-l", "127.0.0.1", "-p", port, "-U", 0, "-t", 4),
        *("-c", 2048, "-m", memory, *user, *options),
    )
    server.wait_listening(port)
    return server, port


class Client:
    @classmethod
    async def connect(cls, port):
        self = cls()
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", port)
        return self

    async def line(self):
        return (await self.reader.readuntil(b"\r\n"))[:-2].decode()

    async def ask(self, text, data=None):
        self.writer.write(text.encode() + b"\r\n")
        if data is not None:
            self.writer.write(data + b"\r\n")
        await self.writer.drain()
        return await self.line()

    async def get(self, *keys):
        """{key: value} of those that are there."""
        self.writer.write(f"get {' '.join(keys)}\r\n".encode())
        await self.writer.drain()
        found = {}
        while (line := await self.line()) != "END":
            word, key, flags, size = line.split()
            same(word, "VALUE", "answer to get")
            found[key] = (await self.reader.readexactly(int(size) + 2))[:-2]
        return found

    async def stats(self, what=""):
        self.writer.write(f"stats {what}".strip().encode() + b"\r\n")
        found = {}
        while (line := await self.line()) != "END":
            _, name, value = line.split(" ", 2)
            found[name] = value
        return found

    def close(self):
        self.writer.close()


def value(i, n):
    # Some beyond one read of the server, one in a hundred near its limit.
    size = 500_000 if (i, n) == (i - i % 100, 0) else (i * 131 + n * 977) % 8000
    return pattern(size, f"{i}/{n}")


async def work(port, i, ready, rounds=10):
    client = await Client.connect(port)
    await ready.meet()
    for n in range(rounds):
        data = value(i, n)
        answer = await client.ask(f"set key:{i}:{n} {i} 0 {len(data)}", data)
        same(answer, "STORED", f"set key:{i}:{n}")
    for n in range(rounds):
        key = f"key:{i}:{n}"
        same(await client.get(key), {key: value(i, n)}, key)
    keys = [f"key:{i}:{n}" for n in range(rounds)]
    same(
        await client.get(*keys, "missing"),
        {key: value(i, n) for n, key in enumerate(keys)},
        "many keys",
    )
    same(await client.ask(f"delete key:{i}:1"), "DELETED", "delete")
    await client.ask("incr counter 1")
    same(await client.ask(f"append key:{i}:2 0 0 3", b"end"), "STORED", "append")
    same(
        await client.get(f"key:{i}:1", f"key:{i}:2"),
        {f"key:{i}:2": value(i, 2) + b"end"},
        "after delete and append",
    )
    client.close()


async def settled(port):
    """Waits until the server knows that all others have gone."""
    client = await Client.connect(port)
    for _ in range(1000):
        stats = await client.stats()
        if stats["curr_connections"] == "1":  # ours
            break
        await asyncio.sleep(0.01)
    else:
        raise Failure(f"connections that never end: {stats['curr_connections']}")
    counter = await client.get("counter")
    client.close()
    return {
        name: stats[name]
        for name in ("curr_items", "total_items", "cmd_set", "cmd_get", "get_hits")
    } | {"counter": counter, "threads": stats["threads"]}


@test
def every_value_that_six_hundred_connections_set_comes_back(run):
    server, port = start(run)

    async def load(count):
        ready = Meeting(count)
        await everyone(count, lambda i: work(port, i, ready))

    async def one():
        client = await Client.connect(port)
        await client.ask("flush_all")
        await client.ask("set counter 0 0 1", b"0")
        client.close()

    asyncio.run(load(20))
    asyncio.run(one())
    before = server.descriptors()
    asyncio.run(load(CLIENTS))
    seen = asyncio.run(settled(port))
    same(seen["counter"], {"counter": str(CLIENTS).encode()}, "counter")
    run.descriptors_return(server, before)
    seen["status"] = server.stop()
    seen["output"] = run.messages(server.out() + server.err())
    return seen


@test
def eviction_crawler_and_page_mover_run_beside_the_clients(run):
    server, port = start(
        run,
        *("-o", "slab_reassign,slab_automove=1,lru_crawler,lru_maintainer"),
        memory=16,
    )

    async def flood(i):
        client = await Client.connect(port)
        for n in range(150):
            data = pattern(100 + (n % 3) * 3000, f"{i}.{n}")
            same(
                await client.ask(
                    f"set k{i}.{n} 0 {1 if n % 5 == 0 else 0} {len(data)}", data
                ),
                "STORED",
                "set",
            )
            found = await client.get(f"k{i}.{n}", f"k{i}.{n - 3}")
            for key, got in found.items():
                number = int(key.split(".")[1])
                same(got, pattern(100 + (number % 3) * 3000, f"{i}.{number}"), key)
        client.close()

    async def main():
        await everyone(60, flood)
        client = await Client.connect(port)
        same(await client.ask("lru_crawler crawl all"), "OK", "crawl")
        lines = 0
        while not lines:
            client.writer.write(b"lru_crawler metadump all\r\n")
            while (line := await client.reader.readline())[:4] == b"key=":
                lines += 1
            # One crawl at a time: it may still be at the first.
            check(line[:3] == b"END" or line[:4] == b"BUSY", "metadump:", line)
            await asyncio.sleep(0.01)
        stats = await client.stats()
        client.close()
        check(int(stats["evictions"]) > 0, "nothing was evicted")
        return lines > 0

    seen = {"dumped": asyncio.run(main()), "status": server.stop(signal.SIGINT)}
    seen["output"] = run.messages(server.out() + server.err())
    return seen


@test
def as_a_daemon_it_ends_gracefully_on_usr1(run):
    pidfile = run.path("memcached.pid")
    port = free_port()
    user = ("-u", "root") if os.geteuid() == 0 else ()
    started = run.call(
        *("memcached", "-d", "-P", pidfile, "-l", "127.0.0.1", "-p", port, "-U", 0),
        *("-t", 4, *user),
    )
    pid = int(wait_for(lambda: slurp(pidfile), "the pid file"))
    daemon = run.adopt(pid, "memcached")
    daemon.wait_listening(port)
    ready = Meeting(100)
    asyncio.run(everyone(100, lambda i: work(port, i + 1, ready, rounds=4)))
    return {
        "started": started.status,
        "status": daemon.stop(signal.SIGUSR1),
        "pid file": os.path.exists(pidfile),
    }


main()
