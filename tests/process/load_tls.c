/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* load_tls.c - a library with initial-exec variables, and a constructor that
 * has other threads look at theirs before dlopen has returned. */
#include <pthread.h>

__thread int load_tls_value __attribute__((tls_model("initial-exec"))) = 4711;
__thread char load_tls_text[64] __attribute__((tls_model("initial-exec"))) =
	"as it was linked";
__thread long load_tls_zero[16] __attribute__((tls_model("initial-exec")));

/* The program's. */
__attribute__((weak)) void load_in_constructor(int (*is_fresh)(void));

int load_tls_is_fresh(void);
int load_tls_is_fresh(void)
{
	for (int i = 0; i < 16; i++)
		if (load_tls_zero[i])
			return 0;
	return load_tls_value == 4711 &&
	       __builtin_strcmp(load_tls_text, "as it was linked") == 0;
}

void load_tls_use(int value);
void load_tls_use(int value)
{
	load_tls_value = value;
	load_tls_text[0] = 'A';
	load_tls_zero[7] = value;
}

int load_tls_get(void);
int load_tls_get(void)
{
	return load_tls_value;
}

static void nothing(void)
{
}

__attribute__((constructor)) static void begin(void)
{
	/* Handlers that go with the library. */
	pthread_atfork(nothing, nothing, nothing);
	if (load_in_constructor)
		load_in_constructor(load_tls_is_fresh);
}
