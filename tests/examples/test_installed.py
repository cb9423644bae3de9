# SPDX-License-Identifier: MIT OR Apache-2.0
"""An example is built by the one line that its first comment says, against what
`meson install` has put in place.

    test_installed.py BUILD DIRECTORY, EXAMPLES"""
import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

BUILD = SOURCES = None
COMPILERS = ['cc', 'gcc', 'clang']


class Installed(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        for tool in 'meson', 'pkg-config', 'cc':
            if not shutil.which(tool):
                raise unittest.SkipTest('no ' + tool)
        cls.tree = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.tree.cleanup)
        subprocess.run(['meson', 'install', '-C', BUILD, '--no-rebuild',
                        '--destdir', cls.tree.name], check=True,
                       stdout=subprocess.DEVNULL)
        [pc] = glob.glob(cls.tree.name + '/**/cogo.pc', recursive=True)
        [cls.lib] = {os.path.dirname(p) for p in glob.glob(
            cls.tree.name + '/**/libcogo.so', recursive=True)}
        cls.env = dict(os.environ, PKG_CONFIG_PATH=os.path.dirname(pc),
                       PKG_CONFIG_SYSROOT_DIR=cls.tree.name,
                       LD_LIBRARY_PATH=cls.lib)

    def build(self, name, compiler, *flags, folder=''):
        """Runs the line in its comment."""
        sources = os.path.join(SOURCES, folder)
        with open(os.path.join(sources, name + '.c')) as f:
            line = re.search(r'^ \*\t(cc .*)$', f.read(), re.M)[1]
        self.assertRegex(line, fr' {name}\.c -o {name} '
                         r'\$\(pkg-config --cflags --libs cogo\)$')
        line = ' '.join([compiler, *flags, line[3:]])
        line = line.replace(f' {name}.c', f' {sources}/{name}.c')
        p = subprocess.run(['sh', '-c', line], cwd=self.tree.name, env=self.env,
                           stderr=subprocess.PIPE, text=True)
        self.assertEqual((p.returncode, p.stderr), (0, ''), line)

    def test_every_example_is_built_by_its_line_without_a_warning(self):
        names = sorted(os.path.basename(p)[:-2]
                       for p in glob.glob(SOURCES + '/*.c'))
        self.assertGreater(len(names), 10)
        for name in names:
            with self.subTest(name):
                for compiler in filter(shutil.which, COMPILERS):
                    self.build(name, compiler, '-O2', '-Wall', '-Wextra')

    def test_and_so_is_each_of_the_reference(self):
        names = [os.path.basename(p)[:-2]
                 for p in glob.glob(SOURCES + '/reference/*.c')]
        self.assertGreater(len(names), 10)
        for name in names:
            with self.subTest(name):
                self.build(name, 'cc', '-O2', '-Wall', '-Wextra',
                           folder='reference')

    def test_what_was_built_runs(self):
        self.build('sieve', 'cc')
        said = subprocess.run([self.tree.name + '/sieve', '5'], env=self.env,
                              check=True, capture_output=True, text=True)
        self.assertEqual(said.stdout, '2\n3\n5\n7\n11\n')

    # main's own notes of which locks it holds lie in malloc's memory until it ends.
    def test_a_program_with_a_leak_checker_finds_no_leak_of_ours(self):
        flag = '-fsanitize=leak'
        with open(self.tree.name + '/none.c', 'w') as f:
            f.write('int main(void) { return 0; }\n')
        if subprocess.run(['cc', flag, 'none.c', '-o', 'none'],
                          cwd=self.tree.name, stderr=subprocess.DEVNULL).returncode:
            self.skipTest('no ' + flag)
        self.build('bank', 'cc', flag)
        p = subprocess.run([self.tree.name + '/bank', '5', '50'], env=self.env,
                           capture_output=True, text=True)
        self.assertEqual((p.returncode, p.stderr), (0, ''))

    def test_every_example_is_in_the_table(self):
        with open(SOURCES + '/README.md') as f:
            table = re.findall(r'^\| `([\w-]+)\.c` \|', f.read(), re.M)
        self.assertEqual(sorted(table), sorted(
            os.path.basename(p)[:-2] for p in glob.glob(SOURCES + '/*.c')))


if __name__ == '__main__':
    BUILD, SOURCES = sys.argv[1:3]
    del sys.argv[1:3]
    unittest.main()
