/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* special.c - files that are neither sockets nor pipes of our own.
 *
 * FIFOs meet at open; terminals have lines, modes and a hang-up, and belong
 * to other processes as well; regular files never wait but keep a position;
 * some files say EOPNOTSUPP to what works with all others. */
#include <stdlib.h>
#include <poll.h>
#include <pty.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <termios.h>

#include "io.h"

static char directory[64];

static const char *path_of(const char *name)
{
	static __thread char path[128];

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	return path;
}

/* ---- FIFOs ---- */

static long call_open(struct caller *c)
{
	return open(path_of("fifo"), (int)c->size);
}

static void who_opens_a_fifo_waits_for_the_other_end(void)
{
	static const int ways[2][2] = {{O_RDONLY, O_WRONLY}, {O_WRONLY, O_RDONLY}};

	for (int i = 0; i < 2; i++) {
		struct caller c = {.size = (size_t)ways[i][0]};
		int other;

		if (!EXPECT_OK(mkfifo(path_of("fifo"), 0600)))
			return;
		call_in_thread(&c, call_open, -1);
		EXPECT(!atomic_load(&c.ended));
		EXPECT_OK(other = open(path_of("fifo"), ways[i][1]));
		EXPECT(call_ended(&c) >= 0);
		EXPECT_EQ(fcntl((int)c.ret, F_GETFL) & (O_ACCMODE | O_NONBLOCK),
			  ways[i][0]);
		EXPECT_EQ(write(i ? (int)c.ret : other, "f", 1), 1);
		EXPECT_EQ(read(i ? other : (int)c.ret, c.bytes, 8), 1);
		close(other);
		close((int)c.ret);
		unlink(path_of("fifo"));
	}
}

static void a_nonblocking_open_of_a_fifo_does_not_wait(void)
{
	int reads, writes;

	if (!EXPECT_OK(mkfifo(path_of("fifo"), 0600)))
		return;
	EXPECT_ERR(open(path_of("fifo"), O_WRONLY | O_NONBLOCK), ENXIO);
	EXPECT_OK(reads = open(path_of("fifo"), O_RDONLY | O_NONBLOCK));
	EXPECT_OK(writes = open(path_of("fifo"), O_WRONLY | O_NONBLOCK));
	EXPECT_ERR(read(reads, &writes, 1), EAGAIN);
	close(reads);
	close(writes);
	unlink(path_of("fifo"));
}

/* A FIFO ends when its last writer leaves, and begins again with the next. */
static void a_fifo_begins_again_with_the_next_writer(void)
{
	struct caller c = {0};
	int reads;

	if (!EXPECT_OK(mkfifo(path_of("fifo"), 0600)) ||
	    !EXPECT_OK(reads = open(path_of("fifo"), O_RDWR)))
		return;
	for (int i = 0; i < 5; i++) {
		int writes = open(path_of("fifo"), O_WRONLY);

		call_in_thread(&c, call_read, reads);
		EXPECT_EQ(write(writes, "line", 4), 4);
		close(writes);
		EXPECT_EQ(call_ended(&c), 4);
	}
	close(reads);
	unlink(path_of("fifo"));
}

/* ---- terminals ---- */

static void a_terminal_gives_whole_lines(void)
{
	struct caller c = {0};
	int master, slave;

	if (!EXPECT_OK(openpty(&master, &slave, NULL, NULL, NULL)))
		return;
	call_in_thread(&c, call_read, slave);
	EXPECT_EQ(write(master, "no line", 7), 7);
	settle();
	EXPECT(!atomic_load(&c.ended));
	EXPECT_EQ(write(master, " yet\n", 5), 5);
	EXPECT_EQ(call_ended(&c), 12);
	EXPECT(memcmp(c.bytes, "no line yet\n", 12) == 0);
	EXPECT_EQ(fcntl(slave, F_GETFL) & (O_ACCMODE | O_NONBLOCK), O_RDWR);
	EXPECT_EQ(fcntl(master, F_GETFL) & (O_ACCMODE | O_NONBLOCK), O_RDWR);
	close_pair((int[2]){master, slave});
}

static void a_raw_terminal_gives_as_many_bytes_as_it_was_told(void)
{
	struct caller c = {0};
	struct termios how;
	int master, slave;

	if (!EXPECT_OK(openpty(&master, &slave, NULL, NULL, NULL)) ||
	    !EXPECT_OK(tcgetattr(slave, &how)))
		return;
	cfmakeraw(&how);
	how.c_cc[VMIN] = 3;
	how.c_cc[VTIME] = 0;
	EXPECT_OK(tcsetattr(slave, TCSANOW, &how));
	call_in_thread(&c, call_read, slave);
	EXPECT_EQ(write(master, "ab", 2), 2);
	settle();
	EXPECT(!atomic_load(&c.ended));
	EXPECT_EQ(write(master, "c", 1), 1);
	EXPECT_EQ(call_ended(&c), 3);
	/* no byte asked for, and a tenth of a second: none is an answer */
	how.c_cc[VMIN] = 0;
	how.c_cc[VTIME] = 1;
	EXPECT_OK(tcsetattr(slave, TCSANOW, &how));
	call_in_thread(&c, call_read, slave);
	EXPECT_EQ(call_ended(&c), 0);
	close_pair((int[2]){master, slave});
}

static void a_terminal_hangs_up(void)
{
	struct caller c = {0};
	int master, slave;

	if (!EXPECT_OK(openpty(&master, &slave, NULL, NULL, NULL)))
		return;
	call_in_thread(&c, call_read, master);
	EXPECT_EQ(write(slave, "x", 1), 1);
	EXPECT_EQ(call_ended(&c), 1);
	call_in_thread(&c, call_read, master);
	close(slave);
	EXPECT_EQ(call_ended(&c), -1);
	EXPECT_EQ(c.err, EIO);
	close(master);
	if (!EXPECT_OK(openpty(&master, &slave, NULL, NULL, NULL)))
		return;
	call_in_thread(&c, call_read, slave);
	close(master);
	EXPECT_EQ(call_ended(&c), -1);
	EXPECT_EQ(c.err, EIO);
	EXPECT_ERR(write(slave, "x", 1), EIO);
	close(slave);
}

static long call_write_lots(struct caller *c)
{
	char *lots = malloc(100000);
	ssize_t n;
	long sum = 0;

	memset(lots, 'l', 100000);
	while (sum < 100000 && (n = write(c->fd, lots, 100000 - sum)) > 0)
		sum += n;
	free(lots);
	return sum;
}

static void a_full_terminal_lets_the_writer_wait(void)
{
	struct caller c = {0};
	struct termios how;
	int master, slave;
	char *seen = malloc(100000);

	if (!EXPECT_OK(openpty(&master, &slave, NULL, NULL, NULL)) ||
	    !EXPECT_OK(tcgetattr(slave, &how)))
		return;
	cfmakeraw(&how);
	EXPECT_OK(tcsetattr(slave, TCSANOW, &how));
	call_in_thread(&c, call_write_lots, slave);
	EXPECT(!atomic_load(&c.ended));
	EXPECT(read_all(master, seen, 100000));
	EXPECT_EQ(call_ended(&c), 100000);
	free(seen);
	close_pair((int[2]){master, slave});
}

/* ---- files ---- */

#define LINES 2000

static void *append_lines(void *arg)
{
	int fd = open(path_of("log"), O_WRONLY | O_APPEND);
	char line[32];

	memset(line, (int)(intptr_t)arg, sizeof(line));
	line[31] = '\n';
	for (int i = 0; i < LINES; i++)
		if (write(fd, line, sizeof(line)) != sizeof(line))
			return NULL;
	close(fd);
	return arg;
}

static void lines_appended_by_many_threads_stay_whole(void)
{
	pthread_t t[8];
	int fd = open(path_of("log"), O_CREAT | O_RDWR, 0600), bad = 0, n = 0;
	char line[32];

	if (!EXPECT_OK(fd))
		return;
	for (intptr_t i = 0; i < 8; i++)
		t[i] = start(append_lines, (void *)('a' + i));
	for (intptr_t i = 0; i < 8; i++)
		EXPECT(finish(t[i]) == (void *)('a' + i));
	while (read(fd, line, sizeof(line)) == sizeof(line)) {
		for (int i = 1; i < 31; i++)
			bad += line[i] != line[0];
		bad += line[31] != '\n';
		n++;
	}
	EXPECT_EQ(n, 8 * LINES);
	EXPECT_EQ(bad, 0);
	close(fd);
	unlink(path_of("log"));
}

/* Threads that share a position each get another part. */
static int shared_file;
static atomic_long shared_sum;

static void *read_shared(void *arg)
{
	uint32_t number;

	while (read(shared_file, &number, 4) == 4)
		atomic_fetch_add(&shared_sum, number);
	return arg;
}

static void threads_that_share_a_position_read_each_part_once(void)
{
	pthread_t t[4];

	/* a file by name: a memfd's position is not guarded by the kernel */
	shared_file = open(path_of("shared"), O_CREAT | O_RDWR, 0600);
	for (uint32_t i = 0; i < 20000; i++)
		if (!write_all(shared_file, &i, 4))
			return;
	EXPECT_OK(lseek(shared_file, 0, SEEK_SET));
	for (int i = 0; i < 4; i++)
		t[i] = start(read_shared, &shared_sum);
	for (int i = 0; i < 4; i++)
		EXPECT(finish(t[i]) == &shared_sum);
	EXPECT_EQ(atomic_load(&shared_sum), 19999L * 20000 / 2);
	close(shared_file);
	unlink(path_of("shared"));
}

/* A file of numbers, each its own place, of which the page cache has a page in three:
 * as much as a part of it that was read before, on a machine with other uses for its
 * memory. Where the folder has no disk below it has all. */
#define COUNT (256 * 1024)
#define SIZE (COUNT * 4)

static bool forget_most(int fd)
{
	char byte;

	/* What waits to be written cannot be forgotten. */
	if (!EXPECT_OK(fsync(fd)) ||
	    !EXPECT_EQ(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0) ||
	    !EXPECT_EQ(posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM), 0))
		return false;
	for (off_t at = 0; at < SIZE; at += 3 * 4096)
		if (!EXPECT_EQ(pread(fd, &byte, 1, at), 1))
			return false;
	return EXPECT_OK(lseek(fd, 0, SEEK_SET));
}

static int numbers(uint32_t *all)
{
	int fd = open(path_of("numbers"), O_CREAT | O_RDWR, 0600);

	unlink(path_of("numbers"));
	for (uint32_t i = 0; i < COUNT; i++)
		all[i] = i;
	return write_all(fd, all, SIZE) ? fd : -1;
}

static ssize_t read_in_a_way(int fd, int way, uint32_t *got)
{
	struct iovec parts[] = {{got, 8}, {got + 2, 40000}, {got + 10002, SIZE - 40008}};

	switch (way) {
	case 0:
		return pread(fd, got, SIZE, 0);
	case 1:
		return preadv(fd, parts, 3, 0);
	case 2:
		return preadv2(fd, parts, 3, 0, 0);
	case 3:
		return read(fd, got, SIZE);
	case 4:
		return readv(fd, parts, 3);
	case 5:
		return preadv2(fd, parts, 3, -1, 0);
	case 6:
		return syscall(SYS_read, fd, got, SIZE);
	default:
		return syscall(SYS_pread64, fd, got, SIZE, 0);
	}
}

static void a_file_of_which_memory_has_a_part_is_read_whole(void)
{
	uint32_t *all = malloc(SIZE), *got = malloc(SIZE);
	int fd = numbers(all);

	for (int way = 0; EXPECT_OK(fd) && way < 8; way++)
		for (int i = 0; i < 3; i++) {
			memset(got, 1, SIZE);
			if (!forget_most(fd))
				break;
			EXPECT_EQ(read_in_a_way(fd, way, got), SIZE);
			EXPECT(memcmp(got, all, SIZE) == 0);
			EXPECT_EQ(lseek(fd, 0, SEEK_CUR), way >= 3 && way < 7 ? SIZE : 0);
			/* And what is past the end is no matter. */
			EXPECT_EQ(pread(fd, got, SIZE, SIZE - 100), 100);
		}
	close(fd);
	free(all);
	free(got);
}

#define RECORD (48 * 1024 / 4)

static atomic_long records;

static void *read_records(void *arg)
{
	uint32_t *got = malloc(RECORD * 4);
	long bad = 0;
	ssize_t n;

	while ((n = read(shared_file, got, RECORD * 4)) > 0) {
		bad += n != RECORD * 4 && got[n / 4 - 1] != COUNT - 1;
		for (ssize_t i = 1; i < n / 4; i++)
			bad += got[i] != got[0] + (uint32_t)i;
		atomic_fetch_add(&records, n);
	}
	free(got);
	EXPECT_EQ(bad, 0);
	return arg;
}

/* Each part comes from one place, wherever the others are meanwhile. */
static void threads_that_share_a_position_read_whole_records_of_a_file(void)
{
	uint32_t *all = malloc(SIZE);
	pthread_t t[6];

	shared_file = numbers(all);
	for (int i = 0; EXPECT_OK(shared_file) && i < 10; i++) {
		if (!forget_most(shared_file))
			break;
		atomic_store(&records, 0);
		for (int k = 0; k < 6; k++)
			t[k] = start(read_records, &records);
		for (int k = 0; k < 6; k++)
			EXPECT(finish(t[k]) == &records);
		EXPECT_EQ(atomic_load(&records), SIZE);
	}
	close(shared_file);
	free(all);
}

static void positional_calls_leave_the_position_alone(void)
{
	int fd = memfd_create("positions", 0);
	struct iovec parts[2];
	char got[16] = "";

	parts[0] = (struct iovec){got, 2};
	parts[1] = (struct iovec){got + 2, 3};
	EXPECT_EQ(write(fd, "0123456789", 10), 10);
	EXPECT_EQ(pread(fd, got, 4, 3), 4);
	EXPECT(memcmp(got, "3456", 4) == 0);
	EXPECT_EQ(preadv(fd, parts, 2, 5), 5);
	EXPECT(memcmp(got, "56789", 5) == 0);
	EXPECT_EQ(pwrite(fd, "ab", 2, 1), 2);
	EXPECT_EQ(pwritev(fd, parts, 2, 20), 5);
	EXPECT_EQ(preadv2(fd, parts, 2, 0, 0), 5);
	EXPECT(memcmp(got, "0ab34", 5) == 0);
	EXPECT_EQ(lseek(fd, 0, SEEK_CUR), 10);
	EXPECT_EQ(preadv2(fd, parts, 1, -1, 0), 2); /* -1: the position */
	EXPECT_EQ(lseek(fd, 0, SEEK_CUR), 12);
	EXPECT_EQ(pread(fd, got, 4, 100), 0);
	EXPECT_ERR(preadv2(fd, parts, 1, 0, 0x4000), EOPNOTSUPP);
	close(fd);
}

static void devices_that_never_wait_do_not(void)
{
	int null = open("/dev/null", O_RDWR), zero = open("/dev/zero", O_RDWR);
	int random = open("/dev/urandom", O_RDONLY), dir = open("/", O_RDONLY);
	enum { MANY = 32 << 20 };
	char got[64], *many;

	memset(got, 'x', sizeof(got));
	EXPECT_EQ(read(null, got, 64), 0);
	EXPECT_EQ(write(null, got, 64), 64);
	EXPECT_EQ(read(zero, got, 64), 64);
	EXPECT(got[0] == 0 && got[63] == 0);
	EXPECT_EQ(read(random, got, 64), 64);
	EXPECT_ERR(read(dir, got, 64), EISDIR);
	EXPECT_ERR(open(path_of("missing"), O_RDONLY), ENOENT);
	EXPECT_ERR(open("/", O_WRONLY), EISDIR);
	/* As much as was asked for, however much it is. */
	many = malloc(MANY);
	for (int i = 0; i < 3; i++)
		EXPECT_EQ(read(zero, many, MANY), MANY);
	EXPECT_EQ(read(random, many, MANY), MANY);
	free(many);
	close(null);
	close(zero);
	close(random);
	close(dir);
}

static void inotify_tells_who_waits(void)
{
	struct caller c = {.size = 63};
	struct inotify_event *event = (struct inotify_event *)c.bytes;
	int fd = inotify_init1(IN_CLOEXEC), file;

	if (!EXPECT_OK(fd) ||
	    !EXPECT_OK(inotify_add_watch(fd, directory, IN_CREATE)))
		return;
	call_in_thread(&c, call_read, fd);
	EXPECT(!atomic_load(&c.ended));
	EXPECT_OK(file = open(path_of("new"), O_CREAT | O_WRONLY, 0600));
	EXPECT(call_ended(&c) >= (long)sizeof(*event));
	EXPECT_EQ(event->mask, IN_CREATE);
	EXPECT_STR(event->name, "new");
	close(file);
	close(fd);
	unlink(path_of("new"));
}

static long call_poll_in(struct caller *c)
{
	struct pollfd p = {c->fd, POLLIN, 0};

	return poll(&p, 1, -1) == 1 ? p.revents : -1;
}

static void a_pidfd_is_readable_when_its_process_has_ended(void)
{
	struct caller c = {0};
	int fd[2], pidfd;
	pid_t pid;
	char byte;

	if (!EXPECT_OK(pipe(fd)))
		return;
	pid = fork();
	if (pid == 0) {
		alarm(60);
		close(fd[1]);
		_exit(read(fd[0], &byte, 1) == 1 ? 5 : 6);
	}
	pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (!EXPECT_OK(pid) || !EXPECT_OK(pidfd))
		return;
	call_in_thread(&c, call_poll_in, pidfd);
	EXPECT(!atomic_load(&c.ended));
	EXPECT_EQ(write(fd[1], "x", 1), 1);
	EXPECT_EQ(call_ended(&c), POLLIN);
	EXPECT_EQ(WEXITSTATUS(status_of(pid)), 5);
	close(pidfd);
	close_pair(fd);
}

static void a_signalfd_tells_who_waits(void)
{
	struct signalfd_siginfo info;
	struct caller c = {0};
	sigset_t set, old;
	int fd;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	/* Main does not block it, so it is sent to the thread, which inherits
	 * our mask: a signalfd shows the reader what is its own. */
	EXPECT_EQ(pthread_sigmask(SIG_BLOCK, &set, &old), 0);
	if (!EXPECT_OK(fd = signalfd(-1, &set, SFD_CLOEXEC)))
		return;
	call_in_thread(&c, call_poll_in, fd);
	EXPECT_EQ(pthread_kill(c.thread, SIGUSR2), 0);
	EXPECT_EQ(call_ended(&c), POLLIN);
	EXPECT_EQ(c.err, 0);
	EXPECT_EQ(pthread_kill(pthread_self(), SIGUSR2), 0);
	EXPECT_EQ(read(fd, &info, sizeof(info)), sizeof(info));
	EXPECT_EQ(info.ssi_signo, SIGUSR2);
	EXPECT_EQ(pthread_sigmask(SIG_SETMASK, &old, NULL), 0);
	close(fd);
}

/* ---- stdio ---- */

static void *print_lines(void *arg)
{
	for (int i = 0; i < 300; i++)
		if (fprintf(arg, "a line of %d and %s\n", i, "more") < 0)
			return NULL;
	return arg;
}

struct drain {
	FILE *from;
	int lines, bad;
};

static void *read_lines(void *arg)
{
	struct drain *d = arg;
	char line[128], want[128];
	int number = -1;

	while (fgets(line, sizeof(line), d->from)) {
		if (sscanf(line, "a line of %d", &number) != 1)
			d->bad++;
		snprintf(want, sizeof(want), "a line of %d and more\n", number);
		d->bad += strcmp(line, want) != 0;
		d->lines++;
	}
	return arg;
}

/* The lock of the FILE is held while its pipe is full. */
static void lines_printed_by_many_threads_into_a_full_pipe_stay_whole(void)
{
	struct drain d = {0};
	pthread_t t[6], reader;
	int fd[2];
	FILE *out;

	if (!EXPECT_OK(pipe(fd)))
		return;
	EXPECT_OK(fcntl(fd[1], F_SETPIPE_SZ, 4096));
	d.from = fdopen(fd[0], "r");
	out = fdopen(fd[1], "w");
	for (int i = 0; i < 6; i++)
		t[i] = start(print_lines, out);
	settle();
	reader = start(read_lines, &d);
	for (int i = 0; i < 6; i++)
		EXPECT(finish(t[i]) == out);
	EXPECT_EQ(fclose(out), 0);
	EXPECT(finish(reader) == &d);
	EXPECT_EQ(d.lines, 6 * 300);
	EXPECT_EQ(d.bad, 0);
	fclose(d.from);
}

static const struct expect_case cases[] = {
	CASE(who_opens_a_fifo_waits_for_the_other_end),
	CASE(a_nonblocking_open_of_a_fifo_does_not_wait),
	CASE(a_fifo_begins_again_with_the_next_writer),
	CASE(a_terminal_gives_whole_lines),
	CASE(a_raw_terminal_gives_as_many_bytes_as_it_was_told),
	CASE(a_terminal_hangs_up),
	CASE(a_full_terminal_lets_the_writer_wait),
	CASE(lines_appended_by_many_threads_stay_whole),
	CASE(threads_that_share_a_position_read_each_part_once),
	CASE(a_file_of_which_memory_has_a_part_is_read_whole),
	CASE(threads_that_share_a_position_read_whole_records_of_a_file),
	CASE(positional_calls_leave_the_position_alone),
	CASE(devices_that_never_wait_do_not),
	CASE(inotify_tells_who_waits),
	CASE(a_pidfd_is_readable_when_its_process_has_ended),
	CASE(a_signalfd_tells_who_waits),
	CASE(lines_printed_by_many_threads_into_a_full_pipe_stay_whole),
};

int main(int argc, char **argv)
{
	int ret;

	signal(SIGPIPE, SIG_IGN);
	snprintf(directory, sizeof(directory), "/tmp/special.XXXXXX");
	if (!mkdtemp(directory))
		return 2;
	ret = expect_main(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
	rmdir(directory);
	return ret;
}
