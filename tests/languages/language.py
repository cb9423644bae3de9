# SPDX-License-Identifier: MIT OR Apache-2.0
"""Languages that have threads of their own making over the C library's.

Each has up to three programs in programs/:

  threads  everything that the language has threads for, part by part; the same
           output and the same exit status at every run
  server   a thread for each connection.  It answers a line with how many came
           over this connection, and the line backwards; "total" with how many
           came over all; and "quit" by ending at once, with status 5, out of
           that connection's thread
  crowd    as many threads as it is asked for wait for one thing.  It says so,
           and when it is sent a line it wakes them, and says what they sum to
"""

import asyncio
import os
import shutil
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "programs"))

import harness
from harness import *
from peers import everyone

CLIENTS, ROUNDS = 300, 12


def program(name):
    return os.path.join(HERE, "programs", name)


def made(name, compile):
    """The path of what compile(source, target) made of that program; it is made
    once for both runs, and where nobody else looks."""
    folder = tempfile.mkdtemp(prefix="cogo-test-made-")
    atexit.register(shutil.rmtree, folder)
    os.chmod(folder, 0o755)
    base, ending = os.path.splitext(name)
    source = shutil.copy(program(name), folder)
    target = os.path.join(folder, base)
    done = subprocess.run(
        compile(source, target),
        cwd=folder,
        env={**os.environ, "PATH": PATH},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=120 * PATIENCE,
    )
    if done.returncode:
        print(done.stdout.decode(errors="replace")[-3000:])
        sys.exit(f"{name} does not compile")
    return target


async def client(port, number, gate, meet, rounds):
    # No more at once than a small backlog holds.
    async with gate:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, limit=1 << 20
        )
    for i in range(rounds):
        # One in thirty has more to say than a socket holds.
        size = 300_000 if number % 30 == 7 and i == 3 else 1 + (number + i) % 70
        line = f"{number}.{i}.".encode() + b"x" * size
        writer.write(line + b"\n")
        answer = await reader.readline()
        same(answer, b"%d %s\n" % (i + 1, line[::-1]), f"answer {i} to {number}")
        if i == 0:
            # Now each has its thread, and none has anything to do.
            await meet()
    if number % 2:
        writer.write_eof()
        same(await reader.read(), b"", "what comes after the last line")
    writer.close()


async def ask(port, line):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(line + b"\n")
    # It may come in pieces.
    answer = await (until_gone(reader) if line == b"quit" else reader.readline())
    writer.close()
    return answer


async def until_gone(reader):
    try:
        return await reader.read()
    except ConnectionResetError:
        return b""


def serves(run, *argv, clients=CLIENTS):
    """Starts a server with its port as the last argument, has many clients talk
    to it at once, and ends it."""
    port = free_port()
    process = run.start(*argv, port)
    process.wait_listening(port)
    # Whatever it opens for its first connection is not left behind by it.
    same(asyncio.run(ask(port, b"first")), b"1 tsrif\n", "the first answer")
    before = process.descriptors()

    async def load():
        arrived, all_there = 0, asyncio.Event()
        gate = asyncio.Semaphore(50)

        async def meet():
            nonlocal arrived
            arrived += 1
            if arrived == clients:
                run.threads_wait(process, clients)
                all_there.set()
            await all_there.wait()

        await everyone(clients, lambda i: client(port, i, gate, meet, ROUNDS))

    asyncio.run(load())
    run.descriptors_return(process, before)
    total = asyncio.run(ask(port, b"total"))
    same(total, b"%d\n" % (clients * ROUNDS + 1), "lines in all")

    # It ends while many wait in it.
    async def end():
        idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(50)]
        await ask(port, b"quit")
        for _, writer in idle:
            writer.close()

    asyncio.run(end())
    return {"status": process.wait(), "out": process.out(), "err": process.err()}


def waits_in_a_crowd(run, *argv, count):
    """Starts a program with that number as the last argument."""
    process = run.start(*argv, count, stdin=subprocess.PIPE)

    def waiting():
        check(process.alive(), "it ended with", process.status, process.err())
        return "waiting" in process.out()

    wait_for(waiting, f"{count} threads to wait", 40)
    run.threads_wait(process, count)
    process.stdin.write(b"\n")
    process.stdin.close()
    process.wait(40)
    same(process.out().split(), ["waiting", str(sum(range(count))), str(count)], "out")
    return {"status": process.status, "err": process.err()}
