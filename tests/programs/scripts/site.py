# SPDX-License-Identifier: MIT OR Apache-2.0
"""A site with a bit of everything: PORT DIRECTORY DATABASE.  A thread for each
client; some requests compute, some sleep, start threads or processes, or write
to sqlite.  SIGUSR1 is counted, SIGTERM ends it."""

import http.server
import queue
import signal
import sqlite3
import subprocess
import sys
import threading

PORT, DIRECTORY, DATABASE = sys.argv[1:]
signals = 0
own = threading.local()


def database():
    if not hasattr(own, "sql"):
        own.sql = sqlite3.connect(DATABASE, timeout=60, isolation_level=None)
        own.sql.execute("PRAGMA synchronous=OFF")
    return own.sql


def computed(n):
    return str(sum(i * i % 7 for i in range(int(n))))


def fanned(n):
    """Threads that each put something in, and are joined."""
    results = queue.Queue()
    threads = [
        threading.Thread(target=lambda i=i: results.put(i * i)) for i in range(int(n))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return str(sum(results.get() for _ in threads))


def waited(milliseconds):
    threading.Event().wait(int(milliseconds) / 1000)
    return milliseconds


def started(word):
    return subprocess.run(
        ["/bin/echo", word], stdout=subprocess.PIPE, check=True, text=True
    ).stdout.strip()


def noted(number):
    database().execute("INSERT OR IGNORE INTO note VALUES (?)", (int(number),))
    return number


ANSWERS = {
    "compute": computed,
    "fan": fanned,
    "wait": waited,
    "start": started,
    "note": noted,
    "signals": lambda _: str(signals),
}


class Handler(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # A client that says nothing more is not waited for without end.
    timeout = 20

    def log_message(self, *_):
        pass

    def do_GET(self):
        kind, _, argument = self.path[1:].partition("/")
        if kind not in ANSWERS:
            super().do_GET()
            return
        body = ANSWERS[kind](argument).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def finish(self):
        if hasattr(own, "sql"):
            own.sql.close()
        super().finish()


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 2048
    daemon_threads = True

    def handle_error(self, request, client_address):
        # Clients die; that is no news.
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


def count(*_):
    global signals
    signals += 1


database().execute("CREATE TABLE IF NOT EXISTS note (number INTEGER PRIMARY KEY)")
signal.signal(signal.SIGUSR1, count)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
Server(
    ("127.0.0.1", int(PORT)), lambda *a: Handler(*a, directory=DIRECTORY)
).serve_forever()
