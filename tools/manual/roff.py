# SPDX-License-Identifier: MIT OR Apache-2.0
"""What is to be read, as the lines of roff that show it: the man(7) macros that
both groff and mandoc know."""
import re
import textwrap

from headers import comment_lines


def escape(text):
    """So that it comes out as it is."""
    text = text.replace('\\', '\\e').replace('\u2026', '...')
    text = text.replace("'", '\\(aq').replace('`', '\\(ga')
    text = text.replace('^', '\\(ha').replace('~', '\\(ti')
    return ''.join(c if ord(c) < 128 else f'\\[u{ord(c):04X}]' for c in text)


def guarded(line):
    return '\\&' + line if line[:1] in ('.', "'") else line


def code_escape(text):
    return guarded(escape(text).replace('-', '\\-'))


def narrow(lines, width=63):
    """A type as it is in its header, but for comments that would go on past the
    edge: those come before what they are about, and are broken anew."""
    out, lines = [], lines[:]
    while lines:
        line = lines.pop(0)
        lead = re.match(r'\t*', line)[0]
        m = re.search(r'/\*', line)
        one = re.fullmatch(r'(.*\{) (.*) (\};)', line)
        if line.strip().startswith('//') and len(line.expandtabs(4)) > width:
            out += [lead + '// ' + x for x in textwrap.wrap(
                line.strip()[3:], width - 4 * len(lead) - 3)]
            continue
        if not m and one and len(line) > width:
            out += [one[1]] + ['\t' + x for x in textwrap.wrap(
                one[2], width - 8)] + [one[3]]
            continue
        if not m and len(line.expandtabs(4)) > width:
            wrapped = textwrap.wrap(line.strip(), width - 4 * len(lead) - 4,
                                    break_on_hyphens=False)
            out += [lead + wrapped[0]] + [lead + '\t' + x for x in wrapped[1:]]
            continue
        if not m:
            out.append(line)
            continue
        comment = line[m.start():]
        while '*/' not in comment:
            comment += '\n' + lines.pop(0)
        before = line[:m.start()].rstrip()
        if len(line.expandtabs(8)) - 4 * len(lead) <= width and \
                '\n' not in comment:
            out.append(line)
            continue
        text = ' '.join(comment_lines(comment))
        wrapped = textwrap.wrap(text, width - 4 * len(lead) - 6)
        out += [lead + ('/* ' if k == 0 else ' * ') + x +
                (' */' if k == len(wrapped) - 1 else '')
                for k, x in enumerate(wrapped)]
        if before:
            out.append(before)
    return out


def class_shown(text):
    """A class without its private parts and its functions' bodies."""
    at = text.index('{') + 1
    out, inside, i = text[:at], text[at:text.rindex('}')], 0
    parts = re.split(r'^(public|private|protected):\n', 'private:\n' + inside,
                     flags=re.M)
    inside = ''.join(body for word, body in zip(parts[1::2], parts[2::2])
                     if word == 'public')
    out += '\npublic:\n'
    while i < len(inside):
        if inside[i] != '{':
            out += inside[i]
            i += 1
            continue
        depth, end = 1, i + 1
        while depth:
            depth += (inside[end] == '{') - (inside[end] == '}')
            end += 1
        begin = max(out.rfind(c) for c in ';}') + 1
        head = re.sub(r'//[^\n]*', '', out[begin:])
        if ')' in head:         # a function, and perhaps what it initialises
            out = re.sub(r'\s*(\)[^()]*?)\s(:\s.*)?\Z', r'\1', out.rstrip() + ' ',
                         flags=re.S) if re.search(r'\)\s*:\s', head) is None \
                else out[:begin] + re.split(r'(?<=\))\s*:\s', out[begin:])[0]
            out = out.rstrip() + ';'
        else:
            out += '{ ... }'
        i = end
    return re.sub(r'\n\n+', '\n\n', out.rstrip()) + '\n};'


def references(pages, own):
    pages = sorted(pages - {own}, key=lambda x: (x[-1], x))
    return ['.SH SEE ALSO'] + [
        '.BR ' + x[:-2].replace('-', '\\-') + f' ({x[-1]})' +
        (',' if x != pages[-1] else '') for x in pages]


def sentences(text):
    """Each begins a line, as roff wants it, and none is long."""
    parts = re.split(r'(?<=[\w)\]"][.?!]) (?=[A-Z\\"])', text)
    return [guarded(line) for part in parts for line in textwrap.wrap(
        part, 78, break_long_words=False, break_on_hyphens=False)]


def split_params(text):
    """At the commas that are not inside something."""
    out, depth = [''], 0
    for c in text:
        depth += (c in '([{') - (c in ')]}')
        if c == ',' and depth == 0:
            out.append('')
        else:
            out[-1] += c
    return [' '.join(x.split()) for x in out]


def prototype(name, text, function, note=''):
    """Lines of bold, with the parameters' names in italics, broken at about 72
    columns."""
    text = re.sub(r'\b(COGO_API|static inline|extern)\b\s*', '', text)
    text = re.sub(r'\s*__attribute__\s*\(\(.*\)\)', '', text, flags=re.S)
    text = ' '.join(text.split())
    text = text.replace('* cogo_', '*cogo_')
    at = re.search(r'\b' + re.escape(name) + r'\s*\(', text)
    # What returns a pointer to a function is left as it is.
    if not at or '(*' in text[:at.end()]:
        return ['\\fB' + code_escape(text) + '\\fP;']
    head, rest = text[:at.end()], text[at.end():]
    close = rest.rindex(')')
    params, tail = split_params(rest[:close]), rest[close:]

    def styled(p):
        m = re.search(r'\(\*+\s*(?:const\s+)?(\w+)\)', p) or \
            re.search(r'(\w+)(?:\[\w*\])?$', p)
        words = re.findall(r'\w+', p)
        lone = function and len(words) < 2
        if not m or lone or m[1] in ('void', 'char', 'int', 'types'):
            return code_escape(p)
        return code_escape(p[:m.start(1)]) + '\\fI' + escape(m[1]) + \
            '\\fB' + code_escape(p[m.end(1):])

    indent = len(head) if len(head) < 36 else 8
    lines, width = ['\\fB' + code_escape(head)], len(head)
    for n, p in enumerate(params):
        last = n == len(params) - 1
        size = len(p) + (len(tail) + 1 if last else 2)
        if n and width + size > 68:
            lines[-1] = lines[-1].rstrip()
            lines.append('\\fB' + ' ' * indent)
            width = indent
        lines[-1] += styled(p) + ('' if last else ', ')
        width += size
    # A macro of which no more is known has no type before its name.
    lines[-1] += code_escape(tail) + (';\\fP' if ' ' in head else '\\fP')
    if note:
        lines[-1] += '  /* ' + escape(note) + ' */'
    return lines
