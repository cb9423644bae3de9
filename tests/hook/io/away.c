/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* away.c - calls that sleep in the kernel and nowhere else: locks of files,
 * disks, users, queues between processes, randomness. Others go on meanwhile, whoever
 * is cancelled wakes, and results and errors are the kernel's. */
#include <grp.h>
#include <mqueue.h>
#include <netdb.h>
#include <pty.h>
#include <pwd.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/msg.h>
#include <sys/random.h>
#include <sys/sem.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <termios.h>

#include "io.h"

static char path[64];

/* What no compiler can see through. */
static struct timespec *volatile forever;
static void *volatile nowhere = (void *)8;

static int open_it(void)
{
	return open(path, O_RDWR | O_CREAT, 0600);
}

/* ---- locks of files ---- */

static long call_flock(struct caller *c)
{
	return flock(c->fd, LOCK_EX);
}

static void who_wants_a_locked_file_waits(void)
{
	struct caller c = {0};
	int holds = open_it(), wants = open_it();

	EXPECT_EQ(flock(holds, LOCK_EX), 0);
	EXPECT_ERR(flock(wants, LOCK_SH | LOCK_NB), EWOULDBLOCK);
	call_in_thread(&c, call_flock, wants);
	EXPECT(!atomic_load(&c.ended));
	EXPECT_EQ(flock(holds, LOCK_UN), 0);
	EXPECT_EQ(call_ended(&c), 0);
	EXPECT_EQ(c.err, 0);
	EXPECT_ERR(flock(holds, LOCK_EX | LOCK_NB), EWOULDBLOCK);
	EXPECT_ERR(flock(-1, LOCK_EX), EBADF);
	close(holds);
	close(wants);
}

/* A process that has the file's first bytes, until it is told. */
struct holder {
	pid_t pid;
	int tell;
};

static bool hold(struct holder *h)
{
	int to[2], from[2];
	char byte = 'h';

	if (!EXPECT_OK(pipe(to)) || !EXPECT_OK(pipe(from)))
		return false;
	h->pid = fork();
	if (h->pid == 0) {
		alarm(EXPECT_WAIT_SECONDS);
		close(to[1]);
		if (lockf(open_it(), F_LOCK, 10) || write(from[1], &byte, 1) != 1 ||
		    read(to[0], &byte, 1) < 0)
			_exit(1);
		_exit(0);
	}
	h->tell = to[1];
	EXPECT_EQ(read(from[0], &byte, 1), 1);
	close(to[0]);
	close_pair(from);
	return EXPECT_OK(h->pid);
}

static void let_go(struct holder *h)
{
	close(h->tell);
	EXPECT_EQ(status_of(h->pid), 0);
}

static long call_lockf(struct caller *c)
{
	return c->size ? lockf64(c->fd, F_LOCK, 4) : lockf(c->fd, F_LOCK, 4);
}

static void who_wants_a_part_that_another_process_has_waits(void)
{
	for (size_t i = 0; i < 2; i++) {
		struct caller c = {.size = i};
		struct holder h;
		int fd = open_it();

		if (!hold(&h))
			return;
		EXPECT_ERR(lockf(fd, F_TLOCK, 4), EAGAIN);
		EXPECT_ERR(lockf(fd, F_TEST, 4), EACCES);
		EXPECT_EQ(lseek(fd, 100, SEEK_SET), 100);
		EXPECT_EQ(lockf(fd, F_LOCK, 4), 0);
		EXPECT_EQ(lseek(fd, 0, SEEK_SET), 0);
		call_in_thread(&c, call_lockf, fd);
		EXPECT(!atomic_load(&c.ended));
		let_go(&h);
		EXPECT_EQ(call_ended(&c), 0);
		EXPECT_EQ(lockf(fd, F_ULOCK, 0), 0);
		EXPECT_ERR(lockf(fd, 77, 0), EINVAL);
		close(fd);
	}
}

/* ---- disks ---- */

static void what_is_written_arrives(void)
{
	int fd = open_it(), ends[2];
	char *at;

	EXPECT_EQ(pwrite(fd, "arrives", 7, 0), 7);
	EXPECT_EQ(ftruncate(fd, 8192), 0);
	EXPECT_EQ(fsync(fd), 0);
	EXPECT_EQ(fdatasync(fd), 0);
	EXPECT_EQ(syncfs(fd), 0);
	sync();
	at = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (EXPECT(at != MAP_FAILED)) {
		at[0] = 'A';
		EXPECT_EQ(msync(at, 8192, MS_SYNC), 0);
		EXPECT_ERR(msync(at, 8192, MS_SYNC | MS_ASYNC), EINVAL);
		EXPECT_ERR(msync(at + 1, 8192, MS_SYNC), EINVAL);
		munmap(at, 8192);
	}
	EXPECT_ERR(fsync(-1), EBADF);
	EXPECT_ERR(fdatasync(-1), EBADF);
	EXPECT_ERR(syncfs(-1), EBADF);
	if (EXPECT_OK(pipe(ends))) {
		EXPECT_ERR(fsync(ends[0]), EINVAL);
		close_pair(ends);
	}
	close(fd);
}

/* None of them says whether it had to wait. */
static void a_file_has_the_room_that_was_asked_for(void)
{
	int fd = open_it(), ends[2];
	struct stat st;

	EXPECT_EQ(ftruncate(fd, 0), 0);
	EXPECT_EQ(fallocate(fd, 0, 0, 10000), 0);
	EXPECT_EQ(fstat(fd, &st), 0);
	EXPECT_EQ(st.st_size, 10000);
	EXPECT_EQ(posix_fallocate(fd, 10000, 5000), 0);
	EXPECT_EQ(fstat(fd, &st), 0);
	EXPECT_EQ(st.st_size, 15000);
	EXPECT_EQ(sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE), 0);
	EXPECT_ERR(fallocate(fd, 0, 0, 0), EINVAL);
	EXPECT_ERR(fallocate(-1, 0, 0, 1), EBADF);
	EXPECT_EQ(posix_fallocate(-1, 0, 1), EBADF);
	EXPECT_ERR(sync_file_range(-1, 0, 0, 0), EBADF);
	if (EXPECT_OK(pipe(ends))) {
		EXPECT_ERR(fallocate(ends[1], 0, 0, 1), ESPIPE);
		EXPECT_EQ(posix_fallocate(ends[1], 0, 1), ESPIPE);
		EXPECT_ERR(sync_file_range(ends[1], 0, 0, 0), ESPIPE);
		close_pair(ends);
	}
	EXPECT_ERR(umount("/nowhere/at/all"), ENOENT);
	EXPECT_ERR(swapoff("/nowhere/at/all"), geteuid() ? EPERM : ENOENT);
	close(fd);
}

static void a_terminal_that_has_sent_all_is_drained(void)
{
	int master, slave, ends[2];
	struct termios how;

	if (!EXPECT_OK(openpty(&master, &slave, NULL, NULL, NULL)))
		return;
	EXPECT_EQ(write(slave, "drain", 5), 5);
	EXPECT_EQ(tcdrain(slave), 0);
	EXPECT_EQ(tcgetattr(slave, &how), 0);
	how.c_lflag ^= ECHO;
	EXPECT_EQ(tcsetattr(slave, TCSADRAIN, &how), 0);
	how.c_lflag ^= ECHO;
	EXPECT_EQ(tcsetattr(slave, TCSAFLUSH, &how), 0);
	EXPECT_EQ(tcflow(slave, TCOOFF), 0);
	EXPECT_EQ(tcflow(slave, TCOON), 0);
	EXPECT_EQ(tcsendbreak(slave, 0), 0);
	close_pair((int[2]){master, slave});
	if (EXPECT_OK(pipe(ends))) {
		EXPECT_ERR(tcdrain(ends[0]), ENOTTY);
		EXPECT_ERR(tcsetattr(ends[0], TCSADRAIN, &how), ENOTTY);
		EXPECT_ERR(tcsendbreak(ends[0], 0), ENOTTY);
		close_pair(ends);
	}
}

/* ---- users and groups, of whom another machine may know ---- */

static void users_and_groups_are_who_they_are(void)
{
	struct passwd *root = getpwuid(0), user, *found;
	struct group group, *found_group;
	char text[4096];
	gid_t groups[64];
	int n = 64, users = 0;

	EXPECT(root && strcmp(root->pw_name, "root") == 0);
	EXPECT_EQ(getpwnam_r("root", &user, text, sizeof(text), &found), 0);
	EXPECT(found == &user && user.pw_uid == 0);
	EXPECT_EQ(getpwnam_r("root", &user, text, 1, &found), ERANGE);
	EXPECT_EQ(getpwnam_r("nobody at all", &user, text, sizeof(text), &found), 0);
	EXPECT(!found);
	EXPECT_EQ(getpwuid_r((uid_t)-2, &user, text, sizeof(text), &found), 0);
	EXPECT(!found);
	EXPECT_EQ(getgrgid_r(0, &group, text, sizeof(text), &found_group), 0);
	EXPECT(found_group == &group && strcmp(group.gr_name, "root") == 0);
	EXPECT(getgrnam("root") && getgrnam("root")->gr_gid == 0);
	EXPECT(getgrouplist("root", 0, groups, &n) >= 1);
	EXPECT_EQ(groups[0], 0);
	setpwent();
	while (getpwent())
		users++;
	endpwent();
	EXPECT(users > 0);
	EXPECT_EQ(innetgr("no such group", "here", NULL, NULL), 0);
}

/* ---- between processes ---- */

static long call_semop(struct caller *c)
{
	struct sembuf take = {0, -1, 0};

	return c->size ? semtimedop(c->fd, &take, 1, NULL)
		       : semop(c->fd, &take, 1);
}

static void who_takes_from_an_empty_set_of_semaphores_waits(void)
{
	struct sembuf give = {0, 1, 0}, take = {0, -1, 0};
	struct timespec soon = {0, 1000000};

	for (size_t i = 0; i < 2; i++) {
		struct caller c = {.size = i};
		int id = semget(IPC_PRIVATE, 1, 0600);

		if (!EXPECT_OK(id))
			return;
		EXPECT_ERR(semtimedop(id, &take, 1, &soon), EAGAIN);
		call_in_thread(&c, call_semop, id);
		EXPECT(!atomic_load(&c.ended));
		EXPECT_EQ(semop(id, &give, 1), 0);
		EXPECT_EQ(call_ended(&c), 0);
		call_in_thread(&c, call_semop, id);
		EXPECT_EQ(semctl(id, 0, IPC_RMID), 0);
		EXPECT_EQ(call_ended(&c), -1);
		EXPECT_EQ(c.err, EIDRM);
	}
}

struct message {
	long type;
	char text[32];
};

static long call_msgrcv(struct caller *c)
{
	struct message m = {0};
	long r = msgrcv(c->fd, &m, sizeof(m.text), 2, 0);

	memcpy(c->bytes, m.text, sizeof(m.text));
	return r;
}

static long call_msgsnd(struct caller *c)
{
	struct message m = {.type = 3, .text = "three"};

	return msgsnd(c->fd, &m, sizeof(m.text), 0);
}

static void who_wants_a_message_waits_and_so_does_who_has_no_room(void)
{
	struct message m = {.type = 1, .text = "one"};
	struct caller c = {0};
	struct msqid_ds how;
	int id = msgget(IPC_PRIVATE, 0600);

	if (!EXPECT_OK(id) || !EXPECT_OK(msgctl(id, IPC_STAT, &how)))
		return;
	call_in_thread(&c, call_msgrcv, id);
	EXPECT_EQ(msgsnd(id, &m, sizeof(m.text), 0), 0);
	settle();
	EXPECT(!atomic_load(&c.ended));
	m.type = 2;
	strcpy(m.text, "two");
	EXPECT_EQ(msgsnd(id, &m, sizeof(m.text), 0), 0);
	EXPECT_EQ(call_ended(&c), sizeof(m.text));
	EXPECT_STR(c.bytes, "two");
	EXPECT_ERR(msgrcv(id, &m, 1, 0, 0), E2BIG);
	EXPECT_ERR(msgrcv(id, &m, sizeof(m.text), 9, IPC_NOWAIT), ENOMSG);
	how.msg_qbytes = sizeof(m.text);
	EXPECT_EQ(msgctl(id, IPC_SET, &how), 0);
	call_in_thread(&c, call_msgsnd, id);
	EXPECT(!atomic_load(&c.ended));
	EXPECT_EQ(msgrcv(id, &m, sizeof(m.text), 0, 0), sizeof(m.text));
	EXPECT_STR(m.text, "one");
	EXPECT_EQ(call_ended(&c), 0);
	EXPECT_EQ(msgctl(id, IPC_RMID, NULL), 0);
}

static mqd_t queue(void)
{
	struct mq_attr how = {.mq_maxmsg = 1, .mq_msgsize = 32};
	char name[32];
	mqd_t q;

	snprintf(name, sizeof(name), "/cogo-away-%d", (int)getpid());
	q = mq_open(name, O_RDWR | O_CREAT | O_EXCL, 0600, &how);
	if (q != (mqd_t)-1)
		mq_unlink(name);
	return q;
}

static long call_mq_receive(struct caller *c)
{
	unsigned prio;

	return c->size ? mq_timedreceive(c->fd, c->bytes, 32, &prio, forever)
		       : mq_receive(c->fd, c->bytes, 32, NULL);
}

static long call_mq_send(struct caller *c)
{
	return c->size ? mq_timedsend(c->fd, "second", 7, 1, forever)
		       : mq_send(c->fd, "second", 7, 1);
}

static void a_queue_lets_readers_and_writers_wait(void)
{
	struct timespec past = {1, 0};
	char text[32];

	for (size_t i = 0; i < 2; i++) {
		struct caller c = {.size = i};
		mqd_t q = queue();

		if (q == (mqd_t)-1) {
			SKIP("no queues of messages here");
			return;
		}
		EXPECT_ERR(mq_timedreceive(q, text, 32, NULL, &past), ETIMEDOUT);
		call_in_thread(&c, call_mq_receive, q);
		EXPECT(!atomic_load(&c.ended));
		EXPECT_EQ(mq_send(q, "first", 6, 0), 0);
		EXPECT_EQ(call_ended(&c), 6);
		EXPECT_STR(c.bytes, "first");
		EXPECT_EQ(mq_send(q, "first", 6, 0), 0);
		EXPECT_ERR(mq_timedsend(q, "none", 5, 0, &past), ETIMEDOUT);
		call_in_thread(&c, call_mq_send, q);
		EXPECT(!atomic_load(&c.ended));
		EXPECT_EQ(mq_receive(q, text, 32, NULL), 6);
		EXPECT_EQ(call_ended(&c), 0);
		EXPECT_ERR(mq_receive(q, text, 31, NULL), EMSGSIZE);
		EXPECT_EQ(mq_receive(q, text, 32, NULL), 7);
		mq_close(q);
	}
}

/* ---- cancellation ---- */

static void who_sleeps_in_one_of_them_can_be_cancelled(void)
{
	static long (*const calls[])(struct caller *) = {
		call_lockf, call_msgrcv, call_mq_receive,
	};
	int id = msgget(IPC_PRIVATE, 0600);
	mqd_t q = queue();
	struct holder h;

	if (!hold(&h))
		return;
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		struct caller c = {0};
		void *result = NULL;
		int fd = i == 0 ? open_it() : i == 1 ? id : q;

		if (fd < 0)
			continue;
		call_in_thread(&c, calls[i], fd);
		EXPECT(!atomic_load(&c.ended));
		EXPECT_EQ(pthread_cancel(c.thread), 0);
		EXPECT_EQ(pthread_join(c.thread, &result), 0);
		EXPECT(result == PTHREAD_CANCELED);
		if (i == 0)
			close(fd);
	}
	let_go(&h);
	msgctl(id, IPC_RMID, NULL);
	if (q != (mqd_t)-1)
		mq_close(q);
}

/* ---- randomness ---- */

static bool all_zero(const unsigned char *at, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (at[i])
			return false;
	return true;
}

static void randomness_is_as_much_as_was_asked_for(void)
{
	unsigned char a[300] = {0}, b[300] = {0};

	EXPECT_EQ(getrandom(a, 64, 0), 64);
	EXPECT_EQ(getrandom(b, 64, GRND_NONBLOCK), 64);
	EXPECT(memcmp(a, b, 64) != 0);
	EXPECT(all_zero(a + 64, sizeof(a) - 64));
	EXPECT_EQ(getentropy(a, 256), 0);
	EXPECT_EQ(getentropy(b, 256), 0);
	EXPECT(memcmp(a, b, 256) != 0);
	EXPECT(all_zero(a + 256, sizeof(a) - 256));
	EXPECT_EQ(getentropy(a, 0), 0);
	EXPECT_ERR(getentropy(a, 257), EIO);
	EXPECT_ERR(getrandom(a, 8, 0x8000), EINVAL);
	EXPECT_ERR(getrandom(nowhere, 8, 0), EFAULT);
	EXPECT_ERR(getentropy(nowhere, 8), EFAULT);
}

static void nothing_at_all(void)
{
	struct caller c = {0};
	int ends[2];

	if (!EXPECT_OK(pipe(ends)))
		return;
	call_in_thread(&c, call_read, ends[0]);
	EXPECT_EQ(write(ends[1], "n", 1), 1);
	EXPECT_EQ(call_ended(&c), 1);
	close_pair(ends);
}

static const struct expect_case cases[] = {
	CASE(nothing_at_all),
	CASE(who_wants_a_locked_file_waits),
	CASE(who_wants_a_part_that_another_process_has_waits),
	CASE(what_is_written_arrives),
	CASE(a_file_has_the_room_that_was_asked_for),
	CASE(a_terminal_that_has_sent_all_is_drained),
	CASE(users_and_groups_are_who_they_are),
	CASE(who_takes_from_an_empty_set_of_semaphores_waits),
	CASE(who_wants_a_message_waits_and_so_does_who_has_no_room),
	CASE(a_queue_lets_readers_and_writers_wait),
	CASE(who_sleeps_in_one_of_them_can_be_cancelled),
	CASE(randomness_is_as_much_as_was_asked_for),
};

int main(int argc, char **argv)
{
	int ret;

	snprintf(path, sizeof(path), "/tmp/away.%d", (int)getpid());
	ret = expect_main(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
	unlink(path);
	return ret;
}
