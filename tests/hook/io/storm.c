/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* storm.c - descriptors made, passed from hand to hand, closed and made again,
 * by many threads at once.
 *
 *   storm [SEED [CONVERSATIONS]]
 *
 * A conversation is between two threads over a pair of descriptors made for
 * it, of one of several kinds: so many messages of random sizes there and
 * back, then one side closes and the other must see the end. Numbers are
 * reused at once, by other conversations of other kinds, some are moved by
 * dup2 in the middle and some are closed while they are waited on. Each byte
 * says whose it is. A wake-up that belongs to a number's former life, or one
 * that is missing, is a wrong byte or a hang.
 *
 * The seed is printed first; with it a storm has the same conversations again,
 * if not the same order. */
#include <poll.h>
#include <sys/epoll.h>

#include "io.h"

#define CALLERS 12
#define MESSAGES 6
#define LONGEST 3000

static uint64_t seed;
static int conversations = 3000;
static atomic_int next_conversation;
static atomic_int wrong;
static atomic_long messages;

/* splitmix64: a stream for each conversation. */
struct dice {
	uint64_t at;
};

static uint64_t roll(struct dice *d)
{
	uint64_t z = (d->at += 0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

static unsigned roll_below(struct dice *d, unsigned n)
{
	return (unsigned)(roll(d) % n);
}

/* One side of a conversation: what it reads and what it writes. The kinds of
 * one pair are two descriptors, one for each direction or the same for both. */
struct side {
	int in, out;
	int number;
	struct dice dice; /* the same for both sides: they agree on sizes */
};

static bool bad(struct side *s, const char *what)
{
	if (atomic_fetch_add(&wrong, 1) < 20)
		expect_say("conversation %d: %s (errno %d)\n", s->number, what,
			   errno);
	return false;
}

static unsigned char byte_of(int number, int message, size_t i)
{
	return (unsigned char)(number * 31 + message * 7 + i);
}

static bool say(struct side *s, int message, size_t size)
{
	unsigned char bytes[LONGEST];

	for (size_t i = 0; i < size; i++)
		bytes[i] = byte_of(s->number, message, i);
	if (!write_all(s->out, bytes, size))
		return bad(s, "cannot write");
	return true;
}

/* The ways to wait for what comes. */
static ssize_t take(struct side *s, void *to, size_t size, unsigned how)
{
	struct pollfd p = {s->in, POLLIN, 0};
	struct epoll_event event = {.events = EPOLLIN};
	fd_set reads;
	int set;

	switch (how) {
	case 0:
		if (poll(&p, 1, -1) != 1)
			return -1;
		break;
	case 1:
		if (s->in >= FD_SETSIZE)
			break;
		FD_ZERO(&reads);
		FD_SET(s->in, &reads);
		if (select(s->in + 1, &reads, NULL, NULL, NULL) != 1)
			return -1;
		break;
	case 2:
		set = epoll_create1(0);
		if (set < 0 || epoll_ctl(set, EPOLL_CTL_ADD, s->in, &event) ||
		    epoll_wait(set, &event, 1, -1) != 1)
			return -1;
		close(set);
		break;
	}
	return read(s->in, to, size);
}

static bool hear(struct side *s, int message, size_t size, unsigned how)
{
	unsigned char bytes[LONGEST];
	size_t at = 0;

	while (at < size) {
		ssize_t n = take(s, bytes + at, size - at, how);

		if (n <= 0)
			return bad(s, n ? "cannot read" : "ended too soon");
		at += n;
	}
	for (size_t i = 0; i < size; i++)
		if (bytes[i] != byte_of(s->number, message, i))
			return bad(s, "a byte of somebody else");
	atomic_fetch_add(&messages, 1);
	return true;
}

/* Another number for the same: taken from the lowest free, like all others. */
static void move(int *fd)
{
	int other = dup(*fd);

	if (other >= 0) {
		close(*fd);
		*fd = other;
	}
}

static void hang_up(struct side *s)
{
	close(s->in);
	if (s->out != s->in)
		close(s->out);
}

static void move_side(struct side *s)
{
	bool one = s->in == s->out;

	move(&s->in);
	if (one)
		s->out = s->in;
}

static void *answer(void *arg)
{
	struct side *s = arg;
	char byte;

	for (int i = 0; i < MESSAGES; i++) {
		size_t size = 1 + roll_below(&s->dice, LONGEST);
		unsigned how = roll_below(&s->dice, 6);

		if (roll_below(&s->dice, 8) == 0)
			move_side(s);
		if (!hear(s, i, size, how) || !say(s, i + 100, size))
			break;
	}
	/* the end, by whichever way the caller left */
	if (read(s->in, &byte, 1) != 0)
		bad(s, "no end");
	hang_up(s);
	return NULL;
}

static bool make_sides(struct side *a, struct side *b, unsigned kind)
{
	int one[2], two[2];

	if (kind == 0) {
		if (!tcp_pair(one))
			return false;
	} else if (kind == 1) {
		if (!stream_pair(one))
			return false;
	} else {
		if (!EXPECT_OK(pipe(one)) || !EXPECT_OK(pipe(two)))
			return false;
		a->in = one[0];
		b->out = one[1];
		b->in = two[0];
		a->out = two[1];
		return true;
	}
	a->in = a->out = one[0];
	b->in = b->out = one[1];
	return true;
}

/* A third thread waits for what will never be said but the end, while the
 * number it waits on is closed under it and other lurkers take it. Theirs are
 * high numbers, so that one that comes to read too late meets another lurker's
 * pipe, and its end, and takes nothing from a conversation. */
#define LURKERS_FROM 600

struct lurker {
	struct side side;
	pthread_t thread;
	atomic_bool begun;
};

static void *lurk(void *arg)
{
	struct lurker *l = arg;
	char byte;

	errno = 0;
	atomic_store(&l->begun, true);
	if (read(l->side.in, &byte, 1) != 0 && errno != EBADF)
		bad(&l->side, "the lurker got something else than the end");
	return NULL;
}

static void close_under_a_reader(int number)
{
	struct lurker l = {.side = {.number = number}};
	int fd[2];

	if (!EXPECT_OK(pipe(fd)))
		return;
	l.side.in = fcntl(fd[0], F_DUPFD, LURKERS_FROM);
	close(fd[0]);
	l.thread = start(lurk, &l);
	while (!atomic_load(&l.begun))
		sched_yield();
	nap_us(300);
	close(l.side.in);
	sched_yield();
	close(fd[1]);
	pthread_join(l.thread, NULL);
}

static void converse(int number)
{
	struct side a = {.number = number}, b;
	struct dice own = {seed + 77777 * (uint64_t)number};
	pthread_t other;

	a.dice.at = seed ^ ((uint64_t)number << 20);
	b = a;
	if (!make_sides(&a, &b, roll_below(&own, 3)))
		return;
	other = start(answer, &b);
	for (int i = 0; i < MESSAGES; i++) {
		size_t size = 1 + roll_below(&a.dice, LONGEST);
		bool moves;

		roll_below(&a.dice, 6);
		moves = roll_below(&a.dice, 8) == 0;
		if (moves && roll_below(&own, 2))
			move_side(&a);
		if (!say(&a, i, size) ||
		    !hear(&a, i + 100, size, roll_below(&own, 6)))
			break;
	}
	if (a.in == a.out && roll_below(&own, 2)) {
		shutdown(a.out, SHUT_WR);
		sched_yield();
	}
	hang_up(&a);
	pthread_join(other, NULL);
}

static void *call(void *arg)
{
	int number;

	while ((number = atomic_fetch_add(&next_conversation, 1)) <
	       conversations) {
		if (number % 16 == 15)
			close_under_a_reader(number);
		else
			converse(number);
		if (number % 256 == 0)
			expect_enter("a storm of conversations");
	}
	return arg;
}

static int open_descriptors(void)
{
	int n = 0;

	for (int fd = 0; fd < 1024; fd++)
		n += fcntl(fd, F_GETFD) != -1;
	return n;
}

static void no_conversation_hears_another(void)
{
	pthread_t callers[CALLERS];
	int before = open_descriptors();
	int talks = 0;

	for (int i = 0; i < CALLERS; i++)
		callers[i] = start(call, &wrong);
	for (int i = 0; i < CALLERS; i++)
		EXPECT(finish(callers[i]) == &wrong);
	for (int i = 0; i < conversations; i++)
		talks += i % 16 != 15;
	EXPECT_EQ(atomic_load(&wrong), 0);
	EXPECT_EQ(atomic_load(&messages), 2L * MESSAGES * talks);
	EXPECT_EQ(open_descriptors(), before);
}

static const struct expect_case cases[] = {
	CASE(no_conversation_hears_another),
};

int main(int argc, char **argv)
{
	struct timespec now;

	signal(SIGPIPE, SIG_IGN);
	clock_gettime(CLOCK_REALTIME, &now);
	seed = argc > 1 && strcmp(argv[1], "-") ?
		       strtoull(argv[1], NULL, 0) :
		       (uint64_t)now.tv_nsec ^ (uint64_t)now.tv_sec << 20;
	if (argc > 2)
		conversations = atoi(argv[2]);
	expect_say("storm: seed 0x%llx, %d conversations\n",
		   (unsigned long long)seed, conversations);
	return expect_main(1, argv, cases, 1);
}
