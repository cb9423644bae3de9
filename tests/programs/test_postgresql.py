# SPDX-License-Identifier: MIT OR Apache-2.0
"""PostgreSQL, a process for each connection, all forks of one that has cogo in
it, and pgbench, a client with threads."""

import os
import re
import signal

from harness import *

need(initdb="postgresql", pgbench="postgresql", psql="postgresql-client")

CLIENTS, THREADS, TRANSACTIONS = 24, 4, 12

CONFIG = """
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = '{folder}'
max_connections = 60
shared_buffers = 16MB
logging_collector = off
log_line_prefix = ''
# What is told to the disk is not the matter here.
fsync = off
# A query is shared among processes that are made for it.
max_parallel_workers_per_gather = 2
min_parallel_table_scan_size = 0
parallel_setup_cost = 0
parallel_tuple_cost = 0
"""

# What pgbench says of time and speed.
FIGURES = re.compile(
    r"^(latency|(initial|average) connection|tps|number of failed|done in|"
    r"progress|.*\bof \d+ tuples)"
)


class Postgres:
    def __init__(self, run):
        self.run, self.port = run, free_port()
        self.folder = run.path("postgresql")
        os.mkdir(self.folder, 0o700)
        self.prefix = unprivileged(self.folder)
        self.data = os.path.join(self.folder, "data")
        # Under cogo-run as well; it starts the server a few times by itself.
        done = run.call(
            *("initdb", "--no-sync", "--username=teller", "--auth=trust"),
            *("--no-instructions", "--encoding=UTF8", "-D", self.data),
            prefix=self.prefix,
            status=0,
        )
        self.made = run.messages(done.out + done.err)
        with open(os.path.join(self.data, "postgresql.conf"), "a") as file:
            file.write(CONFIG.format(port=self.port, folder=self.folder))

    def start(self):
        self.process = self.run.start("postgres", "-D", self.data, prefix=self.prefix)
        self.process.wait_listening(self.port)
        wait_for(
            lambda: "ready to accept connections" in self.process.err(),
            "the server to be ready",
        )
        return self.process

    def call(self, program, *words, **options):
        return self.run.call(
            *(program, "-h", "127.0.0.1", "-p", self.port, "-U", "teller"),
            *words,
            **options,
        )

    def query(self, text):
        done = self.call(
            "psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "postgres",
            input=text, status=0,
        )
        return done.out.split("\n")[:-1]

    def bench(self, *words):
        done = self.call("pgbench", "-n", *words, "postgres")
        said = (done.out + done.err).splitlines()
        return done.status, [line for line in said if not FIGURES.match(line)]

    def processes(self):
        """What the server has made: the pid of each, by what it calls itself."""
        return {
            c.pid: re.sub(r"^postgres: ", "", proc(c.pid, "cmdline")).strip()
            for c in self.process.children()
        }

    def settled(self):
        """Those of clients have ended; what is left are its own helpers."""

        def names():
            kinds = sorted(self.processes().values())
            ends = [k for k in kinds if not k or "teller" in k or "parallel" in k]
            return not ends and kinds

        kinds = wait_for(names, "the processes of clients to end")
        # This one comes and goes.
        return [k for k in kinds if "autovacuum worker" not in k]

    def sleeper(self):
        """A client in the middle of a query, and nobody else: the client and the
        pid of its process at the server."""

        def alone():
            clients = [(p, k) for p, k in self.processes().items() if "teller" in k]
            return len(clients) == 1 and clients[0][1].endswith("SELECT") and clients

        client = self.run.start(
            *("psql", "-X", "-h", "127.0.0.1", "-p", self.port, "-U", "teller"),
            *("-c", "set statement_timeout = 0", "-c", "select pg_sleep(60)"),
            "postgres",
        )
        return client, wait_for(alone, "the sleeper to be alone")[0][0]

    def complaints(self):
        lines = self.process.err().splitlines()
        return {l for l in lines if re.match(r"(ERROR|FATAL|PANIC|WARNING)", l)}


def keeps_its_balance(run, bank, server):
    seen = {"filled": bank.bench("-i", "-I", "dtgp", "-s", 1)}
    seen["helpers"] = bank.settled()
    before = server.descriptors()
    seen["bench"] = bank.bench(
        *("-c", CLIENTS, "-j", THREADS, "-t", TRANSACTIONS, "-M", "prepared")
    )
    # Each transaction with a connection, and so a process, of its own.
    seen["connections"] = bank.bench("-c", 8, "-j", THREADS, "-t", 4, "-C", "-S")
    seen["balance"] = bank.query(
        """
        select count(*) from pgbench_history;
        select (select sum(abalance) from pgbench_accounts) = total,
               (select sum(tbalance) from pgbench_tellers) = total,
               (select sum(bbalance) from pgbench_branches) = total
          from (select sum(delta) total from pgbench_history) t;
        select count(*), sum(hashtext(aid::text)) from pgbench_accounts;
        """
    )
    same(
        seen["balance"][:2],
        [str(CLIENTS * TRANSACTIONS), "t|t|t"],
        "transactions and balance",
    )
    # Added up by three processes, in memory that they share.
    seen["parallel"] = bank.query(
        "select count(*), sum(aid) from pgbench_accounts where aid % 3 = 0;"
    )
    seen["helpers after"] = bank.settled()
    run.descriptors_return(server, before)
    return seen


def is_told_and_recovers(run, bank, server):
    seen = {}
    with open(os.path.join(bank.data, "postgresql.conf"), "a") as file:
        file.write("statement_timeout = 500\n")
    server.send(signal.SIGHUP)
    wait_for(lambda: bank.query("show statement_timeout;") == ["500ms"], "the reload")
    # The timer's signal, in the middle of a wait.
    late = bank.call("psql", "-X", "-c", "select pg_sleep(30)", "postgres")
    seen["timeout"] = (late.status, late.err)
    # One is killed: all others are told to go, and the server begins anew.
    client, pid = bank.sleeper()
    ready = server.err().count("ready to accept connections")
    os.kill(pid, signal.SIGKILL)
    seen["killed"] = client.wait()
    wait_for(
        lambda: server.err().count("ready to accept connections") > ready,
        "the recovery",
    )
    seen["rows"] = bank.query("select count(*) from pgbench_history;")
    # Fast shutdown, with a client in the middle of a query.
    client, _ = bank.sleeper()
    seen["status"] = server.stop(signal.SIGINT)
    seen["sleeper"] = client.wait(), client.err()
    return seen


@test
def a_bank_of_many_clients_keeps_its_balance_and_recovers(run):
    bank = Postgres(run)
    seen = {"initdb": bank.made}
    server = bank.start()
    seen["bank"] = keeps_its_balance(run, bank, server)
    # The one that waits for clients; the fast one is SIGINT's.
    seen["status"] = server.stop(signal.SIGTERM)
    seen["pid file"] = os.path.exists(os.path.join(bank.data, "postmaster.pid"))
    seen["complaints"] = bank.complaints()
    server = bank.start()
    seen["recovery"] = is_told_and_recovers(run, bank, server)
    seen["more complaints"] = bank.complaints()
    return seen


main()
