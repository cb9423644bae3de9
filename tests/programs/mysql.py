# SPDX-License-Identifier: MIT OR Apache-2.0
"""A client of MariaDB's wire protocol, as much of it as the tests speak.

A connection is a sequence of packets, each with a length of three bytes and a
number of one.  The server begins with a greeting that holds 20 random bytes;
the client answers with its capabilities, its name and the password scrambled
with them, or, on a Unix socket, with nothing, and the kernel vouches for it.
After that each query is one packet, and its answer OK, an error, or a table.
"""

import asyncio
import hashlib

LONG_FLAG = 1 << 2
PROTOCOL_41 = 1 << 9
TRANSACTIONS = 1 << 13
SECURE_CONNECTION = 1 << 15
PLUGIN_AUTH = 1 << 19
UTF8MB4 = 45


class SqlError(Exception):
    def __init__(self, payload):
        self.code = int.from_bytes(payload[1:3], "little")
        text = payload[9:] if payload[3:4] == b"#" else payload[3:]
        super().__init__(f"{self.code}: {text.decode(errors='replace')}")


def scramble(password, salt):
    """mysql_native_password: SHA1(p) xor SHA1(salt + SHA1(SHA1(p)))."""
    if not password:
        return b""
    once = hashlib.sha1(password.encode()).digest()
    twice = hashlib.sha1(once).digest()
    mask = hashlib.sha1(salt + twice).digest()
    return bytes(a ^ b for a, b in zip(once, mask))


def prefixed(payload, at):
    """A length-prefixed string: (bytes or None, the place after it)."""
    first = payload[at]
    if first == 0xFB:
        return None, at + 1
    number, at = integer(payload, at)
    return payload[at : at + number], at + number


def integer(payload, at):
    first = payload[at]
    if first < 0xFB:
        return first, at + 1
    size = {0xFC: 2, 0xFD: 3, 0xFE: 8}[first]
    return int.from_bytes(payload[at + 1 : at + 1 + size], "little"), at + 1 + size


class Connection:
    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer
        self.number = 0
        self.thread = None  # the server's name for this connection

    async def packet(self):
        head = await self.reader.readexactly(4)
        size = int.from_bytes(head[:3], "little")
        if head[3] != self.number:
            raise ConnectionError(f"packet {head[3]}, not {self.number}")
        self.number = (self.number + 1) % 256
        if size == 0xFFFFFF:
            raise ConnectionError("a packet of 16 MB was not expected")
        payload = await self.reader.readexactly(size)
        if payload[:1] == b"\xff":
            raise SqlError(payload)
        return payload

    def send(self, payload):
        self.writer.write(
            len(payload).to_bytes(3, "little") + bytes([self.number]) + payload
        )
        self.number = (self.number + 1) % 256

    async def greet(self, user, password):
        hello = await self.packet()
        version, _, rest = hello[1:].partition(b"\0")
        self.version = version.decode()
        self.thread = int.from_bytes(rest[:4], "little")
        # 8 bytes of salt, 19 of capabilities and filler, 12 of salt.
        salt = rest[4:12] + rest[31:43]
        capabilities = (
            LONG_FLAG | PROTOCOL_41 | TRANSACTIONS | SECURE_CONNECTION | PLUGIN_AUTH
        )
        secret = scramble(password, salt)
        self.send(
            capabilities.to_bytes(4, "little")
            + (1 << 24).to_bytes(4, "little")
            + bytes([UTF8MB4])
            + bytes(23)
            + user.encode()
            + b"\0"
            + bytes([len(secret)])
            + secret
            + b"mysql_native_password\0"
        )
        answer = await self.packet()
        if answer[0] == 0xFE:
            plugin, _, salt = answer[1:].partition(b"\0")
            if plugin == b"mysql_native_password":
                self.send(scramble(password, salt[:20]))
            else:  # unix_socket asks the kernel, not us
                self.send(b"")
            answer = await self.packet()
        if answer[0] != 0:
            raise ConnectionError(f"no OK after the greeting: {answer!r}")

    async def query(self, sql):
        """A table as a list of tuples of str, bytes or None; for a statement
        without one, the number of rows that it changed."""
        self.number = 0
        self.send(b"\x03" + (sql if isinstance(sql, bytes) else sql.encode()))
        await self.writer.drain()
        first = await self.packet()
        if first[0] == 0:
            return integer(first, 1)[0]
        columns, _ = integer(first, 0)
        binary = []
        for _ in range(columns):
            definition, at = await self.packet(), 0
            for _ in range(6):
                _, at = prefixed(definition, at)
            # After the names, a length byte: character set 63 is "binary".
            charset = int.from_bytes(definition[at + 1 : at + 3], "little")
            binary.append(
                charset == 63 and definition[at + 7] in (249, 250, 251, 252)
            )
        await self.packet()  # the end of the definitions
        rows = []
        while True:
            payload = await self.packet()
            if payload[0] == 0xFE and len(payload) < 9:
                return rows
            at, row = 0, []
            for is_binary in binary:
                value, at = prefixed(payload, at)
                if value is not None and not is_binary:
                    value = value.decode()
                row.append(value)
            rows.append(tuple(row))

    async def value(self, sql):
        return (await self.query(sql))[0][0]

    async def close(self):
        """Says good-bye and waits for the server to hang up."""
        self.number = 0
        self.send(b"\x01")
        await self.hung_up()
        self.writer.close()

    async def hung_up(self, seconds=30):
        """Waits until the server has ended the connection, somehow."""
        try:
            await asyncio.wait_for(self.reader.read(-1), seconds)
        except ConnectionResetError:
            pass

    def abort(self):
        self.writer.transport.abort()


async def connect(address, user="root", password="", tls=None):
    """address: the path of a Unix socket, or a port of 127.0.0.1.  tls: that of a
    tunnel in between, which knows nothing of databases."""
    if isinstance(address, int):
        ends = await asyncio.open_connection("127.0.0.1", address, ssl=tls)
    else:
        ends = await asyncio.open_unix_connection(address)
    connection = Connection(*ends)
    try:
        await connection.greet(user, password)
    except BaseException:
        connection.abort()
        raise
    return connection
