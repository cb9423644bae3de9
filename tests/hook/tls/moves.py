#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Each of many coroutines goes on elsewhere, again and again.

moves.py COGO-RUN PROGRAM THREADS ROUNDS MOVES runs the program on two workers
where nobody stays on its worker, and counts how often a coroutine went on on
another than before: at least MOVES times each, or nothing was shown. While the
machine gives one of the two workers no processor, the other has nobody to hand them
to; so it is run again until there have been so many.
"""
import os
import re
import subprocess
import sys


RUNS = 20


def run(cogo_run, program, threads, rounds):
    """(exit status, moves) of one run."""
    done = subprocess.run(
        [cogo_run, '--workers', '2', '--stats', '--', program, threads, rounds],
        env=dict(os.environ, COGO_FORCE='migrate'), stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, check=False)
    print(done.stdout + done.stderr)
    seen = re.search(r'^  moves +(\d+)$', done.stderr, re.MULTILINE)
    return done.returncode, int(seen.group(1)) if seen else 0


def main():
    cogo_run, program, threads, rounds, moves = sys.argv[1:]
    wanted, seen = int(threads) * int(moves), 0
    for _ in range(RUNS):
        status, moved = run(cogo_run, program, threads, rounds)
        if status:
            return f'{program} ended with {status}'
        seen += moved
        if seen >= wanted:
            return None
    return f'fewer than {wanted} moves'


if __name__ == '__main__':
    sys.exit(main())
