# SPDX-License-Identifier: MIT OR Apache-2.0
"""git over http: PORT ROOT.  /git/ is answered by `git http-backend`, which is
started for each request; /plain/ with the files as they lie there.  A thread
for each client; ends on SIGTERM."""

import os
import signal
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ROOT = sys.argv[2]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, fields, body):
        self.send_response(status)
        for name, value in fields:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def sent(self):
        if self.headers.get("Transfer-Encoding") == "chunked":
            whole = b""
            while size := int(self.rfile.readline(), 16):
                whole += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return whole
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def backend(self, path, query):
        body = self.sent()
        environment = {
            **os.environ,
            "GIT_PROJECT_ROOT": ROOT,
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "REMOTE_ADDR": "127.0.0.1",
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
        }
        done = subprocess.run(
            ["git", "http-backend"],
            input=body,
            env=environment,
            stdout=subprocess.PIPE,
            check=True,
        )
        head, _, body = done.stdout.partition(b"\r\n\r\n")
        fields = [line.split(": ", 1) for line in head.decode().split("\r\n")]
        status = dict(fields).get("Status", "200 OK")
        fields = [f for f in fields if f[0] not in ("Status", "Content-Length")]
        self.answer(int(status.split()[0]), fields, body)

    def do_GET(self):
        path, _, query = self.path.partition("?")
        if path.startswith("/git/"):
            self.backend(path[4:], query)
            return
        try:
            with open(ROOT + path[6:], "rb") as file:
                self.answer(200, [("Content-Type", "text/plain")], file.read())
        except OSError:
            self.answer(404, [], b"")

    do_POST = do_GET


class Server(ThreadingHTTPServer):
    request_queue_size = 100


server = Server(("127.0.0.1", int(sys.argv[1])), Handler)
# shutdown() waits for the loop that the handler interrupts.
signal.signal(
    signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start()
)
server.serve_forever()
server.server_close()
