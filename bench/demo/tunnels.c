/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* tunnels - many long-lived CONNECT tunnels through a proxy, some of them busy.
 *
 *     tunnels --proxy PORT --target PORT [--bytes N] [--seed N]
 *
 * The near end of the demo. It does what standard input says, one command a
 * line, and answers each with one line of JSON, so that whoever starts it can
 * look at the proxy in between:
 *
 *     open N              open N tunnels to the target, at most 64 at a time
 *     run R K B S         send R requests over B of the tunnels, K of them in
 *                         flight at any time, for at most S seconds
 *     check S             send one request over every tunnel there is
 *     close               close them all
 *
 * A request is a message of pseudo-random length and bytes, made from the
 * seed, the tunnel and the number of the request, so that no two are alike;
 * its answer has to be the same bytes, and each is compared as it comes. A
 * byte that is different, or that nobody asked for, is a wrong byte; a tunnel
 * that cannot be opened, that ends, or whose answer never comes is an error.
 *
 * One thread, one epoll. At most one request is in flight on a tunnel; the
 * next goes to the tunnel that has been waiting longest, so that over a run
 * every busy tunnel is used equally often. */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
	MAX_EVENTS = 256,
	MAX_OPENING = 64,
	OPEN_SECONDS = 120,
	/* An answer may take this long after the last request was sent. */
	LAST_SECONDS = 30,
	MAX_BYTES = 32 << 10,
	MAX_REPLY = 1024,
};

enum state {
	FREE,	    /* no descriptor */
	CONNECTING, /* to the proxy */
	ASKING,	    /* CONNECT is sent, its answer is awaited */
	IDLE,	    /* open, and nothing in flight */
	BUSY,	    /* a request in flight */
};

struct tunnel {
	int fd;
	enum state state;
	uint32_t requests; /* so far: makes each payload its own */
	uint32_t length, sent, received;
	bool full; /* the socket was, and room is awaited */
	uint32_t reply; /* bytes in, of the answer to CONNECT */
	int64_t started;
};

static uint16_t proxy_port, target_port;
static uint64_t seed = 1;
static uint32_t mean_bytes = 256;

static int epoll;
static struct tunnel *tunnels;
static size_t ntunnels;
static char (*replies)[MAX_REPLY]; /* only while tunnels are being opened */

/* What the present command has come to. */
static struct {
	uint64_t requests, errors, wrong_bytes, bytes;
	size_t in_flight, opening, opened;
	char first_error[128];
	uint32_t *latencies; /* microseconds, of `requests` */
	size_t room;
} now;

__attribute__((noreturn)) static void die(const char *what)
{
	fprintf(stderr, "tunnels: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int64_t nanoseconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * INT64_C(1000000000) + ts.tv_nsec;
}

/* ---- payloads ----------------------------------------------------------- */

/* A counter stirred until every bit depends on every other (Steele, Lea and
 * Flood's splitmix64). */
static uint64_t stir(uint64_t x)
{
	x += UINT64_C(0x9e3779b97f4a7c15);
	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

/* Half to one and a half times the mean. */
static uint32_t payload(size_t tunnel, uint32_t request, char *ret)
{
	uint64_t key = stir(seed ^ stir((uint64_t)tunnel << 32 | request));
	uint32_t n = mean_bytes / 2 + (uint32_t)(key % (mean_bytes + 1));

	if (n == 0)
		n = 1;
	for (uint32_t i = 0; i < n; i += 8) {
		uint64_t word = stir(key + i);

		memcpy(ret + i, &word, n - i < 8 ? n - i : 8);
	}
	return n;
}

/* ---- one tunnel ---------------------------------------------------------- */

static void watch(int op, size_t i, uint32_t events)
{
	struct epoll_event ev = {.events = events, .data.u64 = i};

	if (epoll_ctl(epoll, op, tunnels[i].fd, &ev) != 0)
		die("epoll_ctl");
}

static void failed(size_t i, const char *why, int error)
{
	struct tunnel *t = &tunnels[i];

	now.errors++;
	if (now.first_error[0] == '\0')
		snprintf(now.first_error, sizeof(now.first_error),
			 "tunnel %zu: %s%s%s", i, why, error ? ": " : "",
			 error ? strerror(error) : "");
	if (t->state == BUSY)
		now.in_flight--;
	if (t->state == CONNECTING || t->state == ASKING)
		now.opening--;
	close(t->fd);
	*t = (struct tunnel){.fd = -1};
}

/* From its own port of 127.0.0.1 up to 10,000 tunnels, then from 127.0.0.2: one
 * address has about 28,000 ports to one destination, and closed connections
 * keep theirs for a minute. */
static void open_tunnel(size_t i)
{
	struct tunnel *t = &tunnels[i];
	struct sockaddr_in from = {.sin_family = AF_INET}, to = from;

	*t = (struct tunnel){.state = CONNECTING};
	from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + (uint32_t)(i / 10000));
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	to.sin_port = htons(proxy_port);
	t->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (t->fd < 0)
		die("socket");
	now.opening++;
	setsockopt(t->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
	setsockopt(t->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &(int){1},
		   sizeof(int));
	if (bind(t->fd, (struct sockaddr *)&from, sizeof(from)) != 0 ||
	    (connect(t->fd, (struct sockaddr *)&to, sizeof(to)) != 0 &&
	     errno != EINPROGRESS)) {
		failed(i, "connect", errno);
		return;
	}
	watch(EPOLL_CTL_ADD, i, EPOLLOUT);
}

static void connected(size_t i)
{
	struct tunnel *t = &tunnels[i];
	socklen_t size = sizeof(int);
	char ask[128];
	int n, error = 0;

	getsockopt(t->fd, SOL_SOCKET, SO_ERROR, &error, &size);
	if (error != 0) {
		failed(i, "connect", error);
		return;
	}
	n = snprintf(ask, sizeof(ask),
		     "CONNECT 127.0.0.1:%d HTTP/1.1\r\n"
		     "Host: 127.0.0.1:%d\r\n\r\n",
		     target_port, target_port);
	/* A new connection has room for so little. */
	if (send(t->fd, ask, (size_t)n, MSG_NOSIGNAL) != n) {
		failed(i, "sending CONNECT", errno);
		return;
	}
	t->state = ASKING;
	watch(EPOLL_CTL_MOD, i, EPOLLIN);
}

static void answered(size_t i)
{
	struct tunnel *t = &tunnels[i];
	char *reply = replies[i];
	int status;
	ssize_t n;

	n = recv(t->fd, reply + t->reply, MAX_REPLY - 1 - t->reply, 0);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		failed(i, "no answer to CONNECT", n < 0 ? errno : 0);
		return;
	}
	t->reply += (uint32_t)n;
	reply[t->reply] = '\0';
	if (strstr(reply, "\r\n\r\n") == NULL) {
		if (t->reply == MAX_REPLY - 1)
			failed(i, "endless answer to CONNECT", 0);
		return;
	}
	if (sscanf(reply, "HTTP/1.%*1[01] %d", &status) != 1 || status != 200) {
		reply[strcspn(reply, "\r\n")] = '\0';
		failed(i, reply, 0);
		return;
	}
	t->state = IDLE;
	now.opening--;
	now.opened++;
}

static void send_rest(size_t i, const char *bytes)
{
	struct tunnel *t = &tunnels[i];
	ssize_t n = send(t->fd, bytes + t->sent, t->length - t->sent,
			 MSG_NOSIGNAL);
	bool full;

	if (n < 0 && errno != EAGAIN && errno != EINTR) {
		failed(i, "sending", errno);
		return;
	}
	t->sent += n > 0 ? (uint32_t)n : 0;
	full = t->sent < t->length;
	if (full != t->full)
		watch(EPOLL_CTL_MOD, i, full ? EPOLLIN | EPOLLOUT : EPOLLIN);
	t->full = full;
}

static void start_request(size_t i)
{
	struct tunnel *t = &tunnels[i];
	char bytes[2 * MAX_BYTES];

	t->state = BUSY;
	t->requests++;
	t->length = payload(i, t->requests, bytes);
	t->sent = t->received = 0;
	t->started = nanoseconds();
	now.in_flight++;
	send_rest(i, bytes);
}

static void send_more(size_t i)
{
	char bytes[2 * MAX_BYTES];

	payload(i, tunnels[i].requests, bytes);
	send_rest(i, bytes);
}

static void receive(size_t i)
{
	struct tunnel *t = &tunnels[i];
	char got[2 * MAX_BYTES], want[2 * MAX_BYTES];
	ssize_t n = recv(t->fd, got, sizeof(got), 0);
	uint32_t expected;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		failed(i, "ended", n < 0 ? errno : 0);
		return;
	}
	expected = t->state == BUSY ? t->length - t->received : 0;
	if ((uint32_t)n > expected) /* bytes that nobody asked for */
		now.wrong_bytes += (uint32_t)n - expected;
	if (t->state != BUSY)
		return;

	payload(i, t->requests, want);
	if ((uint32_t)n < expected)
		expected = (uint32_t)n;
	for (uint32_t k = 0; k < expected; k++)
		now.wrong_bytes += got[k] != want[t->received + k];
	t->received += expected;
	now.bytes += expected;
	if (t->received == t->length) {
		if (now.requests < now.room)
			now.latencies[now.requests] = (uint32_t)(
				(nanoseconds() - t->started) / 1000);
		now.requests++;
		now.in_flight--;
		t->state = IDLE;
	}
}

/* ---- all of them ---------------------------------------------------------- */

/* Moves on whatever is ready, or waits for at most so many milliseconds. */
static void step(int timeout)
{
	struct epoll_event events[MAX_EVENTS];
	int n = epoll_wait(epoll, events, MAX_EVENTS, timeout);

	if (n < 0 && errno != EINTR)
		die("epoll_wait");
	for (int e = 0; e < n; e++) {
		size_t i = events[e].data.u64;

		if (tunnels[i].state == CONNECTING)
			connected(i);
		else if (tunnels[i].state == ASKING)
			answered(i);
		else if (tunnels[i].state != FREE) {
			if (events[e].events & EPOLLOUT)
				send_more(i);
			if (tunnels[i].state != FREE &&
			    events[e].events & ~(uint32_t)EPOLLOUT)
				receive(i);
		}
	}
}

static void begin(void)
{
	uint32_t *latencies = now.latencies;
	size_t room = now.room;

	memset(&now, 0, sizeof(now));
	now.latencies = latencies;
	now.room = room;
}

static int by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static void report(int64_t nanos)
{
	size_t n = now.requests < now.room ? now.requests : now.room;

	if (n > 0)
		qsort(now.latencies, n, sizeof(*now.latencies), by_value);
	/* A JSON string has no bare quotes, backslashes or control codes. */
	for (char *p = now.first_error; *p != '\0'; p++)
		if ((unsigned char)*p < ' ' || *p == '"' || *p == '\\')
			*p = '?';
	printf("{\"opened\": %zu, \"requests\": %llu, \"errors\": %llu, "
	       "\"wrong_bytes\": %llu, \"bytes\": %llu, \"seconds\": %.6f, "
	       "\"p50_us\": %u, \"p99_us\": %u, \"first_error\": \"%s\"}\n",
	       now.opened, (unsigned long long)now.requests,
	       (unsigned long long)now.errors,
	       (unsigned long long)now.wrong_bytes,
	       (unsigned long long)now.bytes, (double)nanos / 1e9,
	       n ? now.latencies[n / 2] : 0,
	       n ? now.latencies[n - 1 - n / 100] : 0, now.first_error);
	fflush(stdout);
}

static void close_all(void)
{
	for (size_t i = 0; i < ntunnels; i++)
		if (tunnels[i].state != FREE)
			close(tunnels[i].fd);
	free(tunnels);
	tunnels = NULL;
	ntunnels = 0;
}

static void do_open(size_t n)
{
	int64_t start = nanoseconds();
	int64_t end = start + OPEN_SECONDS * INT64_C(1000000000);
	size_t next = 0;

	close_all();
	begin();
	tunnels = calloc(n, sizeof(*tunnels));
	replies = calloc(n, sizeof(*replies));
	if (tunnels == NULL || replies == NULL)
		die("calloc");
	ntunnels = n;
	while ((next < n || now.opening > 0) && nanoseconds() < end) {
		while (next < n && now.opening < MAX_OPENING)
			open_tunnel(next++);
		step(1000);
	}
	for (size_t i = 0; i < n; i++)
		if (tunnels[i].state == CONNECTING ||
		    tunnels[i].state == ASKING)
			failed(i, "opening took too long", 0);
	free(replies);
	replies = NULL;
	report(nanoseconds() - start);
}

/* Busy are B of the N, spread evenly, so that they are not just the first
 * that the proxy accepted. */
static size_t busy_tunnel(size_t k, size_t busy)
{
	return k * ntunnels / busy;
}

static void do_run(uint64_t requests, size_t in_flight, size_t busy,
		   double seconds)
{
	int64_t start = nanoseconds(), finish;
	int64_t end = start + (int64_t)(seconds * 1e9);
	uint64_t begun = 0;
	size_t next = 0, passed = 0;

	begin();
	if (busy > ntunnels)
		busy = ntunnels;
	if (now.room < requests) {
		free(now.latencies);
		now.latencies = calloc(requests, sizeof(*now.latencies));
		if (now.latencies == NULL)
			die("calloc");
		now.room = requests;
	}
	while (begun < requests && nanoseconds() < end && busy > 0) {
		for (passed = 0; passed < busy && begun < requests &&
				 now.in_flight < in_flight; passed++) {
			size_t i = busy_tunnel(next, busy);

			next = (next + 1) % busy;
			if (tunnels[i].state != IDLE)
				continue;
			begun++;
			start_request(i);
			passed = 0;
		}
		if (now.in_flight == 0) /* not one is left alive */
			break;
		step(1000);
	}
	finish = nanoseconds();
	end = finish + LAST_SECONDS * INT64_C(1000000000);
	while (now.in_flight > 0 && nanoseconds() < end) {
		step(1000);
		finish = nanoseconds();
	}
	for (size_t i = 0; i < ntunnels; i++)
		if (tunnels[i].state == BUSY)
			failed(i, "no answer", 0);
	if (now.requests + now.errors < begun) /* cannot be, so tell it */
		now.errors += begun - now.requests - now.errors;
	report(finish - start);
}

static void raise_descriptors(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		die("getrlimit");
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

static long number(const char *s, long max, const char *what)
{
	char *end;
	long n = strtol(s, &end, 10);

	if (*s == '\0' || *end != '\0' || n < 0 || n > max) {
		fprintf(stderr, "tunnels: %s %s: give a number up to %ld\n",
			what, s, max);
		exit(2);
	}
	return n;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"proxy", required_argument, NULL, 'p'},
		{"target", required_argument, NULL, 't'},
		{"bytes", required_argument, NULL, 'b'},
		{"seed", required_argument, NULL, 's'},
		{0},
	};
	char line[256];
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 'p')
			proxy_port = (uint16_t)number(optarg, 65535, "--proxy");
		else if (c == 't')
			target_port =
				(uint16_t)number(optarg, 65535, "--target");
		else if (c == 'b')
			mean_bytes = (uint32_t)number(optarg, MAX_BYTES,
						      "--bytes");
		else if (c == 's')
			seed = (uint64_t)number(optarg, LONG_MAX, "--seed");
		else
			return 2;
	}
	if (proxy_port == 0 || target_port == 0) {
		fputs("tunnels: --proxy PORT and --target PORT are needed\n",
		      stderr);
		return 2;
	}
	raise_descriptors();
	epoll = epoll_create1(EPOLL_CLOEXEC);
	if (epoll < 0)
		die("epoll_create1");

	while (fgets(line, sizeof(line), stdin) != NULL) {
		unsigned long n, k, b;
		double seconds;

		if (sscanf(line, "open %lu", &n) == 1 && n < 1000000)
			do_open(n);
		else if (sscanf(line, "run %lu %lu %lu %lf", &n, &k, &b,
				&seconds) == 4 && n <= 100000000)
			do_run(n, k, b, seconds);
		else if (sscanf(line, "check %lf", &seconds) == 1)
			do_run(ntunnels, MAX_OPENING, ntunnels, seconds);
		else if (strcmp(line, "close\n") == 0) {
			begin();
			close_all();
			report(0);
		} else {
			fprintf(stderr, "tunnels: not a command: %s", line);
			return 2;
		}
	}
	return 0;
}
