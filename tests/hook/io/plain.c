/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* plain.c - streams by the functions that a program calls which nobody has
 * fortified: who waits in one costs no kernel thread, what is in the buffer is not
 * waited for, and how a wait ends is told as by the kernel. */
#undef _FORTIFY_SOURCE
#include <dlfcn.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/time.h>

#include "io.h"
#include "lines.h"

/* By name: no header has it any more. */
static char *plain_gets(char *to)
{
	char *(*fn)(char *);

	*(void **)&fn = dlsym(RTLD_DEFAULT, "gets");
	return fn(to);
}

/* ---- reading: four bytes, of which the last ends a line ---- */

#define READER(name, ...)                                                      \
	static long name(struct caller *c)                                     \
	{                                                                      \
		FILE *f = c->with;                                             \
                                                                               \
		__VA_ARGS__;                                                   \
	}

/* Byte by byte; false at the end. */
#define BYTES(next)                                                            \
	for (int i = 0, byte; i < 4; i++) {                                    \
		if ((byte = (next)) == EOF)                                    \
			return 0;                                              \
		c->bytes[i] = (char)byte;                                      \
	}                                                                      \
	return 1

static int scan(FILE *f, const char *format, ...)
{
	va_list ap;
	int n;

	va_start(ap, format);
	n = f == stdin ? vscanf(format, ap) : vfscanf(f, format, ap);
	va_end(ap);
	return n;
}

static long line_of(struct caller *c, int end)
{
	char *line = NULL;
	size_t room = 0;
	ssize_t n = end ? getdelim(&line, &room, end, c->with)
			: getline(&line, &room, c->with);

	if (n > 0)
		memcpy(c->bytes, line, (size_t)n + 1);
	free(line);
	return n > 0;
}

READER(by_fgets, return fgets(c->bytes, sizeof(c->bytes), f) == c->bytes)
READER(by_fgets_unlocked,
       return fgets_unlocked(c->bytes, sizeof(c->bytes), f) == c->bytes)
READER(by_gets, stdin = f; return plain_gets(c->bytes) ? !!strcat(c->bytes, "\n") : 0)
READER(by_fread, return fread(c->bytes, 1, 4, f) == 4)
READER(by_fread_unlocked, return fread_unlocked(c->bytes, 2, 2, f) == 2)
READER(by_getw, int four = getw(f); if (feof(f) || ferror(f)) return 0;
       memcpy(c->bytes, &four, 4); return 1)
READER(by_fgetc, BYTES(fgetc(f)))
READER(by_getc, BYTES(getc(f)))
READER(by_getc_unlocked, BYTES(getc_unlocked(f)))
READER(by_fgetc_unlocked, BYTES(fgetc_unlocked(f)))
READER(by_getchar, stdin = f; BYTES(getchar()))
READER(by_getchar_unlocked, stdin = f; BYTES(getchar_unlocked()))
READER(by_getline, (void)f; return line_of(c, 0))
READER(by_getdelim, (void)f; return line_of(c, '\n'))
READER(by_fscanf, return fscanf(f, "%3c%c", c->bytes, c->bytes + 3) == 2)
READER(by_vfscanf, return scan(f, "%3c%c", c->bytes, c->bytes + 3) == 2)
READER(by_scanf, stdin = f; return scanf("%3c%c", c->bytes, c->bytes + 3) == 2)
READER(by_vscanf, stdin = f; return scan(f, "%3c%c", c->bytes, c->bytes + 3) == 2)

static long (*const readers[])(struct caller *) = {
	by_fgets, by_fgets_unlocked, by_gets, by_fread, by_fread_unlocked, by_getw,
	by_fgetc, by_getc, by_getc_unlocked, by_fgetc_unlocked, by_getchar,
	by_getchar_unlocked, by_getline, by_getdelim, by_fscanf, by_vfscanf,
	by_scanf, by_vscanf,
};
#define READERS (int)(sizeof(readers) / sizeof(readers[0]))

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
		EXPECT_STR(c.bytes, "abc\n");
		memset(c.bytes, 0, sizeof(c.bytes));
		call_in_thread(&c, readers[i], fd[0]);
		EXPECT(!atomic_load(&c.ended));
		EXPECT_EQ(write(fd[1], "f\ng\nh", 5), 5);
		EXPECT_EQ(call_ended(&c), 1);
		EXPECT_STR(c.bytes, "def\n");
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
		memset(c.bytes, 0, sizeof(c.bytes));
		EXPECT_EQ(readers[i](&c), 1);
		EXPECT_STR(c.bytes, "def\n");
		close(fd[1]);
		EXPECT_EQ(readers[i](&c), 0);
		EXPECT(feof((FILE *)c.with));
		EXPECT(!ferror((FILE *)c.with));
		fclose(c.with);
	}
	stdin = saved;
}

/* What ungetc puts back need not be what was there. */
static void what_was_put_back_comes_before_the_rest(void)
{
	int fd[2];
	FILE *f;

	if (!EXPECT_OK(pipe(fd)))
		return;
	f = fdopen(fd[0], "r");
	EXPECT_EQ(write(fd[1], "abc", 3), 3);
	EXPECT_EQ(getc(f), 'a');
	EXPECT_EQ(ungetc('x', f), 'x');
	EXPECT_EQ(getc(f), 'x');
	EXPECT_EQ(getc(f), 'b');
	EXPECT_EQ(ungetc('y', f), 'y');
	EXPECT_EQ(ungetc('z', f), 'z');
	EXPECT_EQ(fgetc(f), 'z');
	EXPECT_EQ(fgetc(f), 'y');
	EXPECT_EQ(fgetc(f), 'c');
	close(fd[1]);
	EXPECT_EQ(fgetc(f), EOF);
	fclose(f);
}

/* ---- how a wait ends ---- */

static void no_op(int sig)
{
	(void)sig;
}

static void handle(int sig, int flags)
{
	struct sigaction act = {.sa_handler = no_op, .sa_flags = flags};

	sigaction(sig, &act, NULL);
}

static void a_handler_ends_the_wait_unless_it_restarts(void)
{
	FILE *saved = stdin;

	for (int i = 0; i < READERS; i++) {
		struct caller c = {0};
		FILE *f;
		int fd[2];

		if (!EXPECT_OK(pipe(fd)))
			return;
		c.with = f = fdopen(fd[0], "r");
		handle(SIGUSR1, SA_RESTART);
		call_in_thread(&c, readers[i], fd[0]);
		pthread_kill(c.thread, SIGUSR1);
		settle();
		EXPECT(!atomic_load(&c.ended));
		handle(SIGUSR1, 0);
		EXPECT_EQ(pthread_kill(c.thread, SIGUSR1), 0);
		EXPECT_EQ(call_ended(&c), 0);
		EXPECT_EQ(c.err, EINTR);
		EXPECT(ferror(f));
		EXPECT(!feof(f));
		clearerr(f);
		EXPECT_EQ(write(fd[1], "abc\n", 4), 4);
		close(fd[1]);
		memset(c.bytes, 0, sizeof(c.bytes));
		EXPECT_EQ(readers[i](&c), 1);
		EXPECT_STR(c.bytes, "abc\n");
		fclose(f);
	}
	stdin = saved;
}

static void a_stream_that_may_not_wait_says_so(void)
{
	struct caller c = {0};
	FILE *f;
	int pair[2];

	for (int timed = 0; timed < 2; timed++) {
		if (!stream_pair(pair))
			return;
		c.with = f = fdopen(pair[0], "r+");
		if (timed)
			setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO,
				   &(struct timeval){.tv_usec = 20000},
				   sizeof(struct timeval));
		else
			fcntl(pair[0], F_SETFL, O_RDWR | O_NONBLOCK);
		errno = 0;
		EXPECT_EQ(by_fgets(&c), 0);
		EXPECT_EQ(errno, EAGAIN);
		EXPECT(ferror(f));
		clearerr(f);
		EXPECT_EQ(write(pair[1], "abc\n", 4), 4);
		EXPECT_EQ(by_fgets(&c), 1);
		fclose(f);
		close(pair[1]);
	}
}

static void an_error_is_the_kernels(void)
{
	char text[8];
	FILE *f = fopen("/", "r");

	if (!EXPECT(f))
		return;
	errno = 0;
	EXPECT(!fgets(text, sizeof(text), f));
	EXPECT_EQ(errno, EISDIR);
	EXPECT(ferror(f));
	errno = 0;
	EXPECT_EQ(fprintf(f, "nowhere"), -1);
	EXPECT_EQ(errno, EBADF);
	fclose(f);
	EXPECT_ERR(dprintf(-1, "%d", 1), EBADF);
	/* Of a connection that was reset, and only once. */
	for (int i = 0; i < 2; i++) {
		int pair[2];

		if (!tcp_pair(pair))
			return;
		setsockopt(pair[1], SOL_SOCKET, SO_LINGER, &(struct linger){1, 0},
			   sizeof(struct linger));
		close(pair[1]);
		f = fdopen(pair[0], "r");
		errno = 0;
		EXPECT_EQ(i ? getc(f) : fgets(text, 8, f) ? 0 : EOF, EOF);
		EXPECT_EQ(errno, ECONNRESET);
		EXPECT(ferror(f));
		EXPECT(!feof(f));
		fclose(f);
	}
}

/* ---- a question, and its answer ---- */

static void a_question_is_seen_before_its_answer_is_waited_for(void)
{
	FILE *saved_in = stdin, *saved_out = stdout;
	struct caller c = {0};
	int in[2], out[2];
	char text[16] = "";

	if (!EXPECT_OK(pipe(in)) || !EXPECT_OK(pipe(out)))
		return;
	stdin = fdopen(in[0], "r");
	stdout = fdopen(out[1], "w");
	setvbuf(stdin, NULL, _IONBF, 0);
	setvbuf(stdout, NULL, _IOLBF, 0);
	fputs("name? ", stdout);
	c.with = stdin;
	call_in_thread(&c, by_fgets, in[0]);
	EXPECT_EQ(read(out[0], text, sizeof(text)), 6);
	EXPECT_STR(text, "name? ");
	EXPECT_EQ(write(in[1], "Ada\n", 4), 4);
	EXPECT_EQ(call_ended(&c), 1);
	EXPECT_STR(c.bytes, "Ada\n");
	fclose(stdin);
	fclose(stdout);
	stdin = saved_in;
	stdout = saved_out;
	close(in[1]);
	close(out[0]);
}

/* ---- printing ---- */

#define WAYS 12

static int print(FILE *f, int fd, const char *format, ...)
{
	va_list ap;
	int n;

	va_start(ap, format);
	n = fd >= 0 ? vdprintf(fd, format, ap)
	    : f     ? vfprintf(f, format, ap) : vprintf(format, ap);
	va_end(ap);
	return n;
}

/* One line, in each way; how many bytes. */
static int print_line(FILE *f, int fd, size_t way, int number)
{
	char text[64];
	int n = snprintf(text, sizeof(text), LINE, number), r = 1;

	switch (way) {
	case 0:
		return fprintf(f, LINE, number);
	case 1:
		return print(f, -1, LINE, number);
	case 2:
		return printf(LINE, number);
	case 3:
		return print(NULL, -1, LINE, number);
	case 4:
		return dprintf(fd, LINE, number);
	case 5:
		return print(NULL, fd, LINE, number);
	case 6:
		return fputs(text, f) < 0 ? 0 : n;
	case 7:
		text[n - 1] = '\0';
		return puts(text) < 0 ? 0 : n;
	case 8:
		return (int)fwrite(text, 1, (size_t)n, f);
	case 9:
		return (int)fwrite_unlocked(text, 1, (size_t)n, f);
	case 10:
		for (int i = 0; i < n; i++)
			r &= (i % 2 ? putc(text[i], f) : fputc(text[i], f)) == text[i];
		return r ? n : 0;
	default:
		for (int i = 0; i < n; i++)
			r &= (i % 2 ? putchar_unlocked(text[i]) : putchar(text[i])) ==
			     text[i];
		return r ? n : 0;
	}
}

static long print_lines(struct caller *c)
{
	long n = 0;

	if (c->size == 2 || c->size == 3 || c->size == 7 || c->size == 11)
		stdout = c->with;
	for (int i = 0; i < LINES; i++)
		n += print_line(c->with, c->fd, c->size, i);
	return n;
}

/* With a buffer, with lines that go out one by one, and with none. */
static void a_printer_waits_for_room(void)
{
	static const int buffered[] = {_IOFBF, _IOLBF, _IONBF};
	FILE *saved = stdout;

	for (size_t way = 0; way < WAYS * 3; way++) {
		struct caller c = {.size = way % WAYS};
		pthread_t reader;
		int fd[2];

		if (!EXPECT_OK(pipe(fd)))
			return;
		fcntl(fd[1], F_SETPIPE_SZ, 4096);
		c.with = fdopen(fd[1], "w");
		if (way >= WAYS)
			setvbuf(c.with, NULL, buffered[way / WAYS], 0);
		call_in_thread(&c, print_lines, fd[1]);
		EXPECT(!atomic_load(&c.ended));
		reader = start(read_lines, &fd[0]);
		EXPECT_EQ(call_ended(&c), LINES * (long)sizeof(LINE));
		stdout = saved;
		EXPECT_EQ(fflush(c.with), 0);
		EXPECT_EQ(fclose(c.with), 0);
		EXPECT(finish(reader) == &fd[0]);
		close(fd[0]);
	}
}

static long flush(struct caller *c)
{
	return c->size ? fflush_unlocked(c->with) : fflush(c->with);
}

/* What does not fit in the pipe stays in the buffer. */
static void what_is_in_the_buffer_waits_when_it_is_flushed_and_not_before(void)
{
	char fill[4096] = {0}, text[8] = "";

	for (size_t i = 0; i < 2; i++) {
		struct caller c = {.size = i};
		int fd[2];

		if (!EXPECT_OK(pipe(fd)))
			return;
		fcntl(fd[1], F_SETPIPE_SZ, 4096);
		EXPECT_EQ(write(fd[1], fill, sizeof(fill)), sizeof(fill));
		c.with = fdopen(fd[1], "w");
		EXPECT_EQ(fprintf(c.with, "%d%c", 12, '3'), 3);
		EXPECT_EQ(fputs("456", c.with) >= 0, 1);
		call_in_thread(&c, flush, fd[1]);
		EXPECT(!atomic_load(&c.ended));
		EXPECT(read_all(fd[0], fill, sizeof(fill)));
		EXPECT_EQ(call_ended(&c), 0);
		EXPECT_EQ(read(fd[0], text, sizeof(text)), 6);
		EXPECT(strncmp(text, "123456", 6) == 0);
		fclose(c.with);
		close(fd[0]);
	}
}

static void who_prints_where_nobody_reads_is_told(void)
{
	char text[100];
	FILE *f;
	int fd[2];

	if (!EXPECT_OK(pipe(fd)))
		return;
	signal(SIGPIPE, SIG_IGN);
	f = fdopen(fd[1], "w");
	close(fd[0]);
	memset(text, 'x', sizeof(text));
	EXPECT_EQ(fwrite(text, 1, sizeof(text), f), sizeof(text));
	errno = 0;
	EXPECT_EQ(fflush(f), EOF);
	EXPECT_EQ(errno, EPIPE);
	EXPECT(ferror(f));
	fclose(f);
	signal(SIGPIPE, SIG_DFL);
}

/* ---- many ---- */

#define TALKERS 300

static atomic_int listening;

/* Says what it hears, in words of its own, until there is no more. */
static void *talk(void *arg)
{
	FILE *f = fdopen((int)(intptr_t)arg, "r+");
	char line[64];
	long n = 0;

	atomic_fetch_add(&listening, 1);
	while (fgets(line, sizeof(line), f)) {
		fprintf(f, "heard %s", line);
		fflush(f);
		n++;
	}
	fclose(f);
	return (void *)n;
}

static void who_waits_in_a_stream_costs_no_kernel_thread(void)
{
	static pthread_t t[TALKERS];
	static int fds[TALKERS];
	char line[64], want[64];
	int bad = 0, pair[2];

	atomic_store(&listening, 0);
	for (int i = 0; i < TALKERS; i++) {
		if (!stream_pair(pair))
			return;
		fds[i] = pair[0];
		t[i] = start(talk, (void *)(intptr_t)pair[1]);
	}
	WAIT_UNTIL(atomic_load(&listening) == TALKERS);
	for (int round = 0; round < 4; round++) {
		settle();
		/* libc knows the holder of a stream's lock by its storage: who
		 * borrows that keeps its kernel thread. */
		if (getenv("COGO_RUN") && !SHARES_STORAGE)
			EXPECT(kernel_threads() < TALKERS / 4);
		for (int i = 0; i < TALKERS; i++)
			bad += dprintf(fds[i], "number %d\n", i * round) < 0;
		for (int i = 0; i < TALKERS; i++) {
			int n = snprintf(want, sizeof(want), "heard number %d\n",
					 i * round);

			memset(line, 0, sizeof(line));
			bad += !read_all(fds[i], line, (size_t)n) ||
			       strcmp(line, want) != 0;
		}
	}
	EXPECT_EQ(bad, 0);
	for (int i = 0; i < TALKERS; i++) {
		close(fds[i]);
		EXPECT_EQ((long)finish(t[i]), 4);
	}
}

static const struct expect_case cases[] = {
	CASE(a_reader_waits_for_what_the_buffer_does_not_hold),
	CASE(what_the_buffer_holds_is_not_waited_for),
	CASE(what_was_put_back_comes_before_the_rest),
	CASE(a_handler_ends_the_wait_unless_it_restarts),
	CASE(a_stream_that_may_not_wait_says_so),
	CASE(an_error_is_the_kernels),
	CASE(a_question_is_seen_before_its_answer_is_waited_for),
	CASE(a_printer_waits_for_room),
	CASE(what_is_in_the_buffer_waits_when_it_is_flushed_and_not_before),
	CASE(who_prints_where_nobody_reads_is_told),
	CASE(who_waits_in_a_stream_costs_no_kernel_thread),
};

int main(int argc, char **argv)
{
	return expect_main(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}
