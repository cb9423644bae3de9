/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* gen - every function of cogo/gen.h in a use of a few lines.
 *
 *	cc gen.c -o gen $(pkg-config --cflags --libs cogo)
 *	./gen
 *
 * To look things up in: one function for each idea, with what one wants it for. */
#include "must.h"
#include <cogo.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void count(struct cogo_gen *g, void *n)
{
	for (int i = 0; i < *(int *)n; i++)
		if (cogo_gen_yield(g, &i))
			return;
}

/* All values there are, one after another. */
static void each_value(void)
{
	struct cogo_gen *g;
	int n = 4, sum = 0;

	must(cogo_gen_new(&g, 0, count, &n) == 0);
	cogo_gen_each (int, i, g)
		sum += i;
	must(sum == 0 + 1 + 2 + 3);
	must(cogo_gen_free(g) == 0);
}

/* One value, when it is wanted: here from two generators by turns. 1 is a value, 0
 * is the end. */
static void next_value(void)
{
	struct cogo_gen *a, *b;
	int n = 1, m = 2, x;

	must(cogo_gen_new(&a, 0, count, &n) == 0);
	must(cogo_gen_new(&b, 0, count, &m) == 0);
	must(cogo_gen_next(a, &x) == 1 && x == 0);
	must(cogo_gen_next(b, &x) == 1 && x == 0);
	must(cogo_gen_next(a, &x) == 0);
	must(cogo_gen_next(b, &x) == 1 && x == 1);
	must(cogo_gen_free(a) == 0);
	must(cogo_gen_free(b) == 0);
}

static void words(struct cogo_gen *g, void *text)
{
	char *rest = text, *word;

	while ((word = strtok_r(rest, " ", &rest)))
		if (cogo_gen_yield(g, word))
			return;
}

/* The pointer that was yielded, without a copy: for strings and other things that
 * have no size of their own. */
static void resume_for_a_pointer(void)
{
	char text[] = "one two";
	struct cogo_gen *g;
	void *word;

	must(cogo_gen_new(&g, 64 * 1024, words, text) == 0);
	must(cogo_gen_resume(g, NULL, &word) == 1 && strcmp(word, "one") == 0);
	must(cogo_gen_resume(g, NULL, &word) == 1 && strcmp(word, "two") == 0);
	must(cogo_gen_resume(g, NULL, &word) == 0);
	must(cogo_gen_free(g) == 0);
}

static void average(struct cogo_gen *g, void *unused)
{
	double sum = 0, mean = 0;

	(void)unused;
	for (int n = 1; cogo_gen_yield(g, &mean) == 0; n++) {
		const double *x = cogo_gen_sent(g);

		sum += *x;
		mean = sum / n;
	}
}

/* A conversation: each question comes with something, and its answer depends on
 * all that came before. The first run only brings the generator to where it can
 * be told something. */
static void send_and_sent(void)
{
	struct cogo_gen *g;
	double mean, x = 10, y = 20;

	must(cogo_gen_new(&g, 0, average, NULL) == 0);
	must(cogo_gen_next(g, &mean) == 1 && mean == 0);
	must(cogo_gen_send(g, &x, &mean) == 1 && mean == 10);
	must(cogo_gen_send(g, &y, &mean) == 1 && mean == 15);
	must(cogo_gen_free(g) == 0);
}

struct tree {
	struct tree *left, *right;
	int value;
};

static void walk(struct cogo_gen *g, void *tree)
{
	struct tree *t = tree;
	struct cogo_gen *inner;

	if (t->left && (cogo_gen_new(&inner, 0, walk, t->left) ||
			cogo_gen_from(g, inner)))
		return;
	if (cogo_gen_yield(g, &t->value))
		return;
	if (t->right && cogo_gen_new(&inner, 0, walk, t->right) == 0)
		cogo_gen_from(g, inner);
}

/* A generator made of generators: all that an inner one has, in its place. The
 * inner one is freed on the way. */
static void from_another(void)
{
	struct tree one = { .value = 1 }, three = { .value = 3 };
	struct tree two = { &one, &three, 2 };
	struct cogo_gen *g;
	int expected = 1;

	must(cogo_gen_new(&g, 0, walk, &two) == 0);
	cogo_gen_each (int, x, g)
		must(x == expected++);
	must(expected == 4);
	must(cogo_gen_free(g) == 0);
}

static void count_and_say_goodbye(struct cogo_gen *g, void *goodbye)
{
	for (int i = 0;; i++)
		if (cogo_gen_yield(g, &i) == -ECANCELED)
			break;
	*(int *)goodbye = 1;
}

/* No more is wanted, and the generator has something to finish: its yield says so,
 * and it goes on from there to its end. */
static void cancel(void)
{
	struct cogo_gen *g;
	int goodbye = 0, x;

	must(cogo_gen_new(&g, 0, count_and_say_goodbye, &goodbye) == 0);
	must(cogo_gen_next(g, &x) == 1 && x == 0);
	must(cogo_gen_cancel(g) == 0);
	must(goodbye == 1);
	must(cogo_gen_next(g, &x) == 0);
	must(cogo_gen_free(g) == 0);
}

static void set(void *flag)
{
	*(int *)flag = 1;
}

static void lines(struct cogo_gen *g, void *closed)
{
	char *line = strdup("a line");

	must(line != NULL);
	cogo_defer(free, line);
	cogo_defer(set, closed);
	for (;;)
		cogo_gen_yield(g, line);
}

/* One that stands in the middle of its work is freed there: what it has deferred
 * is done, and nothing else. */
static void free_in_the_middle(void)
{
	struct cogo_gen *g;
	int closed = 0;
	void *line;

	must(cogo_gen_new(&g, 0, lines, &closed) == 0);
	must(cogo_gen_resume(g, NULL, &line) == 1);
	must(strcmp(line, "a line") == 0);
	must(cogo_gen_free(g) == 0);
	must(closed == 1);
	must(cogo_gen_free(NULL) == 0);
}

static void ask_itself(struct cogo_gen *g, void *told)
{
	int x;

	*(int *)told = cogo_gen_next(g, &x);
}

/* A generator is one asker's at a time. */
static void busy(void)
{
	struct cogo_gen *g;
	int told = 0, x;

	must(cogo_gen_new(&g, 0, ask_itself, &told) == 0);
	must(cogo_gen_next(g, &x) == 0);
	must(told == -EBUSY);
	must(cogo_gen_free(g) == 0);
}

int main(void)
{
	each_value();
	next_value();
	resume_for_a_pointer();
	send_and_sent();
	from_another();
	cancel();
	free_in_the_middle();
	busy();
	puts("gen: ok");
	return 0;
}
