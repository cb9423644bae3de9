#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""test_refused - what cogo/call.h takes, and what it refuses with which words.

    test_refused.py INCLUDE COMPILER...

Each snippet is the body of a function, compiled as C11 and as GNU C with every
warning an error. What is wrong must not compile, and the compiler must say what
the header has to say of it."""
import subprocess
import sys

include, *compiler = sys.argv[1:]

BEFORE = '''
#include <cogo.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>

struct pair { int a; double b; };
static inline void plain(void) { }
static inline void pointer(void *p) { (void)p; }
static inline void takes_int(int a) { (void)a; }
static inline void takes_long(long a) { (void)a; }
static inline void takes_double(int a, double b) { (void)a, (void)b; }
static inline void takes_text(const char *a) { (void)a; }
static inline void takes_pair(struct pair p) { (void)p; }
static inline void takes_bool(_Bool b) { (void)b; }
static inline void sixteen(int a, int b, int c, int d, int e, int f, int g, int h,
	int i, int j, int k, int l, int m, int n, int o, int p)
{
	(void)a, (void)b, (void)c, (void)d, (void)e, (void)f, (void)g, (void)h;
	(void)i, (void)j, (void)k, (void)l, (void)m, (void)n, (void)o, (void)p;
}
static inline long gives_long(int a) { return a; }
static inline int compare(const void *a, const void *b) { return a > b; }
'''

CAST = 'cast the argument to the type of its parameter'
RESULT = 'the place for the result'

GOOD = [
    'go(plain);',
    'go(&plain);',
    'int x = 0; go(pointer, &x); go(pointer, (void *)0); go(pointer, NULL);',
    'const int x = 0; go(takes_int, x); go(takes_int, 1 ? x : 2);',
    'struct pair p = { 1, 2 }; go(takes_pair, p); '
    'go(takes_pair, ((struct pair){ 1, 2 }));',
    'go(takes_text, (const char *)"text");',
    'int i = 0; go(takes_double, i++, 2.5);',
    'go(sixteen, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16);',
    'void (*const fn)(int) = takes_int; go(fn, 1); go(*fn, 1);',
    'int c = \'a\'; go(takes_int, toupper(c));',
    # One in the arguments of another.
    'go(takes_int, go(takes_int, go(plain)));',
    'struct cogo_coro *c; long l; cogo_spawn(&c, &l, gives_long, 1); '
    'cogo_join(c);',
    'cogo_spawn(NULL, NULL, gives_long, 1); cogo_spawn(NULL, NULL, plain);',
    'const struct cogo_attr attr = { .name = "a" }; '
    'cogo_spawn_with(&attr, NULL, (void *)0, takes_int, 1);',
    'int (*f)(const void *, const void *); '
    'cogo_callback_wait(&f, compare, const void *, const void *); '
    'cogo_callback_free(f);',
    'void (*f)(void); cogo_callback_go(&f, plain); cogo_callback_free(f);',
    'void (*f)(int); cogo_callback_go(&f, takes_int, int); '
    'cogo_callback_free(f);',
]

# What, and words of the complaint: the header's, or those of each compiler.
BAD = [
    ('go(takes_int, 1l);', CAST),
    ('go(takes_int, \'a\' + 0u);', CAST),
    ('go(takes_long, 1);', CAST),
    ('go(takes_double, 1, 2);', CAST),
    ('go(takes_double, 1, 2.5f);', CAST),
    ('go(takes_text, "text");', CAST),
    ('int *x = 0; go(takes_bool, x);', CAST),
    ('char c = 1; go(takes_int, c);', CAST),
    ('go(printf, (const char *)"%d", 1);', CAST),
    ('go(printf, (const char *)"text");', CAST),
    ('struct pair p = { 1, 2 }; go(takes_int, p);', 'incompatible type'),
    ('go(takes_pair, 1);', 'incompatible type'),
    ('go(pointer, 1);', 'pointer'),
    ('go(takes_int);', 'too few arguments'),
    ('go(takes_int, 1, 2);', 'too many arguments'),
    ('go(plain, 1);', 'too many arguments'),
    ('go(1);', 'called object'),
    ('int x; cogo_spawn(NULL, &x, gives_long, 1);', RESULT),
    ('long x; cogo_spawn(NULL, x, gives_long, 1);', RESULT),
    ('long x; void *p = &x; cogo_spawn(NULL, p, gives_long, 1);', RESULT),
    ('int x; cogo_spawn(NULL, &x, plain);', RESULT),
    ('void *p = 0; cogo_spawn(NULL, p, plain);', RESULT),
    ('go(sixteen, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17);',
     'cogo_takes_16_arguments_at_most_'),
    ('int (*f)(const void *, const void *); '
     'cogo_callback_wait(&f, compare, void *, void *);', 'the types given'),
    ('int (*f)(const void *, const void *); '
     'cogo_callback_go(&f, compare, const void *, const void *);',
     'what nobody waits for'),
    ('int (*f)(void *, void *); '
     'cogo_callback_wait(&f, compare, const void *, const void *);',
     'the pointer must be'),
]


def compiled(body, standard, *options):
    text = BEFORE + 'void body(void);\nvoid body(void)\n{\n' + body + '\n}\n'
    result = subprocess.run(
        [*compiler, '-std=' + standard, '-I', include, '-Wall', '-Wextra',
         '-Wpedantic', '-Wshadow', '-Werror', '-Wno-unused-function', '-O1',
         *MANY_ERRORS, *options,
         '-c', '-x', 'c', '-', '-o', '/dev/null'],
        input=text, text=True, stderr=subprocess.PIPE)
    words = [line for line in result.stderr.split('\n') if 'error:' in line]
    return result.returncode == 0, '\n'.join(words)


# clang stops after a few.
MANY_ERRORS = ()
if not compiled('', 'c11')[0]:
    sys.exit('nothing compiles: ' + compiled('', 'c11')[1])
if compiled('', 'c11', '-ferror-limit=0')[0]:
    MANY_ERRORS = ('-ferror-limit=0',)

wrong = []
for standard in ('c11', 'gnu11'):
    for body in GOOD:
        good, words = compiled(body, standard)
        if not good:
            wrong.append(f'{standard}: does not compile: {body}\n{words}')
    for body, text in BAD:
        good, words = compiled(body, standard)
        if good:
            wrong.append(f'{standard}: compiles: {body}')
        elif text not in words:
            wrong.append(f'{standard}: not for "{text}": {body}\n{words}')
    good, words = compiled('int go = 1; (void)go;', standard, '-DCOGO_NO_GO')
    if not good:
        wrong.append(f'{standard}: COGO_NO_GO leaves the name: {words}')

print('\n'.join(wrong))
print(f'{len(GOOD)} that compile, {len(BAD)} that do not: {len(wrong)} wrong')
sys.exit(bool(wrong))
