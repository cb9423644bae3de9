/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* ident.c - who a thread is, and what is its own before the kernel. */
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "../support/expect.h"

#define MANY 64

static pthread_barrier_t all;

struct seen {
	pid_t first, by_number, later;
};

static void *see(void *arg)
{
	struct seen *s = arg;

	s->first = gettid();
	s->by_number = (pid_t)syscall(SYS_gettid);
	pthread_barrier_wait(&all);
	nap_us(500);
	s->later = gettid();
	pthread_barrier_wait(&all);
	return NULL;
}

static void gettid_is_a_threads_own_and_stays_the_same(void)
{
	struct seen s[MANY];
	pthread_t t[MANY];

	pthread_barrier_init(&all, NULL, MANY);
	for (int i = 0; i < MANY; i++)
		t[i] = start(see, &s[i]);
	for (int i = 0; i < MANY; i++)
		finish(t[i]);
	pthread_barrier_destroy(&all);
	for (int i = 0; i < MANY; i++) {
		EXPECT(s[i].first > 0 && s[i].first == s[i].by_number);
		EXPECT_EQ(s[i].later, s[i].first);
		EXPECT(s[i].first != getpid() && s[i].first != gettid());
		for (int k = 0; k < i; k++)
			EXPECT(s[i].first != s[k].first);
	}
}

static void main_is_the_process(void)
{
	EXPECT_EQ(gettid(), getpid());
	EXPECT_EQ(syscall(SYS_gettid), getpid());
}

static volatile int got;
static volatile pid_t got_by;

static void on_signal(int sig)
{
	got_by = gettid();
	got = sig;
}

static volatile pid_t target;
static volatile int target_over;

static void *be_target(void *arg)
{
	target = gettid();
	while (!target_over)
		nap_us(200);
	return arg;
}

static void a_signal_reaches_the_thread_that_a_tid_names(void)
{
	struct sigaction sa = {.sa_handler = on_signal, .sa_flags = SA_RESTART}, old;
	pthread_t t;

	EXPECT_OK(sigaction(SIGUSR1, &sa, &old));
	target = target_over = 0;
	t = start(be_target, NULL);
	WAIT_UNTIL(target);
	got = 0;
	EXPECT_OK(tgkill(getpid(), target, SIGUSR1));
	WAIT_UNTIL(got == SIGUSR1);
	EXPECT_EQ(got_by, target);
	got = 0;
	EXPECT_OK(syscall(SYS_tgkill, getpid(), target, SIGUSR1));
	WAIT_UNTIL(got == SIGUSR1);
	EXPECT_EQ(got_by, target);
	EXPECT_OK(tgkill(getpid(), target, 0));
	got = 0;
	EXPECT_OK(tgkill(getpid(), gettid(), SIGUSR1));
	EXPECT_EQ(got, SIGUSR1);
	EXPECT_EQ(got_by, gettid());
	target_over = 1;
	finish(t);
	EXPECT_ERR(tgkill(getpid(), target, 0), ESRCH);
	EXPECT_OK(sigaction(SIGUSR1, &old, NULL));
}

/* ---- names ---- */

static void *have_a_name(void *arg)
{
	char name[16] = "", mine[16];

	snprintf(mine, sizeof(mine), "name-%ld", (long)arg);
	EXPECT_OK(prctl(PR_SET_NAME, mine));
	for (int i = 0; i < 20; i++) {
		nap_us(50);
		EXPECT_OK(prctl(PR_GET_NAME, name));
		EXPECT_STR(name, mine);
	}
	EXPECT_EQ(pthread_getname_np(pthread_self(), name, sizeof(name)), 0);
	EXPECT_STR(name, mine);
	return NULL;
}

static void each_thread_has_a_name_of_its_own(void)
{
	char before[16], after[16];
	pthread_t t[16];

	EXPECT_OK(prctl(PR_GET_NAME, before));
	for (long i = 0; i < 16; i++)
		t[i] = start(have_a_name, (void *)i);
	for (int i = 0; i < 16; i++)
		finish(t[i]);
	EXPECT_OK(prctl(PR_GET_NAME, after));
	EXPECT_STR(after, before);
}

/* ---- what the kernel keeps per thread ---- */

static char *cwd_of_thread(char *buf)
{
	return getcwd(buf, 256) ? buf : NULL;
}

static void *go_elsewhere(void *arg)
{
	char here[256];

	EXPECT_OK(unshare(CLONE_FS));
	EXPECT_OK(chdir("/usr"));
	for (int i = 0; i < 20; i++) {
		sched_yield();
		EXPECT_STR(cwd_of_thread(here), "/usr");
		nap_us(20);
	}
	return arg;
}

static void *stay_here(void *arg)
{
	char here[256];

	for (int i = 0; i < 20; i++) {
		sched_yield();
		EXPECT_STR(cwd_of_thread(here), arg);
		nap_us(20);
	}
	return NULL;
}

static void a_working_directory_of_its_own_is_nobody_elses(void)
{
	char here[256];
	pthread_t t[16];

	cwd_of_thread(here);
	for (int round = 0; round < 10; round++) {
		for (int i = 0; i < 16; i++)
			t[i] = start(i % 2 ? go_elsewhere : stay_here, here);
		for (int i = 0; i < 16; i++)
			finish(t[i]);
	}
	for (int i = 0; i < 100; i++)
		finish(start(stay_here, here));
	EXPECT_STR(cwd_of_thread(here), here);
}

static int count(const cpu_set_t *set)
{
	return CPU_COUNT(set);
}

static void *stay_on_one(void *arg)
{
	cpu_set_t all_of_them, one;
	int cpu = 0;

	EXPECT_OK(sched_getaffinity(0, sizeof(all_of_them), &all_of_them));
	while (!CPU_ISSET(cpu, &all_of_them))
		cpu++;
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	if ((long)arg == 2)
		EXPECT_EQ(pthread_setaffinity_np(pthread_self(), sizeof(one), &one), 0);
	else
		EXPECT_OK(sched_setaffinity(arg ? gettid() : 0, sizeof(one), &one));
	for (int i = 0; i < 50; i++) {
		sched_yield();
		EXPECT_EQ(sched_getcpu(), cpu);
		nap_us(20);
		EXPECT_OK(sched_getaffinity(gettid(), sizeof(one), &one));
		EXPECT_EQ(count(&one), 1);
	}
	return NULL;
}

static void *count_processors(void *arg)
{
	cpu_set_t set;

	(void)arg;
	EXPECT_OK(sched_getaffinity(0, sizeof(set), &set));
	return (void *)(long)count(&set);
}

static void processors_are_chosen_for_one_thread(void)
{
	long n = (long)count_processors(NULL);
	pthread_t t[8];

	for (int i = 0; i < 8; i++)
		t[i] = start(i < 6 ? stay_on_one : count_processors,
			     (void *)(long)(i % 3));
	for (int i = 0; i < 6; i++)
		finish(t[i]);
	EXPECT_EQ((long)finish(t[6]), n);
	EXPECT_EQ((long)finish(t[7]), n);
	for (int i = 0; i < 50; i++)
		EXPECT_EQ((long)finish(start(count_processors, NULL)), n);
	EXPECT_EQ((long)count_processors(NULL), n);
}

static void *be_nicer(void *arg)
{
	int before = getpriority(PRIO_PROCESS, 0);

	if (arg) {
		errno = 0;
		EXPECT_EQ(nice(3), before + 3);
	} else {
		EXPECT_OK(setpriority(PRIO_PROCESS, (id_t)gettid(), before + 3));
	}
	for (int i = 0; i < 20; i++) {
		nap_us(20);
		EXPECT_EQ(getpriority(PRIO_PROCESS, 0), before + 3);
		EXPECT_EQ(getpriority(PRIO_PROCESS, (id_t)gettid()), before + 3);
	}
	return NULL;
}

static void *how_nice(void *arg)
{
	(void)arg;
	return (void *)(long)getpriority(PRIO_PROCESS, 0);
}

static void niceness_is_one_threads(void)
{
	long before = (long)how_nice(NULL);

	finish(start(be_nicer, NULL));
	finish(start(be_nicer, &all));
	for (int i = 0; i < 50; i++)
		EXPECT_EQ((long)finish(start(how_nice, NULL)), before);
	EXPECT_EQ((long)how_nice(NULL), before);
}

static void *set_what_is_set(void *arg)
{
	struct sched_param p = {0};
	cpu_set_t set;

	EXPECT_EQ(sched_getscheduler(0), SCHED_OTHER);
	EXPECT_OK(sched_setscheduler(0, SCHED_OTHER, &p));
	EXPECT_OK(sched_setparam(0, &p));
	EXPECT_OK(sched_getparam(gettid(), &p));
	EXPECT_EQ(p.sched_priority, 0);
	EXPECT_OK(sched_getaffinity(0, sizeof(set), &set));
	EXPECT_OK(sched_setaffinity(0, sizeof(set), &set));
	EXPECT_OK(setpriority(PRIO_PROCESS, 0, getpriority(PRIO_PROCESS, 0)));
	EXPECT_ERR(sched_setscheduler(0, 9999, &p), EINVAL);
	EXPECT_ERR(sched_getscheduler(1 << 29), ESRCH);
	return arg;
}

static int count_tasks(void)
{
	char line[256];
	FILE *f = fopen("/proc/self/status", "r");
	int n = 0;

	while (f && fgets(line, sizeof(line), f))
		sscanf(line, "Threads: %d", &n);
	if (f)
		fclose(f);
	return n;
}

static void *stay(void *fn)
{
	if (fn)
		((void *(*)(void *))fn)(NULL);
	pthread_barrier_wait(&all);
	pthread_barrier_wait(&all);
	return NULL;
}

/* Kernel's tasks while many live that have done what fn does. */
static int count_tasks_with(void *(*fn)(void *))
{
	pthread_t t[MANY];
	int n;

	pthread_barrier_init(&all, NULL, MANY + 1);
	for (int i = 0; i < MANY; i++)
		t[i] = start(stay, (void *)fn);
	pthread_barrier_wait(&all);
	n = count_tasks();
	pthread_barrier_wait(&all);
	for (int i = 0; i < MANY; i++)
		finish(t[i]);
	pthread_barrier_destroy(&all);
	return n;
}

/* A few may be spares of workers that wait long for a processor. */
static void what_changes_nothing_costs_nothing(void)
{
	int idle = count_tasks_with(NULL);

	EXPECT(count_tasks_with(set_what_is_set) <= idle + MANY / 2);
}

static void *batch(void *arg)
{
	struct sched_param p = {0};

	EXPECT_OK(sched_setscheduler(0, SCHED_BATCH, &p));
	for (int i = 0; i < 5; i++) {
		nap_us(20);
		EXPECT_EQ(sched_getscheduler(0), SCHED_BATCH);
	}
	return arg;
}

static void *policy(void *arg)
{
	(void)arg;
	return (void *)(long)sched_getscheduler(0);
}

static void hundreds_of_threads_may_each_be_different(void)
{
	int tasks;

	for (int i = 0; i < 300; i++)
		finish(start(batch, NULL));
	tasks = count_tasks();
	for (int i = 0; i < 100; i++)
		finish(start(batch, NULL));
	/* They do not pile up. */
	EXPECT(count_tasks() <= tasks + 50);
	for (int i = 0; i < 50; i++)
		EXPECT_EQ((long)finish(start(policy, NULL)), SCHED_OTHER);
}

static const struct expect_case cases[] = {
	CASE(gettid_is_a_threads_own_and_stays_the_same),
	CASE_IN_MAIN(main_is_the_process),
	CASE(a_signal_reaches_the_thread_that_a_tid_names),
	CASE(each_thread_has_a_name_of_its_own),
	CASE(a_working_directory_of_its_own_is_nobody_elses),
	CASE(processors_are_chosen_for_one_thread),
	CASE(niceness_is_one_threads),
	CASE(what_changes_nothing_costs_nothing),
	CASE(hundreds_of_threads_may_each_be_different),
};

EXPECT_MAIN(cases)
