/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* stream.c - streams, by the fortified functions that distributions' programs
 * call, and what ends a stream or puts another file in its place.
 *
 * Readers wait for what is not in the buffer and for nothing else; printers wait
 * for room, and what they print is whole and says the same however it got out;
 * those who wait for a stream that somebody else waits in cost little. */
#include <dlfcn.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <wchar.h>

#include "io.h"
#include "lines.h"

/* No header declares them but for those who ask for fortification. */
size_t __fread_chk(void *, size_t, size_t, size_t, FILE *);
size_t __fread_unlocked_chk(void *, size_t, size_t, size_t, FILE *);
char *__fgets_chk(char *, size_t, int, FILE *);
char *__fgets_unlocked_chk(char *, size_t, int, FILE *);
wchar_t *__fgetws_chk(wchar_t *, size_t, int, FILE *);
wchar_t *__fgetws_unlocked_chk(wchar_t *, size_t, int, FILE *);
int __printf_chk(int, const char *, ...);
int __fprintf_chk(FILE *, int, const char *, ...);
int __vprintf_chk(int, const char *, va_list);
int __vfprintf_chk(FILE *, int, const char *, va_list);
int __dprintf_chk(int, int, const char *, ...);
int __vdprintf_chk(int, int, const char *, va_list);
int __wprintf_chk(int, const wchar_t *, ...);
int __fwprintf_chk(FILE *, int, const wchar_t *, ...);
int __vwprintf_chk(int, const wchar_t *, va_list);
int __vfwprintf_chk(FILE *, int, const wchar_t *, va_list);

static char path[64];

/* By name: the linker would warn of it. */
static char *gets_chk(char *to, size_t room)
{
	char *(*fn)(char *, size_t);

	*(void **)&fn = dlsym(RTLD_DEFAULT, "__gets_chk");
	return fn(to, room);
}

/* ---- reading ---- */

#define READER(name, call)                                                     \
	static long name(struct caller *c)                                     \
	{                                                                      \
		FILE *f = c->with;                                             \
                                                                               \
		return (call);                                                 \
	}

static long wide(struct caller *c, const wchar_t *got)
{
	if (!got)
		return 0;
	for (size_t i = 0; i < sizeof(c->bytes); i++)
		if (!(c->bytes[i] = (char)got[i]))
			break;
	return 1;
}

READER(by_fread, __fread_chk(c->bytes, sizeof(c->bytes), 1, 4, f) == 4)
READER(by_fread_unlocked,
       __fread_unlocked_chk(c->bytes, sizeof(c->bytes), 2, 2, f) == 2)
READER(by_fgets, __fgets_chk(c->bytes, sizeof(c->bytes), 60, f) == c->bytes)
READER(by_fgets_unlocked,
       __fgets_unlocked_chk(c->bytes, sizeof(c->bytes), 60, f) == c->bytes)
READER(by_gets, (stdin = f, gets_chk(c->bytes, sizeof(c->bytes))) == c->bytes)
READER(by_fgetws, wide(c, __fgetws_chk((wchar_t[60]){0}, 60, 60, f)))
READER(by_fgetws_unlocked,
       wide(c, __fgetws_unlocked_chk((wchar_t[60]){0}, 60, 60, f)))

static long (*const readers[])(struct caller *) = {
	by_fread, by_fread_unlocked, by_fgets, by_fgets_unlocked, by_gets,
	by_fgetws, by_fgetws_unlocked,
};
#define READERS (int)(sizeof(readers) / sizeof(readers[0]))

/* Four bytes, some of them in the buffer already. */
static void a_reader_waits_for_what_the_buffer_does_not_hold(void)
{
	FILE *saved = stdin;

	for (int i = 0; i < READERS; i++) {
		struct caller c = {0};
		int fd[2];

		if (!EXPECT_OK(pipe(fd)))
			return;
		c.with = fdopen(fd[0], "r");
		call_in_thread(&c, readers[i], fd[0]);
		EXPECT(!atomic_load(&c.ended));
		EXPECT_EQ(write(fd[1], "abc\nde", 6), 6);
		EXPECT_EQ(call_ended(&c), 1);
		EXPECT_STR(c.bytes, readers[i] == by_gets ? "abc" : "abc\n");
		memset(c.bytes, 0, sizeof(c.bytes));
		call_in_thread(&c, readers[i], fd[0]);
		EXPECT(!atomic_load(&c.ended));
		EXPECT_EQ(write(fd[1], "f\ng\nh", 5), 5);
		EXPECT_EQ(call_ended(&c), 1);
		EXPECT_STR(c.bytes, readers[i] == by_gets ? "def" : "def\n");
		close(fd[1]);
		fclose(c.with);
	}
	stdin = saved;
}

static void what_the_buffer_holds_is_not_waited_for(void)
{
	FILE *saved = stdin;

	for (int i = 0; i < READERS; i++) {
		struct caller c = {0};
		int fd[2];

		if (!EXPECT_OK(pipe(fd)))
			return;
		c.with = fdopen(fd[0], "r");
		EXPECT_EQ(write(fd[1], "abc\ndef\n", 8), 8);
		EXPECT_EQ(readers[i](&c), 1);
		EXPECT_EQ(readers[i](&c), 1);
		EXPECT_STR(c.bytes, readers[i] == by_gets ? "def" : "def\n");
		close(fd[1]);
		EXPECT_EQ(readers[i](&c), 0);
		EXPECT(feof((FILE *)c.with));
		fclose(c.with);
	}
	stdin = saved;
}

static void an_error_is_the_kernels(void)
{
	char text[8];
	FILE *f = fopen("/", "r");

	if (!EXPECT(f))
		return;
	errno = 0;
	EXPECT(!__fgets_chk(text, sizeof(text), 8, f));
	EXPECT_EQ(errno, EISDIR);
	EXPECT(ferror(f));
	errno = 0;
	EXPECT_EQ(__fprintf_chk(f, 1, "nowhere"), -1);
	EXPECT_EQ(errno, EBADF);
	fclose(f);
	EXPECT_ERR(__dprintf_chk(-1, 1, "%d", 1), EBADF);
}

/* ---- printing ---- */

static int to_stream(FILE *f, const char *format, ...)
{
	va_list ap;
	int n;

	va_start(ap, format);
	n = __vfprintf_chk(f, 1, format, ap);
	va_end(ap);
	return n;
}

static int to_stdout(const char *format, ...)
{
	va_list ap;
	int n;

	va_start(ap, format);
	n = __vprintf_chk(1, format, ap);
	va_end(ap);
	return n;
}

static int to_number(int fd, const char *format, ...)
{
	va_list ap;
	int n;

	va_start(ap, format);
	n = __vdprintf_chk(fd, 1, format, ap);
	va_end(ap);
	return n;
}

static int wide_to_stream(FILE *f, const wchar_t *format, ...)
{
	va_list ap;
	int n;

	va_start(ap, format);
	n = __vfwprintf_chk(f, 1, format, ap);
	va_end(ap);
	return n;
}

static int wide_to_stdout(const wchar_t *format, ...)
{
	va_list ap;
	int n;

	va_start(ap, format);
	n = __vwprintf_chk(1, format, ap);
	va_end(ap);
	return n;
}


static long print_lines(struct caller *c)
{
	FILE *f = c->with;
	long n = 0;

	if (c->size >= 3)
		stdout = f;
	for (int i = 0; i < LINES; i++)
		switch (c->size) {
		case 0:
			n += __fprintf_chk(f, 1, LINE, i);
			break;
		case 1:
			n += to_stream(f, LINE, i);
			break;
		case 2:
			n += __fwprintf_chk(f, 1, L"" LINE, i);
			break;
		case 3:
			n += __printf_chk(1, LINE, i);
			break;
		case 4:
			n += to_stdout(LINE, i);
			break;
		case 5:
			n += __wprintf_chk(1, L"" LINE, i);
			break;
		case 6:
			n += wide_to_stdout(L"" LINE, i);
			break;
		case 7:
			n += wide_to_stream(f, L"" LINE, i);
			break;
		case 8:
			n += __dprintf_chk(c->fd, 1, LINE, i);
			break;
		default:
			n += to_number(c->fd, LINE, i);
			break;
		}
	return n;
}

static void a_printer_waits_for_room(void)
{
	FILE *saved = stdout;

	for (size_t way = 0; way < 10; way++) {
		struct caller c = {.size = way};
		pthread_t reader;
		int fd[2];

		if (!EXPECT_OK(pipe(fd)))
			return;
		fcntl(fd[1], F_SETPIPE_SZ, 4096);
		c.with = fdopen(fd[1], "w");
		call_in_thread(&c, print_lines, fd[1]);
		EXPECT(!atomic_load(&c.ended));
		reader = start(read_lines, &fd[0]);
		EXPECT_EQ(call_ended(&c), LINES * (long)sizeof(LINE));
		stdout = saved;
		EXPECT_EQ(fclose(c.with), 0);
		EXPECT(finish(reader) == &fd[0]);
		close(fd[0]);
	}
}

static void a_text_comes_out_the_same_whatever_its_length(void)
{
	FILE *f = fopen(path, "w+");
	int bad = 0;

	if (!EXPECT(f))
		return;
	setvbuf(f, NULL, _IOFBF, 700);
	for (int n = 1; n < 1600; n++)
		bad += __fprintf_chk(f, 1, "%0*d|", n, 7) != n + 1;
	EXPECT_EQ(bad, 0);
	rewind(f);
	for (int n = 1; n < 1600; n++) {
		char want[1700], seen[1700];

		snprintf(want, sizeof(want), "%0*d|", n, 7);
		memset(seen, 0, sizeof(seen));
		bad += __fread_chk(seen, sizeof(seen), 1, (size_t)n + 1, f) !=
		       (size_t)n + 1;
		bad += strcmp(seen, want) != 0;
	}
	EXPECT_EQ(bad, 0);
	EXPECT_EQ(fgetc(f), EOF);
	fclose(f);
	unlink(path);
}

static void the_error_that_is_printed_is_the_callers(void)
{
	char want[2000], seen[2000] = "";
	FILE *f = fopen(path, "w+");

	if (!EXPECT(f))
		return;
	errno = ENOTTY;
	EXPECT(__fprintf_chk(f, 1, "%m") > 0);
	errno = ENOTTY;
	EXPECT(__fprintf_chk(f, 1, "%m and %900d", 5) > 900);
	rewind(f);
	errno = ENOTTY;
	snprintf(want, sizeof(want), "%m%m and %900d", 5);
	EXPECT_EQ(__fread_chk(seen, sizeof(seen), 1, strlen(want), f),
		  strlen(want));
	EXPECT_STR(seen, want);
	fclose(f);
	unlink(path);
}

static void a_stream_of_wide_characters_takes_no_bytes(void)
{
	FILE *f = fopen(path, "w+"), *bytes = fopen(path, "r+");

	if (!EXPECT(f) || !EXPECT(bytes))
		return;
	EXPECT(fwide(f, 1) > 0);
	EXPECT_EQ(__fprintf_chk(f, 1, "bytes"), -1);
	EXPECT_EQ(__fwprintf_chk(f, 1, L"%ls", L"wide"), 4);
	EXPECT_EQ(__fprintf_chk(bytes, 1, "bytes"), 5);
	EXPECT(fwide(bytes, 0) < 0);
	EXPECT_EQ(__fwprintf_chk(bytes, 1, L"wide"), -1);
	fclose(f);
	fclose(bytes);
	unlink(path);
}

/* ---- many at one stream ---- */

#define PRINTERS 200
static FILE *shared;
static atomic_int printing;

static void *print_one(void *arg)
{
	atomic_fetch_add(&printing, 1);
	return __fprintf_chk(shared, 1, LINE, (int)(intptr_t)arg) > 0 ? arg : NULL;
}

static void who_waits_for_a_stream_costs_no_kernel_thread(void)
{
	pthread_t t[PRINTERS];
	bool seen[PRINTERS] = {false};
	char fill[4096], line[64];
	int fd[2], bad = 0, number;
	FILE *from;

	if (!EXPECT_OK(pipe(fd)))
		return;
	fcntl(fd[1], F_SETPIPE_SZ, 4096);
	memset(fill, '\n', sizeof(fill));
	EXPECT_EQ(write(fd[1], fill, sizeof(fill)), sizeof(fill));
	shared = fdopen(fd[1], "w");
	setvbuf(shared, NULL, _IONBF, 0);
	for (intptr_t i = 0; i < PRINTERS; i++)
		t[i] = start(print_one, (void *)(i + 1));
	WAIT_UNTIL(atomic_load(&printing) == PRINTERS);
	settle();
	if (getenv("COGO_RUN"))
		EXPECT(kernel_threads() < PRINTERS / 4);
	from = fdopen(fd[0], "r");
	for (int i = 0; i < PRINTERS;) {
		if (!__fgets_chk(line, sizeof(line), 64, from))
			break;
		if (line[0] == '\n')
			continue;
		if (sscanf(line, LINE, &number) != 1 || number < 1 ||
		    number > PRINTERS || seen[number - 1])
			bad++;
		else
			seen[number - 1] = true;
		i++;
	}
	EXPECT_EQ(bad, 0);
	for (int i = 0; i < PRINTERS; i++)
		EXPECT(finish(t[i]) != NULL && seen[i]);
	fclose(shared);
	fclose(from);
}

static long print_and_wait(struct caller *c)
{
	return __fprintf_chk(c->with, 1, LINE, 7);
}

static long lock_after(struct caller *c)
{
	flockfile(c->with);
	funlockfile(c->with);
	return 1;
}

/* Whoever is cancelled in a stream leaves it to others. */
static void a_stream_is_free_when_who_waited_in_it_was_cancelled(void)
{
	static long (*const ways[])(struct caller *) = {
		by_fgets, by_fread, by_fgetws, print_and_wait,
	};

	for (int i = 0; i < 4; i++) {
		struct caller c = {0}, after = {0};
		void *result = NULL;
		char fill[4096];
		int fd[2];

		if (!EXPECT_OK(pipe(fd)))
			return;
		fcntl(fd[1], F_SETPIPE_SZ, 4096);
		memset(fill, 'f', sizeof(fill));
		c.with = i == 3 ? fdopen(fd[1], "w") : fdopen(fd[0], "r");
		if (i == 3) {
			setvbuf(c.with, NULL, _IONBF, 0);
			EXPECT_EQ(write(fd[1], fill, sizeof(fill)), sizeof(fill));
		}
		call_in_thread(&c, ways[i], -1);
		EXPECT(!atomic_load(&c.ended));
		EXPECT_EQ(pthread_cancel(c.thread), 0);
		EXPECT_EQ(pthread_join(c.thread, &result), 0);
		EXPECT(result == PTHREAD_CANCELED);
		after.with = c.with;
		call_in_thread(&after, lock_after, -1);
		EXPECT_EQ(call_ended(&after), 1);
		fclose(c.with);
		close(fd[i != 3]);
	}
}

/* ---- signals' names, on standard error ---- */

static long tell_signal(struct caller *c)
{
	siginfo_t info = {.si_signo = SIGTERM, .si_code = SI_USER};

	if (c->size)
		psiginfo(&info, "who");
	else
		psignal(SIGTERM, "who");
	return 1;
}

static void what_is_told_of_a_signal_waits_for_room(void)
{
	int saved = dup(2);

	for (size_t i = 0; i < 2; i++) {
		struct caller c = {.size = i};
		char fill[4096] = {0}, text[128] = "";
		int fd[2];

		if (!EXPECT_OK(pipe(fd)))
			return;
		fcntl(fd[1], F_SETPIPE_SZ, 4096);
		EXPECT_EQ(write(fd[1], fill, sizeof(fill)), sizeof(fill));
		EXPECT_EQ(dup2(fd[1], 2), 2);
		call_in_thread(&c, tell_signal, -1);
		EXPECT(!atomic_load(&c.ended));
		EXPECT(read_all(fd[0], fill, sizeof(fill)));
		EXPECT_EQ(call_ended(&c), 1);
		EXPECT_EQ(dup2(saved, 2), 2);
		close(fd[1]);
		EXPECT(read(fd[0], text, sizeof(text) - 1) > 0);
		EXPECT(strncmp(text, "who: Terminated", 15) == 0);
		close(fd[0]);
	}
	close(saved);
}

/* ---- the end of a stream ---- */

static long call_fclose(struct caller *c)
{
	return fclose(c->with);
}

static long call_fcloseall(struct caller *c)
{
	(void)c;
	return fcloseall();
}

/* A pipe that is full, and a stream with more to say. */
static FILE *full_stream(int fd[2])
{
	char fill[4096] = {0};
	FILE *f;

	if (!EXPECT_OK(pipe(fd)))
		return NULL;
	fcntl(fd[1], F_SETPIPE_SZ, 4096);
	EXPECT_EQ(write(fd[1], fill, sizeof(fill)), sizeof(fill));
	f = fdopen(fd[1], "w");
	EXPECT_EQ(fputs("the rest", f) >= 0, 1);
	return f;
}

static bool rest_comes(int fd)
{
	char fill[4096 + 8];

	return read_all(fd, fill, sizeof(fill)) &&
	       memcmp(fill + 4096, "the rest", 8) == 0;
}

static void closing_a_stream_waits_until_all_of_it_is_out(void)
{
	struct caller c = {0};
	char byte;
	int fd[2];

	if (!EXPECT(c.with = full_stream(fd)))
		return;
	call_in_thread(&c, call_fclose, fd[1]);
	EXPECT(!atomic_load(&c.ended));
	EXPECT(rest_comes(fd[0]));
	EXPECT_EQ(call_ended(&c), 0);
	EXPECT_EQ(read(fd[0], &byte, 1), 0);
	close(fd[0]);
}

static void close_all_in_a_child(void *arg)
{
	struct caller c = {0};
	int fd[2];

	(void)arg;
	if (!EXPECT(full_stream(fd) != NULL))
		return;
	call_in_thread(&c, call_fcloseall, -1);
	EXPECT(!atomic_load(&c.ended));
	EXPECT(rest_comes(fd[0]));
	EXPECT_EQ(call_ended(&c), 0);
	EXPECT_OK(fcntl(fd[1], F_GETFD));
}

static void closing_all_streams_waits_until_all_is_out(void)
{
	expect_child(close_all_in_a_child, NULL);
}

static long call_freopen(struct caller *c)
{
	FILE *f = c->size ? freopen64(path, "r", c->with)
			  : freopen(path, "r", c->with);

	return f == c->with;
}

static void a_stream_that_becomes_a_fifo_waits_for_its_other_end(void)
{
	for (size_t i = 0; i < 2; i++) {
		struct caller c = {.size = i};
		char text[16];
		int fd;

		if (!EXPECT_OK(mkfifo(path, 0600)))
			return;
		c.with = fopen("/dev/null", "r");
		call_in_thread(&c, call_freopen, -1);
		EXPECT(!atomic_load(&c.ended));
		EXPECT_OK(fd = open(path, O_WRONLY));
		EXPECT_EQ(call_ended(&c), 1);
		EXPECT_EQ(write(fd, "to it\n", 6), 6);
		EXPECT(__fgets_chk(text, sizeof(text), 16, c.with) == text);
		EXPECT_STR(text, "to it\n");
		close(fd);
		errno = 0;
		EXPECT(!freopen("/nowhere/at/all", "r", c.with));
		EXPECT_EQ(errno, ENOENT);
		fclose(c.with);
		unlink(path);
	}
}

static const struct expect_case cases[] = {
	CASE(a_reader_waits_for_what_the_buffer_does_not_hold),
	CASE(what_the_buffer_holds_is_not_waited_for),
	CASE(an_error_is_the_kernels),
	CASE(a_printer_waits_for_room),
	CASE(a_text_comes_out_the_same_whatever_its_length),
	CASE(the_error_that_is_printed_is_the_callers),
	CASE(a_stream_of_wide_characters_takes_no_bytes),
	CASE(who_waits_for_a_stream_costs_no_kernel_thread),
	CASE(a_stream_is_free_when_who_waited_in_it_was_cancelled),
	CASE(what_is_told_of_a_signal_waits_for_room),
	CASE(closing_a_stream_waits_until_all_of_it_is_out),
	CASE(closing_all_streams_waits_until_all_is_out),
	CASE(a_stream_that_becomes_a_fifo_waits_for_its_other_end),
};

int main(int argc, char **argv)
{
	int ret;

	snprintf(path, sizeof(path), "/tmp/stream.%d", (int)getpid());
	ret = expect_main(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
	unlink(path);
	return ret;
}
