# SPDX-License-Identifier: MIT OR Apache-2.0
"""redis-server with four I/O threads, which spin for each other's work, and
with children that write the snapshot and the new append-only file."""

import asyncio
import os
import signal

from harness import *
from peers import Meeting, everyone

CLIENTS = 200

need(redis_server="redis-server", redis_benchmark="redis-tools")


class Redis:
    """One connection to the server, as much of the protocol as needed."""

    @classmethod
    async def connect(cls, port):
        self = cls()
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", port)
        return self

    def send(self, *words):
        words = [w if isinstance(w, bytes) else str(w).encode() for w in words]
        self.writer.write(
            b"*%d\r\n" % len(words)
            + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words)
        )

    async def answer(self):
        line = (await self.reader.readuntil(b"\r\n"))[:-2]
        kind, rest = line[:1], line[1:]
        if kind == b"+":
            return rest.decode()
        if kind == b":":
            return int(rest)
        if kind == b"-":
            raise Failure(f"redis says {rest.decode()}")
        size = int(rest)
        if size < 0:
            return None
        if kind == b"*":
            return [await self.answer() for _ in range(size)]
        return (await self.reader.readexactly(size + 2))[:-2]

    async def ask(self, *words):
        self.send(*words)
        await self.writer.drain()
        return await self.answer()

    async def info(self, section):
        text = (await self.ask("INFO", section)).decode()
        return dict(
            line.split(":", 1) for line in text.split("\r\n") if ":" in line
        )

    def close(self):
        self.writer.close()


class Server:
    def __init__(self, run, *options):
        self.run, self.options, self.port = run, options, free_port()
        os.makedirs(run.path("data"), exist_ok=True)
        self.starts = 0

    def start(self, daemonize="no"):
        self.starts += 1
        self.log = self.run.log(f"redis.{self.starts}.log")
        self.process = self.run.start(
            *("redis-server", "--port", self.port, "--bind", "127.0.0.1"),
            *("--io-threads", 4, "--io-threads-do-reads", "yes", "--save", ""),
            *("--dir", self.run.path("data"), "--logfile", self.log),
            *("--enable-debug-command", "yes", "--daemonize", daemonize),
            *("--pidfile", self.run.path("redis.pid")),
            *self.options,
        )
        if daemonize == "yes":
            self.process.wait()
            pid = wait_for(
                lambda: slurp(self.run.path("redis.pid")), "the pid file"
            )
            self.process = self.run.adopt(int(pid), "redis-server")
        self.process.wait_listening(self.port)
        self.call(self.loaded)
        return self.process

    async def loaded(self, redis):
        for _ in range(1000):
            try:
                return await redis.ask("PING")
            except Failure:  # it is still loading its data
                await asyncio.sleep(0.01)

    def call(self, body, *args):
        """Runs body(redis, *args) with a connection of its own."""

        async def main():
            redis = await Redis.connect(self.port)
            try:
                return await body(redis, *args)
            finally:
                redis.close()

        return asyncio.run(main())

    def complaints(self):
        """What it logged, without the lines of its banner."""
        return self.run.messages(
            "\n".join(l for l in slurp(self.log).splitlines() if l[:1].isdigit()),
            # process, role, date
            (r"^\d+:(\w) \d+ \w+ \d+ [\d:.]+ ", r"\1 "),
            # How much was copied is a matter of pages and of timing.
            (r"Fork CoW for .*", "Fork CoW"),
        )


def value(i, n):
    return pattern(10 + (i * 31 + n * 1009) % 3000, f"{i}/{n}")


async def fill(redis, i, ready):
    """Writes keys of its own in a pipeline, reads them back, and takes part
    in what all share."""
    await ready.meet()
    for n in range(20):
        redis.send("SET", f"key:{i}:{n}", value(i, n))
    for n in range(20):
        redis.send("GET", f"key:{i}:{n}")
    await redis.writer.drain()
    for n in range(20):
        same(await redis.answer(), "OK", "SET")
    for n in range(20):
        same(await redis.answer(), value(i, n), f"key:{i}:{n}")
    for n in range(10):
        redis.send("INCRBY", "counter", i + n)
    redis.send("RPUSH", f"list:{i % 10}", i)
    redis.send("SADD", "set", i)
    redis.send("HSET", "hash", f"field{i}", value(i, 99))
    redis.send("ZADD", "zset", i * 1.5, f"member{i}")
    await redis.writer.drain()
    for _ in range(14):
        await redis.answer()
    large = pattern(100_000, i)
    if i % 10 == 0:
        same(await redis.ask("SET", f"large:{i}", large), "OK", "SET")
        same(await redis.ask("GET", f"large:{i}"), large, f"large:{i}")


async def shared_is_right(redis):
    same(
        int(await redis.ask("GET", "counter")),
        sum(i + n for i in range(CLIENTS) for n in range(10)),
        "counter",
    )
    same(await redis.ask("SCARD", "set"), CLIENTS, "set")
    same(await redis.ask("HLEN", "hash"), CLIENTS, "hash")
    same(await redis.ask("HGET", "hash", "field7"), value(7, 99), "hash field")
    ranks = [f"member{i}".encode() for i in range(CLIENTS)]
    same(await redis.ask("ZRANGE", "zset", 0, -1), ranks, "zset")
    for n in range(10):
        items = await redis.ask("LRANGE", f"list:{n}", 0, -1)
        wanted = list(range(n, CLIENTS, 10))
        same(sorted(map(int, items)), wanted, f"list:{n}")
    for i in range(0, CLIENTS, 17):
        same(await redis.ask("GET", f"key:{i}:5"), value(i, 5), f"key:{i}:5")


def load(server, count):
    ready = Meeting(count)

    async def client(i):
        redis = await Redis.connect(server.port)
        await fill(redis, i, ready)
        redis.close()

    asyncio.run(everyone(count, client))


async def saved(redis, command, running, outcome):
    """Starts a child that saves; waits until it is done."""
    await redis.ask(command)
    for _ in range(3000):
        info = await redis.info("persistence")
        if info[running] == "0" and info.get("aof_rewrite_scheduled", "0") == "0":
            return info[outcome]
        await asyncio.sleep(0.01)
    raise Failure(f"{command} never ended: {info}")


async def rewritten_meanwhile(redis):
    await redis.ask("BGREWRITEAOF")
    for n in range(200):
        same(await redis.ask("SET", f"meanwhile:{n}", value(n, 0)), "OK", "SET")
    while (await redis.info("persistence"))["aof_rewrite_in_progress"] != "0":
        await asyncio.sleep(0.01)


async def digest(redis):
    return await redis.ask("DEBUG", "DIGEST")


@test
def values_are_right_and_survive_restarts_from_snapshot_and_append_only_file(run):
    server = Server(run, "--appendonly", "yes", "--appendfsync", "everysec")
    process = server.start()
    load(server, 20)
    server.call(lambda redis: redis.ask("FLUSHALL"))
    # One child each beforehand, for what they keep open.
    server.call(saved, "BGSAVE", "rdb_bgsave_in_progress", "rdb_last_bgsave_status")
    before = process.descriptors()
    load(server, CLIENTS)
    server.call(shared_is_right)
    whole = server.call(digest)
    seen = {}
    for command, running, outcome in (
        ("BGSAVE", "rdb_bgsave_in_progress", "rdb_last_bgsave_status"),
        ("BGREWRITEAOF", "aof_rewrite_in_progress", "aof_last_bgrewrite_status"),
    ):
        seen[command] = server.call(saved, command, running, outcome)
    run.descriptors_return(process, before)
    seen["SIGTERM"] = process.stop()
    seen["complaints"] = server.complaints()

    # From the rewritten append-only file.
    process = server.start()
    same(server.call(digest), whole, "digest after a restart from the AOF")
    server.call(shared_is_right)
    # More commands behind it, and a child that saves while they come.
    server.call(rewritten_meanwhile)
    whole = server.call(digest)
    server.call(saved, "BGSAVE", "rdb_bgsave_in_progress", "rdb_last_bgsave_status")
    seen["SIGINT"] = process.stop(signal.SIGINT)

    # From the snapshot alone.
    server.options = ("--appendonly", "no")
    process = server.start()
    same(server.call(digest), whole, "digest after a restart from the snapshot")
    server.call(shared_is_right)

    async def shut_down(redis):
        redis.send("SHUTDOWN", "NOSAVE")
        await redis.writer.drain()
        await redis.reader.read(-1)

    server.call(shut_down)
    seen["SHUTDOWN"] = process.wait()
    return seen


@test
def the_benchmark_gets_through_with_many_clients(run):
    server = Server(run)
    process = server.start()

    def benchmark(requests, *options):
        done = run.call(
            *("redis-benchmark", "-h", "127.0.0.1", "-p", server.port, "--csv"),
            *("-n", requests, *options),
        )
        # The names of what was measured; the figures are not our matter.
        rows = [line.split(",") for line in done.out.splitlines()]
        return done.status, [row[0] for row in rows], done.err

    benchmark(500, "-c", 50, "-t", "set,get")
    before = process.descriptors()
    seen = {
        "all": benchmark(
            500, "-c", 50, "-t", "set,get,incr,lpush,lpop,mset,lrange_100"
        ),
        "many": benchmark(3000, "-c", 500, "-t", "set,get", "-d", 1000, "-r", 500),
        "pipeline": benchmark(20000, "-c", 50, "-P", 16, "-t", "set,get,incr"),
        "threads": benchmark(3000, "-c", 50, "--threads", 3, "-t", "set,get"),
    }
    run.descriptors_return(process, before)
    seen["keys"] = server.call(
        lambda redis: redis.ask("EXISTS", "key:__rand_int__")
    )
    seen["status"] = process.stop()
    seen["complaints"] = server.complaints()
    return seen


@test
def blocked_clients_wake_and_slow_work_is_done_behind_their_backs(run):
    server = Server(run)
    process = server.start("yes")

    async def talk(redis):
        port = server.port
        waiting = [await Redis.connect(port) for _ in range(50)]
        for client in waiting:
            client.send("BLPOP", "jobs", 30)
            await client.writer.drain()
        for i in range(50):
            await redis.ask("RPUSH", "jobs", i)
        jobs = [(await client.answer())[1] for client in waiting]
        same(sorted(map(int, jobs)), list(range(50)), "jobs handed out")
        same(
            await waiting[0].ask("BLPOP", "jobs", "0.05"), None, "BLPOP of nothing"
        )
        for client in waiting:
            await client.ask("SUBSCRIBE", "news")
        same(await redis.ask("PUBLISH", "news", "flash"), 50, "subscribers")
        for client in waiting:
            same(await client.answer(), [b"message", b"news", b"flash"], "news")
            client.close()
        # Large values are freed by a thread of their own.
        for i in range(5):
            for n in range(10):
                redis.send("RPUSH", f"heavy{i}", *[value(i, n) for n in range(300)])
                await redis.writer.drain()
                await redis.answer()
        same(
            await redis.ask("UNLINK", *[f"heavy{i}" for i in range(5)]), 5, "UNLINK"
        )
        same(await redis.ask("FLUSHALL", "ASYNC"), "OK", "FLUSHALL")
        for _ in range(2000):
            if (await redis.info("memory"))["lazyfree_pending_objects"] == "0":
                break
            await asyncio.sleep(0.01)
        else:
            raise Failure("what was unlinked is never freed")
        return await redis.ask("DBSIZE")

    seen = {"keys": server.call(talk), "status": process.stop()}
    seen["pid file"] = os.path.exists(run.path("redis.pid"))
    seen["complaints"] = server.complaints()
    return seen


main()
