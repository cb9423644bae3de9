/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* hook/stdio.c - streams.
 *
 * stdio enters the kernel by calls of its own that no hook sees, holding its
 * stream's lock. What programs built by distributions call instead of the plain
 * functions, the fortified forms, come this way: the lock is taken first, by a
 * way of waiting that costs no kernel thread; then, unless the buffer has all
 * that is asked for or room for all that is printed, the call is a declared
 * blocking section. The lock is libc's own and recursive, so libc takes it once
 * more inside, and those who call what is not hooked are kept out as well.
 *
 * Nobody tells when such a lock is free: what waits for it tries again after a
 * while. */
#include "base/sys.h"
#include "hook/call.h"
#include "hook/file.h"
#include "hook/real.h"
#include "hook/thread/kernel.h"
#include "hook/thread/locks.h"
#include "mem/tls.h"
#include "sched/park.h"
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <wchar.h>

#define FIRST_PAUSE	20000		/* ns */
#define LONGEST_PAUSE	1000000
#define SHORT_TEXT	512

/* Fortified forms, which no header declares for us. */
size_t __fread_chk(void *restrict to, size_t room, size_t size, size_t n,
		   FILE *restrict f);
size_t __fread_unlocked_chk(void *restrict to, size_t room, size_t size,
			    size_t n, FILE *restrict f);
char *__fgets_chk(char *restrict to, size_t room, int n, FILE *restrict f);
char *__fgets_unlocked_chk(char *restrict to, size_t room, int n,
			   FILE *restrict f);
wchar_t *__fgetws_chk(wchar_t *restrict to, size_t room, int n,
		      FILE *restrict f);
wchar_t *__fgetws_unlocked_chk(wchar_t *restrict to, size_t room, int n,
			       FILE *restrict f);
char *__gets_chk(char *to, size_t room);
int __printf_chk(int flag, const char *format, ...);
int __fprintf_chk(FILE *f, int flag, const char *format, ...);
int __vprintf_chk(int flag, const char *format, va_list ap);
int __vfprintf_chk(FILE *f, int flag, const char *format, va_list ap);
int __dprintf_chk(int fd, int flag, const char *format, ...);
int __vdprintf_chk(int fd, int flag, const char *format, va_list ap);
int __wprintf_chk(int flag, const wchar_t *format, ...);
int __fwprintf_chk(FILE *f, int flag, const wchar_t *format, ...);
int __vwprintf_chk(int flag, const wchar_t *format, va_list ap);
int __vfwprintf_chk(FILE *f, int flag, const wchar_t *format, va_list ap);
int __vsnprintf_chk(char *to, size_t n, int flag, size_t room,
		    const char *format, va_list ap);

static void lock_stream(FILE *f)
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

	lock_stream(f);
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

/* What the buffer of a stream of bytes holds, and has room for. A stream of
 * wide characters has another, of which we know nothing. */
static size_t held(const FILE *f)
{
	return f->_mode <= 0 && f->_IO_read_end > f->_IO_read_ptr
		       ? (size_t)(f->_IO_read_end - f->_IO_read_ptr) : 0;
}

static size_t room_in(const FILE *f)
{
	return f->_mode <= 0 && f->_IO_write_end > f->_IO_write_ptr
		       ? (size_t)(f->_IO_write_end - f->_IO_write_ptr) : 0;
}

/* n items, or what ends a line before that. */
static bool has_items(const FILE *f, size_t size, size_t n)
{
	size_t bytes;

	return !__builtin_mul_overflow(size, n, &bytes) && held(f) >= bytes;
}

static bool has_line(const FILE *f, size_t most)
{
	size_t n = held(f);

	return n && (n >= most || memchr(f->_IO_read_ptr, '\n', n));
}

static void let_go(FILE **f)
{
	if (*f)
		REAL(funlockfile)(*f);
}

/* call, by the stream's owner; enough: it will not need the kernel. A thread
 * that is cancelled inside lets go, too. */
#define WITH_STREAM(f, why, enough, call) __extension__ ({	\
	FILE *held_ __attribute__((cleanup(let_go))) =		\
		gate_coro() ? (f) : NULL;			\
								\
	if (held_)						\
		lock_stream(held_);				\
	WITHOUT_LOCK(f, why, enough, call);			\
})

#define WITHOUT_LOCK(f, why, enough, call) __extension__ ({	\
	struct coro *away_ = gate_coro();			\
	__typeof__(call) result_;				\
								\
	if (away_ && (enough))					\
		away_ = NULL;					\
	if (away_)						\
		stream_away(away_, f, why);			\
	result_ = (call);					\
	if (away_)						\
		call_end(away_);				\
	result_;						\
})

static void stream_away(struct coro *me, const FILE *f, enum why why)
{
	me->fd = f->_fileno;
	call_begin(me, why);
}

/* Reading */

HOOKED size_t __fread_chk(void *restrict to, size_t room, size_t size, size_t n,
			  FILE *restrict f)
{
	return WITH_STREAM(f, WHY_READ, has_items(f, size, n),
			   REAL(__fread_chk)(to, room, size, n, f));
}

HOOKED size_t __fread_unlocked_chk(void *restrict to, size_t room, size_t size,
				   size_t n, FILE *restrict f)
{
	return WITHOUT_LOCK(f, WHY_READ, has_items(f, size, n),
			    REAL(__fread_unlocked_chk)(to, room, size, n, f));
}

HOOKED char *__fgets_chk(char *restrict to, size_t room, int n, FILE *restrict f)
{
	return WITH_STREAM(f, WHY_READ, n <= 1 || has_line(f, (size_t)n - 1),
			   REAL(__fgets_chk)(to, room, n, f));
}

HOOKED char *__fgets_unlocked_chk(char *restrict to, size_t room, int n,
				  FILE *restrict f)
{
	return WITHOUT_LOCK(f, WHY_READ, n <= 1 || has_line(f, (size_t)n - 1),
			    REAL(__fgets_unlocked_chk)(to, room, n, f));
}

HOOKED wchar_t *__fgetws_chk(wchar_t *restrict to, size_t room, int n,
			     FILE *restrict f)
{
	return WITH_STREAM(f, WHY_READ, n <= 1,
			   REAL(__fgetws_chk)(to, room, n, f));
}

HOOKED wchar_t *__fgetws_unlocked_chk(wchar_t *restrict to, size_t room, int n,
				      FILE *restrict f)
{
	return WITHOUT_LOCK(f, WHY_READ, n <= 1,
			    REAL(__fgetws_unlocked_chk)(to, room, n, f));
}

HOOKED char *__gets_chk(char *to, size_t room)
{
	return WITH_STREAM(stdin, WHY_READ, has_line(stdin, SIZE_MAX),
			   REAL(__gets_chk)(to, room));
}

/* Printing. Nobody knows how long a text will be before it is made: so a short
 * one is made here, and put into the buffer if it fits. What fills the buffer,
 * or has none, or must go out with each line, is libc's from the beginning. */

static bool print_short(FILE *f, int flag, const char *format, va_list ap,
			int *ret_n)
{
	char text[SHORT_TEXT];
	size_t room = room_in(f);
	int before = errno;
	va_list copy;
	int n;

	if (!room)
		return false;
	va_copy(copy, ap);
	n = __vsnprintf_chk(text, sizeof(text), flag, sizeof(text), format, copy);
	va_end(copy);
	if (n < 0 || (size_t)n >= sizeof(text) || (size_t)n >= room) {
		errno = before;
		return false;
	}
	*ret_n = (int)fwrite_unlocked(text, 1, (size_t)n, f);
	return true;
}

HOOKED int __vfprintf_chk(FILE *f, int flag, const char *format, va_list ap)
{
	struct coro *me = gate_coro();
	FILE *held __attribute__((cleanup(let_go))) = me ? f : NULL;
	int n;

	if (!me)
		return REAL(__vfprintf_chk)(f, flag, format, ap);
	lock_stream(held);
	if (print_short(f, flag, format, ap, &n))
		return n;
	return WITHOUT_LOCK(f, WHY_WRITE, false,
			    REAL(__vfprintf_chk)(f, flag, format, ap));
}

HOOKED int __vprintf_chk(int flag, const char *format, va_list ap)
{
	return __vfprintf_chk(stdout, flag, format, ap);
}

HOOKED int __vfwprintf_chk(FILE *f, int flag, const wchar_t *format, va_list ap)
{
	return WITH_STREAM(f, WHY_WRITE, false,
			   REAL(__vfwprintf_chk)(f, flag, format, ap));
}

HOOKED int __vwprintf_chk(int flag, const wchar_t *format, va_list ap)
{
	return __vfwprintf_chk(stdout, flag, format, ap);
}

HOOKED int __vdprintf_chk(int fd, int flag, const char *format, va_list ap)
{
	return CALL_AWAY(WHY_WRITE, REAL(__vdprintf_chk)(fd, flag, format, ap));
}

/* PRINTS(name, v-name, (parameters), arguments): the last two are format, … */
#define PRINTS(name, vname, parameters, ...)			\
	HOOKED int name parameters				\
	{							\
		va_list ap;					\
		int n;						\
								\
		va_start(ap, format);				\
		n = vname(__VA_ARGS__, ap);			\
		va_end(ap);					\
		return n;					\
	}

PRINTS(__printf_chk, __vprintf_chk, (int flag, const char *format, ...),
       flag, format)
PRINTS(__fprintf_chk, __vfprintf_chk,
       (FILE *f, int flag, const char *format, ...), f, flag, format)
PRINTS(__dprintf_chk, __vdprintf_chk,
       (int fd, int flag, const char *format, ...), fd, flag, format)
PRINTS(__wprintf_chk, __vwprintf_chk, (int flag, const wchar_t *format, ...),
       flag, format)
PRINTS(__fwprintf_chk, __vfwprintf_chk,
       (FILE *f, int flag, const wchar_t *format, ...), f, flag, format)

/* On stderr, which has no buffer. */

HOOKED void psignal(int sig, const char *text)
{
	WITH_STREAM(stderr, WHY_WRITE, false, (REAL(psignal)(sig, text), 0));
}

HOOKED void psiginfo(const siginfo_t *info, const char *text)
{
	WITHOUT_LOCK(stderr, WHY_WRITE, false, (REAL(psiginfo)(info, text), 0));
}

/* The end of a stream, and another file in its place. Both close a descriptor
 * inside libc, after what is still in the buffer. */

/* -1: it has none. */
static int number_of(FILE *f)
{
	int before = errno, fd = f ? fileno(f) : -1;

	errno = before;
	return fd;
}

HOOKED int fclose(FILE *f)
{
	bool pending = f && (f->_mode > 0 || f->_IO_write_ptr > f->_IO_write_base);
	int fd = number_of(f), r;

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
	int fd = number_of(f);
	FILE *r;

	if (fd >= 0)
		file_goes(fd);
	r = WITH_STREAM(f, WHY_BLOCKED, false, REAL(freopen64)(path, mode, f));
	file_went(fd);
	if (r)
		file_came(number_of(r));
	return r;
}
ALIAS(freopen, freopen64);

/* Writes out what is in any stream's buffer, and closes no descriptor. */
HOOKED int fcloseall(void)
{
	return CALL_AWAY(WHY_WRITE, REAL(fcloseall)());
}
