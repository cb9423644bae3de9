/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* hook/stdio.c - streams: their locks, and their end.
 *
 * The lock is libc's own, so that those who call what is not hooked are kept out
 * as well. Nobody tells when such a lock is free: what waits for it tries again
 * after a while. */
#include "hook/stream.h"
#include "base/sys.h"
#include "hook/file.h"
#include "hook/thread/kernel.h"
#include "hook/thread/locks.h"
#include "mem/tls.h"
#include "sched/park.h"
#include <errno.h>

#define FIRST_PAUSE	20000		/* ns */
#define LONGEST_PAUSE	1000000

void stdio_lock(FILE *f)
{
	struct coro *me = gate_coro();
	cogo_time pause = FIRST_PAUSE;

	if (!me || me->bound) {
		REAL(flockfile)(f);
		return;
	}
	while (REAL(ftrylockfile)(f)) {
		door_enter(me);
		if (park_until(me, WHY_MUTEX, sys_now() + pause) != WAIT_TIMED_OUT)
			locks_interrupted(me);
		door_leave(me);
		if (pause < LONGEST_PAUSE)
			pause *= 2;
	}
}

/* libc knows the holder by its storage. Who has none of its own keeps its kernel
 * thread while it holds a lock, and with it that thread's. */
static struct coro *borrower(void)
{
	struct coro *me = unlikely(coro_any_shares) ? gate_coro() : NULL;

	return me && !me->tp ? me : NULL;
}

HOOKED void flockfile(FILE *f)
{
	struct coro *me = borrower();

	stdio_lock(f);
	if (unlikely(me != NULL))
		bind_for_kernel(me);
}
ALIAS(_IO_flockfile, flockfile);

HOOKED int ftrylockfile(FILE *f)
{
	struct coro *me = borrower();
	int r = REAL(ftrylockfile)(f);

	if (unlikely(me != NULL) && r == 0)
		bind_for_kernel(me);
	return r;
}
ALIAS(_IO_ftrylockfile, ftrylockfile);

HOOKED void funlockfile(FILE *f)
{
	struct coro *me = borrower();

	REAL(funlockfile)(f);
	if (unlikely(me != NULL))
		unbind_for_kernel(me);
}
ALIAS(_IO_funlockfile, funlockfile);

/* The end of a stream, and another file in its place. Both close a descriptor
 * inside libc, after what is still in the buffer. */

HOOKED int fclose(FILE *f)
{
	bool pending = f->_mode > 0 || f->_IO_write_ptr > f->_IO_write_base;
	int fd = stdio_number(f), r;

	if (fd >= 0)
		file_goes(fd);
	r = pending ? CALL_AWAY(WHY_WRITE, REAL(fclose)(f)) : REAL(fclose)(f);
	file_went(fd);
	return r;
}
ALIAS(_IO_fclose, fclose);

/* It opens, too: a FIFO waits for its other end. */
HOOKED FILE *freopen64(const char *restrict path, const char *restrict mode,
		       FILE *restrict f)
{
	int fd = stdio_number(f);
	FILE *r;

	if (fd >= 0)
		file_goes(fd);
	r = STREAM_AWAY(f, WHY_BLOCKED, REAL(freopen64)(path, mode, f));
	file_went(fd);
	if (r)
		file_came(stdio_number(r));
	return r;
}
ALIAS(freopen, freopen64);

/* Writes out what is in any stream's buffer, and closes no descriptor. */
HOOKED int fcloseall(void)
{
	return CALL_AWAY(WHY_WRITE, REAL(fcloseall)());
}
