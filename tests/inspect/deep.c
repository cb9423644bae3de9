/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* deep.c - a thread that runs over its stack.
 *
 *	deep BYTES [--handler] [--main]
 *
 * BYTES 0 leaves the stack's size to the default. --handler: a handler of the
 * program's own, on an alternate stack of the thread's own, which ends the
 * program with 42. --main: it is the main thread that does. */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static int handled;

static volatile int bottomless = 1;

static __attribute__((noinline)) int fall(int depth)
{
	volatile char ballast[256];

	memset((char *)ballast, depth, sizeof(ballast));
	return (bottomless ? fall(depth + 1) : 0) + ballast[depth % 256];
}

static void handler(int sig)
{
	(void)sig;
	_exit(42);
}

static void *thread(void *arg)
{
	static char altstack[65536];
	stack_t ss = { .ss_sp = altstack, .ss_size = sizeof(altstack) };

	(void)arg;
	if (handled)
		sigaltstack(&ss, NULL);
	pthread_setname_np(pthread_self(), "faller");
	return (void *)(long)fall(0);
}

int main(int argc, char **argv)
{
	struct sigaction sa = { .sa_handler = handler, .sa_flags = SA_ONSTACK };
	struct rlimit no_core = { 0, 0 };
	size_t bytes = argc > 1 ? strtoul(argv[1], NULL, 10) : 0;
	pthread_attr_t attr;
	pthread_t t;

	setrlimit(RLIMIT_CORE, &no_core);
	pthread_attr_init(&attr);
	if (bytes && pthread_attr_setstacksize(&attr, bytes))
		return 2;
	for (int i = 2; i < argc; i++) {
		if (strcmp(argv[i], "--main") == 0)
			return fall(0);
		handled = 1;
		sigaction(SIGSEGV, &sa, NULL);
	}
	if (pthread_create(&t, &attr, thread, NULL))
		return 2;
	pthread_join(t, NULL);
	return 0;
}
