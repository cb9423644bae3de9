# SPDX-License-Identifier: MIT OR Apache-2.0
"""The manual says what is there, and nothing else; it can be read; and what it
shows can be compiled.

    test_manual.py WHAT TOP PAGES [LIBCOGO] [CC [CXX]]

WHAT is one of:
    text        what has no text or no page, and how comments become pages
    pages       groff and mandoc have nothing to say about them
    examples    they compile
    headers     each compiles alone, in every language it is for

PAGES is where man1, man3 and man7 are."""
import errno
import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

WHAT = sys.argv[1]
TOP, PAGES = map(os.path.abspath, sys.argv[2:4])
LIBCOGO = sys.argv[4] if len(sys.argv) > 4 else None
sys.path.insert(0, os.path.join(TOP, 'tools'))
import manual  # noqa: E402

C = [c for c in ('gcc', 'clang') if shutil.which(c)]
CXX = [c for c in ('g++', 'clang++') if shutil.which(c)]


def run(*command, **how):
    return subprocess.run(command, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=300,
                          **how)


def all_pages():
    return sorted(glob.glob(PAGES + '/man[0-9]/*'))


def is_link(path):
    with open(path, encoding='utf-8') as f:
        return f.read(4) == '.so '


class Text(unittest.TestCase):
    """Between the library, the headers and the pages."""
    headers = manual.read_headers(TOP)

    def things(self):
        for h in self.headers:
            for group in h.groups():
                for thing in group.things:
                    yield h, group, thing

    def test_every_exported_function_has_a_prototype_a_text_and_a_page(self):
        result = run('nm', '-D', '--defined-only', LIBCOGO)
        self.assertEqual(result.returncode, 0, result.stdout)
        exported = set(re.findall(r' T (cogo_\w+)', result.stdout))
        self.assertIn('cogo_go', exported)
        said = {t.name: (h, g) for h, g, t in self.things()
                if t.kind == 'function'}
        for name in sorted(exported):
            with self.subTest(name=name):
                self.assertTrue(name in said, 'no public header declares it')
                header, group = said[name]
                if name.endswith('_'):      # what macros are made of
                    continue
                self.assertTrue(group.text, f'{header.name}: no comment')
                self.assertTrue(os.path.exists(f'{PAGES}/man3/{name}.3'))

    def test_every_function_of_a_header_is_exported(self):
        result = run('nm', '-D', '--defined-only', LIBCOGO)
        exported = set(re.findall(r' T (cogo_\w+)', result.stdout))
        for h in self.headers:
            with open(h.path, encoding='utf-8') as f:
                text = re.sub(r'/\*.*?\*/', '', f.read(), flags=re.S)
            for declared in re.findall(r'^COGO_API ([^;]*);', text, re.M):
                name = re.search(r'\b(cogo_\w+)\s*\(', declared)[1]
                with self.subTest(name=name):
                    self.assertTrue(name in exported, 'it is not')

    def test_nothing_public_is_without_a_text(self):
        for h, group, thing in self.things():
            if thing.private or group.inner or thing.kind == 'opaque' or \
                    not thing.name or not h.page or h.page.endswith('hpp.3'):
                continue
            with self.subTest(header=h.name, name=thing.name):
                self.assertTrue(h.documented(thing, group))

    def test_every_error_that_is_named_is_one(self):
        for h in self.headers:
            with open(h.path, encoding='utf-8') as f:
                text = f.read()
            for name in set(re.findall(r'-(E[A-Z0-9]{2,})\b', text)):
                with self.subTest(header=h.name, error=name):
                    self.assertTrue(hasattr(errno, name))

    def test_every_link_leads_to_a_page(self):
        pages = all_pages()
        self.assertTrue(pages)
        for path in pages:
            if not is_link(path):
                continue
            with open(path, encoding='utf-8') as f:
                to = f.read()[4:].strip()
            with self.subTest(page=path):
                self.assertTrue(os.path.isfile(os.path.join(PAGES, to)), to)
                self.assertFalse(is_link(os.path.join(PAGES, to)), to)

    def test_every_reference_is_to_a_page(self):
        there = {os.path.basename(p) for p in all_pages()}
        for path in all_pages():
            with open(path, encoding='utf-8') as f:
                text = f.read().replace('\\-', '-')
            for name, number in re.findall(
                    r'\\fB([\w-]+)\\fP\((\d)\)', text) + re.findall(
                    r'^\.BR (\S+) \((\d)\)', text, re.M):
                if (name, number) == ('cogo-run', '1'):
                    continue        # where it cannot be asked, there is none
                with self.subTest(page=path):
                    self.assertIn(f'{name}.{number}', there)

    def test_two_headers_do_not_claim_one_name(self):
        seen = {}
        for h in self.headers:
            for thing, _ in h.public():
                with self.subTest(name=thing.name):
                    self.assertEqual(seen.setdefault(thing.name, h.name),
                                     h.name)
                    # A page of that name would hide it.
                    for other in self.headers:
                        if other is not h and other.page:
                            self.assertNotEqual(thing.name, other.title)


HEADER = '''/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* cogo/thing.h - things. They are good.
 *
 * Text that names cogo_thing_new, and -EPIPE.
 *
 *	struct cogo_thing *t = cogo_thing_new(1);	// one
 *
 * - An item
 *   that goes on.
 * - Another.
 */
#ifndef COGO_THING_H
#define COGO_THING_H
#include "cogo/api.h"
#ifdef __cplusplus
extern "C" {
#endif
/* ---- life ----
 *
 * Before death. */
struct cogo_thing;

/* Makes one: -EINVAL when n is 0, or -ENOMEM. Does not
 * look at *arg. */
COGO_API struct cogo_thing *cogo_thing_new(int n,
					   void (*fn)(void *), void *arg);
/* Ends it:
 *	0	it is gone
 *	-EBUSY	somebody has it, and
 *		goes on having it */
COGO_API int cogo_thing_free(struct cogo_thing *t);	/* 'twas */

/* As cogo_thing_free.
 *
 *	int cogo_thing_drop(struct cogo_thing *t) */
#define cogo_thing_drop(t) cogo_thing_free(t)

/* What drop is made of. */
COGO_API void cogo_thing_help(void);
struct cogo_inside {
	int n;
};
COGO_API void cogo_nobody_(void);

COGO_API void cogo_bare(void);
static inline int cogo_twice(int n)
{
	return "}"[0] + 2 * n;
}
#ifdef __cplusplus
}
#endif
#endif
'''


class Generator(unittest.TestCase):
    """How a comment becomes a page."""

    def setUp(self):
        self.tree = tempfile.mkdtemp(prefix='manual-test-')
        self.addCleanup(shutil.rmtree, self.tree)
        os.makedirs(self.tree + '/include/cogo')
        self.write(HEADER)

    def write(self, text):
        with open(self.tree + '/include/cogo/thing.h', 'w',
                  encoding='utf-8') as f:
            f.write(text)
        headers = manual.read_headers(self.tree)
        self.writer = manual.Writer(headers, '1', self.tree)
        self.header = headers[0]
        self.writer.header_page(self.header)
        self.page = '\n'.join(self.writer.pages[self.header.page])

    def group(self, name):
        return next(g for g in self.header.groups()
                    if any(t.name == name for t in g.things))

    def test_the_first_comment_is_name_and_description(self):
        self.assertEqual(self.header.brief, 'things')
        self.assertIn('.SH NAME\ncogo_thing \\- things\n', self.page)
        self.assertEqual(self.header.text[0], 'They are good.')
        self.assertIn('.SH DESCRIPTION\nThey are good.\n.P\nText that names '
                      '\\%\\fBcogo_thing_new\\fP(), and \\%\\fB\\-EPIPE\\fP.\n',
                      self.page)

    def test_an_indented_stretch_is_an_example(self):
        self.assertEqual(self.header.examples(), [
            ['struct cogo_thing *t = cogo_thing_new(1);\t// one']])
        self.assertIn('.EX\nstruct cogo_thing *t = cogo_thing_new(1);',
                      self.page)

    def test_hyphens_make_a_list(self):
        self.assertIn('.IP \\(bu 3\nAn item that goes on.\n'
                      '.IP \\(bu 3\nAnother.', self.page)

    def test_a_title_makes_a_section(self):
        self.assertIn('.SS Life\nBefore death.\n', self.page)

    def test_a_comment_is_about_what_follows_it_and_no_more(self):
        self.assertEqual([t.name for t in self.group('cogo_thing_new').things],
                         ['cogo_thing_new'])
        self.assertFalse(self.header.documented(
            self.group('cogo_bare').things[0], self.group('cogo_bare')))

    def test_a_comment_behind_goes_with_its_declaration(self):
        thing = self.group('cogo_thing_free').things[0]
        self.assertEqual(thing.note, "'twas")

    def test_a_table_of_errors_is_a_table(self):
        rows = self.group('cogo_thing_free').text[1].rows
        self.assertEqual(rows, [
            ['0', 'it is gone'],
            ['-EBUSY', 'somebody has it, and goes on having it']])

    def test_a_macro_has_the_prototype_that_its_comment_gives(self):
        self.assertIn('\\fBint cogo_thing_drop(struct cogo_thing *\\fIt\\fB);',
                      self.page)

    def test_parameters_are_found_also_where_they_are_functions(self):
        self.assertIn('cogo_thing_new(int \\fIn\\fB, void (*\\fIfn\\fB)(void *),',
                      self.page)

    def test_the_inside_of_macros_is_no_part_of_the_synopsis(self):
        synopsis, _, rest = self.page.partition('.SH DESCRIPTION')
        self.assertNotIn('cogo_thing_help', synopsis)
        self.assertIn('.SS Inside', rest)
        self.assertIn('cogo_thing_help', self.writer.links)
        self.assertNotIn('cogo_nobody_', self.page)
        self.assertNotIn('cogo_nobody_', self.writer.links)

    def test_errors_are_gathered_with_what_they_mean(self):
        errors = manual.gather_errors(self.header)
        self.assertEqual(errors['EINVAL'], {'cogo_thing_new': 'when n is 0'})
        self.assertEqual(errors['ENOMEM'], {'cogo_thing_new': ''})
        self.assertEqual(errors['EBUSY'], {
            'cogo_thing_free': 'somebody has it, and goes on having it',
            'cogo_thing_drop': ''})

    def test_an_error_that_never_comes_is_taken_away(self):
        self.write(HEADER.replace('As cogo_thing_free.',
                                  'As cogo_thing_free, but never -EBUSY.'))
        self.assertEqual(list(manual.gather_errors(self.header)['EBUSY']),
                         ['cogo_thing_free'])

    def test_what_is_common_to_all_with_a_deadline_is_each_ones(self):
        self.write(HEADER.replace(
            ' * - An item', ' * Common to all that take a deadline:\n *\n'
            ' *\t-ETIMEDOUT\tit is over\n *\n * - An item').replace(
            '(void *), void *arg)', '(void *), void *arg,\n'
            '\t\t\t\t\t   cogo_time deadline)'))
        self.assertEqual(manual.gather_errors(self.header)['ETIMEDOUT'],
                         {'cogo_thing_new': 'it is over'})

    def test_a_line_is_never_taken_for_a_request(self):
        for text in (".so it begins", "'tis so", 'a \\ in it'):
            line = self.writer.prose(text)
            self.assertNotIn(line[0], ".'")
            self.assertNotIn('\\ ', line)

    def test_a_function_with_a_body_is_over_when_that_is(self):
        self.assertEqual(self.group('cogo_twice').things[-1].name,
                         'cogo_twice')

    def test_an_ifdef_does_not_part_a_comment_from_what_it_is_about(self):
        self.write(HEADER.replace(
            '#define cogo_thing_drop', '#ifndef COGO_NO_DROP\n'
            '#define cogo_thing_drop').replace(
            '\n\n/* What drop', '\n#endif\n\n/* What drop'))
        self.assertTrue(self.group('cogo_thing_drop').text)

    def test_errors_may_share_a_text_or_have_none(self):
        self.write(HEADER.replace(' *\t-EBUSY', ' *\t-ENOMEM\n'
                                  ' *\t-EIO, -EPIPE, -ENOENT\n'
                                  ' *\t\tbad luck\n *\t-EBUSY'))
        self.assertEqual(self.group('cogo_thing_free').text[1].rows[1:3], [
            ['-ENOMEM', ''], ['-EIO, -EPIPE, -ENOENT', 'bad luck']])

    def test_of_a_class_what_is_public_is_shown(self):
        os.remove(self.tree + '/include/cogo/thing.h')
        with open(self.tree + '/include/cogo.hpp', 'w', encoding='utf-8') as f:
            f.write('// SPDX-License-Identifier: MIT OR Apache-2.0\n'
                    '// cogo.hpp - for C++.\n#include <vector>\n'
                    'namespace cogo {\nnamespace detail {\n// No.\n'
                    'int hidden();\n} // namespace detail\n\n'
                    '// A box.\ntemplate <class T> class box {\n\tT own;\n'
                    'public:\n\texplicit box(T x = T()) : own(x) { }\n'
                    '\tbool full() const\n\t{\n\t\tif (1) { }\n'
                    '\t\treturn true;\n\t}\nprivate:\n\tint more;\n};\n'
                    '} // namespace cogo\n')
        writer = manual.Writer(manual.read_headers(self.tree), '1', self.tree)
        writer.header_page(writer.headers[0])
        page = '\n'.join(writer.pages['cogo.hpp.3'])
        self.assertIn('template <class T> class box {\npublic:\n'
                      '    explicit box(T x = T());\n'
                      '    bool full() const;\n};', page)
        for word in ('hidden', 'No.', 'own', 'more'):
            self.assertNotIn(word, page.split('DESCRIPTION')[1])

    def test_a_header_that_does_not_say_what_it_is_is_refused(self):
        with self.assertRaises(SystemExit):
            self.write('/* what? */\nint x;\n')


class Pages(unittest.TestCase):
    def test_groff_has_nothing_to_say(self):
        if not shutil.which('groff'):
            self.skipTest('there is no groff here')
        for path in all_pages():
            result = run('groff', '-man', '-Tutf8', '-ww', '-z', path,
                         cwd=PAGES)
            with self.subTest(page=path):
                self.assertEqual((result.returncode, result.stdout), (0, ''))

    def test_mandoc_has_nothing_to_say(self):
        if not shutil.which('mandoc'):
            self.skipTest('there is no mandoc here')
        for path in all_pages():
            if is_link(path):
                continue
            result = run('mandoc', '-Tlint', '-Wwarning', path, cwd=PAGES)
            with self.subTest(page=path):
                self.assertEqual(result.stdout, '')

    def test_what_is_read_fits_and_has_no_marks_of_comments(self):
        if not shutil.which('groff'):
            self.skipTest('there is no groff here')
        for path in all_pages():
            if is_link(path):
                continue
            result = run('groff', '-man', '-Tascii', '-P-cbou', path, cwd=PAGES)
            for line in result.stdout.split('\n'):
                with self.subTest(page=path, line=line):
                    self.assertLessEqual(len(line), 80)
                    # Deeper are examples and types, which have comments.
                    if not line.startswith(' ' * 11):
                        self.assertNotRegex(line, r'^ *\*/?( |$)')
                    self.assertNotRegex(line, r'\\f[A-Z]|\\\[|\\\(')


FRAME = '''
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
'''
WORDS = r'(?!return\b|else\b|case\b|goto\b)'


def translation_unit(examples):
    """Examples as a file: what stands by itself, and the bodies of functions."""
    out = [FRAME]
    for n, lines in enumerate(examples):
        chunks, depth = [[]], 0
        for line in lines:
            if not line and depth == 0:
                chunks.append([])
                continue
            if line.strip() == '...':
                line = line.replace('...', ';')
            chunks[-1].append(line)
            code = re.sub(r'//.*|"(\\.|[^"])*"', '', line)
            depth += code.count('{') - code.count('}')
        body = []
        for chunk in filter(None, chunks):
            # Up to the end of the parameters, which may be on later lines.
            head = re.sub(r'//.*', '', ' '.join(chunk)) if \
                chunk[0][:1] not in '#' else '#'
            if head == '#' or re.match(r'(static|typedef|template)\b|'
                                       r'(struct|enum|union|class) \w+ *\{',
                                       head) or re.match(
                    WORDS + r'[A-Za-z_][\w *:<>&]*[ *]\w+\([^;={]*\) *[;{]', head):
                text = '\n'.join(chunk)
                # Declared, and nowhere defined.
                out.append(re.sub(r'\Astatic ([^{]*;)', r'\1', text))
            else:
                body += chunk
        if body:
            out += [f'void example_{n}(void);', f'void example_{n}(void)', '{',
                    *body, '}']
    return '\n'.join(out) + '\n'


class Examples(unittest.TestCase):
    def compiled(self, name, examples):
        plus = name.endswith('.hpp')
        self.assertTrue(CXX if plus else C, 'no compiler')
        for compiler in CXX if plus else C:
            text = translation_unit(examples)
            include = '#include <cogo.hpp>\n' if plus else '#include <cogo.h>\n'
            command = [compiler, '-x', 'c++' if plus else 'c',
                       '-std=gnu++20' if plus else '-std=gnu11', '-D_GNU_SOURCE',
                       '-fsyntax-only', '-Wall', '-Wextra', '-Werror',
                       '-Wno-unused', '-Wno-unused-parameter',
                       '-Wno-unused-result', '-I', TOP + '/include', '-']
            if not plus:
                command.insert(-1, '-Wno-implicit-function-declaration')
            result = run(*command, input=include + text)
            with self.subTest(header=name, compiler=compiler):
                # Macros of macros make a long story of each.
                short = [x for x in result.stdout.split('\n')
                         if 'error:' in x or 'warning:' in x]
                numbered = [f'{k + 1:4} {x}' for k, x in enumerate(
                    (include + text).split('\n'))]
                self.assertEqual(result.returncode, 0,
                                 '\n'.join(short + numbered))

    def test_every_example_of_a_header_compiles(self):
        some = 0
        for h in manual.read_headers(TOP):
            examples = h.examples()
            some += len(examples)
            if examples:
                self.compiled(h.name, examples)
        self.assertGreater(some, 5)

    def test_every_function_is_called_in_an_example(self):
        """Of those of a header, of the tutorial, and of examples/, which are
        built and run."""
        shown = [line for h in manual.read_headers(TOP)
                 for example in h.examples() for line in example]
        shown += [line for example in manual.template_examples('cogo.txt')
                  for line in example]
        for path in glob.glob(TOP + '/examples/**/*.c', recursive=True):
            with open(path, encoding='utf-8') as f:
                shown.append(re.sub(r'/\*.*?\*/', '', f.read(), flags=re.S))
        words = set(re.findall(r'\w+', '\n'.join(shown)))
        some = 0
        for h in manual.read_headers(TOP):
            for group in h.groups():
                for thing in group.things:
                    name = thing.name or ''
                    if thing.kind not in ('function', 'macro') or group.inner or \
                            thing.private or not name.startswith('cogo'):
                        continue
                    # Macros that stand around a block are made of these.
                    if re.search('_(block_begin|block_end|defer_begin|defer_end)$',
                                 name):
                        continue
                    some += 1
                    with self.subTest(header=h.name, name=name):
                        self.assertIn(name, words)
        self.assertGreater(some, 100)

    def test_every_example_of_the_tutorial_compiles(self):
        self.compiled('cogo.txt', manual.template_examples('cogo.txt'))


class Headers(unittest.TestCase):
    def alone(self, compilers, suffix, *options):
        self.assertTrue(compilers, 'no compiler')
        include = os.path.join(TOP, 'include')
        for h in manual.read_headers(TOP):
            if h.name.endswith('.hpp') and suffix == 'c':
                continue
            for compiler in compilers:
                result = run(compiler, '-x', 'c' if suffix == 'c' else 'c++',
                             '-fsyntax-only', '-Wall', '-Wextra', '-Werror',
                             *options, '-I', include, '-',
                             input=f'#include "{h.name}"\n'
                             f'#include "{h.name}"\nint alone;\n')
                with self.subTest(header=h.name, compiler=compiler):
                    self.assertEqual(result.returncode, 0, result.stdout)

    def test_each_is_C11(self):
        self.alone(C, 'c', '-std=c11', '-Wpedantic')

    def test_each_is_gnu11(self):
        self.alone(C, 'c', '-std=gnu11', '-Wstrict-prototypes')

    def test_each_is_gnu17_with_all_that_a_careful_program_asks_for(self):
        self.alone(C, 'c', '-std=gnu17', '-Wmissing-prototypes', '-Wshadow',
                   '-Wundef', '-Wconversion')

    def test_each_is_CXX17(self):
        self.alone(CXX, 'c++', '-std=c++17')


if __name__ == '__main__':
    chosen = {'text': (Text, Generator), 'pages': (Pages,),
              'examples': (Examples,), 'headers': (Headers,)}[WHAT]
    suite = unittest.TestSuite(
        unittest.defaultTestLoader.loadTestsFromTestCase(c) for c in chosen)
    result = unittest.TextTestRunner(verbosity=2, stream=sys.stderr).run(suite)
    if not result.wasSuccessful():
        sys.exit(1)
    if len(result.skipped) == result.testsRun:
        print(result.skipped[0][1])
        sys.exit(77)
