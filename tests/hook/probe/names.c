/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* names.c - operations that wait for a name server.
 *
 * The name server is the ticker: a UDP socket on 127.0.0.1, to which the
 * thread's own resolver state, _res, points. So the question waits there until
 * the ticker has ticked, and the answer is known to the last bit. That the
 * thread's _res is honoured is itself part of the test. */
#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <netdb.h>
#include <netinet/in.h>
#include <nss.h>
#include <resolv.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "probe.h"

static int server;
static struct sockaddr_in server_name;

static bool a_name_server(void)
{
	socklen_t size = sizeof(server_name);

	server_name.sin_family = AF_INET;
	server_name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	MUST((server = socket(AF_INET, SOCK_DGRAM, 0)) >= 0);
	MUST(bind(server, (struct sockaddr *)&server_name, size) == 0);
	MUST(getsockname(server, (struct sockaddr *)&server_name, &size) == 0);
	MUST(__nss_configure_lookup("hosts", "dns") == 0);
	return true;
}

static bool ask_our_server(void)
{
	MUST(res_init() == 0);
	_res.nscount = 1;
	_res.nsaddr_list[0] = server_name;
	_res.retrans = 30;
	_res.retry = 1;
	return true;
}

/* The question, turned into its answer: one record of the type and with the
 * data given. */
static bool answer_with(uint16_t type, const void *data, uint16_t size)
{
	unsigned char packet[1024];
	unsigned char *at = packet + 12;
	struct sockaddr_in from;
	socklen_t from_size = sizeof(from);
	ssize_t n = recvfrom(server, packet, 512, 0, (struct sockaddr *)&from,
			     &from_size);

	MUST(n > 12);
	while (*at)
		at += *at + 1;
	at += 5;                     /* its end, type and class */
	packet[2] = 0x81;            /* an answer, as recursive as asked */
	packet[3] = 0x80;
	memset(packet + 4, 0, 8);
	packet[5] = packet[7] = 1;   /* one question, one answer */
	*at++ = 0xc0;                /* the name: as in the question */
	*at++ = 12;
	*at++ = type >> 8;
	*at++ = type & 0xff;
	*at++ = 0;
	*at++ = ns_c_in;
	memcpy(at, "\0\0\0\x3c", 4); /* good for a minute */
	at += 4;
	*at++ = size >> 8;
	*at++ = size & 0xff;
	memcpy(at, data, size);
	at += size;
	MUST(sendto(server, packet, at - packet, 0, (struct sockaddr *)&from,
		    from_size) == at - packet);
	return true;
}

static bool answer_address(void)
{
	return answer_with(ns_t_a, "\xc0\0\2\x2a", 4); /* 192.0.2.42 */
}

static bool answer_name(void)
{
	static const char name[] = "\5probe\7example";

	return answer_with(ns_t_ptr, name, sizeof(name));
}

static bool by_getaddrinfo(void)
{
	struct addrinfo hints = {.ai_family = AF_INET,
				 .ai_socktype = SOCK_STREAM};
	struct addrinfo *list = NULL;
	struct sockaddr_in *first;

	MUST(ask_our_server());
	MUST(getaddrinfo("probe.example.", "80", &hints, &list) == 0);
	first = (struct sockaddr_in *)list->ai_addr;
	MUST(list->ai_family == AF_INET && list->ai_next == NULL);
	MUST(first->sin_addr.s_addr == inet_addr("192.0.2.42"));
	MUST(first->sin_port == htons(80));
	freeaddrinfo(list);
	return true;
}

static bool by_gethostbyname(void)
{
	struct hostent *host;

	MUST(ask_our_server());
	MUST((host = gethostbyname("probe.example.")) != NULL);
	MUST(host->h_addrtype == AF_INET && host->h_addr_list[1] == NULL);
	MUST(memcmp(host->h_addr_list[0], "\xc0\0\2\x2a", 4) == 0);
	return true;
}

static bool by_getnameinfo(void)
{
	struct sockaddr_in of = {.sin_family = AF_INET};
	char host[256];

	of.sin_addr.s_addr = inet_addr("192.0.2.42");
	MUST(ask_our_server());
	MUST(getnameinfo((struct sockaddr *)&of, sizeof(of), host, sizeof(host),
			 NULL, 0, NI_NAMEREQD) == 0);
	MUST(strcmp(host, "probe.example") == 0);
	return true;
}

const struct operation name_operations[] = {
	{"getaddrinfo", a_name_server, NULL, by_getaddrinfo, answer_address},
	{"gethostbyname", a_name_server, NULL, by_gethostbyname, answer_address},
	{"getnameinfo", a_name_server, NULL, by_getnameinfo, answer_name},
	{0},
};
