/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* echo-client - many connections at once to an echo server, and whether all comes
 * back that was sent.
 *
 *	cc echo-client.c -o echo-client $(pkg-config --cflags --libs cogo)
 *	./echo-client PORT [CONNECTIONS [MESSAGES]]
 *
 * The scope tells how it went: the first connection that fails ends the others,
 * and its error is the scope's result. One that cannot even be started is told to the
 * scope by canceling it, for that reason. */
#include <arpa/inet.h>
#include <cogo.h>
#include <errno.h>
#include <error.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct sockaddr_in server = { .sin_family = AF_INET };
static int messages = 10;
static _Atomic long came_back;

static int talk(int fd, int who)
{
	char sent[64], got[64];

	for (int i = 0; i < messages; i++) {
		int n = snprintf(sent, sizeof(sent), "%d: message %d\n", who, i);

		if (send(fd, sent, (size_t)n, MSG_NOSIGNAL) < 0)
			return -errno;
		errno = ECONNRESET;	/* what an end in the middle is */
		if (recv(fd, got, (size_t)n, MSG_WAITALL) != n)
			return -errno;
		if (memcmp(sent, got, (size_t)n) != 0)
			return -EBADMSG;
		came_back++;
	}
	return 0;
}

static int client(void *arg)
{
	int who = (int)(intptr_t)arg, r;
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (fd < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&server, sizeof(server)) == 0)
		r = talk(fd, who);
	else
		r = -errno;
	close(fd);
	return r;
}

int main(int argc, char **argv)
{
	int connections = argc > 2 ? atoi(argv[2]) : 100, r;
	cogo_time start = cogo_now();

	if (argc < 2)
		error(2, 0, "usage: echo-client PORT [CONNECTIONS [MESSAGES]]");
	server.sin_port = htons((uint16_t)atoi(argv[1]));
	server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (argc > 3)
		messages = atoi(argv[3]);

	cogo_scope (s, &r) {
		for (int i = 0; i < connections; i++)
			cogo_scope_go(s, NULL, client, (void *)(intptr_t)i);
	}
	printf("%d connections: %ld of %ld messages came back in %.2f s\n",
	       connections, came_back, (long)connections * messages,
	       (double)(cogo_now() - start) / COGO_SEC);
	if (r)
		error(1, -r, "a connection failed");
	return 0;
}
