/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* host.c - a program without coroutines, which loads a plugin that has them. */
#include "support/expect.h"
#include <dirent.h>
#include <dlfcn.h>

static const char *plugin;
static volatile sig_atomic_t got;

static int threads_now(void)
{
	DIR *d = opendir("/proc/self/task");
	int n = -2;

	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static void note(int sig)
{
	got = sig;
}

static void *lock_and_unlock(void *arg)
{
	pthread_mutex_lock(arg);
	pthread_mutex_unlock(arg);
	return arg;
}

static void a_plugin_brings_coroutines_and_takes_nothing(void)
{
	pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
	int before = threads_now(), (*work)(int);
	struct sigaction act;
	void *lib;

	signal(SIGUSR1, note);
	pthread_mutex_lock(&m);
	for (int i = 0; i < 3; i++) {
		lib = dlopen(plugin, RTLD_NOW | RTLD_LOCAL);
		if (!EXPECT(lib))
			return;
		*(void **)&work = dlsym(lib, "plugin_work");
		EXPECT_EQ(work(20), 0);
		EXPECT_EQ(threads_now(), before);
		EXPECT_EQ(dlclose(lib), 0);
		/* Whose handler it is has not changed. */
		EXPECT_OK(sigaction(SIGUSR1, NULL, &act));
		EXPECT(act.sa_handler == note);
		raise(SIGUSR1);
		EXPECT_EQ(got, SIGUSR1);
		got = 0;
	}
	/* Nor what a lock is. */
	pthread_t t = start(lock_and_unlock, &m);
	pthread_mutex_unlock(&m);
	EXPECT(finish(t) == &m);
}

static void work_in(void *arg)
{
	int (*work)(int);
	void *lib = dlopen(arg, RTLD_NOW | RTLD_LOCAL);

	if (!EXPECT(lib))
		return;
	*(void **)&work = dlsym(lib, "plugin_work");
	EXPECT_EQ(work(5), 0);
}

static void it_works_in_the_child_of_a_fork(void)
{
	work_in((void *)plugin);
	expect_child(work_in, (void *)plugin);
}

static void *work_as_thread(void *arg)
{
	work_in(arg);
	return arg;
}

static void it_may_be_loaded_by_another_thread_than_main(void)
{
	EXPECT(finish(start(work_as_thread, (void *)plugin)) == plugin);
}

static const struct expect_case cases[] = {
	CASE_IN_MAIN(it_may_be_loaded_by_another_thread_than_main),
	CASE_IN_MAIN(a_plugin_brings_coroutines_and_takes_nothing),
	CASE_IN_MAIN(it_works_in_the_child_of_a_fork),
};

__attribute__((constructor)) static void find_plugin(void)
{
	plugin = getenv("EMBED_PLUGIN");
}

EXPECT_MAIN(cases)
