/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* log.c - the system's log, which is slow: here it also tells standard error,
 * and that is a pipe which nobody reads for a while. */
#include <stdarg.h>
#include <syslog.h>

#include "io.h"

void __syslog_chk(int, int, const char *, ...);
void __vsyslog_chk(int, int, const char *, va_list);

/* Standard error becomes a pipe, and what it was is kept. */
static int saved;

static int *slow_error(bool full)
{
	static int fd[2];
	char fill[4096];

	fflush(stderr);
	saved = dup(2);
	if (!EXPECT_OK(pipe(fd)))
		return NULL;
	fcntl(fd[1], F_SETPIPE_SZ, 4096);
	memset(fill, '\n', sizeof(fill));
	if (full)
		EXPECT_EQ(write(fd[1], fill, sizeof(fill)), sizeof(fill));
	EXPECT_EQ(dup2(fd[1], 2), 2);
	close(fd[1]);
	return fd;
}

static void error_again(void)
{
	EXPECT_EQ(dup2(saved, 2), 2);
	close(saved);
}

/* The next line that is not empty, without its end; false at the end of all. */
static bool next_line(int fd, char *line, size_t size)
{
	size_t n = 0;
	char byte;

	while (read(fd, &byte, 1) == 1) {
		if (byte == '\n' && n == 0)
			continue;
		if (byte == '\n' || n + 1 == size) {
			line[n] = 0;
			return true;
		}
		line[n++] = byte;
	}
	return false;
}

static void by_list(bool checked, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	if (checked)
		__vsyslog_chk(LOG_INFO, 1, format, ap);
	else
		vsyslog(LOG_INFO, format, ap);
	va_end(ap);
}

static void say(int way, int number)
{
	errno = ENOTTY;
	switch (way % 4) {
	case 0:
		syslog(LOG_INFO, "number %d: %m", number);
		break;
	case 1:
		__syslog_chk(LOG_INFO, 1, "number %d: %m", number);
		break;
	case 2:
		by_list(false, "number %d: %m", number);
		break;
	default:
		by_list(true, "number %d: %m", number);
		break;
	}
}

#define SPEAKERS 200
static atomic_int speaking;

static void *speak(void *arg)
{
	atomic_fetch_add(&speaking, 1);
	say((int)(intptr_t)arg, (int)(intptr_t)arg);
	return arg;
}

static void many_have_something_to_say_and_nobody_listens(void)
{
	pthread_t t[SPEAKERS];
	bool seen[SPEAKERS] = {false};
	int bad = 0, number, threads;
	int *fd = slow_error(true);
	char line[128], reason[64];

	if (!fd)
		return;
	openlog("cogo-log", LOG_PERROR, LOG_USER);
	for (intptr_t i = 0; i < SPEAKERS; i++)
		t[i] = start(speak, (void *)i);
	WAIT_UNTIL(atomic_load(&speaking) == SPEAKERS);
	settle();
	threads = kernel_threads();
	for (int i = 0; i < SPEAKERS && next_line(fd[0], line, sizeof(line)); i++) {
		if (sscanf(line, "cogo-log: number %d: %63[^\n]", &number,
			   reason) != 2 || number < 0 || number >= SPEAKERS ||
		    seen[number] || strcmp(reason, strerror(ENOTTY)))
			bad++;
		else
			seen[number] = true;
	}
	for (int i = 0; i < SPEAKERS; i++)
		EXPECT(finish(t[i]) == (void *)(intptr_t)i);
	error_again();
	closelog();
	close(fd[0]);
	EXPECT_EQ(bad, 0);
	for (int i = 0; i < SPEAKERS; i++)
		bad += !seen[i];
	EXPECT_EQ(bad, 0);
	if (getenv("COGO_RUN"))
		EXPECT(threads < SPEAKERS / 4);
}

/* Settings wait for who is in it as well. */
static long set_again(struct caller *c)
{
	if (c->size == 0)
		closelog();
	else if (c->size == 1)
		openlog("again", LOG_PERROR, LOG_USER);
	else
		return setlogmask(0);
	return 0;
}

static void who_sets_the_log_waits_for_who_is_in_it(void)
{
	for (size_t i = 0; i < 3; i++) {
		struct caller c = {.size = i};
		int *fd = slow_error(true);
		pthread_t t;
		char line[128];

		if (!fd)
			return;
		openlog("cogo-log", LOG_PERROR, LOG_USER);
		t = start(speak, (void *)7);
		settle();
		call_in_thread(&c, set_again, -1);
		EXPECT(next_line(fd[0], line, sizeof(line)));
		EXPECT(finish(t) == (void *)7);
		EXPECT_EQ(call_ended(&c), i == 2 ? LOG_UPTO(LOG_DEBUG) : 0);
		error_again();
		close(fd[0]);
		EXPECT(strncmp(line, "cogo-log: number 7", 18) == 0);
	}
}

static void speak_after_who_was_cancelled(void *arg)
{
	int *fd = slow_error(true);
	char line[128] = "";
	void *result = arg;
	pthread_t t;

	if (!fd)
		return;
	openlog("cogo-log", LOG_PERROR, LOG_USER);
	atomic_store(&speaking, 0);
	t = start(speak, (void *)8);
	WAIT_UNTIL(atomic_load(&speaking) == 1);
	settle();
	EXPECT_EQ(pthread_cancel(t), 0);
	EXPECT_EQ(pthread_join(t, &result), 0);
	EXPECT(result == PTHREAD_CANCELED);
	t = start(speak, (void *)9);
	EXPECT(next_line(fd[0], line, sizeof(line)));
	EXPECT(finish(t) == (void *)9);
	error_again();
	EXPECT(strncmp(line, "cogo-log: number 9", 18) == 0);
}

/* In a child, which ends without a look at its streams: libc leaves one behind
 * on the stack of the thread that was cancelled. */
static void the_log_is_free_when_who_spoke_was_cancelled(void)
{
	expect_child(speak_after_who_was_cancelled, NULL);
}

static void what_is_masked_is_not_said(void)
{
	int *fd = slow_error(false), before;
	char line[128] = "";

	if (!fd)
		return;
	openlog("cogo-log", LOG_PERROR, LOG_USER);
	before = setlogmask(LOG_UPTO(LOG_ERR));
	syslog(LOG_INFO, "no");
	__syslog_chk(LOG_INFO, 1, "no");
	syslog(LOG_ERR, "yes");
	EXPECT_EQ(setlogmask(before), LOG_UPTO(LOG_ERR));
	error_again();
	EXPECT(next_line(fd[0], line, sizeof(line)));
	EXPECT_STR(line, "cogo-log: yes");
	EXPECT(!next_line(fd[0], line, sizeof(line)));
	closelog();
	close(fd[0]);
}

static void speak_in_a_child(void *arg)
{
	(void)arg;
	for (int i = 0; i < 8; i++)
		say(i, i);
}

static void a_child_of_a_fork_has_something_to_say(void)
{
	int *fd = slow_error(false), n = 0;
	char line[128];

	if (!fd)
		return;
	openlog("cogo-log", LOG_PERROR, LOG_USER);
	expect_child(speak_in_a_child, NULL);
	error_again();
	while (next_line(fd[0], line, sizeof(line)))
		n++;
	EXPECT_EQ(n, 8);
	closelog();
	close(fd[0]);
}

static const struct expect_case cases[] = {
	CASE(many_have_something_to_say_and_nobody_listens),
	CASE(who_sets_the_log_waits_for_who_is_in_it),
	CASE(the_log_is_free_when_who_spoke_was_cancelled),
	CASE(what_is_masked_is_not_said),
	CASE(a_child_of_a_fork_has_something_to_say),
};

EXPECT_MAIN(cases)
