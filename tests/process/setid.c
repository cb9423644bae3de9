/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* setid.c - credentials change in every kernel thread of the process, whatever
 * each of them is doing. Needs root; each case is a child's. */
#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <sys/fsuid.h>
#include <sys/syscall.h>

#include "../support/expect.h"

#define NOBODY 65534

/* Opened beforehand: after a chroot there is no way to it. */
static int open_tasks(void)
{
	return open("/proc/self/task", O_RDONLY | O_DIRECTORY);
}

/* Whether the line that begins so says the same in every task. */
static bool all_tasks_say(int tasks, const char *line)
{
	DIR *d = fdopendir(dup(tasks));
	struct dirent *e;
	bool good = d != NULL;
	int n = 0;

	if (d)
		rewinddir(d);
	while (good && (e = readdir(d))) {
		char path[300], text[4096];
		ssize_t got;
		int fd;

		if (e->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/status", e->d_name);
		fd = openat(tasks, path, O_RDONLY);
		if (fd < 0)
			continue; /* gone since */
		got = read(fd, text, sizeof(text) - 1);
		close(fd);
		if (got <= 0)
			continue;
		text[got] = 0;
		if (strstr(text, "State:\tZ"))
			continue; /* the first thread, ended */
		good = strstr(text, line) != NULL;
		if (!good)
			expect_say("task %s does not say: %s", e->d_name, line);
		n++;
	}
	if (d)
		closedir(d);
	return good && n > 0;
}

/* ---- a crowd that does all there is to be doing ---- */

static volatile int over;
static int quiet[2];
static pthread_mutex_t held = PTHREAD_MUTEX_INITIALIZER;
static int busy;

static void *be_busy(void *arg)
{
	FILE *f;
	char c;

	__atomic_add_fetch(&busy, 1, __ATOMIC_SEQ_CST);
	switch ((long)arg % 6) {
	case 0:
		while (!over)
			sched_yield();
		break;
	case 1:
		while (!over)
			nap_us(500);
		break;
	case 2:
		if (read(quiet[0], &c, 1) < 0)
			return (void *)1;
		break;
	case 3: /* in the kernel, where no library has seen it go */
		if (rawsys(SYS_read, quiet[0], (long)&c, 1) < 0)
			return (void *)1;
		break;
	case 4: /* inside libc */
		f = fdopen(dup(quiet[0]), "r");
		if (!f || fgetc(f) == 'x')
			return (void *)1;
		fclose(f);
		break;
	default:
		pthread_mutex_lock(&held);
		pthread_mutex_unlock(&held);
	}
	return NULL;
}

#define CROWD 100

static pthread_t crowd[CROWD];

static void gather(void)
{
	EXPECT_OK(pipe(quiet));
	pthread_mutex_lock(&held);
	over = busy = 0;
	/* Few of those that block a kernel thread each. */
	for (long i = 0; i < CROWD; i++) {
		long what = i % 6;

		if ((what == 3 || what == 4) && i > 30)
			what = 1;
		crowd[i] = start(be_busy, (void *)what);
	}
	WAIT_UNTIL(busy == CROWD);
	nap_us(20000);
}

static void dismiss(void)
{
	over = 1;
	close(quiet[1]);
	pthread_mutex_unlock(&held);
	for (int i = 0; i < CROWD; i++)
		EXPECT(finish(crowd[i]) == NULL);
}

static void drop_everything(void)
{
	gid_t groups[] = {1, 2, 3};

	EXPECT_OK(setgroups(3, groups));
	EXPECT_OK(setregid((gid_t)-1, 12));
	EXPECT_OK(setresgid(11, 12, 13));
	EXPECT_OK(setresuid(1001, 1002, 0));
}

static const char *const dropped[] = {
	"Uid:\t1001\t1002\t0\t1002\n",
	"Gid:\t11\t12\t13\t12\n",
	"Groups:\t1 2 3 \n",
};

static void drop_in_a_crowd(void *arg)
{
	int tasks = open_tasks();

	(void)arg;
	gather();
	drop_everything();
	for (size_t i = 0; i < 3; i++)
		EXPECT(all_tasks_say(tasks, dropped[i]));
	/* It may take itself back, and the rest with it. */
	EXPECT_OK(seteuid(0));
	EXPECT(all_tasks_say(tasks, "Uid:\t1001\t0\t0\t0\n"));
	EXPECT_OK(setuid(77));
	EXPECT(all_tasks_say(tasks, "Uid:\t77\t77\t77\t77\n"));
	EXPECT_ERR(setuid(0), EPERM);
	EXPECT(all_tasks_say(tasks, "Uid:\t77\t77\t77\t77\n"));
	EXPECT_ERR(seteuid((uid_t)-1), EINVAL);
	dismiss();
	EXPECT(all_tasks_say(tasks, "Uid:\t77\t77\t77\t77\n"));
}

static bool is_root(void)
{
	if (geteuid() == 0)
		return true;
	SKIP("needs root");
	return false;
}

static void every_task_changes_whatever_it_is_doing(void)
{
	if (is_root())
		expect_child(drop_in_a_crowd, NULL);
}

static void drop_below(void *arg)
{
	int tasks = *(const int *)arg;

	gather();
	EXPECT_OK(chdir("/"));
	EXPECT(access("/proc", F_OK) == -1);
	drop_everything();
	for (size_t i = 0; i < 3; i++)
		EXPECT(all_tasks_say(tasks, dropped[i]));
	dismiss();
}

/* Any folder without proc. */
static void drop_after_a_chroot(void *arg)
{
	int tasks = open_tasks();

	(void)arg;
	EXPECT_OK(chroot("/etc"));
	drop_below(&tasks);
}

static void *nap(void *arg)
{
	while (!over)
		nap_us(1000);
	return arg;
}

static void drop_in_a_child_after_a_chroot(void *arg)
{
	int proc = open("/proc", O_RDONLY | O_DIRECTORY);
	pthread_t t = start(nap, NULL);
	int tasks;

	(void)arg;
	EXPECT_OK(chroot("/etc"));
	if (fork() == 0) {
		tasks = openat(proc, "self/task", O_RDONLY | O_DIRECTORY);
		drop_below(&tasks);
		_exit(expect_now.case_failed ? 1 : 0);
	}
	EXPECT_EQ(status_of(-1), 0);
	over = 1;
	finish(t);
}

static void drop_after_an_unseen_chroot(void *arg)
{
	int tasks = open_tasks();

	(void)arg;
	EXPECT_EQ(rawsys(SYS_chroot, (long)"/etc", 0, 0), 0);
	drop_below(&tasks);
}

static void every_task_changes_after_a_chroot_too(void)
{
	if (!is_root())
		return;
	expect_child(drop_after_a_chroot, NULL);
	expect_child(drop_in_a_child_after_a_chroot, NULL);
}

static void every_task_changes_after_a_chroot_that_nobody_saw(void)
{
	if (!getenv("SETID_UNSEEN"))
		SKIP("takes seconds; a test of its own sets SETID_UNSEEN");
	else if (is_root())
		expect_child(drop_after_an_unseen_chroot, NULL);
}

/* One thread cannot answer for now: it waits for its child of vfork. */
static volatile int cannot_answer, has_dropped;
static int release[2];

static void *drop_meanwhile(void *arg)
{
	WAIT_UNTIL(cannot_answer);
	EXPECT_OK(chroot("/etc")); /* any folder without proc */
	drop_everything();
	has_dropped = 1;
	return arg;
}

static void *release_in_the_end(void *arg)
{
	WAIT_UNTIL(cannot_answer);
	for (int i = 0; i < 10; i++)
		nap_us(100000);
	EXPECT_EQ(has_dropped, 0);
	EXPECT_EQ(write(release[1], "r", 1), 1);
	return arg;
}

static void drop_while_one_cannot_answer(void *arg)
{
	int tasks = open_tasks();
	pthread_t t[2];
	pid_t pid;
	char c;

	(void)arg;
	EXPECT_OK(pipe(release));
	t[0] = start(drop_meanwhile, NULL);
	t[1] = start(release_in_the_end, NULL);
	pid = vfork();
	if (pid == 0) {
		cannot_answer = 1;
		rawsys(SYS_read, release[0], (long)&c, 1);
		_exit(0);
	}
	finish(t[0]);
	finish(t[1]);
	for (size_t i = 0; i < 3; i++)
		EXPECT(all_tasks_say(tasks, dropped[i]));
	EXPECT_EQ(status_of(pid), 0);
}

static void a_thread_that_cannot_answer_for_long_is_waited_for(void)
{
	if (is_root())
		expect_child(drop_while_one_cannot_answer, NULL);
}

/* The first thread is no more, and there is no way to look it up. */
static void *outlive_main(void *arg)
{
	int tasks = open_tasks();

	settle();	/* for it to end, or nearly */
	cannot_answer = 1;
	drop_meanwhile(arg);
	for (size_t i = 0; i < 3; i++)
		EXPECT(all_tasks_say(tasks, dropped[i]));
	_exit(expect_now.case_failed ? 1 : 0);
}

static void drop_after_main(void *arg)
{
	(void)arg;
	start(outlive_main, NULL);
	pthread_exit(NULL);
}

static void a_first_thread_that_has_ended_is_not_waited_for(void)
{
	if (is_root())
		expect_child(drop_after_main, NULL);
}

static volatile int churning;

static void *come_and_go(void *arg)
{
	while (churning)
		finish(start((void *(*)(void *))(void *)getpid, NULL));
	return arg;
}

static void *see_who(void *arg)
{
	(void)arg;
	return (void *)(long)rawsys(SYS_geteuid, 0, 0, 0);
}

static void change_in_a_churn(void *arg)
{
	int tasks = open_tasks();
	pthread_t t[4];

	(void)arg;
	churning = 1;
	for (int i = 0; i < 4; i++)
		t[i] = start(come_and_go, NULL);
	for (int i = 0; i < 50; i++) {
		EXPECT_OK(seteuid(i % 2 ? 0 : 500));
		EXPECT_EQ((long)finish(start(see_who, NULL)), i % 2 ? 0 : 500);
	}
	EXPECT(all_tasks_say(tasks, "Uid:\t0\t0\t0\t0\n"));
	churning = 0;
	for (int i = 0; i < 4; i++)
		finish(t[i]);
}

static void new_threads_are_who_their_process_is(void)
{
	if (is_root())
		expect_child(change_in_a_churn, NULL);
}

static void groups_of_a_user(void *arg)
{
	gid_t mine[64];
	int n;

	(void)arg;
	EXPECT_OK(initgroups("root", 4321));
	n = getgroups(64, mine);
	EXPECT(n >= 1);
	while (n > 0 && mine[n - 1] != 4321)
		n--;
	EXPECT(n > 0);
}

static void initgroups_sets_what_a_user_is_in(void)
{
	if (is_root())
		expect_child(groups_of_a_user, NULL);
}

/* setfsuid is the caller's alone, as are bare system calls. */
static volatile int changed;

static void *change_mine(void *arg)
{
	EXPECT_EQ(setfsuid(501), 0);
	EXPECT_EQ(syscall(SYS_setresuid, -1, 502, -1), 0);
	EXPECT_EQ(geteuid(), 502);
	changed++;
	for (int i = 0; i < 200; i++) {
		sched_yield();
		if (!EXPECT_EQ(geteuid(), 502))
			break;
	}
	nap_us(1000);
	EXPECT_EQ(geteuid(), 502);
	return arg;
}

static void *stay_root(void *arg)
{
	while (changed < 4) {
		EXPECT_EQ(geteuid(), 0);
		nap_us(100);
	}
	for (int i = 0; i < 200; i++) {
		sched_yield();
		if (!EXPECT_EQ(geteuid(), 0))
			break;
	}
	return arg;
}

static void change_one_thread(void *arg)
{
	pthread_t t[8];

	(void)arg;
	changed = 0;
	for (int i = 0; i < 8; i++)
		t[i] = start(i % 2 ? change_mine : stay_root, NULL);
	for (int i = 0; i < 8; i++)
		finish(t[i]);
	/* Nobody inherits it who comes later. */
	for (int i = 0; i < 100; i++)
		EXPECT_EQ((long)finish(start(see_who, NULL)), 0);
}

static void what_is_one_threads_stays_one_threads(void)
{
	if (is_root())
		expect_child(change_one_thread, NULL);
}

static const struct expect_case cases[] = {
	CASE(every_task_changes_whatever_it_is_doing),
	CASE_IN_MAIN(every_task_changes_whatever_it_is_doing),
	CASE(every_task_changes_after_a_chroot_too),
	CASE(every_task_changes_after_a_chroot_that_nobody_saw),
	CASE(a_thread_that_cannot_answer_for_long_is_waited_for),
	CASE(a_first_thread_that_has_ended_is_not_waited_for),
	CASE_IN_MAIN(a_first_thread_that_has_ended_is_not_waited_for),
	CASE(new_threads_are_who_their_process_is),
	CASE(initgroups_sets_what_a_user_is_in),
	CASE(what_is_one_threads_stays_one_threads),
};

EXPECT_MAIN(cases)
