# SPDX-License-Identifier: MIT OR Apache-2.0
"""Every error that a public header names for a function comes, and no other.

    test_errors.py TOP COGO_RUN PROGRAM...

The programs provoke them, as tests/errors/errors.h tells, and say so; errors_run is
run by COGO_RUN. What the headers name is what the manual lists under ERRORS."""
import os
import re
import subprocess
import sys
import unittest

TOP, COGO_RUN, *PROGRAMS = map(os.path.abspath, sys.argv[1:])
sys.path.insert(0, os.path.join(TOP, 'tools'))
import manual  # noqa: E402
from headers import common_to, flat  # noqa: E402

HEADERS = [h for h in manual.read_headers(TOP) if h.name.endswith('.h')]


def run(program):
    """(status, what it said)"""
    command = [COGO_RUN, '--', program] if program.endswith('_run') else [program]
    result = subprocess.run(command, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                            text=True, timeout=240, check=False)
    return result.returncode, result.stdout


def provoked(text, whose=''):
    return set(re.findall(rf'^provoked (\w+) (\w+){whose}$', text, re.M))


def named():
    """{(function, error): header}"""
    pairs = {}
    for h in HEADERS:
        for error, functions in manual.gather_errors(h, HEADERS).items():
            pairs.update({(f, error): h.name for f in functions})
    return pairs


def fail_with_null():
    """{(function, 'NULL'): header} of those that say "NULL without memory", and of
    those that go on after one with "The same" or "…"; and of others that may be NULL
    for some reason."""
    without_memory, others = {}, {}
    for h in HEADERS:
        before = False
        for group in h.groups():
            text = ' '.join(flat(group.text).split())
            says = 'NULL without memory' in text
            follows = before and re.match(r'The same\b|…', text)
            says = says or bool(follows)
            for t in group.things:
                if t.kind == 'function' and (says or 'NULL' in text):
                    (without_memory if says else others)[
                        t.name, 'NULL'] = h.name
            before = says
    return without_memory, others


def names_of(pairs):
    return ', '.join(f'{f} -{e}'.replace('-NULL', 'NULL')
                     for f, e in sorted(pairs))


class Errors(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.seen, cls.systems, cls.failed, cls.skipped = set(), set(), [], False
        for program in PROGRAMS:
            status, text = run(program)
            cls.seen |= provoked(text)
            cls.systems |= provoked(text, ' system')
            cls.skipped |= re.search(r'^skipped ', text, re.M) is not None
            if status:
                cls.failed.append(f'{program} ({status}):\n{text}')

    def test_the_programs_find_what_they_look_for(self):
        self.assertTrue(PROGRAMS)
        if self.failed:
            self.fail('\n'.join(self.failed))

    def test_every_error_that_is_named_comes(self):
        if self.skipped:
            self.skipTest('not all could be provoked here')
        pairs = named()
        self.assertGreater(len(pairs), 100)
        missing = set(pairs) - self.seen
        if missing:
            self.fail('nobody has provoked ' + names_of(missing))

    def test_no_error_comes_that_is_not_named(self):
        without_memory, others = fail_with_null()
        more = self.seen - set(named()) - set(without_memory) - set(others)
        if more:
            self.fail('no header names ' + names_of(more))

    def test_what_is_NULL_without_memory_is(self):
        nulls, _ = fail_with_null()
        self.assertGreater(len(nulls), 4)
        missing = set(nulls) - self.seen
        if missing:
            self.fail('nobody has provoked ' + names_of(missing))

    def test_what_a_system_call_says_comes_through(self):
        """Where a header says that there are more than it names, one at least."""
        for h in HEADERS:
            for f in common_to(h):
                with self.subTest(function=f):
                    own = {e for g, e in self.seen | self.systems if g == f}
                    self.assertTrue(own - set(h.common))


if __name__ == '__main__':
    suite = unittest.defaultTestLoader.loadTestsFromTestCase(Errors)
    result = unittest.TextTestRunner(verbosity=2, stream=sys.stderr).run(suite)
    print(f'{len(Errors.seen)} pairs of a function and an error')
    sys.exit(not result.wasSuccessful())
