/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* dlopen.c - libraries that come and go while threads are there. */
#include <dlfcn.h>
#include <fcntl.h>
#include <link.h>
#include <mqueue.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/inotify.h>

#include "../../support/expect.h"

#define CROWD 100

/* Exported to dl_dynamic. */
extern _Atomic int dl_dynamic_unloaded;
_Atomic int dl_dynamic_unloaded;

#define BESIDE 600
static char here[512]; /* the folder of this program */

/* Not in a thread-local array: where storage is shared, that is the worker's. */
static const char *beside(const char *name, char path[BESIDE])
{
	snprintf(path, BESIDE, "%s/%s", here, name);
	return path;
}

static void *open_beside(const char *name)
{
	char path[BESIDE];
	void *lib = dlopen(beside(name, path), RTLD_NOW | RTLD_LOCAL);

	if (!lib)
		expect_say("%s\n", dlerror());
	return lib;
}

static void *symbol(void *lib, const char *name)
{
	void *at = lib ? dlsym(lib, name) : NULL;

	EXPECT(at != NULL);
	return at;
}

/* ---- static TLS ---- */

static int (*is_fresh)(void), (*has)(long);
static void (*set)(long);
static void *(*address)(void);

static atomic_bool opened;
static atomic_int waiting;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static int quiet[2];
static void *addresses[2 * CROWD];

static bool use(intptr_t me)
{
	if (!is_fresh())
		return false;
	addresses[me] = address();
	for (long i = 1; i < 50; i++) {
		set(me * 1000 + i);
		sched_yield();
		if (i % 16 == 0)
			nap_us(50);
		if (!has(me * 1000 + i) || address() != addresses[me])
			return false;
	}
	return true;
}

/* Is there when the library comes, in one of several ways. */
static void *be_there(void *arg)
{
	intptr_t me = (intptr_t)arg;
	char c;

	atomic_fetch_add(&waiting, 1);
	switch (me % 4) {
	case 0:
		if (read(quiet[0], &c, 1) != 1)
			return NULL;
		break;
	case 1:
		pthread_mutex_lock(&mutex);
		while (!atomic_load(&opened))
			pthread_cond_wait(&cond, &mutex);
		pthread_mutex_unlock(&mutex);
		break;
	case 2:
		while (!atomic_load(&opened))
			sched_yield();
		break;
	default:
		while (!atomic_load(&opened))
			nap_us(500);
	}
	return use(me) ? arg : NULL;
}

static void *come_later(void *arg)
{
	return use((intptr_t)arg) ? arg : NULL;
}

static void every_thread_finds_the_initial_values(void)
{
	if (SHARES_STORAGE) {
		SKIP(NO_STORAGE);
		return;
	}
	char bytes[CROWD] = {0};
	int (*constructed)(void);
	pthread_t t[2 * CROWD];
	void *lib;

	EXPECT_OK(pipe(quiet));
	for (intptr_t i = 0; i < CROWD; i++)
		t[i] = start(be_there, (void *)i);
	WAIT_UNTIL(atomic_load(&waiting) == CROWD);
	settle();
	if (!EXPECT((lib = open_beside("libdlstatic.so")) != NULL))
		return;
	*(void **)&is_fresh = symbol(lib, "dl_static_is_fresh");
	*(void **)&has = symbol(lib, "dl_static_has");
	*(void **)&set = symbol(lib, "dl_static_set");
	*(void **)&address = symbol(lib, "dl_static_address");
	*(void **)&constructed = symbol(lib, "dl_static_constructed");
	EXPECT_EQ(constructed(), 1);
	EXPECT(is_fresh());
	pthread_mutex_lock(&mutex);
	atomic_store(&opened, true);
	pthread_cond_broadcast(&cond);
	pthread_mutex_unlock(&mutex);
	EXPECT_EQ(write(quiet[1], bytes, CROWD), CROWD);
	for (intptr_t i = CROWD; i < 2 * CROWD; i++)
		t[i] = start(come_later, (void *)i);
	for (intptr_t i = 0; i < 2 * CROWD; i++)
		EXPECT(finish(t[i]) == (void *)i);
	/* those that lived at the same time had one each */
	for (int i = 1; i < CROWD; i++)
		EXPECT(addresses[i] != addresses[i - 1]);
	EXPECT(is_fresh());
	close(quiet[0]);
	close(quiet[1]);
	/* it stays: static TLS is not given back */
}

/* ---- dynamic TLS ---- */

static long (*swap)(long);
static atomic_int round_now, done;

static void *swap_each_round(void *arg)
{
	intptr_t me = (intptr_t)arg;

	for (int round = 1; round <= 10; round++) {
		WAIT_UNTIL(atomic_load(&round_now) >= round);
		if (swap(me + 100) != 17)
			return NULL;
		sched_yield();
		nap_us(50);
		if (swap(me + 200) != me + 100)
			return NULL;
		atomic_fetch_add(&done, 1);
	}
	return arg;
}

static void a_library_opened_again_begins_again_in_every_thread(void)
{
	if (SHARES_STORAGE) {
		SKIP(NO_STORAGE);
		return;
	}
	pthread_t t[20];

	atomic_store(&round_now, 0);
	for (intptr_t i = 0; i < 20; i++)
		t[i] = start(swap_each_round, (void *)i);
	for (int round = 1; round <= 10; round++) {
		void *lib = open_beside("libdldynamic.so");

		if (!EXPECT(lib != NULL))
			return;
		*(void **)&swap = symbol(lib, "dl_dynamic_swap");
		EXPECT_EQ(swap(3), 17);
		atomic_store(&done, 0);
		atomic_store(&round_now, round);
		WAIT_UNTIL(atomic_load(&done) == 20);
		EXPECT_EQ(swap(4), 3);
		EXPECT_EQ(dlclose(lib), 0);
		EXPECT_EQ(atomic_load(&dl_dynamic_unloaded), round);
	}
	for (intptr_t i = 0; i < 20; i++)
		EXPECT(finish(t[i]) == (void *)i);
}

/* ---- by name ---- */

static void *find_by_runpath(void *arg)
{
	void *lib = dlopen("libdlnear.so", RTLD_NOW | RTLD_LOCAL);
	int (*value)(void), (*asks)(void);

	if (!EXPECT(lib != NULL)) {
		expect_say("%s\n", dlerror());
		return NULL;
	}
	*(void **)&value = symbol(lib, "near_value");
	*(void **)&asks = symbol(lib, "near_asks_far");
	EXPECT_EQ(value(), 1000);
	EXPECT_EQ(asks(), 2000);
	/* what near may find we may not: we have another RUNPATH */
	EXPECT(dlopen("libdlfar.so", RTLD_NOW) == NULL);
	EXPECT(dlerror() != NULL);
	EXPECT_EQ(dlclose(lib), 0);
	return arg;
}

static void a_library_is_sought_where_its_opener_says(void)
{
	find_by_runpath(NULL);
	EXPECT(finish(start(find_by_runpath, &opened)) == &opened);
}

/* ---- errors and lookups ---- */

static atomic_int failed_once;

static void *fail_to_open(void *arg)
{
	char name[64];
	const char *said;

	snprintf(name, sizeof(name), "libnone%d.so", (int)(intptr_t)arg);
	for (int i = 0; i < 20; i++) {
		if (dlopen(name, RTLD_NOW) != NULL)
			return NULL;
		sched_yield();
		nap_us(20);
		said = dlerror();
		if (!said || !strstr(said, name) || dlerror() != NULL)
			return NULL;
	}
	atomic_fetch_add(&failed_once, 1);
	return arg;
}

static void the_last_error_is_the_threads_own(void)
{
	if (SHARES_STORAGE) {
		SKIP("what dlerror says is in a thread-local variable");
		return;
	}
	pthread_t t[20];

	dlerror();
	for (intptr_t i = 0; i < 20; i++)
		t[i] = start(fail_to_open, (void *)(i + 1));
	for (intptr_t i = 0; i < 20; i++)
		EXPECT(finish(t[i]) == (void *)(i + 1));
	EXPECT(dlerror() == NULL);
	EXPECT(dlsym(RTLD_DEFAULT, "no_such_symbol_here") == NULL);
	EXPECT(dlerror() != NULL);
}

/* For the first time here: what they need they look up. */
static void an_error_waits_while_other_functions_are_called(void)
{
	pthread_rwlock_t lock = PTHREAD_RWLOCK_INITIALIZER;
	const char *said;
	sem_t sem;

	EXPECT(dlopen("libnonesuch.so", RTLD_NOW) == NULL);
	EXPECT_EQ(sem_init(&sem, 1, 1), 0);
	EXPECT_EQ(sem_trywait(&sem), 0);
	EXPECT_EQ(pthread_rwlock_tryrdlock(&lock), 0);
	EXPECT_EQ(pthread_rwlock_unlock(&lock), 0);
	EXPECT(mq_open("/no-such-queue", O_RDONLY) == (mqd_t)-1);
	EXPECT(inotify_init1(77) == -1);
	said = dlerror();
	EXPECT(said && strstr(said, "libnonesuch.so"));
	EXPECT(dlerror() == NULL);
}

/* What went wrong, or arg. */
static void *open_and_close(void *arg)
{
	char path[BESIDE];

	for (int i = 0; i < 20; i++) {
		void *lib = dlopen(beside("near/libdlnear.so", path),
				   i % 2 ? RTLD_NOW : RTLD_LAZY);
		int (*value)(void);

		if (!lib)
			return strdup(dlerror());
		*(void **)&value = dlsym(lib, "near_value");
		if (!value)
			return "its function was not found";
		if (value() != 1000)
			return "its function gave another value";
		sched_yield();
		if (dlclose(lib))
			return "it could not be closed";
	}
	return arg;
}

static void many_threads_open_and_close_at_once(void)
{
	pthread_t t[10];

	for (int i = 0; i < 10; i++)
		t[i] = start(open_and_close, &opened);
	for (int i = 0; i < 10; i++) {
		void *said = finish(t[i]);

		EXPECT(said == &opened);
		if (said && said != &opened)
			printf("%s\n", (char *)said);
	}
}

static int count_objects(struct dl_phdr_info *info, size_t size, void *data)
{
	(void)info;
	(void)size;
	++*(int *)data;
	sched_yield();
	return 0;
}

static void what_is_loaded_can_be_asked(void)
{
	int (*asked)(int) = NULL;
	Dl_info info;
	int n = 0;

	EXPECT(dl_iterate_phdr(count_objects, &n) == 0);
	EXPECT(n >= 3);
	EXPECT(dladdr(&dl_dynamic_unloaded, &info) != 0);
	EXPECT_STR(info.dli_sname ? info.dli_sname : "", "dl_dynamic_unloaded");
	*(void **)&asked = dlsym(RTLD_DEFAULT, "abs");
	EXPECT(asked && asked(-5) == 5);
	EXPECT(dlvsym(RTLD_DEFAULT, "abs", "NO_SUCH_VERSION") == NULL);
}

static const struct expect_case cases[] = {
	CASE(every_thread_finds_the_initial_values),
	CASE(a_library_opened_again_begins_again_in_every_thread),
	CASE(a_library_is_sought_where_its_opener_says),
	CASE_IN_MAIN(a_library_is_sought_where_its_opener_says),
	CASE(an_error_waits_while_other_functions_are_called),
	CASE(the_last_error_is_the_threads_own),
	CASE(many_threads_open_and_close_at_once),
	CASE(what_is_loaded_can_be_asked),
};

int main(int argc, char **argv)
{
	ssize_t n = readlink("/proc/self/exe", here, sizeof(here) - 1);

	if (n <= 0)
		return 2;
	here[n] = 0;
	*strrchr(here, '/') = 0;
	return expect_main(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}
