/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* go/run.c - a program whose main is a coroutine. */
#include "cogo/go.h"
#include "base/conf.h"
#include "base/fatal.h"
#include "base/sys.h"
#include "coro/self.h"
#include "go.h"
#include <errno.h>
#include <time.h>

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

int cogo_stop(cogo_time deadline)
{
	struct timespec brief = { 0, 200000 };
	int r;

	if (cogo_is_coroutine())
		return -EDEADLK;
	if (conf.run)
		return -EPERM;
	/* The last of them may be leaving its stack just now. */
	while ((r = go_lent.stop()) == -EBUSY) {
		if (sys_now() >= deadline)
			return -ETIMEDOUT;
		sys_call(SYS_nanosleep, &brief, NULL);
	}
	return r;
}
