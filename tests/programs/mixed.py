# SPDX-License-Identifier: MIT OR Apache-2.0
"""Half an hour in the life of a site: MariaDB, stunnel in front of it and of a
Python server, and clients of every kind at once.  What tools/soak runs.

Clients come and go, sit idle, or die in the middle of a word; servers are
restarted, killed, sent signals, and left without a descriptor.  Whatever
happens, each transfer is made exactly once and each answer is the right one:
the clients try again until they have it.  Twice, half way and at the end, all
clients leave, and what the servers have then is compared: coroutines,
descriptors, memory.  No server is restarted between the two.

MIXED_SECONDS is how long it takes under cogo-run (1800); bare it takes a tenth
of that, for what is compared does not depend on time.
"""

import asyncio
import collections
import itertools
import os
import random
import resource
import signal
import sqlite3
import ssl
import time

from harness import *
from mysql import SqlError, connect
from peers import WebClient, client_tls, self_signed
from processes import DUMP

need(
    mariadbd="mariadb-server",
    mariadb_install_db="mariadb-server",
    stunnel4="stunnel4",
    openssl="openssl",
    python3="python3",
)

SECONDS = float(os.environ.get("MIXED_SECONDS", "1800"))
ACCOUNTS = 100
STUCK = 60  # seconds for one answer, whatever is going on
CALM = 5  # seconds after an event during which a client may be cut off
SETTLED = 25  # seconds without a change, more than the site waits for a word
NOTICED = 100  # after which a server has noticed all deaths
DUPLICATE = 1062

CUT_OFF = (OSError, EOFError, asyncio.IncompleteReadError, ssl.SSLError)

TUNNEL = """
pid =
foreground = yes
debug = warning
syslog = no
output = {log}
[sql]
accept = 127.0.0.1:{sql_tls}
connect = 127.0.0.1:{sql}
cert = {cert}
key = {key}
TIMEOUTclose = 2
[web]
accept = 127.0.0.1:{web_tls}
connect = 127.0.0.1:{web}
cert = {cert}
key = {key}
TIMEOUTclose = 2
"""


def transfer(number):
    source = random.Random(number)
    return source.randrange(ACCOUNTS), source.randrange(ACCOUNTS), source.randrange(9)


class Site:
    """The servers, of which each may be another process after a while."""

    def __init__(self, run):
        self.run = run
        self.ports = {
            name: free_port() for name in ("sql", "sql_tls", "web", "web_tls")
        }
        key, cert = self_signed(run)
        self.tls = client_tls(cert)
        log = run.log("stunnel.log")
        self.config = run.file(
            "stunnel.conf", TUNNEL.format(log=log, cert=cert, key=key, **self.ports)
        )
        self.data, self.socket = run.path("data"), run.path("socket")
        self.files = {f"/{n}.bin": pattern(n, n) for n in (0, 1, 5000, 300000)}
        for name, content in self.files.items():
            run.file("site" + name, content)
        self.user = ["--user=root"] if os.geteuid() == 0 else []
        self.me = subprocess.check_output(["id", "-un"], text=True).strip()
        run.call(
            *("mariadb-install-db", "--no-defaults", "--skip-test-db"),
            *(f"--datadir={self.data}", *self.user),
            "--auth-root-authentication-method=socket",
            f"--auth-root-socket-user={self.me}",
            status=0,
        )
        self.log = run.log("mariadb.log")
        self.now = {}  # the process that is each server
        self.ends = collections.defaultdict(set)  # how each has ended

    def start(self, name):
        ports = self.ports
        if name == "sql":
            process = self.run.start(
                *("mariadbd", "--no-defaults", f"--datadir={self.data}", *self.user),
                *(f"--socket={self.socket}", f"--port={ports['sql']}"),
                *("--bind-address=127.0.0.1", "--max-connections=1000"),
                *("--thread-handling=one-thread-per-connection", "--back-log=2000"),
                *("--innodb-buffer-pool-size=16M", "--innodb-lock-wait-timeout=5"),
                *("--innodb-flush-log-at-trx-commit=1", "--thread-cache-size=0"),
                # Most of those who come say nothing sensible.
                *("--max-connect-errors=4000000000", "--connect-timeout=5"),
                *("--wait-timeout=120", f"--log-error={self.log}"),
            )
            listens = [ports["sql"]]
        elif name == "tunnel":
            process = self.run.start("stunnel4", self.config)
            listens = [ports["sql_tls"], ports["web_tls"]]
        else:
            here = os.path.dirname(os.path.abspath(__file__))
            process = self.run.start(
                *(PYTHON, os.path.join(here, "scripts", "site.py"), ports["web"]),
                *(self.run.path("site"), self.run.path("notes.db")),
            )
            listens = [ports["web"]]
        process.wait_listening(*listens, seconds=60)
        self.now[name] = process

    def stop(self, name, number):
        process = self.now[name]
        self.ends[name].add(process.stop(number, 90))

    def restart(self, name, number):
        self.stop(name, number)
        self.start(name)


class Clients:
    """All who want something of a site, until they are told to leave."""

    def __init__(self, site):
        self.site = site
        self.leave = asyncio.Event()
        self.troubled = 0.0  # until then it is no wonder to be cut off
        self.transfers, self.notes = itertools.count(), itertools.count()
        self.done = collections.Counter()
        self.wonders = collections.Counter()
        self.tasks = []

    def trouble(self, seconds=CALM):
        self.troubled = max(self.troubled, time.monotonic() + seconds)

    def begin(self):
        self.leave.clear()
        for kind, count in (
            (self.banker, 40),
            (self.visitor, 60),
            (self.sitter, 100),
            (self.dying, 20),
        ):
            for i in range(count):
                self.tasks.append(asyncio.ensure_future(kind(random.Random(i))))

    async def end(self):
        """Everybody finishes what he is at, and leaves."""
        self.leave.set()
        await asyncio.gather(*self.tasks)
        self.tasks = []

    def look(self):
        """Fails with the first client that has failed."""
        for task in self.tasks:
            if task.done():
                task.result()

    async def insist(self, what, attempt):
        """Tries until it succeeds; between two tries, a moment."""
        begun = time.monotonic()
        while True:
            try:
                return await asyncio.wait_for(attempt(), STUCK * PATIENCE)
            except asyncio.TimeoutError:
                raise Overrun(f"{what} has had no answer for {STUCK} s") from None
            except CUT_OFF as error:
                if min(begun, time.monotonic()) > self.troubled:
                    self.wonders[f"{what}: {type(error).__name__}"] += 1
            self.done["tried again"] += 1
            await asyncio.sleep(0.2)

    async def pause(self, seconds):
        """Returns early when it is time to leave."""
        try:
            await asyncio.wait_for(self.leave.wait(), seconds)
        except asyncio.TimeoutError:
            pass

    # ---- a bank's customers, through the tunnel

    async def banker(self, dice):
        sql = None
        while not self.leave.is_set():
            number = next(self.transfers)

            async def attempt():
                nonlocal sql
                try:
                    if not sql:
                        sql = await connect(
                            self.site.ports["sql_tls"], "teller", "secret", self.site.tls
                        )
                    await self.settle(sql, number)
                except CUT_OFF:
                    if sql:
                        sql.abort()
                    sql = None
                    raise

            await self.insist("a transfer", attempt)
            self.done["transfers"] += 1
            if sql and dice.random() < 0.1:
                await sql.close()
                sql = None
        if sql:
            await sql.close()

    async def settle(self, sql, number):
        """Exactly once, however often it is tried: its number is in a table
        that has each only once."""
        source, target, amount = transfer(number)
        for _ in range(100):
            try:
                await sql.query("BEGIN")
                await sql.query(f"INSERT INTO bank.done VALUES ({number})")
                for account, change in ((source, -amount), (target, amount)):
                    await sql.query(
                        f"UPDATE bank.account SET balance = balance + {change} "
                        f"WHERE id = {account}"
                    )
                await sql.query("COMMIT")
                return
            except SqlError as error:
                if error.code == DUPLICATE:
                    await sql.query("ROLLBACK")
                    return
                if error.code not in (1205, 1213):
                    # A server on its way out says so in many ways.
                    raise ConnectionError(str(error)) from None
                self.done["deadlocks"] += 1
                await sql.query("ROLLBACK")
        raise Failure("deadlocked a hundred times in a row")

    # ---- visitors, half of them through the tunnel

    async def visitor(self, dice):
        tls = dice.random() < 0.5
        while not self.leave.is_set():
            wishes = [self.wish(dice) for _ in range(dice.randrange(1, 9))]

            async def attempt():
                web = await self.web(tls)
                try:
                    while wishes:
                        path, wanted = wishes[-1]
                        status, _, body = await web.get(path)
                        if status != 200 and time.monotonic() < self.troubled:
                            # Python's, when it has no descriptor.
                            raise ConnectionError(f"{path} was answered {status}")
                        same((status, body), (200, wanted), path)
                        wishes.pop()
                        self.done["pages"] += 1
                finally:
                    web.close()

            await self.insist("a page", attempt)
            await self.pause(dice.random())

    async def web(self, tls):
        if tls:
            return await WebClient.connect(self.site.ports["web_tls"], self.site.tls)
        return await WebClient.connect(self.site.ports["web"])

    def wish(self, dice):
        """A path, and what the answer must be."""
        kind = dice.choice(["file", "file", "compute", "fan", "wait", "start", "note"])
        n = dice.randrange(1, 40)
        if kind == "file":
            return dice.choice(list(self.site.files.items()))
        if kind == "compute":
            return f"/compute/{n * 50}", str(
                sum(i * i % 7 for i in range(n * 50))
            ).encode()
        if kind == "fan":
            return f"/fan/{n // 4}", str(sum(i * i for i in range(n // 4))).encode()
        if kind == "start":
            # Each is a process: one in ten is enough.
            if dice.random() < 0.9:
                return f"/wait/{n}", str(n).encode()
            return f"/start/word{n}", f"word{n}".encode()
        if kind == "note":
            n = next(self.notes)
        return f"/{kind}/{n}", str(n).encode()

    # ---- those who sit there, and want one thing at last

    async def sitter(self, dice):
        while not self.leave.is_set():

            async def attempt():
                web = await self.web(dice.random() < 0.5)
                try:
                    # Well before the site has had enough, on any machine.
                    await self.pause(dice.random() * 12)
                    status, _, body = await web.get("/compute/10")
                    same((status, body), (200, b"19"), "what one waited long for")
                finally:
                    web.close()

            await self.insist("who sat there", attempt)
            self.done["sitters"] += 1

    # ---- those who die

    async def dying(self, dice):
        words = [
            b"GET /wait/300 HTTP/1.1\r\nHost: x\r\n\r\n",
            b"GET /300000.bin HTTP/1.1\r\nHost: x\r\n\r\n" * 3,
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + dice.randbytes(60),
            b"\x20\x00\x00\x01" + dice.randbytes(40),
            dice.randbytes(200),
        ]
        while not self.leave.is_set():
            port = dice.choice(list(self.site.ports.items()))
            tls = self.site.tls if "tls" in port[0] and dice.random() < 0.5 else None
            writer = None
            try:
                reader, writer = await asyncio.wait_for(
                    asyncio.open_connection("127.0.0.1", port[1], ssl=tls), STUCK
                )
                word = dice.choice(words)
                writer.write(word[: dice.randrange(len(word) + 1)])
                if dice.random() < 0.5:
                    await asyncio.wait_for(reader.read(dice.randrange(1, 4000)), 0.3)
            except (*CUT_OFF, asyncio.TimeoutError):
                pass
            finally:
                if writer:
                    writer.transport.abort()
            self.done["deaths"] += 1
            await self.pause(dice.random() * 0.3)


async def with_root(site, *statements):
    root = await connect(site.socket, site.me)
    answers = [await root.query(statement) for statement in statements]
    await root.close()
    return answers


class Quiet:
    """What the servers have when nobody is there."""

    def __init__(self, site):
        self.figures = {}
        for name, process in site.now.items():
            self.figures[name] = {
                "coroutines": coroutines(process, site.log),
                "kernel threads": len(os.listdir(f"/proc/{process.pid}/task")),
                "descriptors": process.descriptors(),
                "KiB": int(
                    re.search(r"VmRSS:\s+(\d+)", slurp(f"/proc/{process.pid}/status"))[1]
                ),
            }

    def say(self, when):
        for name, figures in self.figures.items():
            words = ", ".join(
                f"{sum(n.values()) if hasattr(n, 'values') else n} {what}"
                for what, n in figures.items()
            )
            print(f"    figures: {when}, {name}: {words}", flush=True)


def coroutines(process, log):
    """How many there are, from a dump: on stderr, which the database has made
    the same as its log."""
    if not process.dumps:
        return None
    number = rf"process {process.pid}: (\d+) coroutines? and "
    begun = len(re.findall(number, process.err() + slurp(log)))

    def counted():
        counts = re.findall(number, process.err() + slurp(log))
        return counts[begun:] and counts[-1]

    process.send(DUMP)
    return int(wait_for(counted, f"a dump of {process.name}"))


def grown(first, last):
    """What a server has more of than before, in words."""
    for name, figures in last.figures.items():
        was = first.figures[name]
        # A database's own threads come and go, and memory has its pools.
        for what, share, some in (("coroutines", 1, 4), ("KiB", 1.1, 8192)):
            if (figures[what] or 0) > (was[what] or 0) * share + some:
                yield f"{name}: {was[what]} {what}, and then {figures[what]}"
        more = figures["descriptors"] - was["descriptors"]
        # A database opens its tables as they are needed.
        more = {k: n for k, n in more.items() if k in ("socket", "pipe") or n > 2}
        if more:
            yield f"{name}: more descriptors: {more}"


async def squeeze(site, name, seconds):
    """For a while it gets no descriptor any more."""
    pid = site.now[name].pid
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    taken = max(int(fd) for fd in os.listdir(f"/proc/{pid}/fd"))
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (taken + 2, before[1]))
    await asyncio.sleep(seconds)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, before)


async def live(site, clients, seconds):
    """The events, each with its time; returns the two quiet moments."""
    dice = random.Random(7)
    begun = time.monotonic()

    async def until(part):
        """Signals meanwhile, and a look whether all are well."""
        while (now := time.monotonic()) < begun + seconds * part:
            clients.look()
            await asyncio.sleep(min(1, begun + seconds * part - now))
            name, number = dice.choice(
                [
                    ("web", signal.SIGUSR1),
                    ("web", signal.SIGUSR1),
                    ("sql", signal.SIGHUP),
                    ("tunnel", signal.SIGUSR1),
                    ("tunnel", signal.SIGCONT),
                    ("web", signal.SIGWINCH),
                ]
            )
            site.now[name].send(number)
        for process in site.now.values():
            check(process.alive(), process.name, "ended with", process.status)

    async def event(what, *arguments):
        # As long as it takes, and a moment more.
        clients.trouble(1000)
        clients.done[what.__name__] += 1
        if asyncio.iscoroutinefunction(what):
            await what(*arguments)
        else:
            await asyncio.to_thread(what, *arguments)
        clients.troubled = 0
        clients.trouble()

    async def quiet(when):
        """When the dead, too, have been noticed."""
        await clients.end()
        give_up = time.monotonic() + NOTICED * PATIENCE
        settled, since = None, time.monotonic()
        while time.monotonic() < min(since + SETTLED, give_up):
            await asyncio.sleep(0.5)
            now = [process.descriptors() for process in site.now.values()]
            if now != settled:
                settled, since = now, time.monotonic()
        moment = await asyncio.to_thread(Quiet, site)
        moment.say(when)
        return moment

    # A reload closes the ports for a moment.
    reload = lambda: site.now["tunnel"].send(signal.SIGHUP)
    reload.__name__ = "reload"

    clients.begin()
    for part, what, *arguments in (
        (0.04, site.restart, "web", signal.SIGTERM),
        (0.08, site.restart, "tunnel", signal.SIGTERM),
        (0.12, squeeze, site, "web", 3),
        (0.16, site.restart, "sql", signal.SIGTERM),
        (0.20, squeeze, site, "tunnel", 3),
        (0.24, site.restart, "sql", signal.SIGKILL),
        (0.28, reload),
        (0.32, site.restart, "web", signal.SIGKILL),
        (0.36, site.restart, "tunnel", signal.SIGKILL),
        (0.40, squeeze, site, "sql", 3),
    ):
        await until(part)
        await event(what, *arguments)
    await until(0.5)
    first = await quiet("half way")
    clients.begin()
    for n in range(1, 10):
        await until(0.5 + n * 0.05)
        if n % 3 == 2:
            await event(reload)
        else:
            await event(squeeze, site, "web" if n % 2 else "tunnel", 3)
    await until(1)
    return first, await quiet("at the end")


@test(limit=SECONDS + 600)
def a_site_lives_through_everything(run):
    site = Site(run)
    for name in ("sql", "web", "tunnel"):
        site.start(name)
    seconds = SECONDS if run.under else SECONDS / 10

    async def all_of_it():
        await with_root(
            site,
            "CREATE DATABASE bank",
            "CREATE TABLE bank.account (id INT PRIMARY KEY, balance BIGINT NOT NULL)",
            "CREATE TABLE bank.done (number INT PRIMARY KEY)",
            "INSERT INTO bank.account VALUES "
            + ",".join(f"({i}, 0)" for i in range(ACCOUNTS)),
            "CREATE USER teller@'127.0.0.1' IDENTIFIED BY 'secret'",
            "CREATE USER teller@localhost IDENTIFIED BY 'secret'",
            "GRANT ALL ON bank.* TO teller@'127.0.0.1'",
            "GRANT ALL ON bank.* TO teller@localhost",
        )
        clients = Clients(site)
        try:
            first, last = await live(site, clients, seconds)
        finally:
            for task in clients.tasks:
                task.cancel()
            await asyncio.gather(*clients.tasks, return_exceptions=True)
        balances, done, tables = await with_root(
            site,
            "SELECT id, balance FROM bank.account ORDER BY id",
            "SELECT count(*), min(number), max(number) FROM bank.done",
            "CHECK TABLE bank.account, bank.done",
        )
        return clients, first, last, balances, done, tables

    clients, first, last, balances, done, tables = asyncio.run(all_of_it())
    counts = ", ".join(f"{n} {what}" for what, n in sorted(clients.done.items()))
    print(f"    figures: {seconds:.0f} s {run.mode}: {counts}", flush=True)

    made = clients.done["transfers"]
    same(done, [(str(made), "0", str(made - 1))], "the transfers that were made")
    model = [0] * ACCOUNTS
    for number in range(made):
        source, target, amount = transfer(number)
        model[source] -= amount
        model[target] += amount
    same([int(b) for _, b in balances], model, "the balances")
    notes = next(clients.notes)  # so many were taken before
    with sqlite3.connect(run.path("notes.db")) as sql:
        same(
            sql.execute("SELECT count(*), max(number) FROM note").fetchone(),
            (notes, notes - 1),
            "the notes",
        )
    more = list(grown(first, last))
    check(not (more and run.under), "growth:", *more)
    for name in ("tunnel", "web", "sql"):
        site.stop(name, signal.SIGTERM)
    return {
        "ends": dict(site.ends),
        "tables": tables,
        "cut off without a reason": dict(clients.wonders),
        "what was done": set(clients.done),
        "what the site complained of": {
            line
            for process in run.processes
            if process.name.startswith("python")
            for line in process.err().splitlines()
            # It is left without a descriptor in any place.
            if re.match(r"\w+(Error|Exception)", line) and "Errno 24" not in line
        },
    }


main()
