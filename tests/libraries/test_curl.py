# SPDX-License-Identifier: MIT OR Apache-2.0
"""libcurl, against a server of our own: http, https, and by a name that has to be
looked up."""

import asyncio
import hashlib
import socket

from library import *
from peers import Peers, self_signed, server_tls

need(openssl="openssl")


class Site:
    """Bodies under the names of their hashes, an echo, and a gate."""

    def __init__(self, run):
        bodies = [pattern(1 + i * i * 60, i) for i in range(41)]
        self.files = {hashlib.sha256(b).hexdigest(): b for b in bodies}
        self.list = run.file("list", "\n".join(self.files))
        self.waiting, self.gate = 0, None
        self.connections = 0

    async def answer(self, path, sent):
        self.gate = self.gate or asyncio.Event()
        if path == "echo":
            return sent
        if path == "gate":
            self.waiting += 1
            await self.gate.wait()
            return b"open"
        if path == "open":
            self.gate.set()
        if path == "waiting":
            return str(self.waiting).encode()
        return self.files.get(path, b"")

    async def talk(self, reader, writer):
        self.connections += 1
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            path = head.split()[1].lstrip("/")
            size = re.search(r"(?i)\r\ncontent-length: *(\d+)", head)
            if re.search(r"(?i)\r\nexpect: *100-continue", head):
                writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            sent = await reader.readexactly(int(size[1])) if size else b""
            body = await self.answer(path, sent)
            writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
            )
            await writer.drain()


def against(run, scheme, host, address="127.0.0.1"):
    key, cert = self_signed(run)
    tls = server_tls(cert, key) if scheme == "https" else None
    site = Site(run)
    with Peers() as peers:
        port = peers.serve(site.talk, tls, address)
        seen = crowd(
            run, f"{scheme}://{host}:{port}", cert, site.list, rounds=8, seconds=80
        )
    seen["connections"] = site.connections
    return seen


@test(limit=100)
def five_hundred_transfers_park_in_libcurl(run):
    return against(run, "http", "127.0.0.1")


@test(limit=100)
def and_with_tls(run):
    return against(run, "https", "127.0.0.1")


def local_name():
    """A name of this machine that libcurl does not know by itself, and where it
    leads to."""
    for name in (socket.gethostname(), "ip4-loopback"):
        try:
            address = socket.gethostbyname(name)
        except OSError:
            continue
        if address.startswith("127.") and name != "localhost":
            return name, address
    return None


if local_name():

    @test(limit=100)
    def and_while_threads_of_its_own_look_up_a_name(run):
        return against(run, "http", *local_name())

else:
    print("left out: no name in /etc/hosts that leads to 127.0.0.0/8")


main()
