/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* blocks.c - a thread that blocks for half a second in a way that only the
 * kernel knows, or ends the program.
 *
 *	blocks declared		opens a FIFO, which the runtime knows may block
 *	blocks unseen		by a bare system call
 *	blocks often		sixty of them, one after the other, as unseen
 *	blocks disk		has three things written to a disk, and that is all
 *	blocks nice		makes itself nicer, which is its kernel thread's
 *	blocks exit | _exit	ends, from the thread */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static struct timespec half_a_second = { .tv_nsec = 500000000 };
static const char *fifo;

/* A call that no event announces the end of. */
static __attribute__((noinline)) void block_here(const char *how)
{
	int fd;

	if (strcmp(how, "declared") == 0) {
		fd = open(fifo, O_RDONLY);
		close(fd);
	} else {
#if defined(__x86_64__)
		long r;

		__asm__ volatile("syscall" : "=a"(r)
				 : "a"(SYS_nanosleep), "D"(&half_a_second), "S"(0)
				 : "rcx", "r11", "memory");
#else
		syscall(SYS_nanosleep, &half_a_second, NULL);
#endif
	}
	__asm__ volatile("" : : : "memory");
}

static void sync_file(void)
{
	FILE *f = tmpfile();

	if (f) {
		fsync(fileno(f));
		fclose(f);
	}
}

static void *blocker(void *arg)
{
	const char *how = arg;

	pthread_setname_np(pthread_self(), "blocker");
	if (strcmp(how, "exit") == 0 || strcmp(how, "_exit") == 0) {
		unlink(fifo);
		*strrchr((char *)fifo, '/') = 0;
		rmdir(fifo);
	}
	if (strcmp(how, "exit") == 0)
		exit(7);
	if (strcmp(how, "_exit") == 0)
		_exit(8);
	if (strcmp(how, "disk") == 0) {
		for (int i = 0; i < 3; i++)
			sync_file();
	} else if (strcmp(how, "nice") == 0) {
		setpriority(PRIO_PROCESS, 0, 5);
	} else {
		block_here(how);
	}
	return NULL;
}

/* Without work that waits, a worker that is stuck is left alone. */
static void *bustle(void *arg)
{
	while (!*(_Atomic int *)arg)
		sched_yield();
	return NULL;
}

int main(int argc, char **argv)
{
	static _Atomic int over;
	char path[] = "/tmp/cogo-blocks-XXXXXX", name[64];
	pthread_t t, bustlers[4];
	pid_t child = 0;

	if (argc < 2 || !mkdtemp(path))
		return 2;
	snprintf(name, sizeof(name), "%s/fifo", path);
	fifo = name;
	if (mkfifo(fifo, 0600))
		return 2;
	if (strcmp(argv[1], "declared") == 0 && (child = fork()) == 0) {
		nanosleep(&half_a_second, NULL);
		_exit(open(fifo, O_WRONLY) < 0);
	}
	for (int i = 0; i < 4; i++)
		pthread_create(&bustlers[i], NULL, bustle, &over);
	if (strcmp(argv[1], "often") == 0)
		half_a_second.tv_nsec = 30000000;
	for (int i = strcmp(argv[1], "often") ? 60 : 1; i < 60; i++) {
		if (pthread_create(&t, NULL, blocker, argv[1]))
			return 2;
		pthread_join(t, NULL);
	}
	if (pthread_create(&t, NULL, blocker, argv[1]))
		return 2;
	pthread_join(t, NULL);
	over = 1;
	if (child)
		waitpid(child, NULL, 0);
	unlink(fifo);
	rmdir(path);
	for (int i = 0; i < 4; i++)
		pthread_join(bustlers[i], NULL);
	return 0;
}
