/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* quicksort - sorting on all processors.
 *
 *	cc -O2 quicksort.c -o quicksort $(pkg-config --cflags --libs cogo)
 *	./quicksort [COUNT]
 *
 * Each half is sorted beside the other one. A scope's children have ended when its
 * block has been left, so they may use what stands on the stack before it. Small
 * pieces are sorted on the spot: a coroutine costs about what sorting a few dozen
 * numbers costs. */
#include <cogo.h>
#include <stdio.h>
#include <stdlib.h>

#define SMALL 1000

struct piece {
	int *from, *to;
};

static int compare(const void *a, const void *b)
{
	int x = *(const int *)a, y = *(const int *)b;

	return (x > y) - (x < y);
}

static void swap(int *a, int *b)
{
	int x = *a;

	*a = *b;
	*b = x;
}

/* Hoare's: nothing before the place that is returned is greater than anything from
 * there on, and neither side is empty. */
static int *split(struct piece p)
{
	int pivot = p.from[(p.to - p.from) / 2];
	int *i = p.from, *j = p.to - 1;

	for (;; i++, j--) {
		while (*i < pivot)
			i++;
		while (*j > pivot)
			j--;
		if (i >= j)
			return i > p.from ? i : i + 1;
		swap(i, j);
	}
}

static int sort(void *arg)
{
	struct piece p = *(struct piece *)arg, left = p, right = p;

	if (p.to - p.from < SMALL) {
		qsort(p.from, (size_t)(p.to - p.from), sizeof(int), compare);
		return 0;
	}
	left.to = right.from = split(p);
	cogo_scope (s, NULL) {
		/* No room for one more? Then we do that half as well. */
		if (cogo_scope_go(s, NULL, sort, &left))
			sort(&left);
		sort(&right);
	}
	return 0;
}

int main(int argc, char **argv)
{
	size_t n = argc > 1 ? strtoul(argv[1], NULL, 10) : 1000000;
	int *numbers = malloc(n * sizeof(*numbers));
	struct piece all = { numbers, numbers + n };
	cogo_time start;

	if (!numbers)
		return 1;
	srand(1);
	for (size_t i = 0; i < n; i++)
		numbers[i] = rand();

	start = cogo_now();
	sort(&all);
	fprintf(stderr, "%.3f s\n", (double)(cogo_now() - start) / COGO_SEC);

	for (size_t i = 1; i < n; i++) {
		if (numbers[i - 1] > numbers[i]) {
			printf("not in order at %zu\n", i);
			return 1;
		}
	}
	printf("%zu numbers in order\n", n);
	free(numbers);
	return 0;
}
