/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* base/fatal.c - misuse and broken invariants end here; reports begin here.
 *
 * vsnprintf does not allocate for the conversions used here, and takes no
 * lock; the text leaves in one write, so that lines of two threads do not
 * mix. */
#include "base/fatal.h"
#include "base/sys.h"
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>

#define STDERR 2

static void say(const char *before, const char *fmt, va_list ap,
		const char *after)
{
	char line[1024];
	int n = snprintf(line, sizeof(line), "%s", before);
	int m = vsnprintf(line + n, sizeof(line) - (size_t)n - 2, fmt, ap);

	if (m > (int)sizeof(line) - n - 3)
		m = (int)sizeof(line) - n - 3;
	n += m;
	while (*after)
		line[n++] = *after++;
	sys_write_all(STDERR, line, (size_t)n);
}

void report(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say("", fmt, ap, "");
	va_end(ap);
}

void cogo_warn(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say("cogo: ", fmt, ap, "\n");
	va_end(ap);
}

void cogo_throw(const char *fmt, ...)
{
	struct { void (*handler)(int); unsigned long flags; void *restorer;
		 uint64_t mask; } dfl = { SIG_DFL, 0, NULL, 0 };
	uint64_t abrt = 1ull << (SIGABRT - 1);
	va_list ap;

	va_start(ap, fmt);
	say("cogo: fatal: ", fmt, ap, "\n");
	va_end(ap);
	/* abort() without its locks and without the program's handler, which
	 * might want a runtime that is broken. */
	sys_call(SYS_rt_sigaction, SIGABRT, &dfl, NULL, 8);
	sys_call(SYS_rt_sigprocmask, SIG_UNBLOCK, &abrt, NULL, 8);
	sys_call(SYS_tgkill, sys_getpid(), sys_gettid(), SIGABRT);
	for (;;)
		sys_call(SYS_exit_group, 134);
}
