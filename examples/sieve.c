/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* sieve - prime numbers, by a chain of coroutines.
 *
 *	cc sieve.c -o sieve $(pkg-config --cflags --libs cogo)
 *	./sieve [COUNT]
 *
 * The oldest program with channels. One coroutine counts; for each prime there is
 * another that lets through what its prime does not divide. The first number to
 * come out at the end is the next prime, and gets a filter of its own.
 *
 * It ends from the end: who is to send to a channel that is closed is told, closes
 * the one that it reads from, and so on up to the one who counts. */
#include <cogo.h>
#include <errno.h>
#include <error.h>
#include <stdio.h>
#include <stdlib.h>

typedef COGO_CHAN(int) numbers;

struct filter {
	numbers in, out;
	int prime;
};

static int count(void *arg)
{
	numbers out = arg;

	for (int i = 2; cogo_put(out, i) == 0; i++)
		;
	cogo_free(out);
	return 0;
}

static int filter(void *arg)
{
	struct filter f = *(struct filter *)arg;

	free(arg);
	cogo_each (f.in, x)
		if (x % f.prime && cogo_put(f.out, x))
			break;
	cogo_close(f.in);
	cogo_free(f.in);
	cogo_free(f.out);
	return 0;
}

static void start(struct cogo_scope *s, int (*fn)(void *), void *arg)
{
	int r = cogo_scope_go(s, NULL, fn, arg);

	if (r)
		error(1, -r, "cannot start");
}

int main(int argc, char **argv)
{
	int n = argc > 1 ? atoi(argv[1]) : 25, prime;

	cogo_scope (s, NULL) {
		numbers last = cogo_make(int, 0);

		/* Each who uses a channel has a reference of his own. */
		start(s, count, cogo_share(last));
		for (int i = 0; i < n && cogo_get(last, prime) == 0; i++) {
			struct filter *f = malloc(sizeof(*f));

			if (!f)
				error(1, errno, "cannot start");
			printf("%d\n", prime);
			*f = (struct filter){ last, cogo_make(int, 0), prime };
			last = cogo_share(f->out);
			start(s, filter, f);
		}
		cogo_close(last);
		cogo_free(last);
	}
	return 0;
}
