/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* setid.c - a thread changes who the process is, and all threads are that.
 *
 * To Linux credentials are a thread's; glibc carries the change to every
 * thread, whatever it is doing. Each thread here asks the kernel itself who
 * it is, by a bare system call, and every task of the process is looked at
 * from the outside as well. Needs root; each case lives in a child, which
 * gives it up. */
#include <dirent.h>
#include <grp.h>
#include <stdatomic.h>
#include <stdint.h>

#include "../../support/expect.h"

#define CROWD 100
#define NOBODY 65534

static atomic_bool stop;
static atomic_int alive, agreed;
static atomic_uint wanted;
static int quiet[2];
static pthread_mutex_t held = PTHREAD_MUTEX_INITIALIZER;

static uid_t kernel_euid(void)
{
	return (uid_t)rawsys(SYS_geteuid, 0, 0, 0);
}

/* Waits in one of several ways, until told; then says who it is, at each of
 * many places where it may go on running. */
static void *be_somebody(void *arg)
{
	intptr_t i = (intptr_t)arg;
	bool good = true;
	char c;

	atomic_fetch_add(&alive, 1);
	switch (i % 5) {
	case 0:
		if (read(quiet[0], &c, 1) != 1)
			return NULL;
		break;
	case 1:
		pthread_mutex_lock(&held);
		pthread_mutex_unlock(&held);
		break;
	case 2:
		while (!atomic_load(&stop))
			sched_yield();
		break;
	case 3:
		if (i < 10)
			while (!atomic_load(&stop))
				;
		/* fall through */
	default:
		while (!atomic_load(&stop))
			nap_us(500);
	}
	for (int k = 0; k < 20; k++) {
		good = good && kernel_euid() == atomic_load(&wanted) &&
		       geteuid() == atomic_load(&wanted);
		sched_yield();
		if (k % 8 == 0)
			nap_us(50);
	}
	if (good)
		atomic_fetch_add(&agreed, 1);
	return good ? arg : NULL;
}

/* Every task of this process, by the kernel's own account. */
static bool all_tasks_are(uid_t uid, gid_t gid)
{
	DIR *tasks = opendir("/proc/self/task");
	struct dirent *task;
	bool good = tasks != NULL;

	while (good && (task = readdir(tasks)) != NULL) {
		unsigned seen[8];
		char path[300], line[256];
		FILE *status;

		if (task->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/proc/self/task/%s/status",
			 task->d_name);
		status = fopen(path, "r");
		if (!status)
			continue; /* it has just ended */
		while (fgets(line, sizeof(line), status)) {
			if (sscanf(line, "Uid: %u %u %u %u", &seen[0], &seen[1],
				   &seen[2], &seen[3]) == 4)
				for (int i = 0; i < 4; i++)
					good = good && seen[i] == uid;
			if (sscanf(line, "Gid: %u %u %u %u", &seen[0], &seen[1],
				   &seen[2], &seen[3]) == 4)
				for (int i = 0; i < 4; i++)
					good = good && seen[i] == gid;
		}
		fclose(status);
	}
	if (tasks)
		closedir(tasks);
	return EXPECT(good);
}

static void begin(pthread_t *t)
{
	atomic_store(&stop, false);
	atomic_store(&alive, 0);
	atomic_store(&agreed, 0);
	EXPECT_OK(pipe(quiet));
	pthread_mutex_lock(&held);
	for (intptr_t i = 0; i < CROWD; i++)
		t[i] = start(be_somebody, (void *)(i + 1));
	WAIT_UNTIL(atomic_load(&alive) == CROWD);
	settle();
}

static void end(pthread_t *t)
{
	char bytes[CROWD] = {0};

	atomic_store(&stop, true);
	pthread_mutex_unlock(&held);
	EXPECT_EQ(write(quiet[1], bytes, CROWD), CROWD);
	for (intptr_t i = 0; i < CROWD; i++)
		EXPECT(finish(t[i]) == (void *)(i + 1));
	EXPECT_EQ(atomic_load(&agreed), CROWD);
}

static void *give_up_root(void *arg)
{
	EXPECT_OK(setgroups(0, NULL));
	EXPECT_OK(setresgid(NOBODY, NOBODY, NOBODY));
	EXPECT_OK(setresuid(NOBODY, NOBODY, NOBODY));
	return arg;
}

static void becomes_nobody(void *arg)
{
	pthread_t t[CROWD];
	uid_t r, e, s;

	begin(t);
	atomic_store(&wanted, NOBODY);
	if (arg)
		give_up_root(NULL);
	else
		finish(start(give_up_root, NULL));
	EXPECT_OK(getresuid(&r, &e, &s));
	EXPECT(r == NOBODY && e == NOBODY && s == NOBODY);
	EXPECT_EQ(getgroups(0, NULL), 0);
	all_tasks_are(NOBODY, NOBODY);
	EXPECT_ERR(setuid(0), EPERM);
	EXPECT_ERR(seteuid(0), EPERM);
	end(t);
	/* and who comes now is nobody too */
	atomic_store(&stop, true);
	EXPECT(finish(start(be_somebody, (void *)4)) == (void *)4);
	all_tasks_are(NOBODY, NOBODY);
}

static void what_one_thread_gives_up_all_have_given_up(void)
{
	if (geteuid() != 0) {
		SKIP("needs root");
		return;
	}
	expect_child(becomes_nobody, NULL);
	expect_child(becomes_nobody, &stop);
}

/* Back and forth, with threads that wait and with threads that come and go. */

static void *come_and_go(void *arg)
{
	while (!atomic_load(&stop))
		pthread_join(start(be_somebody, (void *)3), NULL);
	return arg;
}

static void goes_back_and_forth(void *arg)
{
	pthread_t t[CROWD], coming[3];

	(void)arg;
	begin(t);
	for (int i = 0; i < 200; i++) {
		uid_t uid = i % 2 ? 0 : NOBODY;

		EXPECT_OK(seteuid(uid));
		EXPECT_EQ(geteuid(), uid);
		EXPECT_EQ(kernel_euid(), uid);
		sched_yield();
		EXPECT_EQ(kernel_euid(), uid);
		if (i % 20 == 0)
			nap_us(100);
	}
	atomic_store(&wanted, 0);
	end(t);

	/* and with threads being made meanwhile */
	atomic_store(&stop, false);
	EXPECT_OK(pipe(quiet));
	for (int i = 0; i < 3; i++)
		coming[i] = start(come_and_go, NULL);
	for (int i = 0; i < 100; i++) {
		EXPECT_OK(setegid(i % 2 ? 0 : NOBODY));
		sched_yield();
		nap_us(100);
	}
	EXPECT_OK(setegid(0));
	atomic_store(&stop, true);
	for (int i = 0; i < 3; i++)
		finish(coming[i]);
}

static void changes_follow_each_other_while_threads_come_and_go(void)
{
	if (geteuid() != 0) {
		SKIP("needs root");
		return;
	}
	expect_child(goes_back_and_forth, NULL);
}

static void *change_nothing(void *arg)
{
	for (int i = 0; i < 50; i++) {
		uid_t r, e, s;
		gid_t rg, eg, sg;

		if (getresuid(&r, &e, &s) || getresgid(&rg, &eg, &sg) ||
		    setresuid(r, e, s) || setresgid(rg, eg, sg) || setuid(e) ||
		    setreuid(r, e) || setregid(rg, eg) || setgid(eg))
			return NULL;
	}
	return arg;
}

/* No privilege is needed to become what one is. */
static void several_threads_may_change_at_once(void)
{
	pthread_t t[6];

	for (int i = 0; i < 6; i++)
		t[i] = start(change_nothing, &stop);
	for (int i = 0; i < 6; i++)
		EXPECT(finish(t[i]) == &stop);
}

static const struct expect_case cases[] = {
	CASE(what_one_thread_gives_up_all_have_given_up),
	CASE_IN_MAIN(what_one_thread_gives_up_all_have_given_up),
	CASE(changes_follow_each_other_while_threads_come_and_go),
	CASE(several_threads_may_change_at_once),
};
EXPECT_MAIN(cases)
