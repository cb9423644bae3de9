#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""docs/fidelity.md names tests that there are.

    test_fidelity.py TOP [-v]
"""
import os
import re
import sys
import unittest

TOP = sys.argv.pop(1)


def sources():
    for folder in ('tests/hook', 'tests/process', 'tests/unit', 'tests/fault'):
        for at, _, names in os.walk(os.path.join(TOP, folder)):
            for name in names:
                if name.endswith(('.c', '.cpp', '.py')):
                    with open(os.path.join(at, name), encoding='utf-8') as f:
                        yield os.path.relpath(os.path.join(at, name), TOP), f.read()


class Fidelity(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with open(os.path.join(TOP, 'docs/fidelity.md'), encoding='utf-8') as f:
            cls.rows = [[cell.strip() for cell in line.strip('|\n ').split(' | ')]
                        for line in f if re.match(r'\| \d', line)]
        cls.sources = dict(sources())

    def test_there_are_forty_rows_with_five_cells_each(self):
        self.assertEqual([r[0] for r in self.rows],
                         [str(n) for n in range(1, 41)])
        for row in self.rows:
            self.assertEqual(len(row), 5, row[0])
            self.assertTrue(all(row), row[0])

    def test_each_file_that_is_named_has_the_cases_named_after_it(self):
        for number, _, _, tests, _ in self.rows:
            cases = 0
            for part in tests.split(';'):
                where = re.match(r'\s*([\w/]+)', part)[1]
                where = {'probe': 'hook/probe'}.get(where, where)
                files = {path: text for path, text in self.sources.items()
                         if where.removeprefix('tests/') in path}
                self.assertTrue(files, f'{number}: no file {where}')
                for name in re.findall(r'`(\w+)`', part):
                    cases += 1
                    self.assertTrue(
                        any(re.search(rf'\b{name}\b', t) for t in files.values()),
                        f'{number}: {name} is not in {", ".join(files)}')
            with self.subTest(number):
                self.assertTrue(cases or '.c' in tests or '.py' in tests or
                                'all of it' in tests, 'no test is named')


if __name__ == '__main__':
    unittest.main()
