/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* tiny.c - the smallest whole program, which every compiler takes as C and as C++,
 * with every warning. */
#include <cogo.h>
#include <errno.h>
#include <stdio.h>

static int greeted;

static void leave(void *arg)
{
	/* Two may be here at a time. */
	__sync_fetch_and_add((int *)arg, 1);
}

static int greet(void *arg)
{
	cogo_defer(leave, &greeted);
	cogo_sleep(COGO_MS);
	if (!arg)
		cogo_panic("nobody to greet: %d", greeted);
	return 0;
}

static void all(void *arg)
{
	int result = 1;

	cogo_scope(s, &result) {
		cogo_scope_go(s, NULL, greet, arg);
		cogo_scope_go(s, NULL, greet, arg);
	}
	if (result)
		cogo_exit();
	__sync_fetch_and_add(&greeted, 40);
}

int main(void)
{
	struct cogo_scope s = COGO_SCOPE;
	struct cogo_coro *c;
	struct cogo_panic p;

	if (cogo_go(&c, NULL, all, &greeted) || cogo_join(c) != COGO_RETURNED)
		return 1;
	cogo_scope_begin(&s);
	cogo_scope_go(&s, NULL, greet, NULL);
	if (cogo_scope_end(&s) != -ECHILD)
		return 2;
	if (cogo_recover(all, &greeted, &p))
		return 3;
	printf("%d, %s\n", greeted, cogo_version());
	return greeted == 85 ? 0 : 4;
}
