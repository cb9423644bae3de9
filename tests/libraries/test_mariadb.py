# SPDX-License-Identifier: MIT OR Apache-2.0
"""libmariadb, against mariadb-server."""

from library import *
from peers import self_signed

need(
    mariadbd="mariadb-server",
    mariadb_install_db="mariadb-server",
    openssl="openssl",
)

FIRST = """
CREATE DATABASE bank;
CREATE USER teller@localhost IDENTIFIED BY 'secret';
CREATE USER teller@'127.0.0.1' IDENTIFIED BY 'secret';
GRANT ALL ON *.* TO teller@localhost;
GRANT ALL ON *.* TO teller@'127.0.0.1';
"""


def serve(run):
    """A server with room for all of them; its socket, port and certificate."""
    key, cert = self_signed(run)
    folder = run.path("mariadb")
    os.mkdir(folder, 0o700)
    prefix = unprivileged(folder, key, cert)
    data, socket = os.path.join(folder, "data"), os.path.join(folder, "socket")
    port = free_port()
    first = run.file("first.sql", FIRST)
    run.call(
        *("mariadb-install-db", "--no-defaults", "--skip-test-db"),
        f"--datadir={data}",
        env={"TMPDIR": folder},
        prefix=prefix,
        bare=True,
        status=0,
    )
    server = run.start(
        *("mariadbd", "--no-defaults", f"--datadir={data}", f"--socket={socket}"),
        *(f"--port={port}", "--bind-address=127.0.0.1", "--skip-name-resolve"),
        *(f"--max-connections={MEMBERS + 20}", "--back-log=1000", "--connect-timeout=90"),
        *("--innodb-buffer-pool-size=64M", f"--init-file={first}"),
        # What is told to the disk is not the matter here.
        "--innodb-flush-log-at-trx-commit=0",
        *(f"--ssl-cert={cert}", f"--ssl-key={key}"),
        env={"TMPDIR": folder},
        prefix=prefix,
        bare=True,
    )
    server.wait_listening(port, seconds=30)
    wait_for(
        lambda: "ready for connections" in server.err(),
        "the server to be ready",
        30,
    )
    return server, socket, port, cert


@test(limit=100)
def five_hundred_connections_park_in_libmariadb(run):
    server, *how = serve(run)
    seen = crowd(run, *how, seconds=80)
    seen["status"] = server.stop(seconds=30)
    same(seen["rows"], str(MEMBERS * 10), "rows")
    same(seen["owners"], str(MEMBERS), "owners")
    return seen


main()
