/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* generators - functions that give one value after another, when asked.
 *
 *	cc generators.c -o generators $(pkg-config --cflags --libs cogo)
 *	./generators [FILE]
 *
 * A generator yields from wherever it is: out of a loop, out of the middle of a
 * recursion. It stands still there until it is asked again, so it may have no end,
 * and two of them can be walked in step. One that is not wanted any more is freed
 * where it stands, and then its cleanups run. */
#include <cogo.h>
#include <errno.h>
#include <error.h>
#include <stdio.h>
#include <stdlib.h>

static struct cogo_gen *generate(void (*fn)(struct cogo_gen *, void *), void *arg)
{
	struct cogo_gen *g;
	int r = cogo_gen_new(&g, 0, fn, arg);

	if (r)
		error(1, -r, "cannot make a generator");
	return g;
}

/* ---- without end ---- */

static void fibonacci(struct cogo_gen *g, void *arg)
{
	long a = 0, b = 1, sum;

	(void)arg;
	while (cogo_gen_yield(g, &a) == 0) {
		sum = a + b;
		a = b;
		b = sum;
	}
}

/* A generator that is made of another one: those of its values that are even. */
static void even(struct cogo_gen *g, void *arg)
{
	struct cogo_gen *numbers = arg;

	cogo_gen_each (long, x, numbers)
		if (x % 2 == 0 && cogo_gen_yield(g, &x))
			break;
}

static void print_numbers(void)
{
	struct cogo_gen *all = generate(fibonacci, NULL);
	struct cogo_gen *some = generate(even, all);

	cogo_gen_each (long, x, some) {
		if (x > 10000)
			break;
		printf("%ld ", x);
	}
	printf("\n");
	cogo_gen_free(some);
	cogo_gen_free(all);
}

/* ---- out of a recursion ---- */

struct node {
	int value;
	const struct node *left, *right;
};

static void in_order(struct cogo_gen *g, const struct node *n)
{
	if (!n)
		return;
	in_order(g, n->left);
	cogo_gen_yield(g, &n->value);
	in_order(g, n->right);
}

static void walk(struct cogo_gen *g, void *tree)
{
	in_order(g, tree);
}

/* Whether two trees hold the same, whatever their shapes. */
static bool same(struct node *a, struct node *b)
{
	struct cogo_gen *in_a = generate(walk, a), *in_b = generate(walk, b);
	int x = 0, y = 0, more_a, more_b;

	do {
		more_a = cogo_gen_next(in_a, &x);
		more_b = cogo_gen_next(in_b, &y);
	} while (more_a && more_b && x == y);
	cogo_gen_free(in_a);
	cogo_gen_free(in_b);
	return !more_a && !more_b;
}

static void compare_trees(void)
{
	struct node one = { 1, NULL, NULL }, three = { 3, NULL, NULL };
	struct node two = { 2, &one, &three };		/* 2 on top */
	struct node up[3] = {				/* 1 on top */
		{ 1, NULL, &up[1] }, { 2, NULL, &up[2] }, { 3, NULL, NULL },
	};

	printf("two shapes: %s\n", same(&two, up) ? "the same" : "different");
	up[2].value = 4;
	printf("a 4 for a 3: %s\n", same(&two, up) ? "the same" : "different");
}

/* ---- what is to be tidied up ---- */

static void close_file(void *file)
{
	fclose(file);
	printf("(closed)\n");
}

static void lines(struct cogo_gen *g, void *path)
{
	FILE *f = fopen(path, "r");
	char line[256], *p = line;

	if (!f)
		return;
	cogo_defer(close_file, f);
	while (fgets(line, sizeof(line), f))
		if (cogo_gen_yield(g, &p))
			return;
}

static void print_head(char *path, int n)
{
	struct cogo_gen *g = generate(lines, path);

	cogo_gen_each (char *, line, g) {
		fputs(line, stdout);
		if (--n == 0)
			break;
	}
	cogo_gen_free(g);
}

int main(int argc, char **argv)
{
	print_numbers();
	compare_trees();
	if (argc > 1)
		print_head(argv[1], 2);
	return 0;
}
