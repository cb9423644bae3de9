/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* hook/abort.c - giving up.
 *
 * A coroutine whose faults are contained gives up for itself alone, unless the
 * program has a handler for SIGABRT, which is then the one to decide. */
#include "fault/signal.h"
#include "go.h"
#include "hook/gate.h"
#include "hook/real.h"
#include <assert.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

void __assert_fail(const char *what, const char *file, unsigned line,
		   const char *function);

static bool contained(void)
{
	struct signal_action act;
	struct coro *me = self();

	if (!me || !me->contains || !me->unwind || me->in_runtime)
		return false;
	signal_get_action(SIGABRT, &act);
	return act.handler == SIG_DFL;
}

HOOKED void abort(void)
{
	if (contained())
		go_give_up(self(), "abort");
	REAL(abort)();
	__builtin_unreachable();
}

HOOKED void __assert_fail(const char *what, const char *file, unsigned line,
			  const char *function)
{
	char message[256];

	if (contained()) {
		snprintf(message, sizeof(message),
			 "%s:%u: %s: Assertion `%s' failed.", file, line,
			 function, what);
		go_give_up(self(), message);
	}
	REAL(__assert_fail)(what, file, line, function);
	__builtin_unreachable();
}
