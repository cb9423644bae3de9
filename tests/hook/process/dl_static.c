/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* dl_static.c - a library with initial-exec TLS, opened late.
 *
 * Its variables lie at a fixed distance from the thread pointer, in room that
 * every thread has kept free. When it is opened, every thread that is there
 * must find the initial values, the constructor's own threads too. */
#include <pthread.h>
#include <stddef.h>

#define STATIC_TLS __thread __attribute__((tls_model("initial-exec")))

static STATIC_TLS long value = 41;
static STATIC_TLS long zero;
static STATIC_TLS char text[24] = "as it was written";

int dl_static_is_fresh(void);
void dl_static_set(long to);
int dl_static_has(long what);
void *dl_static_address(void);
int dl_static_constructed(void);

int dl_static_is_fresh(void)
{
	static const char want[] = "as it was written";

	for (size_t i = 0; i < sizeof(want); i++)
		if (text[i] != want[i])
			return 0;
	return value == 41 && zero == 0;
}

void dl_static_set(long to)
{
	value = to;
	zero = -to;
	text[0] = (char)to;
}

int dl_static_has(long what)
{
	return value == what && zero == -what && text[0] == (char)what;
}

void *dl_static_address(void)
{
	return &value;
}

static int constructed;

static void *look(void *arg)
{
	return dl_static_is_fresh() ? arg : NULL;
}

__attribute__((constructor)) static void construct(void)
{
	pthread_t t;
	void *good = NULL;

	if (!dl_static_is_fresh())
		return;
	if (pthread_create(&t, NULL, look, &constructed) == 0)
		pthread_join(t, &good);
	constructed = good == &constructed;
}

/* 1: the constructor ran, and saw what it should, here and in a thread. */
int dl_static_constructed(void)
{
	return constructed;
}
