/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* plugins.c - libraries with threads of their own that come and go, also those that
 * find libc before they find anybody else; and a program that puts functions of its
 * own in front of libc's. */
#include <dlfcn.h>
#include <limits.h>

#include "../support/expect.h"

#define THREADS 4
#define TIMES 25

static char plugin[PATH_MAX];
static pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
static int told;

/* ---- in front of libc's ---- */

static int created, written;

int pthread_create(pthread_t *ret, const pthread_attr_t *attr,
		   void *(*fn)(void *), void *arg)
{
	static int (*next)(pthread_t *, const pthread_attr_t *, void *(*)(void *),
			   void *);

	if (!next)
		*(void **)&next = dlsym(RTLD_NEXT, "pthread_create");
	__atomic_add_fetch(&created, 1, __ATOMIC_RELAXED);
	return next(ret, attr, fn, arg);
}

ssize_t write(int fd, const void *buf, size_t n)
{
	static ssize_t (*next)(int, const void *, size_t);

	if (!next)
		*(void **)&next = dlsym(RTLD_NEXT, "write");
	__atomic_add_fetch(&written, 1, __ATOMIC_RELAXED);
	return next(fd, buf, n);
}

static void *talk(void *arg)
{
	int *fd = arg;
	char c = 'x';

	nap_us(100);
	EXPECT_EQ(write(fd[1], &c, 1), 1);
	EXPECT_EQ(read(fd[0], &c, 1), 1);
	return NULL;
}

static void what_the_program_puts_in_front_is_called_first(void)
{
	int fd[2], before_created = created, before_written = written;
	pthread_t t[20];

	if (!EXPECT_OK(pipe(fd)))
		return;
	for (int i = 0; i < 20; i++)
		t[i] = start(talk, fd);
	for (int i = 0; i < 20; i++)
		finish(t[i]);
	EXPECT_EQ(created - before_created, 20);
	EXPECT_EQ(written - before_written, 20);
	close(fd[0]);
	close(fd[1]);
}

/* ---- plugins ---- */

static int run_plugin(void *lib, int *ret_told)
{
	int (*one)(int *);

	if (!lib) {
		expect_say("%s\n", dlerror());
		return -1;
	}
	*(void **)&one = dlsym(lib, "plugins_one");
	return one ? one(ret_told) : -1;
}

static void *load_and_unload(void *arg)
{
	for (int i = 0; i < TIMES; i++) {
		void *lib;

		/* One at a time, or it would stay loaded. */
		pthread_mutex_lock(&m);
		lib = dlopen(plugin, RTLD_NOW);
		EXPECT_EQ(run_plugin(lib, &told), 6006);
		if (lib)
			EXPECT_EQ(dlclose(lib), 0);
		pthread_mutex_unlock(&m);
		nap_us(10);
	}
	return arg;
}

static void a_plugin_with_threads_comes_and_goes(void)
{
	pthread_t t[THREADS];

	if (SHARES_STORAGE) {
		SKIP(NO_STORAGE);
		return;
	}
	told = 0;
	for (int i = 0; i < THREADS; i++)
		t[i] = start(load_and_unload, NULL);
	for (int i = 0; i < THREADS; i++)
		finish(t[i]);
	EXPECT_EQ(told, THREADS * TIMES);
	EXPECT(dlopen(plugin, RTLD_NOW | RTLD_NOLOAD) == NULL);
}

/* Its calls go to libc, past whoever stands in front. */
static void a_plugin_that_finds_libc_first_has_threads(void)
{
	void *lib;

	if (SHARES_STORAGE) {
		SKIP(NO_STORAGE);
		return;
	}
	lib = dlopen(plugin, RTLD_NOW | RTLD_DEEPBIND);
	EXPECT_EQ(run_plugin(lib, NULL), 6006);
	if (lib)
		EXPECT_EQ(dlclose(lib), 0);
}

static void a_plugin_with_a_libc_of_its_own_has_threads(void)
{
	void *lib;

	if (SHARES_STORAGE) {
		SKIP(NO_STORAGE);
		return;
	}
	lib = dlmopen(LM_ID_NEWLM, plugin, RTLD_NOW);
	EXPECT_EQ(run_plugin(lib, NULL), 6006);
	if (lib)
		EXPECT_EQ(dlclose(lib), 0);
}

static const struct expect_case cases[] = {
	/* First: both libcs have one list of stacks that threads have left, and what
	 * such a thread has of a library's variables the one libc frees though the
	 * other has allocated it. */
	CASE(a_plugin_with_a_libc_of_its_own_has_threads),
	CASE(what_the_program_puts_in_front_is_called_first),
	CASE_IN_MAIN(what_the_program_puts_in_front_is_called_first),
	CASE(a_plugin_with_threads_comes_and_goes),
	CASE(a_plugin_that_finds_libc_first_has_threads),
	CASE_IN_MAIN(a_plugin_that_finds_libc_first_has_threads),
};

int main(int argc, char **argv)
{
	ssize_t n = readlink("/proc/self/exe", plugin, sizeof(plugin) - 1);
	char *slash;

	if (n <= 0)
		return 2;
	plugin[n] = 0;
	slash = strrchr(plugin, '/');
	snprintf(slash, sizeof(plugin) - (size_t)(slash - plugin),
		 "/libplugins_one.so");
	return expect_main(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}
