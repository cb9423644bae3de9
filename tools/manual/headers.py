# SPDX-License-Identifier: MIT OR Apache-2.0
"""Headers, read as what a page is made of. What they have to look like is told in
../manual.py. This is no parser of C: it knows where a declaration ends, and which
of the few kinds it is."""
import glob
import os
import re
import sys

# ---- text -------------------------------------------------------------------


class Code:
    """An example, or what a type looks like."""

    def __init__(self, lines):
        self.lines = lines


class Prototypes(Code):
    """How macros would be declared, were they functions."""


class Rows:
    """A table of terms and what they mean."""

    def __init__(self, rows):
        self.rows = rows


class Items(list):
    """A list of texts."""


def table_rows(lines):
    """The rows, if that is what these lines are."""
    rows = []
    for line in lines:
        if not line:
            continue
        if line.startswith('\t'):
            if not rows or '\t' in line.strip():
                return None
            rows[-1][1] = (rows[-1][1] + ' ' + line.strip()).strip()
            continue
        term, _, text = line.partition('\t')
        # Errors may speak for themselves, or be so many that the text is below.
        if re.fullmatch(r'(-E[A-Z0-9]+(, )?)+', line):
            text = ' '
        if not text or re.match(r'//|/\*', text.strip()):
            return None
        rows.append([term.strip(), text.strip()])
    return rows


def prototypes(lines, macros):
    """One for each macro of these that is declared here, if nothing else is."""
    found = {}
    for line in lines:
        if line.startswith('\t') and found:
            found[name] += ' ' + line.strip()
            continue
        m = re.match(r'(?:COGO_CHAN\(\w+\)|[A-Za-z_][\w *]*)[ *](\w+)\s*\(',
                     line)
        if not m or m[1] not in macros:
            return None
        name = m[1]
        found[name] = line.strip()
    return {k: v.rstrip(';') for k, v in found.items()}


def blocks(lines, macros=()):
    """Text as paragraphs (str), Code, Prototypes, Rows and Items."""
    out, paragraph = [], []

    def flush():
        if paragraph:
            out.append(' '.join(paragraph))
            paragraph.clear()

    i = 0
    while i < len(lines):
        line = lines[i]
        if line.startswith('\t'):
            end = i
            for j in range(i, len(lines)):
                if lines[j].startswith('\t'):
                    end = j + 1
                elif lines[j]:
                    break
            part = [x[1:] for x in lines[i:end]]
            flush()
            rows = table_rows(part)
            if rows:
                out.append(Rows(rows))
            elif prototypes(part, macros):
                out.append(Prototypes(part))
            else:
                out.append(Code(part))
            i = end
            continue
        if line.startswith('- '):
            flush()
            if not (out and isinstance(out[-1], Items)):
                out.append(Items())
            out[-1].append(line[2:])
        elif line.startswith('  ') and out and isinstance(out[-1], Items) \
                and not paragraph:
            out[-1][-1] += ' ' + line.strip()
        elif line:
            paragraph.append(line)
        else:
            flush()
        i += 1
    flush()
    return out


def comment_lines(text):
    """What a comment says, without its marks."""
    if text.startswith('//'):
        return [re.sub(r'^\s*// ?', '', x).rstrip()
                for x in text.split('\n')]
    lines = text[2:-2].split('\n')
    lines = [lines[0].lstrip('*').lstrip(' ')] + [
        re.sub(r'^\s*\* ?', '', x) for x in lines[1:]]
    lines = [x.rstrip() for x in lines]
    while lines and not lines[-1]:
        lines.pop()
    while lines and not lines[0]:
        lines.pop(0)
    return lines


def split_title(lines, attached):
    """(title or None, the rest)"""
    if not lines:
        return None, lines
    m = re.match(r'-{2,} (.*?) -{2,}$', lines[0])
    if m:
        return m[1], lines[1:]
    short = len(lines[0]) < 40 and re.match(r'[A-Z].*[\w)]$', lines[0])
    if short and (lines[1:2] == [''] or len(lines) == 1 and not attached):
        return lines[0], lines[1:]
    return None, lines


INNER = re.compile(r'(The rest is )?what .* (is|are) made of\b', re.I)
COMMON = 'Common to all that take a deadline:'


class Thing:
    """Something declared: kind is function, macro, constant, type or opaque."""

    def __init__(self, kind, name, text, line, end):
        self.kind, self.name, self.text = kind, name, text
        self.line, self.end, self.note, self.inner = line, end, '', False

    @property
    def private(self):
        return self.name.endswith('_')


class Group:
    """A comment, and what it is about."""

    def __init__(self, text, things, inner):
        self.text, self.things, self.inner = text, things, inner
        self.above = False      # it is what the section's own text is about


class Section:
    def __init__(self, title, text, inner=False):
        self.title, self.text, self.inner, self.groups = title, text, inner, []


def take_declaration(text, at):
    """Where the declaration that begins there ends: past its semicolon, or past
    the body of a function; and what it is without such a body."""
    depth, i = 0, at
    while i < len(text):
        c = text[i]
        if text.startswith('/*', i):
            i = text.index('*/', i) + 2
            continue
        if text.startswith('//', i):
            i = text.index('\n', i)
            continue
        if c in '"\'':
            m = re.compile(r'"(\\.|[^"\\])*"|\'(\\.|[^\'\\])*\'').match(text, i)
            i = m.end() if m else i + 1
            continue
        if c in '({[':
            depth += 1
        elif c in ')}]':
            depth -= 1
        elif c == ';' and depth == 0:
            return i + 1, text[at:i]
        if c == '}' and depth == 0:
            head = text[at:text.index('{', at)]
            if re.search(r'\)[\s\w]*$', head):  # a function's body
                return i + 1, head
            if re.match(r'namespace|extern', head):
                return i + 1, head
        i += 1
    return len(text), text[at:]


def classify(text, line, end):
    plain = re.sub(r'/\*.*?\*/|//[^\n]*', ' ', text, flags=re.S)
    plain = re.sub(r'\A\s*template <[^{]*?>(?=\s*(class|struct)\b)', '', plain)
    head = plain.split('{')[0]
    m = re.match(r'\s*(?:typedef\s+)?(struct|enum|union|class)\s+(\w+)', plain)
    if plain.strip().startswith('typedef'):
        name = re.search(r'(\w+)\s*$', plain)
        return Thing('type', name[1] if name else '', text, line, end)
    if m and '{' in plain and '(' not in head:
        return Thing('type', m[2], text, line, end)
    if m and re.fullmatch(r'\s*\w+\s+\w+\s*', plain):
        return Thing('opaque', m[2], text, line, end)
    m = re.search(r'\b(cogo_\w+)\s*\(', plain) or \
        re.search(r'([\w~]+|operator\s*\S+)\s*\(', plain)
    return Thing('function', m[1] if m else '', plain, line, end)


def take_define(text, line, end):
    body = text.replace('\\\n', ' ')
    m = re.match(r'#\s*define\s+(\w+)(\([^)]*\))?[ \t]*(.*)', body, re.S)
    thing = Thing('macro' if m[2] else 'constant', m[1], m[1] + (m[2] or ''),
                  line, end)
    thing.value = re.sub(r'/\*.*?\*/', '', ' '.join(m[3].split())).strip()
    return thing


def scan(text):
    """Comments (str, line, end, starts its line) and Things, in order."""
    # What C++ keeps to itself.
    text = re.sub(r'^namespace detail \{.*?^\} // namespace detail$',
                  lambda m: '\n' * m[0].count('\n'), text, flags=re.M | re.S)
    text = re.sub(r'extern "C\+{0,2}" \{|^namespace [\w:]+ *\{?', ' ', text,
                  flags=re.M)
    i, out, guard = 0, [], None

    def line_of(at):
        return text.count('\n', 0, at)

    while i < len(text):
        m = re.compile(r'[\s}]+').match(text, i)
        if m:
            i = m.end()
            continue
        if text.startswith('/*', i):
            end = text.index('*/', i) + 2
        elif text.startswith('//', i):
            end = re.compile(r'(?://[^\n]*\n[ \t]*)+').match(text, i).end()
            end = len(text[:end].rstrip())
        elif text[i] == '#':
            m = re.compile(r'(?:[^\n\\]|\\\n|\\[^\n])*').match(text, i)
            end, word = m.end(), m[0]
            # A comment that begins in it may go on after the line.
            last = word.rfind('/*')
            if last >= 0 and '*/' not in word[last:]:
                end = i + last
                word = text[i:end]
            defines = re.match(r'#\s*define\s+(\w+)', word)
            if defines and defines[1] != guard:
                out.append(take_define(word, line_of(i), line_of(end)))
                m = re.search(r'/\*.*?\*/\s*$', word, re.S)
                if m and '\\\n' not in word:
                    out[-1].note = ' '.join(comment_lines(m[0].strip()))
            m = re.match(r'#\s*ifndef\s+(\w+)', word)
            guard = m[1] if m and not any(
                isinstance(x, Thing) for x in out) else guard
            i = end
            continue
        else:
            end, head = take_declaration(text, i)
            out.append(classify(head, line_of(i), line_of(end - 1)))
            i = end
            continue
        begins = not text[text.rfind('\n', 0, i) + 1:i].strip()
        out.append((text[i:end], line_of(i), line_of(end), begins))
        i = end
    return out


class Header:
    """A header as a page."""

    def __init__(self, path, name):
        with open(path, encoding='utf-8') as f:
            source = f.read()
        self.path, self.name = path, name
        self.includes = re.findall(r'#include "(?:cogo/)?(\w+)\.h"', source)
        self.title = re.sub(r'\.h$', '', name).replace('/', '_')
        self.page = None        # "cogo_chan.3", once it is known to be one
        self.brief, self.text, self.sections = '', [], [Section(None, [])]
        self.common = {}        # errors of all that take a deadline
        self.macros = re.findall(r'#\s*define\s+(\w+)\(', source)
        self.lines = source.split('\n')
        self.read(scan(source))
        self.text_names = set(re.findall(r'[A-Za-z_]\w+', self.all_text()))

    def read(self, found):
        group, first = None, True
        for at, item in enumerate(found):
            if isinstance(item, Thing):
                near = group and group.end + 1 >= item.line
                if not near:
                    group = self.group([], self.sections[-1].inner)
                group.things.append(item)
                item.inner = group.inner
                group.end = item.end
                continue
            text, line, end, begins = item
            lines = [x for x in comment_lines(text)
                     if 'SPDX-License-Identifier' not in x]
            if not lines:
                continue
            if first:
                first = False
                self.open(lines)
                continue
            if not begins:
                if group and group.things and group.things[-1].end == line:
                    group.things[-1].note = ' '.join(lines)
                    group.end = end
                continue
            following = found[at + 1] if at + 1 < len(found) else None
            # Nothing between, or no more than an #ifdef.
            attached = isinstance(following, Thing) and all(
                x.startswith('#') for x in
                self.lines[end + 1:following.line])
            title, rest = split_title(lines, attached)
            what = title or (rest[0] if rest else '')
            inner = bool(INNER.match(what))
            # What is said under a title is about all that comes; but of a
            # function that follows at once.
            above = title and not (attached and following.kind in (
                'function', 'macro'))
            if title or (inner and not attached):
                self.sections.append(Section(
                    title, blocks(rest, self.macros) if above else [], inner))
            elif not attached:
                self.sections[-1].groups.append(
                    Group(blocks(rest, self.macros), [], inner))
            group = None
            if attached:
                group = self.group([] if above else
                                   blocks(rest, self.macros),
                                   inner or self.sections[-1].inner)
                group.above, group.end = above, following.line - 1

    def group(self, text, inner):
        group = Group(text, [], inner)
        self.sections[-1].groups.append(group)
        return group

    def open(self, lines):
        """cogo/x.h - in a line, or a few."""
        m = re.match(r'\S+ - (.*)', lines[0])
        if not m:
            sys.exit(f'{self.path}: the first comment is not "{self.name} - '
                     'what it is"')
        first = [m[1]]
        at = 1
        while at < len(lines) and lines[at]:
            first.append(lines[at])
            at += 1
        first = ' '.join(first)
        self.brief, _, more = first.partition('. ')
        self.brief = self.brief.rstrip('.')
        self.text = ([more] if more else []) + blocks(lines[at:], self.macros)
        for b, rows in zip(self.text, self.text[1:]):
            if isinstance(b, str) and b.endswith(COMMON) and \
                    isinstance(rows, Rows):
                self.common = errors_of([rows])

    def groups(self):
        for section in self.sections:
            yield from section.groups

    def all_text(self):
        parts = [flat(self.text)]
        for section in self.sections:
            parts += [section.title or '', flat(section.text)]
            parts += [flat(g.text) for g in section.groups]
        return '\n'.join(parts)

    def examples(self):
        """Each as lines."""
        texts = [self.text]
        for section in self.sections:
            texts.append(section.text)
            texts += [g.text for g in section.groups]
        return [b.lines for text in texts for b in text if type(b) is Code]

    def documented(self, thing, group):
        return bool(group.text or group.above or thing.note) or (
            thing.kind in ('macro', 'constant') and
            thing.name in self.text_names)

    def public(self):
        """(thing, group) of all that has a name for programs and a page. In C++
        names are not unique, and have none."""
        if self.name.endswith('.hpp'):
            return
        for group in self.groups():
            for thing in group.things:
                if thing.kind in ('function', 'macro', 'constant') and \
                        not thing.private and self.documented(thing, group):
                    yield thing, group


def flat(text):
    out = []
    for b in text:
        if isinstance(b, str):
            out.append(b)
        elif isinstance(b, Rows):
            out += [f'{term}: {what}' for term, what in b.rows]
        elif isinstance(b, Items):
            out += b
        else:
            out += b.lines
    return '\n'.join(out)


def read_headers(top):
    """All public ones; those that make a page know it."""
    include = os.path.join(top, 'include')
    paths = sorted(glob.glob(include + '/*.h') + glob.glob(include + '/*.hpp') +
                   glob.glob(include + '/cogo/*.h') +
                   glob.glob(include + '/cogo/*.hpp'))
    headers = [Header(p, os.path.relpath(p, include)) for p in paths]
    for h in headers:
        if h.name == 'cogo.h':
            h.page = 'cogo.7'
        elif h.name.endswith('.hpp') or any(
                group.text for _, group in h.public()):
            h.page = h.title + '.3'
    return headers


# ---- what can go wrong --------------------------------------------------------

ERROR = re.compile(r'-(E[A-Z0-9]{2,})\b')
# "As cogo_go, but never -EINVAL or -EAGAIN".
NEVER = re.compile(r'\bnever (-E[A-Z0-9]+(?: or -E[A-Z0-9]+)*)')


def errors_of(text):
    """{error: why, or ''} as a comment names them. Why is taken only where the
    words after the name cannot be meant for anything else."""
    found = {}
    for b in text:
        if isinstance(b, Rows):
            for term, what in b.rows:
                for e in ERROR.findall(term):
                    found[e] = what
                for e in ERROR.findall(what):
                    found.setdefault(e, '')
        for part in [b] if isinstance(b, str) else \
                b if isinstance(b, Items) else []:
            for e in ERROR.findall(part):
                found.setdefault(e, '')
            for clause in re.split(r'(?<=[.;:,])\s+|,? or (?=-E)', part):
                m = re.match(r'(?:(?:or|and|also)\s+)*-(E[A-Z0-9]+)'
                             r'(?::?\s+)((?:when|if|where|for|on|at|by|in)\b.*|'
                             r'.*(?<=:).*)$', clause)
                if m and not ERROR.search(m[2]):
                    why = re.split(r'[;.]', m[2])[0].rstrip('.,;:')
                    rest = part[part.index(clause) + len(clause):]
                    if clause.endswith(',') and not re.match(
                            r'\s*(or|and)?\s*-E', rest):
                        more = re.split(r'[.;]|,? or -E|, -E', rest)[0]
                        why += ',' + more
                    found[m[1]] = found[m[1]] or ' '.join(why.split())
    return found


def common_to(h):
    """The names of functions to which the header's common errors may come."""
    return [t.name for group in h.groups() for t in group.things if h.common and
            t.kind == 'function' and re.search(r'\bcogo_time deadline\b', t.text)]


def errors_by_function(h, known):
    """{function: {error: why}}; known are those of other headers."""
    own, before, common = {}, {}, common_to(h)
    for group in h.groups():
        functions = [t for t in group.things if t.kind in ('function', 'macro')
                     and not t.private and not group.inner]
        if not functions:
            continue
        text = flat(group.text)
        errors = errors_of(group.text)
        returns = any(re.match(r'(COGO_API|static inline|\s)*int\b', x) for x in
                      [t.text for t in functions] +
                      [x for b in group.text if isinstance(b, Prototypes)
                       for x in b.lines])
        if returns:
            for name in re.findall(r'\b[Aa]s (cogo_\w+)', text) + \
                    re.findall(r'what (cogo_\w+) returns', text):
                for e in own.get(name) or known.get(name, ()):
                    errors.setdefault(e, '')
            if re.match(r'The same\b(?! without)', text):
                for e in before:
                    errors.setdefault(e, '')
        for names in NEVER.findall(text):
            for e in ERROR.findall(names):
                errors.pop(e, None)
        for t in functions:
            own[t.name] = dict(errors)
            if t.name in common:
                for e, why in h.common.items():
                    own[t.name][e] = errors.get(e) or why
        before = errors
    return own


def gather_errors(h, headers=()):
    """{error: {function: why}}, in the header's order."""
    known, out = {}, {}
    for other in headers:
        known.update(errors_by_function(other, {}))
    for name, errors in errors_by_function(h, known).items():
        for e, why in errors.items():
            out.setdefault(e, {})[name] = why
    return out
