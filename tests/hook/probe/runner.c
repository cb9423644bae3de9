/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* runner.c - each entry of a table in a process of its own, under a cap.
 *
 * The child is this program again, by exec: it begins as fresh as any
 * program, and its fate is its exit status. The cap is kept from outside, by
 * the parent; a signal or a thread inside the child would change what is
 * tested. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "probe.h"

/* Only a hang reaches it. */
#define CAP_SECONDS 60
#define AT_ONCE 6
#define PROBE_MOST 200

void probe_wrong(const char *file, int line, const char *text)
{
	int kept = errno;

	fprintf(stderr, "%s:%d: not so: %s (errno %d, %s)\n", file, line, text,
		kept, strerror(kept));
	errno = kept;
}

void probe_skip(const char *why)
{
	fprintf(stderr, "skipped: %s\n", why);
	_exit(PROBE_SKIPPED);
}

void probe_nap_ms(long ms)
{
	struct timespec t = {ms / 1000, ms % 1000 * 1000000};

	nanosleep(&t, NULL);
}

long long probe_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

int probe_listen(int backlog, int *ret_port)
{
	struct sockaddr_in at = {.sin_family = AF_INET};
	socklen_t size = sizeof(at);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd == -1 || bind(fd, (struct sockaddr *)&at, size) ||
	    listen(fd, backlog) ||
	    getsockname(fd, (struct sockaddr *)&at, &size))
		return -1;
	*ret_port = ntohs(at.sin_port);
	return fd;
}

int probe_connect(int port)
{
	struct sockaddr_in to = {.sin_family = AF_INET,
				 .sin_port = htons(port)};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd == -1 || connect(fd, (struct sockaddr *)&to, sizeof(to)))
		return -1;
	return fd;
}

bool probe_socketpair(int type, int pair[2])
{
	MUST(socketpair(AF_UNIX, type, 0, pair) == 0);
	return true;
}

bool probe_read_all(int fd, void *to, size_t size)
{
	for (size_t at = 0; at < size;) {
		ssize_t n = read(fd, (char *)to + at, size - at);

		MUST(n > 0);
		at += n;
	}
	return true;
}

bool probe_write_all(int fd, const void *from, size_t size)
{
	for (size_t at = 0; at < size;) {
		ssize_t n = write(fd, (const char *)from + at, size - at);

		MUST(n > 0);
		at += n;
	}
	return true;
}

static bool chosen(const char *name, int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (strcmp(name, argv[i]) == 0)
			return true;
	return argc < 2;
}

static pid_t start_one(const char *self, const char *name)
{
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		/* Let nothing outlive a runner that was killed. */
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		execl(self, self, "--one", name, (char *)NULL);
		_exit(126);
	}
	return pid;
}

/* True when the child ended by itself. */
static bool await(pid_t pid, int *ret_status)
{
	long long end = probe_now_ns() + CAP_SECONDS * 1000000000LL;

	while (waitpid(pid, ret_status, WNOHANG) == 0) {
		if (probe_now_ns() > end) {
			kill(pid, SIGKILL);
			waitpid(pid, ret_status, 0);
			return false;
		}
		probe_nap_ms(5);
	}
	return true;
}

static int run_one(const struct probe_table *table, const char *name)
{
	for (size_t i = 0; i < table->count; i++)
		if (strcmp(table->name(i), name) == 0)
			return table->one(i);
	fprintf(stderr, "no such entry: %s\n", name);
	return 126;
}

int probe_run(int argc, char **argv, const struct probe_table *table,
	      const char *closing)
{
	size_t good = 0;
	size_t all = 0;
	size_t started = 0;
	pid_t pid[PROBE_MOST];

	if (argc == 3 && strcmp(argv[1], "--one") == 0)
		return run_one(table, argv[2]);
	if (table->count > PROBE_MOST) {
		fprintf(stderr, "more than %d entries\n", PROBE_MOST);
		return 2;
	}
	for (size_t i = 0; i < table->count; i++) {
		bool by_itself;
		int status = -1;

		/* They wait most of the time: some go ahead. */
		for (; started < table->count && started < i + AT_ONCE; started++) {
			pid[started] = 0;
			if (!chosen(table->name(started), argc, argv))
				continue;
			pid[started] = start_one("/proc/self/exe",
						 table->name(started));
			if (pid[started] == -1) {
				perror("fork");
				return 2;
			}
		}
		if (!pid[i])
			continue;
		by_itself = await(pid[i], &status);
		table->verdict(table->name(i), status, !by_itself);
		fflush(stdout);
		good += by_itself && status == 0;
		all += !(by_itself && WIFEXITED(status) &&
			 WEXITSTATUS(status) == PROBE_SKIPPED);
	}
	printf("%zu of %zu %s\n", good, all, closing);
	return good == all ? 0 : 1;
}
