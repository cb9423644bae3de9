# SPDX-License-Identifier: MIT OR Apache-2.0
"""Python's http.server, a thread per connection, and a thousand clients.

Its own backlog is 5, and a thousand clients at once lose connections there
with threads as well; so the load goes to a subclass of ten lines with a larger
one.  The unchanged module gets as many clients as its backlog can hold.
"""

import asyncio
import signal

from harness import *
from peers import http_get, everyone

CLIENTS = 1000

need(python3="python3")

SUBCLASS = """
import http.server
import sys

class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 2048
    daemon_threads = True

class Handler(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

Server(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""

SIZES = (0, 1, 100, 5000, 70000, 400000)


def site(run):
    """Files to serve: {path: bytes}."""
    files = {}
    for size in SIZES:
        files[f"/{size}.bin"] = pattern(size, size)
        run.file(f"site/{size}.bin", files[f"/{size}.bin"])
    return files


def path_of(i):
    # The large one for one client in a hundred; for some, one that is missing.
    if i % 100 == 7:
        return "/400000.bin"
    return "/missing" if i % 50 == 9 else f"/{SIZES[i % 5]}.bin"


def requests_of(run, server):
    """The requests that the server logged: [(line, status)], sorted."""
    return sorted(re.findall(r'"(\w+ \S+ HTTP/[\d.]+)" (\d+)', server.err()))


@test
def a_thousand_clients_at_once_get_every_byte(run):
    files = site(run)
    script, port = run.file("server.py", SUBCLASS), free_port()
    server = run.start(PYTHON, script, port, cwd=run.path("site"))
    server.wait_listening(port)
    errors = []

    async def client(i):
        path = path_of(i)
        try:
            status, body = await http_get(port, path)
        except OSError as error:
            errors.append(str(error))
            return
        same(status, 200 if path in files else 404, path)
        if path in files:
            same(body, files[path], path)

    asyncio.run(everyone(20, client))
    before = server.descriptors()
    asyncio.run(everyone(CLIENTS, client))
    run.descriptors_return(server, before)
    run.errors = len(errors)
    if run.bare:
        check(run.errors <= run.bare.errors, "errors of clients:", errors[:5])
    traces = server.err().count("Traceback")
    return {
        "requests": requests_of(run, server) if not errors else None,
        "tracebacks": traces if not errors else None,
        "status": server.stop(),
    }


@test
def clients_that_keep_their_connection_get_every_byte(run):
    files = site(run)
    script, port = run.file("server.py", SUBCLASS), free_port()
    server = run.start(PYTHON, script, port, cwd=run.path("site"))
    server.wait_listening(port)

    async def client(i):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for turn in range(5):
            path = f"/{SIZES[(i + turn) % 5]}.bin"
            writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            size = int(re.search(rb"(?i)content-length: (\d+)", head).group(1))
            same(await reader.readexactly(size), files[path], path)
        if i % 3:
            writer.close()
        else:
            writer.transport.abort()

    asyncio.run(everyone(20, client))
    before = server.descriptors()
    asyncio.run(everyone(200, client))
    run.descriptors_return(server, before)
    return {"requests": requests_of(run, server), "status": server.stop()}


@test
def the_module_itself_serves_and_stops_on_interrupt(run):
    files = site(run)
    port = free_port()
    server = run.start(
        *(PYTHON, "-u", "-m", "http.server", "--bind", "127.0.0.1", port),
        cwd=run.path("site"),
    )
    server.wait_listening(port)

    async def client(i):
        path = path_of(i)
        status, body = await http_get(port, path)
        same(status, 200 if path in files else 404, path)
        if path in files:
            same(body, files[path], path)

    asyncio.run(everyone(3, client, at_once=3))
    before = server.descriptors()
    asyncio.run(everyone(300, client, at_once=4))
    run.descriptors_return(server, before)
    listing = asyncio.run(http_get(port, "/"))
    check(all(name[1:].encode() in listing[1] for name in files), "the listing")
    status = server.stop(signal.SIGINT)
    return {
        "requests": requests_of(run, server),
        "listing": listing,
        "status": status,
        "output": run.messages(server.out()),
        "tracebacks": server.err().count("Traceback"),
    }


main()
