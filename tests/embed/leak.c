/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* leak.c - started, used and stopped, three times. With an argument it loses
 * something itself, for whoever doubts that that would be found. */
#include <cogo.h>
#include <stdlib.h>
#include <string.h>

static void use(void *arg)
{
	struct cogo_chan *ch = arg;
	char *text = strdup("text");

	cogo_send(ch, &text, COGO_FOREVER);
	if (cogo_name(cogo_self())[0] == 'p')
		cogo_panic("a message that is kept");
}

static int use_all(void)
{
	struct cogo_chan *ch = cogo_chan_new(sizeof(char *), 0);
	struct cogo_attr attr = { .name = "p" };
	struct cogo_coro *c[20];
	char *text;

	for (int i = 0; i < 20; i++)
		if (cogo_go(&c[i], i % 2 ? &attr : NULL, use, ch))
			return 2;
	for (int i = 0; i < 20; i++) {
		if (cogo_recv(ch, &text, COGO_FOREVER))
			return 3;
		free(text);
	}
	for (int i = 0; i < 20; i++)
		cogo_join(c[i]);
	cogo_chan_free(ch);
	return cogo_stop(COGO_FOREVER) ? 4 : 0;
}

static __attribute__((noinline)) void lose(void)
{
	void *volatile p = malloc(77);

	p = NULL;
	(void)p;
}

int main(int argc, char **argv)
{
	int r = 0;

	(void)argv;
	for (int i = 0; i < 3 && r == 0; i++)
		r = use_all();
	if (argc > 1)
		lose();
	return r;
}
