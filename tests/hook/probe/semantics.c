/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* semantics.c - does a thread see what the kernel shows a thread?
 *
 * Each entry states what Linux and glibc answer a kernel thread, as seen when
 * this program is run bare, and is performed by a thread of its own:
 *
 *   semantic NAME equal
 *
 * Anything else is a failure, and stderr has the reason. */
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "probe.h"

static const struct semantic *const tables[] = {
	descriptor_semantics, thread_semantics, exception_semantics,
};

static const struct semantic *nth(size_t i)
{
	for (size_t t = 0; t < sizeof(tables) / sizeof(tables[0]); t++)
		for (const struct semantic *s = tables[t]; s->name; s++)
			if (i-- == 0)
				return s;
	return NULL;
}

static const char *name_of(size_t i)
{
	return nth(i)->name;
}

static void *perform_in_thread(void *arg)
{
	const struct semantic *s = arg;

	return s->run() ? arg : NULL;
}

static int perform(size_t i)
{
	void *good = NULL;
	pthread_t t;

	if (pthread_create(&t, NULL, perform_in_thread, (void *)nth(i)) ||
	    pthread_join(t, &good))
		return 2;
	return good ? 0 : 1;
}

static void say(const char *name, int status, bool hung)
{
	if (hung)
		printf("semantic %s HANGS\n", name);
	else if (WIFSIGNALED(status))
		printf("semantic %s DIED of signal %d\n", name, WTERMSIG(status));
	else if (WEXITSTATUS(status) == PROBE_SKIPPED)
		printf("semantic %s is not for here\n", name);
	else
		printf("semantic %s %s\n", name, status ? "DIFFERENT" : "equal");
}

/* Who accept_inherited starts, with a listener that somebody else made. */
static void *serve(void *arg)
{
	int fd = accept((int)(intptr_t)arg, NULL, NULL);

	return fd >= 0 && write(fd, "served", 6) == 6 ? arg : NULL;
}

static int serve_inherited(int listener)
{
	void *good = NULL;
	pthread_t t;

	alarm(60);
	if (pthread_create(&t, NULL, serve, (void *)(intptr_t)listener) ||
	    pthread_join(t, &good))
		return 2;
	return good ? 0 : 1;
}

int main(int argc, char **argv)
{
	struct probe_table table = {0, name_of, perform, say};

	while (nth(table.count))
		table.count++;
	signal(SIGPIPE, SIG_IGN);
	if (argc == 3 && strcmp(argv[1], "--accept") == 0)
		return serve_inherited(atoi(argv[2]));
	return probe_run(argc, argv, &table, "equal");
}
