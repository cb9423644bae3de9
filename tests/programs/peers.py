# SPDX-License-Identifier: MIT OR Apache-2.0
"""The other ends: small local servers, and a thousand clients at once.

The servers run in one thread of the harness, on an event loop of their own, so
that the main thread is free to wait for a program.  The clients are coroutines
of asyncio as well: what is tested has threads, what tests it has none.
"""

import asyncio
import collections
import ssl
import threading

from checks import PATIENCE, Overrun, same


class Peers:
    """An event loop in a thread, with the servers on it.

    with Peers() as peers:
        port = peers.echo()
    """

    def __enter__(self):
        self.loop = asyncio.new_event_loop()
        self.servers = []
        self.accepted = 0
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_):
        async def end():
            for server in self.servers:
                server.close()
            mine = asyncio.current_task()
            tasks = [t for t in asyncio.all_tasks() if t is not mine]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(end(), self.loop).result(10)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)
        self.loop.close()

    def serve(self, talk, tls=None, host="127.0.0.1"):
        """Starts a server that runs talk(reader, writer) for each client;
        returns its port."""

        async def guarded(reader, writer):
            self.accepted += 1
            try:
                await talk(reader, writer)
            except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                pass  # the client has gone, or the servers end
            finally:
                writer.close()

        async def begin():
            return await asyncio.start_server(
                guarded, host, 0, backlog=4096, ssl=tls
            )

        server = asyncio.run_coroutine_threadsafe(begin(), self.loop).result(10)
        self.servers.append(server)
        return server.sockets[0].getsockname()[1]

    def echo(self):
        async def talk(reader, writer):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()

        return self.serve(talk)

    def http(self, files, tls=None, answers=None):
        """Serves {path: bytes} with keep-alive; counts what was asked for in
        self.asked.  POST and PUT are answered with what was sent.  After as
        many answers it falls silent, but listens on."""
        self.asked = []

        async def talk(reader, writer):
            while True:
                try:
                    head = await reader.readuntil(b"\r\n\r\n")
                except asyncio.IncompleteReadError:
                    return
                line, *lines = head.decode("latin-1").split("\r\n")
                method, path, version = line.split()
                fields = dict(
                    (name.lower(), value.strip())
                    for name, _, value in (l.partition(":") for l in lines if l)
                )
                sent = b""
                if fields.get("expect", "").lower() == "100-continue":
                    writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                if length := int(fields.get("content-length", 0)):
                    sent = await reader.readexactly(length)
                self.asked.append(path)
                if answers is not None and len(self.asked) > answers:
                    await asyncio.Event().wait()
                if path.startswith("http://"):
                    path = "/" + path.split("/", 3)[3]
                if method in ("POST", "PUT"):
                    status, answer = "200 OK", sent
                elif path in files:
                    status, answer = "200 OK", files[path]
                else:
                    status, answer = "404 Not Found", b"no " + path.encode()
                close = (
                    fields.get("connection", "").lower() == "close"
                    or version == "HTTP/1.0"
                )
                writer.write(
                    f"HTTP/1.1 {status}\r\nContent-Length: {len(answer)}\r\n"
                    "Content-Type: application/octet-stream\r\n"
                    f"Connection: {'close' if close else 'keep-alive'}\r\n\r\n".encode()
                )
                if method != "HEAD":
                    writer.write(answer)
                await writer.drain()
                if close:
                    return

        return self.serve(talk, tls)


def server_tls(certificate, key):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


def client_tls(certificate):
    """Trusts exactly this certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(certificate)
    context.check_hostname = False
    return context


def self_signed(run):
    """A key and a certificate that nobody else trusts: their paths."""
    key, certificate = run.path("key.pem"), run.path("certificate.pem")
    run.call(
        *"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1".split(),
        *("-nodes", "-days", "2", "-subj", "/CN=localhost"),
        *("-keyout", key, "-out", certificate),
        bare=True,
        status=0,
    )
    return key, certificate


async def everyone(count, client, at_once=None, seconds=40):
    """Runs client(i) for i in range(count), at most at_once together; returns
    their results in order.  The first that fails, fails all."""
    gate = asyncio.Semaphore(at_once or count)

    async def one(i):
        async with gate:
            return await client(i)

    seconds *= PATIENCE
    tasks = [asyncio.ensure_future(one(i)) for i in range(count)]
    try:
        first = asyncio.FIRST_EXCEPTION
        done, waiting = await asyncio.wait(
            tasks, timeout=seconds, return_when=first
        )
        for task in done:
            task.result()
        if waiting:
            raise Overrun(
                f"after {seconds} s not all are done; {standing(waiting)}"
            )
        return [task.result() for task in tasks]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def standing(tasks):
    """Where clients are: how many at each line."""
    places = collections.Counter()
    for task in tasks:
        lines, at = [], task.get_coro()
        while at is not None and getattr(at, "cr_frame", None):
            lines.append(f"{at.cr_frame.f_code.co_name}:{at.cr_frame.f_lineno}")
            at = at.cr_await
        places[" > ".join(lines)] += 1
    return "clients: " + ", ".join(
        f"{n} at {at}" for at, n in places.most_common(9)
    )


class Meeting:
    """A barrier: meet() returns when count have come; the last one looks at
    something first, while all the others still wait."""

    def __init__(self, count, look=None):
        self.missing, self.full, self.look = count, asyncio.Event(), look

    async def meet(self):
        self.missing -= 1
        if self.missing == 0:
            if self.look:
                self.look()
            self.full.set()
        await self.full.wait()


async def echoed(reader, writer, data):
    """Sends data and reads as much back, both at once; returns what came."""
    writer.write(data)
    answer = await reader.readexactly(len(data))
    await writer.drain()
    return answer


async def http_get(port, path, host="127.0.0.1", extra=""):
    """One request on a connection of its own: (status, body)."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(
            f"GET {path} HTTP/1.0\r\nHost: {host}:{port}\r\n{extra}\r\n".encode()
        )
        whole = await reader.read(-1)
        head, _, body = whole.partition(b"\r\n\r\n")
        return int(head.split()[1]), body
    finally:
        writer.close()


class WebClient:
    """A connection to a web server that stays."""

    @classmethod
    async def connect(cls, port, tls=None):
        self = cls()
        self.reader, self.writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=tls
        )
        return self

    def ask(self, path, extra=""):
        self.writer.write(
            f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{extra}\r\n".encode()
        )

    async def head(self):
        """The status and the fields."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").strip().split("\r\n")
        fields = dict(line.lower().split(": ", 1) for line in lines)
        return int(first.split()[1]), fields

    async def body(self, fields):
        if "content-length" in fields:
            return await self.reader.readexactly(int(fields["content-length"]))
        same(fields.get("transfer-encoding"), "chunked", "transfer-encoding")
        whole = b""
        while size := int(await self.reader.readline(), 16):
            whole += (await self.reader.readexactly(size + 2))[:-2]
        await self.reader.readline()
        return whole

    async def get(self, path, extra=""):
        self.ask(path, extra)
        status, fields = await self.head()
        return status, fields, await self.body(fields)

    def close(self):
        self.writer.transport.abort()
