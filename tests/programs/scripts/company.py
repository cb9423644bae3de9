# SPDX-License-Identifier: MIT OR Apache-2.0
"""Many threads that each do what a preloaded library stands in front of; argv[1]
says what."""

import os
import pwd
import socket
import sys
import threading

MANY = 40


def memory(i):
    """Lists that are made in one thread and let go in another."""
    for n in range(20):
        kept[i] = [bytes(j * 17 % 5000) for j in range(200)]
        kept[(i + n) % MANY] = None


def disk(i):
    with open(f"file{i}", "wb") as f:
        f.write(bytes(100))
        f.flush()
        os.fsync(f.fileno())
        os.fdatasync(f.fileno())


def owner(i):
    """A file that is given away, as root alone may."""
    with open(f"file{i}", "w"):
        pass
    os.chown(f"file{i}", 1000 + i, 2000 + i)
    st = os.stat(f"file{i}")
    said.add((i, os.getuid(), st.st_uid, st.st_gid))


def names(i):
    # The wrapper's look into its files is not made for two at once: even bare, one
    # may find nothing.
    with one_at_a_time:
        entry = pwd.getpwnam(f"user{i % 4}")
        where = {a[4][0] for a in socket.getaddrinfo(f"host{i % 4}", 80)}
    said.add((entry.pw_uid, entry.pw_dir, *sorted(where)))


def talk(i):
    """To a listener in this process, at an address that the wrapper alone knows."""
    with socket.create_connection(("127.0.0.10", 7777)) as s:
        s.sendall(b"%d\n" % i)
        said.add(s.makefile().readline())


def answer(listener):
    def one(s):
        with s, s.makefile("rw") as f:
            f.write(f"heard {f.readline()}")

    for _ in range(MANY):
        threading.Thread(target=one, args=(listener.accept()[0],)).start()


kept, said, one_at_a_time = {}, set(), threading.Lock()
what = sys.argv[1]
if what == "talk":
    listener = socket.create_server(("127.0.0.10", 7777), backlog=MANY)
    threading.Thread(target=answer, args=(listener,)).start()
threads = [threading.Thread(target=globals()[what], args=(i,)) for i in range(MANY)]
for t in threads:
    t.start()
for t in threads:
    t.join()
with open("/proc/self/maps") as f:
    loaded = {l.split("/")[-1].split(".")[0] for l in f if ".so" in l}
print(sorted(said), sorted(n for n in loaded if n in sys.argv[2:]))
