/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* hook/stream.c - reading from streams, and printing.
 *
 * stdio enters the kernel by calls of its own that no hook sees, holding its
 * stream's lock. So what it would wait for there is waited for here, before:
 *
 *	reading		when the buffer is empty, until the descriptor has
 *			something; then libc fills the buffer, and its own
 *			function takes from it
 *	printing	when the buffer has no room for it, until the descriptor
 *			takes as much as a pipe takes at once
 *
 * Both under the stream's lock, as libc has it while it waits. Then the call is
 * made; it is a declared blocking section if the buffer still does not hold
 * enough (a line of which only a part has come, a large block), if more is to be
 * written than the kernel promises to take, and where it cannot be told whether
 * the kernel would wait, as with terminals.
 *
 * What libc does it does by its own functions: the only thing said here is that a
 * wait has failed, by the stream's mark for errors. The buffer is looked at
 * without the lock first: whoever finds enough there goes on at once, and if
 * another is faster and takes it, libc waits inside, which the monitor sees. */
/* Or the headers would define some of them inline, and others as macros. */
#define __NO_INLINE__ 1
#include "base/errno.h"
#include "hook/io.h"
#include "hook/stream.h"
#include "mem/tls.h"
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio_ext.h>
#include <string.h>
#include <wchar.h>

/* Flags that libc does not tell of, though its macros of old have them in
 * programs: what ungetc has put back is read from a place of its own, and the rest
 * of the buffer is put by; something has been written since the last turn. */
#define IN_BACKUP	0x0100
#define PUTTING		0x0800

/* A text that is printed is seldom longer. */
#define TEXT		512

/* No header declares these for us. */
int __underflow(FILE *f);
int __uflow(FILE *f);
int __overflow(FILE *f, int c);
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
char *gets(char *to);
char *__gets_chk(char *to, size_t room);
/* These names stand for ISO's forms in what is compiled now. */
int gnu_scanf(const char *restrict format, ...) __asm__("scanf");
int gnu_vscanf(const char *restrict format, va_list ap) __asm__("vscanf");
int gnu_fscanf(FILE *restrict f, const char *restrict format, ...) __asm__("fscanf");
int gnu_vfscanf(FILE *restrict f, const char *restrict format, va_list ap)
	__asm__("vfscanf");
int __isoc99_scanf(const char *restrict format, ...);
int __isoc99_vscanf(const char *restrict format, va_list ap);
int __isoc99_fscanf(FILE *restrict f, const char *restrict format, ...);
int __isoc99_vfscanf(FILE *restrict f, const char *restrict format, va_list ap);
int __isoc23_scanf(const char *restrict format, ...);
int __isoc23_vscanf(const char *restrict format, va_list ap);
int __isoc23_fscanf(FILE *restrict f, const char *restrict format, ...);
int __isoc23_vfscanf(FILE *restrict f, const char *restrict format, va_list ap);
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

/* What the buffer of a stream of bytes holds, and has room for. A stream of
 * wide characters has another, of which we know nothing. */
static inline size_t held(const FILE *f)
{
	return f->_mode <= 0 && f->_IO_read_end > f->_IO_read_ptr
		       ? (size_t)(f->_IO_read_end - f->_IO_read_ptr) : 0;
}

/* A buffer that is still to be made. */
#define NEW_BUFFER	1024

static size_t room_at_first(FILE *f)
{
	if (f->_mode > 0 || f->_flags & PUTTING || __flbf(f))
		return 0;
	return f->_IO_buf_base ? __fbufsize(f) - 1 : NEW_BUFFER;
}

/* None where each character, or each line, is to be written at once. */
static inline size_t room_in(FILE *f)
{
	return f->_mode <= 0 && f->_IO_write_end > f->_IO_write_ptr
		       ? (size_t)(f->_IO_write_end - f->_IO_write_ptr)
		       : room_at_first(f);
}

static size_t bytes_of(size_t size, size_t n)
{
	size_t bytes;

	return __builtin_mul_overflow(size, n, &bytes) ? SIZE_MAX : bytes;
}

/* n items, or what ends a line before that. */
static bool has_items(const FILE *f, size_t size, size_t n)
{
	return held(f) >= bytes_of(size, n);
}

static bool has_text(const FILE *f, size_t most, int end)
{
	size_t n = held(f);

	return n && (n >= most || memchr(f->_IO_read_ptr, end, n));
}

static bool has_line(const FILE *f, int size)
{
	return size <= 1 || has_text(f, (size_t)size - 1, '\n');
}

/* Waiting */

struct readiness {
	int dir;
	struct pollfd poll;
};

/* 1: it cannot be told. */
static long try_stream(int fd, const void *arg)
{
	const struct readiness *want = arg;
	long r = io_would_wait(fd, want->dir);

	return r == -EOPNOTSUPP ? 1 : r;
}

/* Where there are no events for us. */
static struct io_call block_stream(int fd, const void *arg)
{
	struct readiness *want = (struct readiness *)arg;

	want->poll.fd = fd;
	want->poll.events = want->dir == POLLER_IN ? POLLIN : POLLOUT;
	return (struct io_call){ SYS_ppoll, { (long)&want->poll, 1 } };
}

static const struct io_op in_op = {
	try_stream, block_stream, POLLER_IN, WHY_READ, true, true, false, NULL,
}, out_op = {
	try_stream, block_stream, POLLER_OUT, WHY_WRITE, true, true, false, NULL,
};

enum ready {
	READY,		/* the call will not wait */
	UNKNOWN,	/* it may */
	FAILED,		/* the wait has; errno tells why */
};

/* With storage of its own a coroutine is the lock's owner, wherever it goes on. */
static enum ready wait_for(struct coro *me, FILE *f, const struct io_op *op)
{
	struct readiness want = { .dir = op->dir };
	long r;

	if (stdio_number(f) < 0)
		return READY;	/* a stream in memory, or of functions */
	if (!me->tp)
		return UNKNOWN;
	r = io_run(me, f->_fileno, op, &want);
	if (r >= 0)
		return r == 1 ? UNKNOWN : READY;
	f->_flags |= _IO_ERR_SEEN;
	gate_return(r);
	return FAILED;
}

/* Whether all that ungetc has put back is read, and nothing is left behind it. */
static bool behind_is_more(const FILE *f)
{
	return f->_flags & IN_BACKUP && f->_IO_save_end > f->_IO_save_base;
}

/* Until there is a byte in the buffer, or it is clear that there will be none. */
static enum ready fill(struct coro *me, FILE *f)
{
	enum ready ready = READY;
	int before = errno_get();

	if (f->_mode > 0)
		return UNKNOWN;
	if (held(f) || f->_flags & _IO_EOF_SEEN || !__freadable(f))
		return READY;
	if (!behind_is_more(f)) {
		/* As libc does before it reads: who is asked sees the question. */
		if ((__flbf(f) || __fbufsize(f) == 1) && __flbf(stdout))
			fflush(stdout);
		ready = wait_for(me, f, &in_op);
	}
	if (ready != READY)
		return ready;
	errno_set(before);
	return REAL(__underflow)(f) == EOF && ferror_unlocked(f) ? FAILED : READY;
}

/* Until n bytes can be written without a wait, with what is in the buffer. */
static enum ready drain(struct coro *me, FILE *f, size_t n)
{
	if (f->_mode > 0 || !__fwritable(f))
		return UNKNOWN;
	if (__fpending(f) >= PIPE_BUF || n > PIPE_BUF - __fpending(f))
		return UNKNOWN;
	return wait_for(me, f, &out_op);
}

/* call, at once if the buffer has enough, or when all is ready and it has now, or
 * else as a declared blocking section; failed: what it returns when nothing could be
 * done. owner: f, or NULL where the caller has the lock, or needs none. */
#define STREAM(f, owner, why, wait, enough, now_enough, failed, call) __extension__ ({ \
	struct coro *me_ = gate_coro();					\
	__typeof__(call) result_;					\
									\
	if (likely(!me_ || (enough))) {					\
		result_ = (call);					\
	} else {							\
		FILE *held_ __attribute__((cleanup(stdio_let_go))) = (owner); \
		enum ready ready_;					\
									\
		if (held_)						\
			stdio_lock(held_);				\
		ready_ = (wait);					\
		if (ready_ == FAILED) {					\
			result_ = (failed);				\
		} else if (ready_ == READY && (now_enough)) {		\
			result_ = (call);				\
		} else {						\
			stdio_away(me_, f, why);			\
			result_ = (call);				\
			call_end(me_);					\
		}							\
	}								\
	result_;							\
})

#define READING(f, owner, enough, failed, call)				\
	STREAM(f, owner, WHY_READ, fill(me_, f), enough, feof_unlocked(f) || (enough), \
	       failed, call)

/* n: how many bytes it is about. */
#define PRINTING(f, owner, n, enough, failed, call)			\
	STREAM(f, owner, WHY_WRITE, drain(me_, f, n), enough, true, failed, call)

/* Reading */

#define READS(type, name, parameters, arguments, f, owner, enough, failed) \
	HOOKED type name parameters					\
	{								\
		return READING(f, owner, enough, failed, REAL(name) arguments); \
	}

READS(int, fgetc, (FILE *f), (f), f, f, held(f) > 0, EOF)
READS(int, getc, (FILE *f), (f), f, f, held(f) > 0, EOF)
ALIAS(_IO_getc, getc);
READS(int, getchar, (void), (), stdin, stdin, held(stdin) > 0, EOF)
READS(int, fgetc_unlocked, (FILE *f), (f), f, NULL, held(f) > 0, EOF)
ALIAS(getc_unlocked, fgetc_unlocked);
READS(int, getchar_unlocked, (void), (), stdin, NULL, held(stdin) > 0, EOF)
READS(int, getw, (FILE *f), (f), f, f, held(f) >= sizeof(int), EOF)
/* What the macros of the headers call when a buffer is empty. */
READS(int, __uflow, (FILE *f), (f), f, NULL, held(f) > 0, EOF)
READS(int, __underflow, (FILE *f), (f), f, NULL, held(f) > 0, EOF)

READS(char *, fgets, (char *restrict to, int n, FILE *restrict f), (to, n, f),
      f, f, has_line(f, n), NULL)
READS(char *, fgets_unlocked, (char *restrict to, int n, FILE *restrict f),
      (to, n, f), f, NULL, has_line(f, n), NULL)
READS(char *, __fgets_chk,
      (char *restrict to, size_t room, int n, FILE *restrict f),
      (to, room, n, f), f, f, has_line(f, n), NULL)
READS(char *, __fgets_unlocked_chk,
      (char *restrict to, size_t room, int n, FILE *restrict f),
      (to, room, n, f), f, NULL, has_line(f, n), NULL)
READS(char *, gets, (char *to), (to), stdin, stdin,
      has_text(stdin, SIZE_MAX, '\n'), NULL)
READS(char *, __gets_chk, (char *to, size_t room), (to, room), stdin, stdin,
      has_text(stdin, SIZE_MAX, '\n'), NULL)

READS(size_t, fread, (void *restrict to, size_t size, size_t n, FILE *restrict f),
      (to, size, n, f), f, f, has_items(f, size, n), 0)
READS(size_t, fread_unlocked,
      (void *restrict to, size_t size, size_t n, FILE *restrict f),
      (to, size, n, f), f, NULL, has_items(f, size, n), 0)
READS(size_t, __fread_chk,
      (void *restrict to, size_t room, size_t size, size_t n, FILE *restrict f),
      (to, room, size, n, f), f, f, has_items(f, size, n), 0)
READS(size_t, __fread_unlocked_chk,
      (void *restrict to, size_t room, size_t size, size_t n, FILE *restrict f),
      (to, room, size, n, f), f, NULL, has_items(f, size, n), 0)

READS(ssize_t, getdelim,
      (char **restrict to, size_t *restrict size, int end, FILE *restrict f),
      (to, size, end, f), f, f, has_text(f, SIZE_MAX, end), -1)
ALIAS(__getdelim, getdelim);
READS(ssize_t, getline, (char **restrict to, size_t *restrict size,
			 FILE *restrict f), (to, size, f),
      f, f, has_text(f, SIZE_MAX, '\n'), -1)

/* How far they read, only they know: mostly not past the end of a line. */
#define SCANS(prefix, real)						\
	HOOKED int prefix##vfscanf(FILE *restrict f,			\
				   const char *restrict format, va_list ap) \
	{								\
		return READING(f, f, has_text(f, SIZE_MAX, '\n'), EOF,	\
			       REAL(real##vfscanf)(f, format, ap));	\
	}								\
									\
	HOOKED int prefix##vscanf(const char *restrict format, va_list ap) \
	{								\
		return prefix##vfscanf(stdin, format, ap);		\
	}								\
									\
	VARIADIC(prefix##scanf, prefix##vscanf,				\
		 (const char *restrict format, ...), format)		\
	VARIADIC(prefix##fscanf, prefix##vfscanf,			\
		 (FILE *restrict f, const char *restrict format, ...), f, format)

/* VARIADIC(name, v-name, (parameters), arguments): the last two are format, … */
#define VARIADIC(name, vname, parameters, ...)			\
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

SCANS(gnu_, )
SCANS(__isoc99_, __isoc99_)
SCANS(__isoc23_, __isoc23_)

/* Of wide characters only what is fortified comes here, and is libc's from the
 * beginning. */
HOOKED wchar_t *__fgetws_chk(wchar_t *restrict to, size_t room, int n,
			     FILE *restrict f)
{
	return n <= 1 ? REAL(__fgetws_chk)(to, room, n, f)
		      : STREAM_AWAY(f, WHY_READ,
				    REAL(__fgetws_chk)(to, room, n, f));
}

HOOKED wchar_t *__fgetws_unlocked_chk(wchar_t *restrict to, size_t room, int n,
				      FILE *restrict f)
{
	return n <= 1 ? REAL(__fgetws_unlocked_chk)(to, room, n, f)
		      : CALL_AWAY(WHY_READ, REAL(__fgetws_unlocked_chk)(to, room,
									n, f));
}

/* Printing */

#define PRINTS(type, name, parameters, arguments, f, owner, n, enough, failed) \
	HOOKED type name parameters					\
	{								\
		return PRINTING(f, owner, n, enough, failed,		\
				REAL(name) arguments);			\
	}

PRINTS(int, fputc, (int c, FILE *f), (c, f), f, f, 1, room_in(f) > 0, EOF)
PRINTS(int, putc, (int c, FILE *f), (c, f), f, f, 1, room_in(f) > 0, EOF)
ALIAS(_IO_putc, putc);
PRINTS(int, putchar, (int c), (c), stdout, stdout, 1, room_in(stdout) > 0, EOF)
PRINTS(int, fputc_unlocked, (int c, FILE *f), (c, f), f, NULL, 1,
       room_in(f) > 0, EOF)
ALIAS(putc_unlocked, fputc_unlocked);
PRINTS(int, putchar_unlocked, (int c), (c), stdout, NULL, 1,
       room_in(stdout) > 0, EOF)
PRINTS(int, putw, (int w, FILE *f), (w, f), f, f, sizeof(w),
       room_in(f) >= sizeof(w), EOF)
/* What the macros of the headers call when a buffer is full. */
PRINTS(int, __overflow, (FILE *f, int c), (f, c), f, NULL, 1, room_in(f) > 0, EOF)

PRINTS(int, fputs, (const char *restrict text, FILE *restrict f), (text, f), f, f,
       strlen(text), room_in(f) >= strlen(text), EOF)
PRINTS(int, fputs_unlocked, (const char *restrict text, FILE *restrict f),
       (text, f), f, NULL, strlen(text), room_in(f) >= strlen(text), EOF)
PRINTS(int, puts, (const char *text), (text), stdout, stdout, strlen(text) + 1,
       room_in(stdout) > strlen(text), EOF)

PRINTS(size_t, fwrite,
       (const void *restrict from, size_t size, size_t n, FILE *restrict f),
       (from, size, n, f), f, f, bytes_of(size, n),
       room_in(f) >= bytes_of(size, n), 0)
PRINTS(size_t, fwrite_unlocked,
       (const void *restrict from, size_t size, size_t n, FILE *restrict f),
       (from, size, n, f), f, NULL, bytes_of(size, n),
       room_in(f) >= bytes_of(size, n), 0)

/* How long a text will be, nobody knows before it is made. */
PRINTS(int, vfprintf, (FILE *restrict f, const char *restrict format, va_list ap),
       (f, format, ap), f, f, TEXT, room_in(f) >= TEXT, -1)
PRINTS(int, __vfprintf_chk, (FILE *f, int flag, const char *format, va_list ap),
       (f, flag, format, ap), f, f, TEXT, room_in(f) >= TEXT, -1)

HOOKED int vprintf(const char *restrict format, va_list ap)
{
	return vfprintf(stdout, format, ap);
}

HOOKED int __vprintf_chk(int flag, const char *format, va_list ap)
{
	return __vfprintf_chk(stdout, flag, format, ap);
}

VARIADIC(printf, vprintf, (const char *restrict format, ...), format)
VARIADIC(fprintf, vfprintf, (FILE *restrict f, const char *restrict format, ...),
	 f, format)
VARIADIC(__printf_chk, __vprintf_chk, (int flag, const char *format, ...),
	 flag, format)
VARIADIC(__fprintf_chk, __vfprintf_chk,
	 (FILE *f, int flag, const char *format, ...), f, flag, format)

HOOKED int __vfwprintf_chk(FILE *f, int flag, const wchar_t *format, va_list ap)
{
	return STREAM_AWAY(f, WHY_WRITE, REAL(__vfwprintf_chk)(f, flag, format, ap));
}

HOOKED int __vwprintf_chk(int flag, const wchar_t *format, va_list ap)
{
	return __vfwprintf_chk(stdout, flag, format, ap);
}

VARIADIC(__wprintf_chk, __vwprintf_chk, (int flag, const wchar_t *format, ...),
	 flag, format)
VARIADIC(__fwprintf_chk, __vfwprintf_chk,
	 (FILE *f, int flag, const wchar_t *format, ...), f, flag, format)

/* To a descriptor, without a stream. */
static enum ready number_ready(int fd)
{
	struct readiness want = { .dir = POLLER_OUT };
	struct coro *me = gate_coro();
	long r = me ? io_run(me, fd, &out_op, &want) : 0;

	if (r < 0)
		gate_return(r);
	return r < 0 ? FAILED : r == 0 ? READY : UNKNOWN;
}

#define TO_NUMBER(fd, call) __extension__ ({			\
	enum ready ready_ = number_ready(fd);			\
								\
	ready_ == FAILED ? -1					\
	: ready_ == READY ? (call) : CALL_AWAY(WHY_WRITE, call); \
})

HOOKED int vdprintf(int fd, const char *restrict format, va_list ap)
{
	return TO_NUMBER(fd, REAL(vdprintf)(fd, format, ap));
}

HOOKED int __vdprintf_chk(int fd, int flag, const char *format, va_list ap)
{
	return TO_NUMBER(fd, REAL(__vdprintf_chk)(fd, flag, format, ap));
}

VARIADIC(dprintf, vdprintf, (int fd, const char *restrict format, ...), fd, format)
VARIADIC(__dprintf_chk, __vdprintf_chk,
	 (int fd, int flag, const char *format, ...), fd, flag, format)

/* On stderr, which has no buffer. */

HOOKED void perror(const char *text)
{
	PRINTING(stderr, stderr, TEXT, false, 0, (REAL(perror)(text), 0));
}

HOOKED void psignal(int sig, const char *text)
{
	PRINTING(stderr, stderr, TEXT, false, 0, (REAL(psignal)(sig, text), 0));
}

HOOKED void psiginfo(const siginfo_t *info, const char *text)
{
	PRINTING(stderr, NULL, TEXT, false, 0, (REAL(psiginfo)(info, text), 0));
}

/* What is in a buffer, or in all of them. */

HOOKED int fflush(FILE *f)
{
	if (!f)
		return CALL_AWAY(WHY_WRITE, REAL(fflush)(f));
	return PRINTING(f, f, 0, f->_mode <= 0 && __fpending(f) == 0, EOF,
			REAL(fflush)(f));
}

HOOKED int fflush_unlocked(FILE *f)
{
	if (!f)
		return CALL_AWAY(WHY_WRITE, REAL(fflush_unlocked)(f));
	return PRINTING(f, NULL, 0, f->_mode <= 0 && __fpending(f) == 0, EOF,
			REAL(fflush_unlocked)(f));
}
