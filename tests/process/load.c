/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* load.c - libraries that are loaded while threads exist. */
#include <dlfcn.h>
#include <limits.h>

#include "../support/expect.h"

#define MANY 50

static char folder[PATH_MAX];

static void *open_here(const char *name, int mode)
{
	char path[PATH_MAX + 64];
	void *lib;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	lib = dlopen(path, mode);
	if (!lib)
		expect_say("%s\n", dlerror());
	return lib;
}

static bool find_folder(void)
{
	ssize_t n = readlink("/proc/self/exe", folder, sizeof(folder) - 1);
	char *slash;

	if (n <= 0)
		return false;
	folder[n] = 0;
	slash = strrchr(folder, '/');
	*slash = 0;
	return true;
}

/* ---- initial-exec variables ---- */

static int (*is_fresh)(void);
static void (*use)(int);
static int (*get)(void);

static int fresh_in_constructor, asked_in_constructor;
static pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t c = PTHREAD_COND_INITIALIZER;
static enum { WAIT, LOOK, LOOKED, USE, LEAVE } stage;
static int there, fresh;

/* Called by the library's constructor, with what only dlopen's result would lead
 * to otherwise. */
void load_in_constructor(int (*library_is_fresh)(void));
void load_in_constructor(int (*library_is_fresh)(void))
{
	is_fresh = library_is_fresh;
	fresh_in_constructor = is_fresh();
	pthread_mutex_lock(&m);
	stage = LOOK;
	pthread_cond_broadcast(&c);
	while (there)
		pthread_cond_wait(&c, &m);
	asked_in_constructor = fresh;
	stage = LOOKED;
	pthread_mutex_unlock(&m);
}

static void *look_when_asked(void *arg)
{
	int me = (int)(long)arg, mine;

	pthread_mutex_lock(&m);
	there++;
	pthread_cond_broadcast(&c);
	while (stage < LOOK)
		pthread_cond_wait(&c, &m);
	fresh += is_fresh();
	there--;
	pthread_cond_broadcast(&c);
	while (stage < USE)
		pthread_cond_wait(&c, &m);
	pthread_mutex_unlock(&m);
	use(me);
	nap_us(1000);
	mine = get();
	return (void *)(long)(mine == me);
}

/* A stack that is used again, with the thread-local storage on it. */
static void *look_once(void *arg)
{
	long was = is_fresh();

	use((int)(long)arg);
	return (void *)was;
}

static void the_first_values_are_there_before_a_constructor_runs(void)
{
	if (SHARES_STORAGE) {
		SKIP(NO_STORAGE);
		return;
	}
	pthread_t t[MANY];
	void *lib;

	for (int i = 0; i < 10; i++)
		finish(start((void *(*)(void *))(void *)getpid, NULL));
	for (int i = 0; i < MANY; i++)
		t[i] = start(look_when_asked, (void *)(long)i);
	pthread_mutex_lock(&m);
	while (there < MANY)
		pthread_cond_wait(&c, &m);
	pthread_mutex_unlock(&m);
	lib = open_here("libload_tls.so", RTLD_NOW | RTLD_LOCAL);
	if (!EXPECT(lib != NULL))
		return;
	*(void **)&use = dlsym(lib, "load_tls_use");
	*(void **)&get = dlsym(lib, "load_tls_get");
	EXPECT(is_fresh && use && get);
	EXPECT_EQ(fresh_in_constructor, 1);
	EXPECT_EQ(asked_in_constructor, MANY);
	EXPECT(is_fresh());
	pthread_mutex_lock(&m);
	stage = USE;
	pthread_cond_broadcast(&c);
	pthread_mutex_unlock(&m);
	for (int i = 0; i < MANY; i++)
		EXPECT_EQ((long)finish(t[i]), 1);
	EXPECT(is_fresh());
	for (int i = 0; i < 2 * MANY; i++)
		EXPECT_EQ((long)finish(start(look_once, (void *)(long)i)), 1);
}

static void fork_and_look(void *arg)
{
	(void)arg;
	EXPECT(is_fresh());
	EXPECT_EQ((long)finish(start(look_once, NULL)), 1);
	use(5);
	EXPECT_EQ(get(), 5);
}

static void a_child_has_them_too(void)
{
	if (SHARES_STORAGE) {
		SKIP(NO_STORAGE);
		return;
	}
	if (!is_fresh)
		return;
	expect_child(fork_and_look, NULL);
	EXPECT(is_fresh());
}

/* In a child, what is loaded there comes to threads that are made there, and to
 * the one that forked. */
static void *wait_in_child(void *arg)
{
	pthread_mutex_lock(&m);
	there++;
	pthread_cond_broadcast(&c);
	while (stage < LOOK)
		pthread_cond_wait(&c, &m);
	fresh += is_fresh();
	there--;
	pthread_cond_broadcast(&c);
	pthread_mutex_unlock(&m);
	return arg;
}

static void load_in_child(void *arg)
{
	pthread_t t[8];

	(void)arg;
	stage = WAIT;
	there = fresh = 0;
	for (int i = 0; i < 8; i++)
		t[i] = start(wait_in_child, NULL);
	pthread_mutex_lock(&m);
	while (there < 8)
		pthread_cond_wait(&c, &m);
	pthread_mutex_unlock(&m);
	EXPECT(open_here("libload_tls.so", RTLD_NOW | RTLD_LOCAL) != NULL);
	EXPECT_EQ(fresh_in_constructor, 1);
	EXPECT_EQ(asked_in_constructor, 8);
	for (int i = 0; i < 8; i++)
		finish(t[i]);
}

static void a_child_that_loads_it_has_them_in_every_thread(void)
{
	if (SHARES_STORAGE) {
		SKIP(NO_STORAGE);
		return;
	}
	expect_child(load_in_child, NULL);
}

static void *load_in_a_thread_of_a_child(void *arg)
{
	int depth = (int)(long)arg;

	if (depth > 0) {
		pid_t pid = fork();

		if (pid == 0)
			_exit(load_in_a_thread_of_a_child((void *)(long)(depth - 1))
				      ? 1 : 0);
		return (void *)(long)status_of(pid);
	}
	load_in_child(NULL);
	return (void *)(long)(expect_now.case_failed != 0);
}

static void and_so_has_a_childs_child(void)
{
	if (SHARES_STORAGE) {
		SKIP(NO_STORAGE);
		return;
	}
	EXPECT_EQ((long)finish(start(load_in_a_thread_of_a_child, (void *)3L)), 0);
}

/* ---- where libraries are looked for ---- */

struct friend {
	void *(*by_name)(void);
	void *(*by_origin)(void);
};

static int answer(void *lib)
{
	int (*fn)(void);

	if (!lib) {
		expect_say("%s\n", dlerror());
		return 0;
	}
	*(void **)&fn = dlsym(lib, "load_aside_answer");
	return fn ? fn() : 0;
}

static void *ask_friend(void *arg)
{
	const struct friend *f = arg;
	void *lib = f->by_name();

	EXPECT_EQ(answer(lib), 43);
	if (lib)
		dlclose(lib);
	lib = f->by_origin();
	EXPECT_EQ(answer(lib), 43);
	if (lib)
		dlclose(lib);
	EXPECT(dlopen("libload_aside.so", RTLD_NOW) == NULL);
	EXPECT(dlerror() != NULL);
	return NULL;
}

static void the_callers_own_path_is_followed(void)
{
	void *lib = open_here("libload_friend.so", RTLD_NOW);
	pthread_attr_t attr;
	struct friend f;
	pthread_t t;

	if (!EXPECT(lib != NULL))
		return;
	*(void **)&f.by_name = dlsym(lib, "load_friend_by_name");
	*(void **)&f.by_origin = dlsym(lib, "load_friend_by_origin");
	ask_friend(&f);
	finish(start(ask_friend, &f));
	/* As small as will do for libc and the constructor. */
	pthread_attr_init(&attr);
	EXPECT_EQ(pthread_attr_setstacksize(&attr, 128 << 10), 0);
	EXPECT_EQ(pthread_create(&t, &attr, ask_friend, &f), 0);
	finish(t);
	pthread_attr_destroy(&attr);
	dlclose(lib);
}

static void *fail_to_open(void *arg)
{
	char name[64];
	const char *text;

	for (int i = 0; i < 20; i++) {
		snprintf(name, sizeof(name), "no-such-%ld-%d.so", (long)arg, i);
		EXPECT(dlopen(name, RTLD_NOW) == NULL);
		nap_us(10);
		text = dlerror();
		EXPECT(text && strstr(text, name));
		EXPECT(dlerror() == NULL);
	}
	return NULL;
}

static void errors_are_the_threads_own(void)
{
	if (SHARES_STORAGE) {
		SKIP("what dlerror says is in a thread-local variable");
		return;
	}
	pthread_t t[8];

	for (long i = 0; i < 8; i++)
		t[i] = start(fail_to_open, (void *)i);
	for (int i = 0; i < 8; i++)
		finish(t[i]);
}

static const struct expect_case cases[] = {
	CASE(a_child_that_loads_it_has_them_in_every_thread),
	CASE(and_so_has_a_childs_child),
	CASE_IN_MAIN(a_child_that_loads_it_has_them_in_every_thread),
	CASE(the_first_values_are_there_before_a_constructor_runs),
	CASE(a_child_has_them_too),
	CASE_IN_MAIN(a_child_has_them_too),
	CASE(the_callers_own_path_is_followed),
	CASE_IN_MAIN(the_callers_own_path_is_followed),
	CASE(errors_are_the_threads_own),
};

int main(int argc, char **argv)
{
	if (!find_folder())
		return 2;
	return expect_main(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}
