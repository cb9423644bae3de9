# SPDX-License-Identifier: MIT OR Apache-2.0
"""nginx with two worker processes, each an event loop, and a pool of threads in
each of them that reads from the disk while the loop goes on.  The workers are
forks of the master, and make their threads after that."""

import asyncio
import os
import signal

from harness import *
from peers import Meeting, WebClient, everyone

WORKERS, THREADS, CLIENTS = 2, 16, 300

need(nginx="nginx-light")

CONFIG = """
daemon off;
{user}
worker_processes {workers};
pid {dir}/nginx.pid;
error_log {dir}/error.log notice;
thread_pool disk threads={threads} max_queue=65536;
events {{
    worker_connections 2048;
}}
http {{
    default_type application/octet-stream;
    log_format bare '$request_method $uri $status $body_bytes_sent';
    access_log {dir}/access.log bare;
    client_body_temp_path {dir}/tmp;
    proxy_temp_path {dir}/tmp;
    fastcgi_temp_path {dir}/tmp;
    uwsgi_temp_path {dir}/tmp;
    scgi_temp_path {dir}/tmp;
    keepalive_timeout 60;
    keepalive_requests 10000;
    add_header X-Turn {turn} always;
    aio threads=disk;
    server {{
        listen 127.0.0.1:{port} backlog=1000;
        root {dir}/files;
        # Read by the pool into buffers, and written from there.
        location /read/ {{
            alias {dir}/files/;
            sendfile off;
            output_buffers 2 64k;
        }}
        # The pool calls sendfile() itself.
        location /send/ {{
            alias {dir}/files/;
            sendfile on;
            sendfile_max_chunk 256k;
        }}
        # What comes from behind is written to a file by the pool.
        location /behind/ {{
            aio_write on;
            proxy_pass http://127.0.0.1:{port}/read/;
            proxy_buffers 4 8k;
            proxy_busy_buffers_size 8k;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }}
    }}
}}
"""

FILES = {
    "10.bin": pattern(10, "ten"),
    "9000.bin": pattern(9000, "more"),
    "300000.bin": pattern(300_000, "much"),
}
# Beyond what the kernel holds for a connection that does not read.
BIG = pattern(12_000_000, "big")


class Nginx:
    def __init__(self, run):
        self.run, self.port = run, free_port()
        for name, content in (*FILES.items(), ("big.bin", BIG)):
            run.file("files/" + name, content)
        run.log("error.log")
        self.configure("first")

    def configure(self, turn):
        self.config = self.run.file(
            "nginx.conf",
            CONFIG.format(
                dir=self.run.dir,
                port=self.port,
                workers=WORKERS,
                threads=THREADS,
                turn=turn,
                user="user nobody nogroup;" if os.geteuid() == 0 else "",
            ),
        )

    def start(self):
        self.process = self.run.start(
            *("nginx", "-c", self.config, "-p", self.run.dir),
            *("-e", self.run.path("error.log")),
        )
        self.process.wait_listening(self.port)
        return self.workers()

    def workers(self, but=()):
        """When all are there, and none of those that were there before."""

        def ready():
            children = self.process.children()
            return (
                len(children) == WORKERS
                and not {c.pid for c in children} & set(but)
                and children
            )

        return wait_for(ready, f"{WORKERS} workers")

    def accesses(self):
        return collections.Counter(slurp(self.run.path("access.log")).splitlines())

    def messages(self):
        return self.run.messages(
            slurp(self.run.path("error.log")),
            (r"^\S+ \S+ ", ""),
            (r"^(\[warn\].* is buffered to a temporary file).*", r"\1"),
            # The one that the signal found first.
            (r"signal \d+ \(SIGCHLD\) received from \d+", "SIGCHLD"),
        )


async def work(nginx, i, ready, rounds=3):
    client = await WebClient.connect(nginx.port)
    await client.get("/10.bin")
    await ready.meet()
    for turn in range(rounds):
        for name, content in FILES.items():
            if len(content) > 100_000 and (i + turn) % 3:
                continue
            for way in ("read", "send", "behind"):
                status, _, body = await client.get(f"/{way}/{name}")
                same((status, body), (200, content), f"/{way}/{name}")
    # Many at once on one connection.
    for way in ("read", "send") * 3:
        client.ask(f"/{way}/9000.bin")
    for way in ("read", "send") * 3:
        status, fields = await client.head()
        same(await client.body(fields), FILES["9000.bin"], way)
    # Nobody leaves while nginx has yet to hear from its pool that all was sent:
    # it would count nothing as sent.
    status, fields, _ = await client.get("/read/nowhere")
    same(status, 404, "/read/nowhere")
    client.close()
    return fields["x-turn"]


def load(nginx, count):
    ready = Meeting(count)
    return set(asyncio.run(everyone(count, lambda i: work(nginx, i, ready))))


async def across(nginx, reload):
    """Those in the middle of an answer get the rest of it from the workers of
    before; those that are idle are closed or served."""
    busy = [await WebClient.connect(nginx.port) for _ in range(30)]
    idle = [await WebClient.connect(nginx.port) for _ in range(30)]
    for i, client in enumerate(busy):
        client.ask("/read/big.bin" if i % 2 else "/send/big.bin")
    heads = [await client.head() for client in busy]
    for client in idle:
        await client.get("/10.bin")
    reload()
    for client in idle:
        try:
            same((await client.get("/10.bin"))[2], FILES["10.bin"], "after reload")
        except (OSError, asyncio.IncompleteReadError):
            pass
        client.close()

    async def rest(i):
        status, fields = heads[i]
        same(
            (status, await busy[i].body(fields), fields["x-turn"]),
            (200, BIG, "first"),
            "the rest of an answer",
        )
        busy[i].close()

    await everyone(len(busy), rest)


def threads(children):
    return sum(len(os.listdir(f"/proc/{c.pid}/task")) for c in children)


@test
def three_hundred_clients_are_served_by_the_pools_and_across_a_reload(run):
    nginx = Nginx(run)
    workers = nginx.start()
    process = nginx.process
    load(nginx, 40)
    before = [worker.descriptors() for worker in workers]
    same(load(nginx, CLIENTS), {"first"}, "turn")
    if not run.under:
        check(threads(workers) > WORKERS * THREADS, "there is no pool")
    for worker, kinds in zip(workers, before):
        run.descriptors_return(worker, kinds)
    seen = {"accesses": nginx.accesses()}

    nginx.configure("second")
    above = process.descriptors()
    old = {worker.pid for worker in workers}
    asyncio.run(across(nginx, lambda: process.send(signal.SIGHUP)))
    workers = nginx.workers(but=old)
    run.descriptors_return(process, above, "reload")
    same(load(nginx, 40), {"second"}, "turn")
    # Logs turned over, and then a stop that lets everybody finish.
    os.rename(run.path("access.log"), run.path("access.old"))
    process.send(signal.SIGUSR1)
    wait_for(lambda: os.path.exists(run.path("access.log")), "the new log")
    seen["status"] = process.stop(signal.SIGQUIT)
    seen["workers left"] = [w.pid for w in workers if os.path.exists(f"/proc/{w.pid}")]
    seen["pid file"] = os.path.exists(run.path("nginx.pid"))
    seen["messages"] = nginx.messages()
    seen["stderr"] = run.messages(process.err())
    return seen


@test
def it_ends_at_once_on_term_though_the_pools_are_at_work(run):
    nginx = Nginx(run)
    workers = nginx.start()

    async def begun():
        clients = [await WebClient.connect(nginx.port) for _ in range(60)]
        for i, client in enumerate(clients):
            client.ask("/read/big.bin" if i % 2 else "/send/big.bin")
        for client in clients:
            same((await client.head())[0], 200, "status")
        status = nginx.process.stop()
        for client in clients:
            client.close()
        return status

    return {
        "status": asyncio.run(begun()),
        "workers left": [w.pid for w in workers if os.path.exists(f"/proc/{w.pid}")],
        "pid file": os.path.exists(run.path("nginx.pid")),
        "stderr": run.messages(nginx.process.err()),
    }


main()
