# SPDX-License-Identifier: MIT OR Apache-2.0
"""C libraries under Python's threads: SQLite, OpenSSL, zlib, asyncio's pool,
the interpreter's own timers and dumps, and a library loaded late."""

import asyncio
import ctypes
import ctypes.util
import decimal
import faulthandler
import hashlib
import locale
import os
import socket
import sqlite3
import ssl
import sys
import tempfile
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor

PATIENCE = 30


def sqlite():
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "db")

        def connect():
            return sqlite3.connect(path, timeout=PATIENCE, isolation_level=None)

        with connect() as base:
            base.execute("PRAGMA journal_mode = WAL")
            base.execute(
                "CREATE TABLE t (thread INT, n INT, PRIMARY KEY (thread, n))"
            )

        def work(i):
            with connect() as base:
                for n in range(20):
                    base.execute("BEGIN IMMEDIATE")
                    base.execute("INSERT INTO t VALUES (?, ?)", (i, n))
                    base.execute("COMMIT")
                return base.execute(
                    "SELECT COUNT(*) FROM t WHERE thread = ?", (i,)
                ).fetchone()[0]

        with ThreadPoolExecutor(12) as pool:
            print("sqlite:", set(pool.map(work, range(12))))
        with connect() as base:
            print(
                "sqlite:", base.execute("SELECT COUNT(*), SUM(n) FROM t").fetchone()
            )


def digests():
    def digest(i):
        data = bytes([i]) * 3_000_000
        return hashlib.sha256(data).hexdigest(), zlib.crc32(zlib.compress(data, 1))

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(digest, range(16)))
    print("digests:", hashlib.sha256(repr(answers).encode()).hexdigest())


def tls(certificate, key):
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(certificate, key)
    client_side = ssl.create_default_context(cafile=certificate)
    client_side.check_hostname = False

    def serve(end):
        with server_side.wrap_socket(end, server_side=True) as secure:
            while data := secure.recv(4096):
                secure.sendall(data)

    def talk(i):
        a, b = socket.socketpair()
        a.settimeout(PATIENCE)
        b.settimeout(PATIENCE)
        thread = threading.Thread(target=serve, args=(a,))
        thread.start()
        with client_side.wrap_socket(b) as secure:
            data, got = os.urandom(10000), b""
            secure.sendall(data)
            while len(got) < len(data):
                got += secure.recv(4096)
            version = secure.version()
            secure.unwrap().close()
        thread.join(PATIENCE)
        return got == data, version, thread.is_alive()

    with ThreadPoolExecutor(10) as pool:
        print("tls:", set(pool.map(talk, range(40))))


def event_loops():
    """An event loop in each of several threads, each with its pool."""

    async def main(i):
        loop = asyncio.get_running_loop()
        slow = [loop.run_in_executor(None, time.sleep, 0.002) for _ in range(20)]
        await asyncio.sleep(0.001)
        await asyncio.gather(*slow)
        found = await loop.getaddrinfo("localhost", 80, family=socket.AF_INET)
        child = await asyncio.create_subprocess_exec(
            "cat", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        out, _ = await child.communicate(b"x" * 100_000)
        return (
            len(out),
            found[0][4],
            child.returncode,
            await asyncio.to_thread(abs, -i),
        )

    with ThreadPoolExecutor(5) as pool:
        print(
            "event loops:", list(pool.map(lambda i: asyncio.run(main(i)), range(5)))
        )


def thread_state():
    """What C libraries keep per thread: errno, the decimal context."""
    libc = ctypes.CDLL(None, use_errno=True)
    wrong, everyone = [], threading.Barrier(30)

    def check(i):
        decimal.getcontext().prec = i + 5
        everyone.wait(PATIENCE)
        for _ in range(30):
            ctypes.set_errno(1000 + i)
            time.sleep(0.0005)
            if ctypes.get_errno() != 1000 + i:
                wrong.append("ctypes errno")
            libc.close(-1)
            if ctypes.get_errno() != 9:
                wrong.append("errno of close")
            if len(str(decimal.Decimal(1) / 3)) != i + 7:
                wrong.append("decimal")

    threads = [threading.Thread(target=check, args=(i,)) for i in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    print("thread state:", wrong, locale.setlocale(locale.LC_ALL, "C"))


def late_library():
    """A library that is loaded while threads wait."""
    gate = threading.Event()
    threads = [
        threading.Thread(target=gate.wait, args=(PATIENCE,)) for _ in range(20)
    ]
    for thread in threads:
        thread.start()
    name = ctypes.util.find_library("m")
    answers = []

    def load():
        library = ctypes.CDLL(name)
        library.cos.restype, library.cos.argtypes = ctypes.c_double, [
            ctypes.c_double
        ]
        answers.append(library.cos(0.0))
        import xml.parsers.expat  # one more, with code of its own

        answers.append(xml.parsers.expat.ParserCreate() is not None)

    thread = threading.Thread(target=load)
    thread.start()
    thread.join(PATIENCE)
    gate.set()
    for waiting in threads:
        waiting.join(PATIENCE)
    print("late library:", answers)


def dumps():
    """faulthandler's watchdog thread and its dump of all threads."""
    gate = threading.Event()
    threads = [
        threading.Thread(target=gate.wait, args=(PATIENCE,), name=f"t{i}")
        for i in range(5)
    ]
    for thread in threads:
        thread.start()
    with tempfile.TemporaryFile("w+") as file:
        faulthandler.dump_traceback_later(0.01, file=file)
        end = time.monotonic() + PATIENCE
        while not os.fstat(file.fileno()).st_size and time.monotonic() < end:
            time.sleep(0.005)
        faulthandler.cancel_dump_traceback_later()
        file.seek(0)
        text = file.read()
        print("dumps:", "Timeout" in text, text.count("most recent call first"))
    gate.set()
    for thread in threads:
        thread.join(PATIENCE)


sqlite()
digests()
tls(*sys.argv[1:])
event_loops()
thread_state()
late_library()
dumps()
