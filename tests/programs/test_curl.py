# SPDX-License-Identifier: MIT OR Apache-2.0
"""curl, which makes a thread for every name that it looks up.

Names come from a hosts file and a name server of our own, which curl sees in
place of the machine's: a mount namespace puts them there, for it alone.
"""

import os
import socket
import threading

from harness import *
from peers import Peers, self_signed, server_tls

NAMES = 100
AT_ONCE = 20

need(curl="curl", openssl="openssl", unshare="util-linux")


def namespace(run, *servers):
    """A command prefix that gives its program our hosts and resolv.conf."""
    hosts = ["127.0.0.1 localhost", "::1 six.cogo.test", "127.0.0.1 both.cogo.test"]
    hosts += ["::1 both.cogo.test"]
    hosts += [f"127.0.0.1 h{i}.cogo.test" for i in range(NAMES)]
    ours = run.file("hosts", "\n".join(hosts) + "\n")
    # Where no server is, nobody listens: a lookup fails at once.
    servers = servers or ("127.0.0.1",)
    lines = [f"nameserver {s}" for s in servers] + ["options timeout:20 attempts:1"]
    resolv = run.file("resolv.conf", "\n".join(lines) + "\n")
    names = run.file("nsswitch.conf", "hosts: files dns\n")
    mount = " && ".join(
        f"mount --bind {new} $(readlink -f /etc/{os.path.basename(new)})"
        for new in (ours, resolv, names)
    )
    prefix = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["-r"])]
    prefix += ["sh", "-c", f'{mount} && exec "$@"', "sh"]
    if subprocess.run([*prefix, "true"], stderr=subprocess.DEVNULL).returncode:
        skip("no mount namespace of its own for curl to be had here")
    return prefix


class NameServer(threading.Thread):
    """Answers every name with 127.0.0.1, but only when AT_ONCE names have been
    asked for: so many lookups must be able to wait together."""

    def __init__(self):
        super().__init__(daemon=True)
        self.address = (
            f"127.{os.getpid() // 256 % 200 + 1}.{os.getpid() % 250 + 1}.53"
        )
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((self.address, 53))
        self.asked = set()
        self.start()

    def run(self):
        held = []
        while True:
            packet, client = self.socket.recvfrom(512)
            if packet == b"end":
                return
            held.append((packet, client))
            self.asked.add(self.question(packet)[0])
            if len(self.asked) >= AT_ONCE:
                for packet, client in held:
                    self.socket.sendto(self.answer(packet), client)
                held = []

    @staticmethod
    def question(packet):
        """(name, type, the bytes of the question)"""
        at, labels = 12, []
        while size := packet[at]:
            labels.append(packet[at + 1 : at + 1 + size].decode())
            at += size + 1
        kind = int.from_bytes(packet[at + 1 : at + 3], "big")
        return ".".join(labels), kind, packet[12 : at + 5]

    def answer(self, packet):
        _, kind, question = self.question(packet)
        head = packet[:2] + b"\x85\x80\x00\x01"
        if kind != 1:  # only addresses of version 4 exist
            return head + bytes(6) + question
        record = b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\x7f\0\0\x01"
        return head + b"\0\x01\0\0\0\0" + question + record

    def end(self):
        self.socket.sendto(b"end", self.socket.getsockname())
        self.join(5)
        self.socket.close()


def curl(run, *words, **options):
    done = run.call("curl", "-sS", "--no-progress-meter", *words, **options)
    # Times and ports are part of some messages.
    return done.status, sorted(run.messages(done.err)), done.out


@test
def a_name_is_looked_up_whatever_becomes_of_it(run):
    files = {"/one": pattern(100_000, 1).hex().encode(), "/two": b"2"}
    with Peers() as peers:
        port, prefix = peers.http(files), namespace(run)
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            refused = unused.getsockname()[1]
            seen = {
                "found": curl(
                    run, f"http://h7.cogo.test:{port}/one", prefix=prefix
                ),
                "twice": curl(
                    run,
                    *(f"http://h{i}.cogo.test:{port}/two" for i in (1, 2, 1)),
                    prefix=prefix,
                ),
                "both families": curl(
                    run, f"http://both.cogo.test:{port}/one", prefix=prefix
                ),
                "other family": curl(
                    run, f"http://six.cogo.test:{port}/one", prefix=prefix
                ),
                "not found": curl(run, "http://missing.cogo.test/", prefix=prefix),
                "not a name": curl(run, "http://a..b/", prefix=prefix),
                "refused": curl(
                    run, f"http://h3.cogo.test:{refused}/one", prefix=prefix
                ),
                "404": curl(
                    run, "-f", f"http://h4.cogo.test:{port}/none", prefix=prefix
                ),
            }
    same(seen["found"][2].encode(), files["/one"], "what curl printed")
    same(
        [seen[k][0] for k in ("not found", "not a name", "refused")],
        [6, 6, 7],
        "exit",
    )
    return seen


@test
def a_hundred_names_at_once_bring_every_byte(run):
    files = {f"/{i}": pattern(i * 900, i) for i in range(NAMES)}
    with Peers() as peers:
        port, prefix = peers.http(files), namespace(run)
        words = []
        for i in range(NAMES):
            words += [
                f"http://h{i}.cogo.test:{port}/{i}",
                "-o",
                run.path(f"got.{i}"),
            ]
        many = ["--parallel", "--parallel-immediate", "--parallel-max", NAMES]
        result = curl(run, *many, *words, prefix=prefix)
        for path, content in files.items():
            with open(run.path(f"got.{path[1:]}"), "rb") as file:
                same(file.read(), content, path)
        # One name, many times: the lookups of one transfer end in others.
        again = curl(
            run,
            *("--parallel", "--parallel-max", 30, "-o", run.path("again.#1")),
            f"http://h0.cogo.test:{port}/[0-99]",
            prefix=prefix,
        )
        for i in range(NAMES):
            with open(run.path(f"again.{i}"), "rb") as file:
                same(file.read(), files[f"/{i}"], f"/{i}, again")
        return {"result": result, "again": again, "asked": sorted(peers.asked)}


@test
def lookups_wait_for_a_slow_name_server_together(run):
    try:
        server = NameServer()
    except OSError as error:
        print(f"    left out: a name server on port 53 ({error})")
        return {}
    try:
        with Peers() as peers:
            port = peers.http({"/": b"here"})
            words = [f"http://n{i}.slow.test:{port}/" for i in range(AT_ONCE)]
            result = curl(
                run,
                *("--parallel", "--parallel-immediate", "--parallel-max", AT_ONCE),
                *words,
                prefix=namespace(run, server.address),
                seconds=30,
            )
    finally:
        server.end()
    same(result, (0, [], "here" * AT_ONCE), "curl")
    return {"result": result, "asked": server.asked}


@test
def uploads_tls_and_time_limits_behave(run):
    data = pattern(3_000_000, 5)
    key, certificate = self_signed(run)
    upload = run.file("upload", data)
    with Peers() as peers, socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(8)
        prefix = namespace(run)
        plain = peers.http({})
        secure = peers.http({"/s": data}, server_tls(certificate, key))
        to = run.path("download")
        seen = {
            "put": curl(
                run,
                "-T",
                upload,
                f"http://h1.cogo.test:{plain}/",
                "-o",
                to,
                prefix=prefix,
            )
        }
        with open(to, "rb") as file:
            same(file.read(), data, "what was sent up")
        resolve = f"localhost:{secure}:127.0.0.1"
        url = f"https://localhost:{secure}/s"
        words = ("--cacert", certificate, "--resolve", resolve, url, "-o", to)
        seen["tls"] = curl(run, *words, prefix=prefix)
        with open(to, "rb") as file:
            same(file.read(), data, "what came through TLS")
        seen["tls distrusted"] = curl(run, url, prefix=prefix)[0]
        seen["no answer"] = curl(
            run,
            *("-m", "0.3", f"http://h1.cogo.test:{silent.getsockname()[1]}/"),
            prefix=prefix,
        )[0]
    same(seen["no answer"], 28, "exit status after the time limit")
    return seen


main()
