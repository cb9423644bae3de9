/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* hook/log.c - telling the system's log.
 *
 * libc's syslog holds a lock of its own while it sends, and the daemon at the
 * other end may be slow: a kernel thread would wait for each coroutine that has
 * something to say meanwhile. So coroutines wait for a lock of ours first, one
 * of them at a time is in libc, and there as a declared blocking section.
 * Kernel threads go to libc as ever, and are few.
 *
 * In the child of a fork our lock is free again; libc's is whatever libc
 * makes of it. */
#include "hook/log.h"
#include "base/errno.h"
#include "hook/call.h"
#include "hook/real.h"
#include "hook/thread/cancel.h"
#include "hook/thread/locks.h"
#include "sync/mutex.h"
#include <stdarg.h>
#include <syslog.h>

/* Fortified forms, which no header declares for us. */
void __syslog_chk(int priority, int flag, const char *format, ...);
void __vsyslog_chk(int priority, int flag, const char *format, va_list ap);

static struct mutex turn;

void log_fork_child(void)
{
	turn = (struct mutex){ 0 };
}

/* %m is what errno was when syslog was called, and where coroutines share their
 * worker's it may be another's after a wait. The wait is no cancellation point,
 * as it is none in libc. */
static struct coro *enter(bool cancels)
{
	struct coro *me = gate_coro();
	uint32_t since = 0;
	int before = errno_get();

	if (!me)
		return NULL;
	if (cancels)
		cancel_point(me);
	door_enter(me);
	if (!mutex_try(&turn))
		while (mutex_lock(&turn, COGO_FOREVER, &since) != 0)
			locks_interrupted(me);
	block_enter(me, WHY_WRITE);
	door_leave(me);
	errno_set(before);
	return me;
}

static void leave(struct coro *me)
{
	if (!me)
		return;
	door_enter(me);
	block_exit(me);
	door_leave(me);
}

/* At the end of a turn, and when its thread is cancelled inside. */
static void give_turn(struct coro **me)
{
	if (!*me)
		return;
	door_enter(*me);
	if (!mutex_try_unlock(&turn))
		mutex_unlock(&turn);
	door_leave(*me);
}

/* The rest of the block is the caller's turn, until leave(). */
#define TURN(me, cancels) \
	struct coro *me __attribute__((cleanup(give_turn))) = enter(cancels)

HOOKED void vsyslog(int priority, const char *format, va_list ap)
{
	TURN(me, true);

	REAL(vsyslog)(priority, format, ap);
	leave(me);
}

HOOKED void syslog(int priority, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsyslog(priority, format, ap);
	va_end(ap);
}

HOOKED void __vsyslog_chk(int priority, int flag, const char *format, va_list ap)
{
	TURN(me, true);

	REAL(__vsyslog_chk)(priority, flag, format, ap);
	leave(me);
}

HOOKED void __syslog_chk(int priority, int flag, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	__vsyslog_chk(priority, flag, format, ap);
	va_end(ap);
}

HOOKED void openlog(const char *ident, int option, int facility)
{
	TURN(me, true);

	REAL(openlog)(ident, option, facility);
	leave(me);
}

HOOKED void closelog(void)
{
	TURN(me, true);

	REAL(closelog)();
	leave(me);
}

/* It takes libc's lock, and no more. */
HOOKED int setlogmask(int mask)
{
	TURN(me, false);
	int before;

	before = REAL(setlogmask)(mask);
	leave(me);
	return before;
}
