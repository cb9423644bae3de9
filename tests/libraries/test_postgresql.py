# SPDX-License-Identifier: MIT OR Apache-2.0
"""libpq, against PostgreSQL: a process of the server's for each connection."""

from library import *
from peers import self_signed

need(initdb="postgresql", openssl="openssl")

CONFIG = """
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = '{folder}'
max_connections = {most}
shared_buffers = 32MB
ssl = on
ssl_cert_file = '{cert}'
ssl_key_file = '{key}'
# What is told to the disk is not the matter here.
fsync = off
autovacuum = off
# Members make mistakes on purpose.
log_min_messages = log
"""


def serve(run):
    """A server with room for all of them; the folder of its socket, its port."""
    key, cert = self_signed(run)
    folder = run.path("postgresql")
    os.mkdir(folder, 0o700)
    prefix = unprivileged(folder, key, cert)
    data, port = os.path.join(folder, "data"), free_port()
    run.call(
        *("initdb", "--no-sync", "--username=teller", "--auth=trust", "-D", data),
        prefix=prefix,
        bare=True,
        status=0,
    )
    with open(os.path.join(data, "postgresql.conf"), "a") as file:
        file.write(
            CONFIG.format(
                port=port, folder=folder, most=MEMBERS + 20, key=key, cert=cert
            )
        )
    server = run.start("postgres", "-D", data, prefix=prefix, bare=True)
    server.wait_listening(port, seconds=30)
    wait_for(
        lambda: "ready to accept connections" in server.err(),
        "the server to be ready",
        30,
    )
    return server, folder, port


@test(limit=100)
def five_hundred_connections_park_in_libpq(run):
    server, folder, port = serve(run)
    seen = crowd(run, folder, port, seconds=80)
    # Fast shutdown: nobody is connected any more.
    seen["status"] = server.stop(signal.SIGINT)
    same(seen["rows"], str(MEMBERS * 10), "rows")
    same(seen["owners"], str(MEMBERS), "owners")
    return seen


main()
