#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""manual - the manual pages, out of the headers.

    manual.py pages OUT --source TOP [--version V] [--depfile F]
    manual.py run OUT --source TOP [--version V] --help-text F

The first writes OUT/man3 and OUT/man7, the second, out of what cogo-run --help
prints, OUT/man1. What is written by hand is in tools/manual: a tutorial
for cogo(7), and what cogo-run(1) says beyond its options.

A header says everything once, in its comments, and this makes a page of each that
has something to say: cogo/chan.h is cogo_chan(3), and cogo_send(3) is a link to
it. What a comment has to look like for that:

    /* cogo/x.h - in a line.         the first: what the page is called, and its
     *                               description
     * Text. */

    /* ---- title ----               a section. Where nothing follows the title, it
     *                               may as well be a line of its own
     * Text. */

    /* Text. */                      what is declared next, up to an empty line or
    COGO_API int cogo_f(int a);      the next comment, is described by this
    COGO_API int cogo_g(int a);      /* and by this alone */

    /* ---- what x is made of ----   from here to the next section the functions are
    /* What x is made of. */         not for programs; here, the next ones are not

Names that end in an underscore are nobody's business. Macros need no comment of
their own where the text of the page names them.

In text, a line that begins with a tab is an example, in C; or a line of a table,
if all that begin with one tab go on, after further tabs, with text that is no
comment (an error may stand alone, and the text below it); or, where it declares a macro of the header, with a type before its
name, that macro's prototype. A line that begins with a hyphen is an item of a list.
Names of functions, and the headers', become references, `this` is set off, and
errors are gathered wherever one is named with its minus. "As cogo_send" says that
the errors of that one may come here too, and so does "The same", of the ones
before, unless it goes on "without"; "but never -EINVAL" takes one away again. A
table under "Common to all that take a deadline:", in the first comment, is meant for
each function that has such a parameter. tests/errors provokes every one of them.

Examples are compiled by tests/tools/test_manual.py: those of a header together and
in order. A stretch between empty lines that begins at the margin and defines or
declares a function or a type stands as it is; all else is the body of a function.
A line of "..." stands for whatever there may be; undeclared functions may be
called."""
import argparse
import datetime
import glob
import os
import re
import shutil
import sys

OWN = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'manual')
sys.path.insert(0, OWN)
sys.dont_write_bytecode = True
from headers import (Code, Items, Prototypes, Rows, blocks,  # noqa: E402
                     gather_errors, prototypes, read_headers)
from roff import (class_shown, code_escape, escape, guarded, narrow,  # noqa: E402
                  prototype, references, sentences)

# Parameters with names that no English word has.
CODE_WORDS = {'fn', 'arg', 'attr', 'ret', 'argc', 'argv', 'cq', 'ctx', 'ch',
              'wg', 'coro', 'fd'}
TOKEN = re.compile(
    r'(?P<quoted>`[^`]+`)|(?P<header>\bcogo(?:/\w+)?\.(?:hpp|h)\b)|'
    r'(?P<page>\bcogo-run\b(?!\())|'
    r'(?P<error>-E[A-Z0-9]{2,}\b)|'
    r'(?P<name>\*?\b[A-Za-z_]\w*)(?P<call>\(\)?)?')


class Writer:
    def __init__(self, headers, version, source):
        self.headers, self.version, self.source = headers, version, source
        self.pages, self.links = {}, {}
        self.where = {}         # a function's or macro's name -> its page
        for h in headers:
            for thing, _ in h.public():
                if h.page:
                    self.where.setdefault(thing.name, h.page)
        self.by_header = {h.name: h.page for h in headers if h.page}

    # -- inside a line --

    def prose(self, text, page=None, params=(), seen=None):
        """Text with names set off, and references to other pages. `seen`, a set,
        is told those."""
        def refer(to, name=None):
            if seen is not None and to != page:
                seen.add(to)
            name, number = name or to[:-2], to[-1]
            name = escape(name).replace('-', '\\-')
            return f'\\fB{name}\\fP({number})'

        def token(m):
            if m['quoted']:
                return '\\fI' + code_escape(m['quoted'][1:-1]) + '\\fP'
            if m['header']:
                to = self.by_header.get(m['header'])
                if to and m['header'] != 'cogo.h':
                    return refer(to)
                return '\\fI' + escape(m['header']) + '\\fP'
            if m['page']:
                if page == 'cogo-run.1':
                    return '\\fBcogo\\-run\\fP'
                return refer('cogo-run.1')
            if m['error']:
                return '\\fB\\-' + m['error'][1:] + '\\fP'
            name, call = m['name'], m['call'] or ''
            star = '*' if name.startswith('*') else ''
            bare = name.lstrip('*')
            to = self.where.get(bare)
            if to and bare not in ('go',):
                function = not bare.isupper()
                if to != page and function and call in ('', '()'):
                    return star + refer(to, bare)
                if to != page and seen is not None:
                    seen.add(to)
                if to == page and function and call == '':
                    call = '()'
                return f'{star}\\fB{escape(bare)}\\fP{call}'
            if bare.startswith('COGO_') or re.fullmatch(r'E[A-Z]{3,}', bare):
                return f'{star}\\fB{escape(bare)}\\fP{call}'
            if bare in params and (star or '_' in bare or bare in CODE_WORDS):
                return f'{star}\\fI{escape(bare)}\\fP{call}'
            return escape(name) + call

        out, at = [], 0
        for m in TOKEN.finditer(text):
            out += [escape(text[at:m.start()]), token(m)]
            at = m.end()
        # No name is to be broken at the end of a line.
        return guarded(' '.join(
            '\\%' + word if '_' in word or '\\fB' in word else word
            for word in (''.join(out) + escape(text[at:])).split(' ')))

    # -- blocks --

    def code(self, lines):
        deep = max((len(x) - len(x.lstrip('\t')) for x in lines
                    if '\t' in x.strip('\t')), default=0)
        out = ['.RS 4', '.EX']
        for line in lines:
            lead = len(line) - len(line.lstrip('\t'))
            rest = line.lstrip('\t')
            text = ' ' * (4 * lead)
            pieces = re.split(r'(\t+)', rest)
            text += pieces[0]
            # As far to the right as in the source, less what the narrower
            # indentation took off.
            for k in range(1, len(pieces), 2):
                done = '\t' * lead + ''.join(pieces[:k + 1])
                column = len(done.expandtabs(8)) - 4 * deep
                text = text.ljust(max(column, len(text) + 1)) + pieces[k + 1]
            out.append(code_escape(text))
        return out + ['.EE', '.RE']

    def body(self, text, **how):
        """Blocks, each with what separates it from the one before."""
        out = []
        for n, b in enumerate(text):
            if isinstance(b, Prototypes):
                continue
            if isinstance(b, str):
                out += ['.P'] if n else []
                out += sentences(self.prose(b, **how))
            elif isinstance(b, Rows):
                width = min(max(len(t) for t, _ in b.rows) + 2, 22)
                out += ['.RS 4', '.PD 0'] if n == 0 else [
                    '.P', '.RS 4', '.PD 0']
                for k, (term, what) in enumerate(b.rows):
                    out.append(f'.TP {width}' if k == 0 else '.TP')
                    if not re.search(r'-E[A-Z]|cogo/|cogo-run', term):
                        out.append('\\fB' + code_escape(term) + '\\fP')
                    else:
                        out.append(self.prose(term, **how))
                    out += sentences(self.prose(what, **how))
                out += ['.RE', '.PD']
            elif isinstance(b, Items):
                for item in b:
                    out.append('.IP \\(bu 3')
                    out += sentences(self.prose(item, **how))
            else:
                out += (['.P'] if n else []) + self.code(b.lines)
        return out

    def type_shown(self, thing):
        lines = thing.text.split('\n')
        if lines[0].startswith('typedef'):
            return self.code([thing.text + ';'])
        if re.match(r'(template <[^{]*>\s*)?class\b', thing.text):
            return self.code(narrow(class_shown(thing.text).split('\n')))
        inside = thing.text[thing.text.index('{') + 1:thing.text.rindex('}')]
        bare = re.sub(r'/\*.*?\*/|\s', '', inside, flags=re.S)
        if bare and all(re.search(r'_(\[\w+\])?$', x)
                        for x in bare.split(';') if x):
            head = thing.text.split('{')[0].strip()
            return self.code([head + ' { ... };'])
        return self.code(narrow((thing.text + ';').split('\n')))

    # -- pages --

    def prologue(self, name, number, path):
        date = os.environ.get('SOURCE_DATE_EPOCH')
        date = datetime.datetime.fromtimestamp(
            int(date) if date else os.path.getmtime(path),
            datetime.timezone.utc).strftime('%Y-%m-%d')
        return ['.\\" SPDX-License-Identifier: MIT OR Apache-2.0',
                '.\\" Made from ' + os.path.relpath(path, self.source) +
                '; changes belong there.',
                f'.TH {name} {number} {date} "cogo {self.version}" "cogo"']

    def synopsis(self, h):
        out, own = [], {}
        for b in [b for g in h.groups() for b in g.text] + h.text + [
                b for s in h.sections for b in s.text]:
            if isinstance(b, Prototypes):
                own.update(prototypes(b.lines, h.macros))
        public = {id(t) for t, _ in h.public()}
        for section in h.sections:
            shown = []
            for group in section.groups:
                for t in group.things:
                    if id(t) not in public or t.kind == 'constant':
                        continue
                    if t.inner and (t.kind == 'function' or group.inner and
                                    t.name not in h.text_names):
                        continue
                    shown += prototype(t.name, own.get(t.name, t.text),
                                       t.kind == 'function')
            if shown:
                out += ['.P'] + shown
        return out, own

    def description(self, h, own, seen):
        out, inner = [], []
        how = {'page': h.page, 'seen': seen}
        for section in h.sections:
            part = []
            part += self.body(section.text, **how)
            for group in section.groups:
                shown = [t for t in group.things if not t.private]
                if group.inner:
                    if group.text and shown:
                        inner.append((group, shown))
                    continue
                if not group.text and not group.above and not any(
                        t.note for t in shown):
                    continue
                part += self.group(group, shown, own, how)
            if not part:
                continue
            if (section.title or not h.text) and part[0] == '.P':
                part.pop(0)
            if section.title and not section.inner:
                title = section.title
                if title not in self.where:
                    title = title[0].upper() + title[1:]
                out.append('.SS ' + escape(title))
            out += part
        if any(t.kind == 'function' for _, shown in inner for t in shown):
            out += ['.SS Inside', 'What the macros are made of.',
                    'No program need call these.']
            for group, shown in inner:
                names = [t for t in shown if t.kind == 'function']
                if names:
                    out += ['.P', '.nf'] + [
                        x for t in names for x in prototype(t.name, t.text, True)]
                    out += ['.fi', '.RS 4'] + self.body(group.text, **how) + [
                        '.RE']
        return out

    def group(self, group, shown, own, how):
        out, params = ['.P'], set()
        calls = [t for t in shown if t.kind in ('function', 'macro')]
        names = [t for t in shown if t.kind == 'constant']
        lines = []
        types = [t for t in shown if t.kind == 'type']
        for t in types:
            head = t.text.split('{')[0].strip()
            lines.append('\\fB' + escape(head if '{' in t.text else
                                         head + ';') + '\\fP')
        for t in calls:
            text = own.get(t.name, t.text)
            params |= set(re.findall(r'\w+', text))
            lines += prototype(t.name, text, t.kind == 'function', t.note)
        for t in names:
            value = ''
            if re.fullmatch(r'[\w()".-]{1,24}', t.value):
                value = '  ' + t.value
            lines.append('\\fB' + escape(t.name) + '\\fP' + code_escape(value))
        for t in shown:
            if t.kind == 'opaque':
                lines.append('\\fB' + escape(t.text.strip()) + '\\fP;')
        if group.above:         # a type, as it is, or of which there is no more
            return [] if not shown or '{' not in shown[0].text else \
                out + self.type_shown(shown[0])
        if not lines:
            return out + self.body(group.text, params=params, **how)
        out += ['.nf'] + lines + ['.fi']
        out += ['.RS 4'] + self.body(group.text, params=params, **how)
        for t in types:
            if '{' in t.text:
                out += ['.P'] + self.type_shown(t)
        return out + ['.RE']

    def errors(self, h):
        found = gather_errors(h, self.headers)
        if not found:
            return []
        out = ['.SH RETURN VALUE'] + sentences(
            'As described with each. What can fail returns 0, or a count, or '
            'the negative of one of the error numbers below; it leaves '
            '\\fIerrno\\fP alone.') + ['.SH ERRORS', '.ad l']
        for error in sorted(found):
            out += ['.TP', '.B ' + error]
            plain = [n for n, why in found[error].items() if not why]
            why = {}
            for n, w in found[error].items():
                if w:
                    why.setdefault(w, []).append(n)
            parts = [', '.join(f'\\%\\fB{n}\\fP()' for n in names) + ': ' +
                     self.prose(w, page=h.page) for w, names in why.items()]
            if plain:
                parts.append(', '.join(f'\\%\\fB{n}\\fP()' for n in plain))
            for k, part in enumerate(parts):
                out += (['.br'] if k else []) + sentences(
                    part.rstrip('.') + '.')
        return out + ['.ad b']

    def see_also(self, h, seen):
        for name in h.includes:
            page = self.by_header.get(f'cogo/{name}.h')
            if page:
                seen.add(page)
        if h.page == 'cogo.7':
            seen |= {x.page for x in self.headers if x.page}
        return references(seen | {'cogo.7', 'cogo-run.1'}, h.page)

    def header_page(self, h):
        seen = set()
        synopsis, own = self.synopsis(h)
        out = self.prologue(h.title, h.page[-1], h.path)
        out += ['.SH NAME', escape(h.title) + ' \\- ' + escape(h.brief)]
        out += ['.SH LIBRARY', 'Coroutines for C (libcogo, \\-lcogo)']
        out += ['.SH SYNOPSIS', '.nf', '.B #include <cogo.h>'
                if not h.name.endswith('.hpp') else
                f'.B #include <{h.name}>'] + synopsis + ['.fi']
        out += ['.SH DESCRIPTION']
        text = self.body(h.text, page=h.page, seen=seen)
        if h.page == 'cogo.7':
            out += text + self.template('cogo.txt', seen, h.page, {
                'functions': self.description(h, own, seen)[1:]})
        else:
            out += text + self.description(h, own, seen)
        out += self.errors(h) + self.see_also(h, seen)
        self.pages[h.page] = out
        for t, _ in h.public():
            if t.name != h.title:
                if t.name in self.links or f'{t.name}.3' in self.by_header.values():
                    continue
                self.links[t.name] = f'man{h.page[-1]}/{h.page}'

    def template(self, name, seen, page, insert):
        """Text by hand, and in place of each line @word@ what insert has."""
        out = []
        for title, lines in template_sections(name):
            out.append('.SH ' + escape(title.upper()))
            while lines:
                n = next((k for k, x in enumerate(lines)
                          if re.fullmatch(r'@\w+@', x)), len(lines))
                if out[-1][:3] != '.SH' and n:
                    out.append('.P')
                out += self.body(blocks(lines[:n]), page=page, seen=seen)
                if n < len(lines):
                    out += insert[lines[n].strip('@')]
                lines = lines[n + 1:]
        return out


# ---- by hand ----------------------------------------------------------------

def template_sections(name):
    """(title, lines) of a text by hand."""
    out = []
    with open(os.path.join(OWN, name), encoding='utf-8') as f:
        for line in f.read().split('\n'):
            m = re.match(r'-{4} (.*) -{4}$', line)
            if m:
                out.append((m[1], []))
            elif out and not line.startswith('#'):
                out[-1][1].append(line.rstrip())
    return [(title, '\n'.join(lines).strip('\n').split('\n'))
            for title, lines in out]


def template_examples(name):
    return [b.lines for _, lines in template_sections(name)
            for b in blocks(lines) if type(b) is Code]


# ---- cogo-run ---------------------------------------------------------------

def read_help(text):
    """What cogo-run --help prints, as parts of a page."""
    parts, part = {'summary': []}, 'summary'
    for paragraph in text.split('\n\n'):
        lines = paragraph.split('\n')
        if lines[0].startswith('Usage:'):
            parts['usage'] = lines[0][len('Usage:'):].strip()
            continue
        if lines[0].endswith(':') and len(lines) > 1 and lines[1].startswith(
                '  ') or re.match(r'Options\b', lines[0]):
            part = 'options' if lines[0].startswith('Options') else 'variables'
            parts[part] = []
            for line in lines:
                m = re.match(r'  ([-A-Z]\S*(?: [A-Z]+)?)\s+(.*)', line)
                if m and not line.startswith('   '):
                    parts[part].append([m[1], m[2], ''])
                elif line.startswith('   '):
                    m = re.fullmatch(r'\[(\w+=.*)\]', line.strip())
                    if m:
                        parts[part][-1][2] = m[1]
                    else:
                        parts[part][-1][1] += ' ' + line.strip()
            continue
        text = ' '.join(paragraph.split())
        if text.startswith('Exit status:'):
            parts['exit'] = text[len('Exit status:'):].strip()
        elif text:
            parts['summary'].append(text)
    return parts


def run_page(writer, help_text):
    with open(help_text, encoding='utf-8') as f:
        parts = read_help(f.read())
    seen = set()

    def term(words):
        """What is to be given is in capitals."""
        m = re.fullmatch(r'(.*[ =])([A-Z]+)', words)
        left, right = (m[1], m[2]) if m else (words, '')
        return '\\fB' + escape(left).replace('-', '\\-') + '\\fP' + (
            '\\fI' + right + '\\fP' if right else '')

    def entry(name, what):
        return ['.TP', term(name)] + sentences(
            writer.prose(what[0].upper() + what[1:] + '.', 'cogo-run.1'))

    insert = {'summary': [], 'options': [], 'variables': []}
    for n, text in enumerate(parts['summary']):
        insert['summary'] += (['.P'] if n else []) + sentences(
            writer.prose(text, 'cogo-run.1'))
    for name, what, variable in parts['options']:
        insert['options'] += entry(name, what)
        if variable:
            insert['variables'] += ['.TP', term(variable),
                                    'As ' + term(name.split(' ')[0]) + '.']
    for name, what, _ in parts['variables']:
        insert['variables'] += entry(name, what)
    insert['exit'] = sentences(writer.prose(
        parts['exit'][0].upper() + parts['exit'][1:], 'cogo-run.1'))

    name, _, arguments = parts['usage'].partition(' ')
    out = writer.prologue('cogo-run', 1, os.path.join(writer.source,
                                                      'tools/cogo-run.c'))
    out += ['.SH NAME',
            'cogo\\-run \\- run a program with its threads as coroutines',
            '.SH SYNOPSIS', term(name) + ' ' + re.sub(
                r'[a-z]+', r'\\fI\g<0>\\fP', arguments).replace('-', '\\-')]
    out += writer.template('cogo-run.txt', seen, 'cogo-run.1', insert)
    writer.pages['cogo-run.1'] = out + references(seen | {'cogo.7'},
                                                  'cogo-run.1')


# ---- the command line ---------------------------------------------------------

def put(folder, pages):
    """Anew, so that what is not made any more is gone."""
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    for name, lines in sorted(pages.items()):
        with open(os.path.join(folder, name), 'w', encoding='ascii') as f:
            f.write('\n'.join(lines) + '\n')


def main():
    parser = argparse.ArgumentParser(usage=__doc__.split('\n\n')[1])
    parser.add_argument('what', choices=['pages', 'run'])
    parser.add_argument('out')
    parser.add_argument('--source', required=True)
    parser.add_argument('--version', default='')
    parser.add_argument('--depfile')
    parser.add_argument('--help-text')
    args = parser.parse_args()

    headers = read_headers(args.source)
    writer = Writer(headers, args.version, args.source)
    if args.what == 'run':
        run_page(writer, args.help_text)
        put(os.path.join(args.out, 'man1'), writer.pages)
        return
    for h in headers:
        if h.page:
            writer.header_page(h)
    for number in '37':
        pages = {n: p for n, p in writer.pages.items() if n[-1] == number}
        if number == '3':
            pages.update({n + '.3': [f'.so {to}']
                          for n, to in writer.links.items()})
        put(os.path.join(args.out, 'man' + number), pages)
    if args.depfile:
        include = os.path.join(args.source, 'include')
        # The directories too: they change when a header comes or goes.
        needs = [h.path for h in headers] + [
            include, include + '/cogo', OWN + '.py'] + glob.glob(
                OWN + '/*.txt') + glob.glob(OWN + '/*.py')
        with open(args.depfile, 'w', encoding='utf-8') as f:
            target = os.path.relpath(os.path.join(args.out, 'man3'))
            f.write(target + ': ' + ' '.join(
                n.replace(' ', '\\ ') for n in needs) + '\n')


if __name__ == '__main__':
    main()
