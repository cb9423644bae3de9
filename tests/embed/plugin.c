/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* plugin.c - loaded by a program that has never heard of cogo. */
#include <cogo.h>
#include <stdio.h>
#include <stdlib.h>

int plugin_work(int rounds);

static void produce(void *arg)
{
	struct cogo_chan *ch = arg;

	for (int i = 1; i <= 100; i++)
		if (cogo_send(ch, &i, COGO_FOREVER))
			abort();
	cogo_chan_close(ch);
}

/* The sum of what came through; -1 when something failed. */
static int pass_numbers(void)
{
	struct cogo_chan *ch = cogo_chan_new(sizeof(int), 3);
	struct cogo_coro *c;
	int sum = 0, x;

	if (!ch || cogo_go(&c, NULL, produce, ch))
		return -1;
	while (cogo_recv(ch, &x, COGO_FOREVER) == 0)
		sum += x;
	if (cogo_join(c) != COGO_RETURNED)
		return -1;
	cogo_chan_free(ch);
	return sum;
}

int plugin_work(int rounds)
{
	for (int i = 0; i < rounds; i++)
		if (pass_numbers() != 5050)
			return -1;
	return cogo_stop(COGO_FOREVER);
}
