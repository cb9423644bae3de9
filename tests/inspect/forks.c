/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* forks.c - a thread forks, and the child makes a thread of its own; the
 * parent waits for standard input to end, the child for the parent. */
#include <pthread.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

static int until_parent_ends[2];

static void *wait_for_parent(void *arg)
{
	char byte;

	if (read(until_parent_ends[0], &byte, 1) != 0)
		_exit(3);
	return arg;
}

static void *fork_here(void *arg)
{
	pid_t child = fork();
	pthread_t t;
	int status;

	if (child == 0) {
		close(until_parent_ends[1]);
		if (pthread_create(&t, NULL, wait_for_parent, NULL))
			_exit(4);
		usleep(1000);
		printf("child %d\n", (int)getpid());
		fflush(stdout);
		pthread_join(t, NULL);
		_exit(0);
	}
	/* The end of standard input is for the main thread to see. */
	waitpid(child, &status, 0);
	return status ? (void *)1 : arg;
}

int main(void)
{
	void *failed;
	pthread_t t;
	char byte;

	if (pipe(until_parent_ends) ||
	    pthread_create(&t, NULL, fork_here, NULL))
		return 2;
	while (read(0, &byte, 1) > 0)
		;
	close(until_parent_ends[1]);
	pthread_join(t, &failed);
	return failed != NULL;
}
