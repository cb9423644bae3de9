/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* chat - a chat server: a coroutine for each client, and one for each room.
 *
 *	cc chat.c -o chat $(pkg-config --cflags --libs cogo)
 *	./chat 7000			# without a number, on any free port
 *	nc 127.0.0.1 7000		# in other terminals
 *
 * The first line is one's name; "/join garden" goes to another room.
 *
 * Who is in a room is known to the room's coroutine alone, so there is nothing to
 * lock: clients tell it by its channel that they come, go and speak. What is said
 * there comes back by the client's own channel. So a client waits for two things, its
 * socket and its channel, and a select does that. */
#include <arpa/inet.h>
#include <cogo.h>
#include <errno.h>
#include <error.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MOST 100			/* people in a room */
#define LONGEST 200			/* bytes of a line */

struct line {
	char text[LONGEST + 32];
};
typedef COGO_CHAN(struct line) inbox;

struct news {
	enum { COMES, GOES, SAYS } what;
	inbox who;
	struct line line;
};

static struct room {
	const char *name;
	COGO_CHAN(struct news) news;
} rooms[] = { { "hall", NULL }, { "garden", NULL }, { "kitchen", NULL } };
#define ROOMS (sizeof(rooms) / sizeof(rooms[0]))

struct client {
	int fd;
	inbox in;
	struct room *room;
	char name[16], buf[LONGEST];
	size_t used;
};

static struct cogo_scope clients;

/* ---- the room ---- */

static int room(void *arg)
{
	struct room *room = arg;
	inbox people[MOST];
	int n = 0;

	cogo_each (room->news, x) {
		if (x.what == COMES && n < MOST)
			people[n++] = cogo_share(x.who);
		/* Who does not read misses what there is no room for. */
		for (int i = 0; i < n; i++)
			if (people[i] != x.who)
				cogo_put_until(people[i], x.line, 0);
		for (int i = 0; i < n && x.what == GOES; i++) {
			if (people[i] == x.who) {
				cogo_free(people[i]);
				people[i--] = people[--n];
			}
		}
		cogo_free(x.who);
	}
	while (n > 0)
		cogo_free(people[--n]);
	return 0;
}

/* ---- the client ---- */

static void tell(struct client *c, int what, const char *format, const char *text)
{
	struct news x = { .what = what, .who = cogo_share(c->in) };

	snprintf(x.line.text, sizeof(x.line.text), format, c->name, text);
	if (cogo_put(c->room->news, x))
		cogo_free(x.who);
}

static void enter(struct client *c, const char *name)
{
	static const char sorry[] = "* there is no such room\n";
	size_t i = 0;

	while (i < ROOMS && strcmp(name, rooms[i].name) != 0)
		i++;
	if (i == ROOMS) {
		send(c->fd, sorry, sizeof(sorry) - 1, MSG_NOSIGNAL);
		return;
	}
	if (c->room)
		tell(c, GOES, "* %s goes to the %s\n", name);
	c->room = &rooms[i];
	tell(c, COMES, "* %s comes to the %s\n", name);
}

static void line(struct client *c, char *text)
{
	text[strcspn(text, "\r")] = 0;
	if (!c->name[0]) {
		snprintf(c->name, sizeof(c->name), "%.15s", *text ? text : "?");
		enter(c, "hall");
	} else if (strncmp(text, "/join ", 6) == 0) {
		enter(c, text + 6);
	} else {
		tell(c, SAYS, "%s: %s\n", text);
	}
}

/* False when there will be no more. */
static bool lines(struct client *c)
{
	ssize_t n = read(c->fd, c->buf + c->used, sizeof(c->buf) - 1 - c->used);
	char *end, *start = c->buf;

	if (n <= 0)
		return false;
	c->used += (size_t)n;
	c->buf[c->used] = 0;
	while ((end = strchr(start, '\n')) || c->used == sizeof(c->buf) - 1) {
		if (end)
			*end = 0;
		else
			end = c->buf + c->used - 1;	/* too long: as it is */
		line(c, start);
		c->used -= (size_t)(end + 1 - start);
		start = end + 1;
	}
	memmove(c->buf, start, c->used);
	return true;
}

static int client(void *arg)
{
	struct client c = { .fd = (int)(intptr_t)arg,
			    .in = cogo_make(struct line, 32) };
	struct line said;

	cogo_choose_loop (COGO_FOREVER) {
	COGO_RECV(c.in, said) {
		size_t n = strlen(said.text);

		if (send(c.fd, said.text, n, MSG_NOSIGNAL) != (ssize_t)n)
			break;
	}
	COGO_READABLE(c.fd)
		if (!lines(&c))
			break;
	}
	if (c.room)
		tell(&c, GOES, "* %s leaves%s\n", "");
	cogo_free(c.in);
	close(c.fd);
	return 0;
}

/* ---- the server ---- */

static int serve(void *arg)
{
	int listener = *(int *)arg;

	while (!cogo_canceled()) {
		int fd = accept(listener, NULL, NULL);

		if (fd < 0)
			cogo_sleep(10 * COGO_MS);
		else if (cogo_scope_go(&clients, NULL, client,
				       (void *)(intptr_t)fd))
			close(fd);
	}
	return 0;
}

static int listen_on(int port)
{
	struct sockaddr_in addr = {
		.sin_family = AF_INET,
		.sin_port = htons((uint16_t)port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	socklen_t size = sizeof(addr);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){ 1 }, sizeof(int));
	if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) ||
	    listen(fd, SOMAXCONN) ||
	    getsockname(fd, (struct sockaddr *)&addr, &size))
		error(1, errno, "port %d", port);
	printf("listening on port %d\n", ntohs(addr.sin_port));
	fflush(stdout);
	return fd;
}

int main(int argc, char **argv)
{
	int listener, sig;
	sigset_t stop;

	sigemptyset(&stop);
	sigaddset(&stop, SIGINT);
	sigaddset(&stop, SIGTERM);
	sigprocmask(SIG_BLOCK, &stop, NULL);
	listener = listen_on(argc > 1 ? atoi(argv[1]) : 0);

	/* Clients are sent away, and then the rooms are closed. */
	cogo_scope (in_rooms, NULL) {
		for (size_t i = 0; i < ROOMS; i++) {
			rooms[i].news = cogo_make(struct news, 16);
			cogo_scope_go(in_rooms, NULL, room, &rooms[i]);
		}
		cogo_scope_begin(&clients);
		cogo_scope_go(&clients, NULL, serve, &listener);
		sigwait(&stop, &sig);
		cogo_scope_cancel(&clients, ECANCELED);
		cogo_scope_end(&clients);
		for (size_t i = 0; i < ROOMS; i++)
			cogo_close(rooms[i].news);
	}
	for (size_t i = 0; i < ROOMS; i++)
		cogo_free(rooms[i].news);
	return 0;
}
