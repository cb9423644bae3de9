#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Each of many coroutines goes on elsewhere, again and again.

moves.py COGO-RUN PROGRAM THREADS ROUNDS MOVES runs the program on two workers
where nobody stays on its worker, and counts how often a coroutine went on on
another than before: at least MOVES times each, or nothing was shown.
"""
import os
import re
import subprocess
import sys


def main():
    cogo_run, program, threads, rounds, moves = sys.argv[1:]
    done = subprocess.run(
        [cogo_run, '--workers', '2', '--stats', '--', program, threads, rounds],
        env=dict(os.environ, COGO_FORCE='migrate'), stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, check=False)
    print(done.stdout + done.stderr)
    if done.returncode:
        return f'{program} ended with {done.returncode}'
    seen = re.search(r'^  moves +(\d+)$', done.stderr, re.MULTILINE)
    wanted = int(threads) * int(moves)
    if not seen or int(seen.group(1)) < wanted:
        return f'fewer than {wanted} moves'
    return None


if __name__ == '__main__':
    sys.exit(main())
