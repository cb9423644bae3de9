# SPDX-License-Identifier: MIT OR Apache-2.0
"""sqlite, one file for all."""

import os
import tempfile

from library import *

# What is tried is how they wait for each other, not for a disk: where there is
# memory that looks like one, the file is there.
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def in_mode(run, journal, rounds):
    with tempfile.TemporaryDirectory(prefix="cogo-test-", dir=MEMORY) as folder:
        seen = crowd(run, os.path.join(folder, "file.db"), journal,
                     rounds=rounds, seconds=80)
    kept = sum(i % 7 != 3 for i in range(MEMBERS))
    same(seen["rows"], str(kept * rounds), "rows")
    same(seen["owners"], str(kept), "owners")
    return seen


@test(limit=100)
def five_hundred_connections_park_in_sqlite_s_busy_handler(run):
    return in_mode(run, "delete", 1)


@test(limit=100)
def with_a_log_written_ahead_too(run):
    return in_mode(run, "wal", 4)


main()
