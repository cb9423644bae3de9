#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""The echo server as Python's standard library has it: socketserver's, with a thread
for each connection. Only its backlog is larger, or thousands could not come at once.
Takes a port, or a free one; prints "port N", and ends when its standard input does."""
import os
import resource
import socketserver
import sys
import threading


class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        try:
            while data := self.request.recv(4096):
                self.request.sendall(data)
        except ConnectionError:
            pass


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 16384
    disable_nagle_algorithm = True


def end():
    sys.stdin.buffer.read()
    os._exit(0)


_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
with Server(('127.0.0.1', int((sys.argv[1:] or [0])[0])), Echo) as server:
    print('port', server.server_address[1], flush=True)
    threading.Thread(target=end, daemon=True).start()
    server.serve_forever()
