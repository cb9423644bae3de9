#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""conformance - what programs say bare and under cogo-run, case by case.

    conformance.py BUILD README [NAME...]

BUILD is where meson built. Each test of its suite 'hook' that is called 'NAME
bare' is run, and then those called 'NAME cogo OPTIONS'. Of what they print, a
case is a line 'ok CASE', 'FAILED CASE' or 'skip CASE: why', or what the probe says
of an entry; the exit status is a case too. A case that is left out as coroutines alone says why in words that stand
in README's table of limits, or it counts as another result.
"""
import json
import os
import re
import subprocess
import sys

CASE = re.compile(r'^(ok|FAILED|skip) (\S+?)(?:: (.*))?$', re.MULTILINE)
PROBE = re.compile(r'^(?:op|semantic) (\S+) (.*)$', re.MULTILINE)
PATIENCE = 600      # seconds; only a hang uses it up


def tests_in(build):
    """{name: {variant: test}} of the suite; variant '' is bare."""
    said = subprocess.run(['meson', 'introspect', '--tests', build],
                          stdout=subprocess.PIPE, check=True)
    found = {}
    for t in json.loads(said.stdout):
        if not any(s.split(':')[-1] == 'hook' for s in t['suite']):
            continue
        m = re.fullmatch(r'(.*) bare|(.*?) cogo ?(.*)', t['name'])
        if m:
            found.setdefault(m[1] or m[2], {})[
                '' if m[1] else m[3] or 'workers 2'] = t
    return {name: v for name, v in found.items() if '' in v and len(v) > 1}


def outcome(test, build):
    """{case: (result, why)} of one run."""
    env = {**os.environ, **test['env']} if isinstance(test['env'], dict) else None
    try:
        done = subprocess.run(test['cmd'], stdin=subprocess.DEVNULL, env=env,
                              cwd=test['workdir'] or build, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=PATIENCE,
                              check=False)
    except subprocess.TimeoutExpired:
        return {'exit status': ('hangs', '')}, ''
    text = done.stdout.decode(errors='replace')
    cases = {}
    for m in CASE.finditer(text):
        name = m[2]
        while name in cases:    # again, in main say
            name += "'"
        cases[name] = (m[1], m[3] or '')
    for m in PROBE.finditer(text):
        cases[m[1]] = (m[2], '')
    cases['exit status'] = (str(done.returncode), '')
    return cases, text + done.stderr.decode(errors='replace')


def main():
    build, readme, *names = sys.argv[1:]
    with open(readme, encoding='utf-8') as f:
        limits = ' '.join(f.read().partition('\n## Limits')[2].split())
    tests = {name: v for name, v in tests_in(build).items()
             if not names or any(n in name for n in names)}
    if not tests:
        sys.exit('no such test; all of them: meson test --list --suite hook')
    equal = total = 0
    wrong, left_out = [], {}
    for name, variants in tests.items():
        bare, _ = outcome(variants[''], build)
        for variant, test in variants.items():
            if not variant:
                continue
            seen, text = outcome(test, build)
            same = 0
            for case in sorted({*bare, *seen}):
                was, now = bare.get(case), seen.get(case)
                total += 1
                if now and now[0] == 'skip' and was != now and \
                        now[1] and now[1] in limits:
                    left_out[f'{name}: {case}'] = now[1]
                elif (was or ' ')[0] == (now or ' ')[0]:
                    equal += 1
                    same += 1
                else:
                    wrong.append(f'{name}, {variant}: {case}: bare '
                                 f'{(was or ["nothing"])[0]}, as coroutines '
                                 f'{" ".join(now or ["nothing"])}')
                    wrong += ['    ' + line for line in text.split('\n')
                              if 'not so' in line]
            print(f'{name:24} {variant:36} {same:4} of '
                  f'{len({*bare, *seen}):4} equal', flush=True)
    for what, why in left_out.items():
        print(f'left out, see the limits: {what}: {why}')
    print('\n'.join(wrong))
    print(f'{equal} of {total - len(left_out)} equal')
    return 1 if wrong else 0


if __name__ == '__main__':
    sys.exit(main())
