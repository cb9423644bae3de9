#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Runs a program bare and in every way as coroutines, and holds what it prints
against what it printed bare.

    same.py COGO-RUN PROGRAM [ARGUMENT..]"""
import difflib
import subprocess
import sys

WAYS = (
    ['--workers', '1'],
    ['--workers', '2'],
    ['--workers', '1', '--bind', '*'],
)
CAP = 60


def run(command):
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, timeout=CAP,
                              stdin=subprocess.DEVNULL, check=False)
    except subprocess.TimeoutExpired as late:
        return f'did not end in {CAP} s', (late.stdout or b'').decode()
    return f'ended with {done.returncode}', done.stdout.decode()


def main():
    cogo_run, *program = sys.argv[1:]
    how, bare = run(program)
    if how != 'ended with 0':
        sys.exit(f'bare, {program[0]} {how}:\n{bare[-2000:]}')
    bad = 0
    for way in WAYS:
        how, seen = run([cogo_run, *way, '--', *program])
        if how == 'ended with 0' and seen == bare:
            print(f'{len(bare.splitlines())} lines the same with '
                  f'{" ".join(way)}')
            continue
        bad += 1
        print(f'with {" ".join(way)}: {how}')
        diff = difflib.unified_diff(bare.splitlines(), seen.splitlines(),
                                    'bare', 'as coroutines', n=1, lineterm='')
        for _, line in zip(range(60), diff):
            print(line)
    return bad


if __name__ == '__main__':
    sys.exit(main())
