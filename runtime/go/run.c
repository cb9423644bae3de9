/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* go/run.c - a program whose main is a coroutine. */
#include "cogo/go.h"
#include "base/fatal.h"
#include "coro/self.h"
#include <errno.h>

struct program {
	int (*main)(int, char **);
	int argc;
	char **argv;
	int status;
};

static void run(void *arg)
{
	struct program *p = arg;

	p->status = p->main(p->argc, p->argv);
}

int cogo_run(int (*main)(int, char **), int argc, char **argv)
{
	struct program p = { main, argc, argv, 0 };
	struct cogo_attr attr = { .name = "main" };
	struct cogo_coro *c;
	int r;

	if (cogo_is_coroutine())
		return -EBUSY;
	r = cogo_go(&c, &attr, run, &p);
	if (r)
		return r;
	cogo_wait(c, COGO_FOREVER);
	/* A status says little, and there is nobody else to tell. */
	if (cogo_how(c) == COGO_PANICKED) {
		cogo_warn("panic: %s", cogo_panic_message(c));
		report("%s", cogo_panic_trace(c));
	}
	r = cogo_join(c);
	return r == COGO_RETURNED ? p.status : 128 + r;
}
