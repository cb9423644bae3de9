# SPDX-License-Identifier: MIT OR Apache-2.0
"""apache2 with its threaded models, worker and event: a parent that makes and
buries children, and in each of these a listener and its workers.  The
children are forks: cogo goes with them, and starts anew in each."""

import asyncio
import gzip
import os
import re
import signal
import ssl

from harness import *
from peers import Meeting, WebClient, client_tls, everyone, self_signed

CHILDREN, THREADS, CLIENTS = 2, 320, 300

need(apache2="apache2-bin", openssl="openssl")

CONFIG = """
ServerRoot {dir}
ServerName localhost
PidFile {dir}/apache.pid
DefaultRuntimeDir {dir}
# Process-shared mutexes in shared memory, which are robust.
Mutex pthread default
Listen 127.0.0.1:{port}
Listen 127.0.0.1:{tls}
User nobody
Group nogroup

LoadModule mpm_{model}_module {modules}/mod_mpm_{model}.so
StartServers {children}
# Room for those of before the restart.
ServerLimit {slots}
ThreadLimit {threads}
ThreadsPerChild {threads}
MaxRequestWorkers {most}
MinSpareThreads {most}
MaxSpareThreads {most}
ListenBacklog 1000

LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule alias_module {modules}/mod_alias.so
LoadModule deflate_module {modules}/mod_deflate.so
LoadModule filter_module {modules}/mod_filter.so
LoadModule headers_module {modules}/mod_headers.so
LoadModule mime_module {modules}/mod_mime.so
LoadModule rewrite_module {modules}/mod_rewrite.so
LoadModule socache_shmcb_module {modules}/mod_socache_shmcb.so
LoadModule ssl_module {modules}/mod_ssl.so
LoadModule status_module {modules}/mod_status.so

KeepAlive On
KeepAliveTimeout 30
MaxKeepAliveRequests 0
LogLevel notice
ErrorLog {dir}/error.log
LogFormat "%m %U %>s %B" bare
CustomLog {dir}/access.log bare

TypesConfig /dev/null
AddType text/plain .txt
AddOutputFilterByType DEFLATE text/plain
DocumentRoot {dir}/files
Redirect /moved /10.bin
RewriteEngine On
RewriteRule ^/as/(.*)$ /$1
Header set X-Turn "{turn}"
ExtendedStatus On
<Location /status>
    SetHandler server-status
</Location>
<Location /forbidden>
    Require all denied
</Location>

SSLSessionCache shmcb:{dir}/sessions(512000)
<VirtualHost 127.0.0.1:{tls}>
    SSLEngine On
    SSLCertificateFile {cert}
    SSLCertificateKeyFile {key}
    DocumentRoot {dir}/files
    Header set X-Turn "{turn}"
</VirtualHost>
"""

FILES = {
    "/10.bin": pattern(10, "ten"),
    "/9000.bin": pattern(9000, "more"),
    "/400000.bin": pattern(400_000, "much"),
    "/text.txt": mixed_data(20_000),
}


class Apache:
    def __init__(self, run, model):
        self.run, self.model = run, model
        self.port, self.tls_port = free_port(), free_port()
        self.key, self.cert = self_signed(run)
        self.tls = client_tls(self.cert)
        for path, content in FILES.items():
            run.file("files" + path, content)
        run.log("error.log")
        self.configure("first")

    def configure(self, turn):
        self.config = self.run.file(
            "apache.conf",
            CONFIG.format(
                dir=self.run.dir,
                port=self.port,
                tls=self.tls_port,
                cert=self.cert,
                key=self.key,
                model=self.model,
                modules="/usr/lib/apache2/modules",
                children=CHILDREN,
                slots=CHILDREN * 3,
                threads=THREADS,
                most=CHILDREN * THREADS,
                turn=turn,
            ),
        )

    def start(self):
        self.process = self.run.start(
            "apache2", "-f", self.config, "-D", "FOREGROUND"
        )
        self.process.wait_listening(self.port, self.tls_port)
        self.wait_children()

    def wait_children(self, but=(), count=CHILDREN):
        """Its children, when so many are there and have their workers, and
        none is one of those that were there before."""

        async def workers():
            client = await WebClient.connect(self.port)
            _, _, body = await client.get("/status?auto")
            client.close()
            board = re.search(rb"Scoreboard: (\S+)", body)[1]
            return sum(board.count(c) for c in b"_WKRC")

        def ready():
            children = self.process.children()
            return (
                len(children) >= count
                and not {c.pid for c in children} & set(but)
                and asyncio.run(workers()) >= count * THREADS
                and children
            )

        return wait_for(ready, f"{count} children, all ready")

    def threads(self):
        return sum(
            len(os.listdir(f"/proc/{c.pid}/task")) for c in self.process.children()
        )

    def look(self):
        """Each of the workers is a thread, or under cogo-run is not."""
        threads = self.threads()
        if self.run.under and RUNNER:
            check(threads <= 20 * CHILDREN, threads, "kernel threads")
        else:
            check(threads > CHILDREN * THREADS, threads, "threads")

    def accesses(self):
        log = slurp(self.run.path("access.log")).splitlines()
        return collections.Counter(line for line in log if "/status" not in line)

    def messages(self):
        return self.run.messages(
            slurp(self.run.path("error.log")), (r"^\[.*?\] ", "")
        )


async def work(apache, i, ready):
    tls = i % 3 == 0
    client = await WebClient.connect(
        apache.tls_port if tls else apache.port, apache.tls if tls else None
    )
    for turn in range(3):
        paths = ["/10.bin", "/9000.bin"]
        if turn == 2 and i % 4 == 0:
            paths.append("/400000.bin")
        for path in paths:
            if turn == 1 and not tls:
                status, _, body = await client.get("/as" + path)
            else:
                status, _, body = await client.get(path)
            same((status, body), (200, FILES[path]), path)
        if turn == 0:
            # Everyone has a worker now, or in the event model waits for one.
            await ready.meet()
    status, fields, body = await client.get("/text.txt", "Accept-Encoding: gzip\r\n")
    same((status, fields.get("content-encoding")), (200, "gzip"), "the text")
    same(gzip.decompress(body), FILES["/text.txt"], "the text")
    same((await client.get("/nowhere"))[0], 404, "/nowhere")
    if not tls:
        same((await client.get("/moved"))[0], 302, "/moved")
        same((await client.get("/forbidden"))[0], 403, "/forbidden")
    # Many at once on one connection.
    for path in list(FILES)[:2] * 3:
        client.ask(path)
    for path in list(FILES)[:2] * 3:
        status, fields = await client.head()
        same(await client.body(fields), FILES[path], path)
    client.close()
    return fields["x-turn"]


def load(apache, count, look=None):
    ready = Meeting(count, look)
    return set(asyncio.run(everyone(count, lambda i: work(apache, i, ready))))


async def across(apache, restart):
    """Connections that are there when the server restarts: one in the middle of
    its answer gets the rest of it, one that is idle is closed or served."""
    busy = [await WebClient.connect(apache.port) for _ in range(20)]
    idle = [await WebClient.connect(apache.port) for _ in range(20)]
    for client in busy:
        client.ask("/big.bin")
    heads = [await client.head() for client in busy]
    for client in idle:
        await client.get("/10.bin")
    restart()
    for client in idle:
        try:
            same((await client.get("/10.bin"))[2], FILES["/10.bin"], "after restart")
        except (OSError, asyncio.IncompleteReadError):
            pass
        client.close()
    for client, (status, fields) in zip(busy, heads):
        same(
            (status, await client.body(fields), fields["x-turn"]),
            (200, BIG, "first"),
            "the rest of an answer",
        )
        client.close()


# Beyond what the kernel holds for a connection that does not read.
BIG = pattern(12_000_000, "big")


def life(run, model):
    apache = Apache(run, model)
    run.file("files/big.bin", BIG)
    apache.start()
    process = apache.process
    load(apache, 40)
    children = apache.wait_children()
    before = [child.descriptors() for child in children]
    same(load(apache, CLIENTS, apache.look), {"first"}, "turn")
    # Which of them accepted how many is chance; what stays open must not be.
    for child, kinds in zip(apache.wait_children(), before):
        run.descriptors_return(child, kinds)
    # A line is written after the answer, and before the connection is closed.
    seen = {"accesses": apache.accesses()}

    apache.configure("second")
    old = {child.pid for child in children}
    above = process.descriptors()
    asyncio.run(across(apache, lambda: process.send(signal.SIGUSR1)))
    # The second comes when the parent has counted the idle, seconds later.
    apache.wait_children(but=old, count=1)
    run.descriptors_return(process, above, "restart")
    same(load(apache, 40), {"second"}, "turn")
    new = [child.pid for child in process.children()]
    seen["status"] = process.stop()
    seen["children left"] = [pid for pid in new if os.path.exists(f"/proc/{pid}")]
    seen["pid file"] = os.path.exists(run.path("apache.pid"))
    seen["messages"] = apache.messages()
    seen["stderr"] = run.messages(process.err())
    return seen


@test
def the_workers_of_the_worker_model_serve_three_hundred_clients(run):
    return life(run, "worker")


@test
def the_workers_of_the_event_model_serve_three_hundred_clients(run):
    return life(run, "event")


main()
