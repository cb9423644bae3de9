/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* names.c - looking up names from many threads, on stacks of any size. Nothing
 * leaves this machine: what is asked is in /etc/hosts and its like. */
#include <arpa/inet.h>
#include <limits.h>
#include <netdb.h>
#include <resolv.h>

#include "../support/expect.h"

#define MANY 64

static void *look_up_an_address(void *arg)
{
	struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM};
	struct addrinfo *found = NULL;
	struct sockaddr_in *in;
	char text[16], service[32];
	long port = 1000 + (long)arg;

	snprintf(service, sizeof(service), "%ld", port);
	for (int i = 0; i < 5; i++) {
		if (!EXPECT_EQ(getaddrinfo("localhost", service, &hints, &found), 0))
			return NULL;
		in = (struct sockaddr_in *)found->ai_addr;
		EXPECT_EQ(ntohs(in->sin_port), port);
		EXPECT_STR(inet_ntop(AF_INET, &in->sin_addr, text, sizeof(text)),
			   "127.0.0.1");
		freeaddrinfo(found);
		hints.ai_flags = AI_NUMERICHOST;
		EXPECT_EQ(getaddrinfo("no number", NULL, &hints, &found),
			  EAI_NONAME);
		hints.ai_flags = 0;
	}
	return NULL;
}

static void *look_up_a_name(void *arg)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(22)};
	char host[NI_MAXHOST], service[NI_MAXSERV];

	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	for (int i = 0; i < 5; i++) {
		EXPECT_EQ(getnameinfo((struct sockaddr *)&in, sizeof(in), host,
				      sizeof(host), service, sizeof(service),
				      NI_NUMERICHOST | NI_NUMERICSERV), 0);
		EXPECT_STR(host, "127.0.0.1");
		EXPECT_STR(service, "22");
		EXPECT_EQ(getnameinfo((struct sockaddr *)&in, sizeof(in), host,
				      sizeof(host), NULL, 0, NI_NAMEREQD), 0);
		EXPECT(strncmp(host, "localhost", 9) == 0);
	}
	return arg;
}

static void *look_up_the_old_way(void *arg)
{
	struct hostent host, *result = NULL;
	struct servent serv, *service = NULL;
	struct protoent proto, *protocol;
	struct rpcent rpc, *program;
	char buf[4096];
	int err = 0;

	for (int i = 0; i < 5; i++) {
		EXPECT_EQ(gethostbyname_r("localhost", &host, buf, sizeof(buf),
					  &result, &err), 0);
		if (!EXPECT(result == &host))
			return NULL;
		EXPECT_EQ(host.h_length, 4);
		EXPECT_EQ(memcmp(host.h_addr_list[0], "\177\0\0\1", 4), 0);
		EXPECT_EQ(gethostbyaddr_r("\177\0\0\1", 4, AF_INET, &host, buf,
					  sizeof(buf), &result, &err), 0);
		EXPECT(result == &host &&
		       strncmp(host.h_name, "localhost", 9) == 0);
		EXPECT_EQ(getservbyname_r("ssh", "tcp", &serv, buf, sizeof(buf),
					  &service), 0);
		if (service)
			EXPECT_EQ(ntohs((uint16_t)serv.s_port), 22);
		EXPECT_EQ(getprotobynumber_r(6, &proto, buf, sizeof(buf),
					     &protocol), 0);
		if (protocol)
			EXPECT_STR(protocol->p_name, "tcp");
		getrpcbynumber_r(100000, &rpc, buf, sizeof(buf), &program);
		EXPECT(!program || strcmp(program->r_name, "portmapper") == 0);
		getrpcbyname_r("portmapper", &rpc, buf, sizeof(buf), &program);
		EXPECT(!program || program->r_number == 100000);
	}
	return arg;
}

/* The error is a thread's own: it stays while others have theirs. */
static void *fail(void *arg)
{
	struct hostent *none;

	for (int i = 0; i < 5; i++) {
		h_errno = 0;
		if ((long)arg % 2) {
			none = gethostbyname2("localhost", 9999);
			EXPECT(!none);
		} else {
			EXPECT(gethostbyname("localhost") != NULL);
			h_errno = TRY_AGAIN;
			nap_us(100);
			EXPECT_EQ(h_errno, TRY_AGAIN);
		}
	}
	return NULL;
}

static void *all_kinds(void *arg)
{
	static void *(*const kinds[])(void *) = {
		look_up_an_address, look_up_a_name, look_up_the_old_way, fail,
	};

	return kinds[(long)arg % 4](arg);
}

static void many_threads_look_up_names_at_once(void)
{
	pthread_t t[MANY];

	for (long i = 0; i < MANY; i++)
		t[i] = start(all_kinds, (void *)i);
	for (int i = 0; i < MANY; i++)
		finish(t[i]);
}

static void *on_a_small_stack(void *arg)
{
	(void)arg;
	look_up_an_address((void *)1L);
	look_up_a_name(NULL);
	look_up_the_old_way(NULL);
	return NULL;
}

/* Bare this is as little as they can do with. */
static void a_small_stack_will_do(void)
{
	pthread_attr_t attr;
	pthread_t t;

	pthread_attr_init(&attr);
	EXPECT_EQ(pthread_attr_setstacksize(&attr, 256 << 10), 0);
	EXPECT_EQ(pthread_create(&t, &attr, on_a_small_stack, NULL), 0);
	finish(t);
	pthread_attr_destroy(&attr);
}

/* A server of names that does not answer until it is told to, at an address of
 * this machine. It can be asked for longer than anything here takes. */
static void *ask_who_does_not_answer(void *arg)
{
	struct __res_state *state = &_res;
	unsigned char answer[512];

	EXPECT_EQ(res_init(), 0);
	state->nscount = 1;
	state->nsaddr_list[0] = *(struct sockaddr_in *)arg;
	state->retrans = 100;
	state->retry = 1;
	EXPECT(res_query("nowhere.invalid", 1, 1, answer, sizeof(answer)) < 0);
	EXPECT_EQ(h_errno, HOST_NOT_FOUND);
	return arg;
}

/* There is no such name: the question itself, marked as its answer. */
static void answer(int fd, unsigned char *query, ssize_t n,
		   const struct sockaddr_in *to)
{
	query[2] |= 0x80;	/* a response */
	query[3] = 0x83;	/* recursion is available; no such name */
	EXPECT_EQ(sendto(fd, query, (size_t)n, 0, (const struct sockaddr *)to,
			 sizeof(*to)), n);
}

static void others_go_on_while_one_waits_for_an_answer(void)
{
	struct sockaddr_in in = {.sin_family = AF_INET}, from;
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	socklen_t len = sizeof(in);
	unsigned char query[512];
	pthread_t t;
	ssize_t n;

	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	EXPECT_OK(bind(fd, (struct sockaddr *)&in, sizeof(in)));
	EXPECT_OK(getsockname(fd, (struct sockaddr *)&in, &len));
	t = start(ask_who_does_not_answer, &in);
	len = sizeof(from);
	n = recvfrom(fd, query, sizeof(query), 0, (struct sockaddr *)&from, &len);
	if (!EXPECT(n > 12))
		return;
	for (int i = 0; i < 100; i++) {
		nap_us(1000);
		if (!EXPECT_EQ(pthread_tryjoin_np(t, NULL), EBUSY))
			return;
	}
	answer(fd, query, n, &from);
	finish(t);
	close(fd);
}

static const struct expect_case cases[] = {
	CASE(many_threads_look_up_names_at_once),
	CASE(a_small_stack_will_do),
	CASE(others_go_on_while_one_waits_for_an_answer),
	CASE_IN_MAIN(a_small_stack_will_do),
};

EXPECT_MAIN(cases)
