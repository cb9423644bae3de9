/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* portscan - which ports of this machine are open, on the loopback interface.
 *
 *	cc portscan.c -o portscan $(pkg-config --cflags --libs cogo)
 *	./portscan [FROM [TO]]
 *
 * A connect in each coroutine; cogo_connect is the one that has a deadline. There are
 * as many at a time as descriptors are to be spent on it: that is the scope's
 * limit. */
#include <arpa/inet.h>
#include <cogo.h>
#include <errno.h>
#include <error.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define AT_A_TIME 200

static bool is_open[65536];

static int probe(void *arg)
{
	int port = (int)(intptr_t)arg;
	struct sockaddr_in addr = {
		.sin_family = AF_INET,
		.sin_port = htons((uint16_t)port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (fd < 0)
		return -errno;
	is_open[port] = cogo_connect(fd, (struct sockaddr *)&addr, sizeof(addr),
				     cogo_in(COGO_SEC)) == 0;
	close(fd);
	return 0;
}

int main(int argc, char **argv)
{
	int from = argc > 1 ? atoi(argv[1]) : 1;
	int to = argc > 2 ? atoi(argv[2]) : argc > 1 ? from : 65535;
	int r;

	if (from < 1 || to > 65535)
		error(2, 0, "usage: portscan [FROM [TO]]");
	cogo_scope (s, &r) {
		cogo_scope_limit(s, AT_A_TIME);
		for (int port = from; port <= to; port++)
			cogo_scope_go(s, NULL, probe, (void *)(intptr_t)port);
	}
	if (r)
		error(1, -r, "gave up");
	for (int port = from; port <= to; port++)
		if (is_open[port])
			printf("%d\n", port);
	return 0;
}
