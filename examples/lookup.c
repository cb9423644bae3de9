/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* lookup - the addresses of many names, asked for at once.
 *
 *	cc lookup.c -o lookup $(pkg-config --cflags --libs cogo)
 *	./lookup localhost example.org ...
 *
 * getaddrinfo is the C library's own, with /etc/hosts, name services and all. It
 * waits deep inside of it, where a coroutine cannot leave its kernel thread; another
 * one goes on with the rest meanwhile, so that the names are looked for side by
 * side. (cogo_resolve is the same with a deadline.) */
#include <arpa/inet.h>
#include <cogo.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

struct name {
	const char *text;
	struct addrinfo *found;
	int error;
};

static int look_up(void *arg)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
	struct name *n = arg;

	n->error = getaddrinfo(n->text, NULL, &hints, &n->found);
	return 0;
}

static void print(const struct name *n)
{
	char text[100];

	if (n->error)
		printf("%s: %s\n", n->text, gai_strerror(n->error));
	for (struct addrinfo *a = n->found; a; a = a->ai_next)
		if (getnameinfo(a->ai_addr, a->ai_addrlen, text, sizeof(text),
				NULL, 0, NI_NUMERICHOST) == 0)
			printf("%s: %s\n", n->text, text);
}

int main(int argc, char **argv)
{
	struct name *names = calloc((size_t)argc, sizeof(*names));

	cogo_scope (s, NULL) {
		for (int i = 1; i < argc; i++) {
			names[i].text = argv[i];
			names[i].error = EAI_AGAIN;
			cogo_scope_go(s, NULL, look_up, &names[i]);
		}
	}
	for (int i = 1; i < argc; i++) {
		print(&names[i]);
		if (names[i].found)
			freeaddrinfo(names[i].found);
	}
	free(names);
	return 0;
}
