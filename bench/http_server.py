#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Python's http.server as it is, a thread for each connection, on a given port and
the files of the current directory. Only its backlog is larger, or thousands could
not come at once, connections are kept, and an answer's second part does not wait
until its first has been acknowledged."""
import http.server
import sys


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 16384


class Handler(http.server.SimpleHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    disable_nagle_algorithm = True


Server(('127.0.0.1', int(sys.argv[1])), Handler).serve_forever()
