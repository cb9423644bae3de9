/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* hiredis: redisConnect, redisCommand, pipelines.
 *
 * Every other member comes by a Unix socket. What all wait for at once is a list of
 * their own that main puts something on. */
#include "crowd.h"
#include <hiredis/hiredis.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#define PIPELINE 20

static redisContext *join(int i)
{
	redisContext *r = i % 2 ? redisConnect("127.0.0.1", atoi(crowd.args[1]))
				: redisConnectUnix(crowd.args[0]);

	check(r && !r->err, "member %d: %s", i, r ? r->errstr : "no memory");
	return r;
}

static redisReply *sure(redisContext *r, redisReply *a)
{
	check(a != NULL, "%s: %m", r->errstr);
	check(a->type != REDIS_REPLY_ERROR, "%s", a->str);
	crowd_trips(1);
	return a;
}

static redisReply *ask(redisContext *r, const char *format, ...)
{
	redisReply *a;
	va_list ap;

	va_start(ap, format);
	a = redisvCommand(r, format, ap);
	va_end(ap);
	return sure(r, a);
}

static long long number(redisContext *r, const char *command)
{
	redisReply *a = ask(r, command);
	long long n = a->type == REDIS_REPLY_INTEGER ? a->integer : -1;

	freeReplyObject(a);
	return n;
}

/* A value of its own, of up to 50,000 bytes, and back. */
static void keep(redisContext *r, int i, int round)
{
	size_t size = 10 + (size_t)(i * 97 + round * 7919) % 50000;
	char *text = malloc(size);
	redisReply *a;

	check(text != NULL, "no memory");
	crowd_text(text, size, (uint64_t)(i * 1000 + round));
	freeReplyObject(ask(r, "SET key:%d:%d %b", i, round, text, size - 1));
	a = ask(r, "GET key:%d:%d", i, round);
	check(a->type == REDIS_REPLY_STRING && a->len == size - 1 &&
	      !memcmp(a->str, text, a->len), "a value of member %d", i);
	freeReplyObject(a);
	free(text);
}

/* Many questions before the first answer is read. */
static void pipeline(redisContext *r, int i)
{
	void *a;

	for (int k = 0; k < PIPELINE; k++)
		redisAppendCommand(r, "ECHO %d.%d", i, k);
	for (int k = 0; k < PIPELINE; k++) {
		char want[32];

		snprintf(want, sizeof(want), "%d.%d", i, k);
		check(redisGetReply(r, &a) == REDIS_OK, "%s", r->errstr);
		check(!strcmp(((redisReply *)a)->str, want), "member %d", i);
		freeReplyObject(a);
	}
	redisAppendCommand(r, "INCRBY counter %d", i);
	check(redisGetReply(r, &a) == REDIS_OK, "%s", r->errstr);
	freeReplyObject(sure(r, a));
}

/* The socket's own timeout ends a wait as it would a thread's, with its errno. */
static void run_out(int i)
{
	redisContext *r = join(i);
	redisReply *a;

	check(redisSetTimeout(r, (struct timeval){ 0, 20000 }) == REDIS_OK,
	      "%s", r->errstr);
	errno = 0;
	a = redisCommand(r, "BLPOP nothing 0");
	check(!a && r->err == REDIS_ERR_IO && errno == EAGAIN,
	      "member %d was answered, or told %d: %m", i, r->err);
	redisFree(r);
}

static void member(int i)
{
	redisContext *r = join(i);
	redisReply *a;

	crowd_meet();
	a = ask(r, "BLPOP gate:%d 0", i);
	check(a->elements == 2 && atoi(a->element[1]->str) == i,
	      "another's answer came to member %d", i);
	freeReplyObject(a);
	for (int round = 0; round < crowd.rounds; round++) {
		keep(r, i, round);
		if (round % 3 == 0)
			pipeline(r, i);
	}
	if (i % 5 == 0)
		run_out(i);
	redisFree(r);
}

static int blocked(redisContext *r)
{
	redisReply *a = ask(r, "INFO clients");
	const char *at = strstr(a->str, "blocked_clients:");
	int n = at ? atoi(at + strlen("blocked_clients:")) : -1;

	freeReplyObject(a);
	return n;
}

int main(int argc, char **argv)
{
	redisContext *r;

	(void)argc;
	crowd_options(argv, 2, "redis [OPTION...] SOCKET PORT");
	r = join(0);
	crowd_begin(member);
	while (blocked(r) != crowd.members)
		crowd_moment();
	crowd_in_flight();
	for (int i = 0; i < crowd.members; i++)
		freeReplyObject(ask(r, "RPUSH gate:%d %d", i, i));
	crowd_end();
	printf("keys=%lld counter=%lld\n", number(r, "DBSIZE"),
	       number(r, "INCRBY counter 0"));
	redisFree(r);
	return 0;
}
