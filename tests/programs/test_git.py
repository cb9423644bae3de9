# SPDX-License-Identifier: MIT OR Apache-2.0
"""git, whose pack-objects and index-pack divide their work among threads,
against a server with a thread per client that starts `git http-backend`."""

import os

from harness import *

HERE = os.path.dirname(os.path.abspath(__file__))
SERVER = os.path.join(HERE, "scripts", "git_server.py")

need(git="git", python3="python3")

THREADS = 4
COMMITS = 40

IDENTITY = {
    "GIT_AUTHOR_NAME": "A",
    "GIT_AUTHOR_EMAIL": "a@localhost",
    "GIT_COMMITTER_NAME": "C",
    "GIT_COMMITTER_EMAIL": "c@localhost",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
}

CONFIG = f"""
[pack]
    threads = {THREADS}
[index]
    threads = {THREADS}
[grep]
    threads = {THREADS}
[core]
    preloadIndex = true
[gc]
    auto = 0
[http]
    receivepack = true
[safe]
    directory = *
[advice]
    detachedHead = false
[checkout]
    workers = {THREADS}
    thresholdForParallelism = 1
"""


def history():
    """For `git fast-import`: many files that change a little at a time."""
    parts, text = [], mixed_data(200_000)
    for n in range(COMMITS):
        parts.append(
            b"commit refs/heads/main\n"
            b"committer C <c@localhost> %d +0000\ndata 8\ncommit%02d\n"
            % (1_700_000_000 + n, n)
        )
        for i in range(20):
            name = b"dir%d/file%d.txt" % (i % 7, (i + n * 3) % 90)
            at = (i + n * 3) * 1000
            data = text[at : at + 3000 + i * 300] + b"turn %d\n" % n
            parts.append(b"M 100644 inline %s\ndata %d\n%s\n" % (name, len(data), data))
    return b"".join(parts)


HISTORY = history()


class Git:
    def __init__(self, run):
        self.run = run
        run.file(".gitconfig", CONFIG)  # HOME is this folder

    def call(self, *words, status=0, bare=False, **options):
        done = self.run.call(
            "git", *words, env=IDENTITY, bare=bare, status=status, **options
        )
        return done.out

    def contents(self, folder):
        """Of all the history, by names that are made of what is in it."""
        return (
            self.call("-C", folder, "rev-parse", "main", bare=True),
            self.call("-C", folder, "rev-list", "--count", "--all", bare=True),
        )


def serve(run, root):
    port = free_port()
    server = run.start(PYTHON, SERVER, port, root, env=IDENTITY)
    server.wait_listening(port)
    return server, f"http://127.0.0.1:{port}"


@test
def what_threads_pack_and_index_is_whole_after_clone_fetch_and_push(run):
    git = Git(run)
    root = run.path("root")
    source = os.path.join(root, "source.git")
    git.call("init", "-q", "--bare", "-b", "main", source, bare=True)
    git.call("-C", source, "fast-import", "--quiet", input=HISTORY, bare=True)
    seen = {"repacked": git.call("-C", source, "repack", "-q", "-a", "-d", "-f")}
    git.call("-C", source, "update-server-info")
    wanted = git.contents(source)
    server, url = serve(run, root)

    # By the protocol, through programs that the server starts.
    seen["refs"] = git.call("ls-remote", f"{url}/git/source.git").split()[1::2]
    before = server.descriptors()
    clones = []
    for i in range(4):
        clones.append(
            run.start(
                *("git", "clone", "-q", f"{url}/git/source.git", f"clone{i}"),
                env=IDENTITY,
            )
        )
    for i, clone in enumerate(clones):
        same((clone.wait(), clone.err()), (0, ""), "clone")
        same(git.contents(f"clone{i}"), wanted, "what was cloned")
    seen["fsck"] = git.call("-C", "clone0", "fsck", "--full", "--strict")
    # Its files, as they lie there.
    git.call("clone", "-q", f"{url}/plain/source.git", "plain")
    same(git.contents("plain"), wanted, "what was cloned from files")

    # Something new goes there, and to the others.
    run.file("clone0/new.txt", mixed_data(400_000, "new"))
    git.call("-C", "clone0", "add", "new.txt")
    git.call("-C", "clone0", "commit", "-q", "-m", "new", bare=True)
    git.call("-C", "clone0", "push", "-q", "origin", "main")
    same(git.contents(source)[0], git.contents("clone0")[0], "what was pushed")
    git.call("-C", "clone1", "pull", "-q", "--ff-only")
    same(git.contents("clone1"), git.contents("clone0"), "what was pulled")

    # Threads that only read.
    seen["status"] = git.call("-C", "clone1", "status", "--porcelain")
    seen["grep"] = git.call("-C", "clone1", "grep", "-c", "turn")
    packs = run.path("clone2", ".git/objects/pack")
    (pack,) = [name for name in os.listdir(packs) if name.endswith(".pack")]
    # A pack's name is made of what is in it.
    indexed = git.call(
        *("index-pack", f"--threads={THREADS}", "-o", run.path("again.idx")),
        os.path.join(packs, pack),
    )
    same(indexed.split(), [pack[5:-5]], "what was indexed")
    seen["verified"] = git.call("verify-pack", os.path.join(packs, pack))
    run.descriptors_return(server, before)
    seen["server"] = server.stop()
    return seen


main()
