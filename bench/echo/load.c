/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* load - many connections to a server: what an answer costs it, or what it costs to
 * hold them idle.
 *
 *     load --port P --pid PID --connections N [--bytes B] [--seconds S]
 *          [--requests R] [--in-flight K] [--for S] [--pause]
 *          [--speak echo | tunnel | sql | http] [--target P]
 *     load … --idle SECONDS
 *
 * Opens N connections, and each makes one request and gets its answer, so that
 * all are accepted and have used what they use. Then K of them at a time (all, if
 * not told) have exactly one request in flight: as one is answered, the one that
 * has been idle longest sends, until R are answered, or for S seconds. What is said
 * is in talk.c; every answer is checked. An echo's is a message of B bytes, of which
 * no two are alike; that of a tunnel to port P is the same.
 *
 * With --pause it prints one line when all are open, and goes on when it has read
 * one, so that whoever started it can look at the server in between.
 *
 * load_tls is the same, and speaks through TLS; the handshakes are not measured.
 *
 * Prints one line of JSON:
 *
 *     seconds, per_second       from the first request to the last answer
 *     cpu_ns                    what the server's process, all its threads, used
 *                               meanwhile by its clock, for each request
 *     p50_us, p99_us, max_us    from making a request to its answer's last byte; the
 *                               first two to within 1 %
 *     errors                    connections that could not be opened, or ended
 *     wrong                     bytes that were different, or that nobody had
 *                               asked for
 *
 * With --idle it waits instead until the server is quiet, and then so long again:
 *
 *     cpu_ns                    what the server used in all that time
 *     switches                  how often its threads were given up a processor,
 *                               of their own will or not
 *     rss, pss, page_tables     bytes for each connection: with all of them, after
 *                               that time, less before the first
 *
 * The exit status is 0 if nothing was wrong. After S seconds (120) it gives up.
 *
 * One thread, one epoll, edge-triggered: what waits here is not measured, and must
 * not be slower than a server. */
#include "talk.h"
#include "wire.h"
#include <arpa/inet.h>
#include <dirent.h>
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
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum {
	MAX_EVENTS = 256,
	/* Fewer than any server lets wait to be accepted. */
	MAX_OPENING = 256,
	/* More than an answer has. */
	ROOM = 2 * TALK_BYTES,
	MAX_CONNECTIONS = 1000000,
	/* One address has about 28,000 ports to one destination. */
	PER_ADDRESS = 10000,
	/* What is open beside the connections. */
	OTHER_FDS = 16,
};

#define SEC INT64_C(1000000000)

enum state {
	FREE,	    /* no descriptor */
	CONNECTING,
	SHAKING,    /* hands, below what is said */
	GREETING,   /* before the first request may be made */
	WARMING,    /* the first request in flight */
	IDLE,	    /* open, and nothing in flight */
	BUSY,	    /* a request in flight */
};

struct connection {
	struct wire wire;
	enum state state;
	uint32_t turn; /* counts its requests: makes each one its own */
	uint32_t kept;
	char *rest; /* so many bytes of what is not whole yet, or NULL */
	int64_t started;
};

static struct {
	long port, pid, connections, requests, in_flight, idle, seconds, most;
	bool pause;
} want = {.requests = 100000, .seconds = 120};

static const struct talk *talk;
static int epoll;
static clockid_t server_clock;
static struct connection *connections;
static uint64_t errors, wrong;
static size_t opening, opened;

/* The measured phase. */
static uint64_t begun, answered;
static size_t in_flight;
static int64_t no_more_after;

/* The idle connections, in the order in which they became it. One that has ended
 * since is still in here, and is left out when its turn comes. */
static struct {
	uint32_t *slots;
	size_t first, count;
} queue;

__attribute__((noreturn)) static void die(const char *what)
{
	fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * SEC + ts.tv_nsec;
}

static int64_t server_cpu(void)
{
	struct timespec ts;

	if (clock_gettime(server_clock, &ts) != 0) {
		fputs("load: the server has ended\n", stderr);
		exit(1);
	}
	return ts.tv_sec * SEC + ts.tv_nsec;
}

/* ---- latencies ----------------------------------------------------------- */

/* Nanoseconds below 128 are counted each; from there on, each power of two is
 * cut in 64, and the middle of such a piece is at most 1/128 off. */
enum { PIECES = 64, BUCKETS = 59 * PIECES };

static uint64_t buckets[BUCKETS];
static int64_t longest;

static void note_latency(int64_t ns)
{
	uint64_t n = (uint64_t)ns;
	int shift = n < 2 * PIECES ? 0 : 57 - __builtin_clzll(n);

	buckets[(uint64_t)shift * PIECES + (n >> shift)]++;
	if (ns > longest)
		longest = ns;
}

/* The latency that so many of all answers did not exceed, in microseconds. */
static double latency(double share)
{
	uint64_t rank = (uint64_t)((double)answered * share), passed = 0;
	size_t i = 0, shift;

	if (answered == 0)
		return 0;
	while ((passed += buckets[i]) <= rank && passed < answered)
		i++;
	if (i < 2 * PIECES)
		return (double)i / 1e3;
	shift = i / PIECES - 1;
	return ((double)(i - shift * PIECES) + 0.5) *
	       (double)(UINT64_C(1) << shift) / 1e3;
}

/* ---- one connection ------------------------------------------------------ */

static void failed(size_t i, const char *why, int error)
{
	struct connection *c = &connections[i];

	if (errors++ == 0) /* the others are likely to be like the first */
		fprintf(stderr, "load: connection %zu: %s%s%s\n", i, why,
			error ? ": " : "", error ? strerror(error) : "");
	if (c->state >= CONNECTING && c->state <= WARMING)
		opening--;
	if (c->state == BUSY)
		in_flight--;
	free(c->rest);
	wire_close(&c->wire);
	*c = (struct connection){.wire.fd = -1};
}

static uint64_t key_of(size_t i)
{
	return (uint64_t)i << 32 | connections[i].turn;
}

static void ask(size_t i, enum state state)
{
	struct connection *c = &connections[i];
	char bytes[TALK_BYTES];
	size_t n;

	c->state = state;
	c->turn++;
	n = talk->ask(key_of(i), bytes);
	c->started = now();
	if (wire_send(&c->wire, bytes, n) != 0)
		failed(i, "sending", errno);
}

static void become_idle(size_t i)
{
	size_t last = queue.first + queue.count++;

	connections[i].state = IDLE;
	queue.slots[last % (size_t)want.connections] = (uint32_t)i;
}

/* Lets requests go while there are too few in flight, and some to be made yet. */
static void send_more(void)
{
	while (in_flight < (size_t)want.in_flight && queue.count > 0 &&
	       begun < (uint64_t)want.requests &&
	       (want.most == 0 || now() < no_more_after)) {
		size_t i = queue.slots[queue.first];

		queue.first = (queue.first + 1) % (size_t)want.connections;
		queue.count--;
		if (connections[i].state != IDLE)
			continue;
		begun++;
		in_flight++;
		ask(i, BUSY);
	}
}

static void answer_is_whole(size_t i)
{
	struct connection *c = &connections[i];

	if (c->state == WARMING) {
		opening--;
		opened++;
		become_idle(i);
		return;
	}
	note_latency(now() - c->started);
	answered++;
	in_flight--;
	become_idle(i);
	send_more();
}

/* Goes on with the greeting, of which n bytes have come, and returns how many it
 * has done with. */
static size_t greet(size_t i, const char *got, size_t n)
{
	struct connection *c = &connections[i];
	char bytes[TALK_BYTES];
	int say = TALK_READY;

	c->state = GREETING;
	if (talk->greet != NULL)
		say = talk->greet(got, n, bytes);
	if (say == TALK_MORE)
		return 0;
	if (say == TALK_REFUSED)
		failed(i, "refused", 0);
	else if (say == TALK_READY)
		ask(i, WARMING);
	else if (wire_send(&c->wire, bytes, (size_t)say) != 0)
		failed(i, "sending", errno);
	return n;
}

/* How many of the n bytes that have come it has done with. */
static size_t take(size_t i, const char *got, size_t n)
{
	enum state state = connections[i].state;
	size_t length = 0;

	if (state == GREETING)
		return greet(i, got, n);
	if (state == WARMING || state == BUSY) {
		length = talk->answer(key_of(i), got, n, &wrong);
		if (length == 0)
			return 0;
		answer_is_whole(i);
	}
	wrong += n - length;
	return n;
}

/* Takes what has come. There is room for more than can be due, so that what nobody
 * asked for shows, and a socket that has filled less is known to be empty. */
static void receive(size_t i)
{
	struct connection *c = &connections[i];
	char got[ROOM];
	size_t n = c->kept;
	ssize_t r;

	if (n > 0)
		memcpy(got, c->rest, n);
	r = wire_recv(&c->wire, got + n, sizeof(got) - n);
	if (r < 0 && errno == EAGAIN)
		return;
	if (r <= 0) {
		failed(i, "ended", r < 0 ? errno : 0);
		return;
	}
	n += (size_t)r;
	if (take(i, got, n) > 0) {
		free(c->rest);
		c->rest = NULL;
		c->kept = 0;
		return;
	}
	if (n == sizeof(got)) {
		failed(i, "an answer without end", 0);
		return;
	}
	if (c->rest == NULL)
		c->rest = malloc(ROOM);
	if (c->rest == NULL)
		die("malloc");
	memcpy(c->rest, got, n);
	c->kept = (uint32_t)n;
}

static void shake(size_t i)
{
	int done = wire_shake(&connections[i].wire);

	if (done < 0)
		failed(i, "handshake", errno);
	else if (done > 0)
		greet(i, "", 0);
}

static void connected(size_t i)
{
	struct connection *c = &connections[i];
	socklen_t size = sizeof(int);
	int error = 0;

	getsockopt(c->wire.fd, SOL_SOCKET, SO_ERROR, &error, &size);
	if (error != 0) {
		failed(i, "connect", error);
		return;
	}
	c->state = SHAKING;
	shake(i);
}

static void open_connection(size_t i)
{
	struct connection *c = &connections[i];
	struct sockaddr_in from = {.sin_family = AF_INET}, to = from;
	/* Once for good: the edges are to be able to send, when it is connected,
	 * and each time that something comes. */
	struct epoll_event ev = {
		.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
		.data.u64 = i,
	};

	from.sin_addr.s_addr =
		htonl(INADDR_LOOPBACK + (uint32_t)(i / PER_ADDRESS));
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	to.sin_port = htons((uint16_t)want.port);
	*c = (struct connection){.state = CONNECTING};
	opening++;
	c->wire.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (c->wire.fd < 0)
		die("socket");
	setsockopt(c->wire.fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
	setsockopt(c->wire.fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &(int){1},
		   sizeof(int));
	/* Ends are to leave nothing behind that the kernel works off a minute
	 * later, while the next run measures. */
	setsockopt(c->wire.fd, SOL_SOCKET, SO_LINGER, &(struct linger){1, 0},
		   sizeof(struct linger));
	if (bind(c->wire.fd, (struct sockaddr *)&from, sizeof(from)) != 0 ||
	    (connect(c->wire.fd, (struct sockaddr *)&to, sizeof(to)) != 0 &&
	     errno != EINPROGRESS))
		failed(i, "connect", errno);
	else if (epoll_ctl(epoll, EPOLL_CTL_ADD, c->wire.fd, &ev) != 0)
		die("epoll_ctl");
}

/* ---- all of them --------------------------------------------------------- */

static void start_clock(void)
{
	struct itimerspec after = {.it_value.tv_sec = want.seconds};
	struct epoll_event ev = {.events = EPOLLIN, .data.u64 = UINT64_MAX};
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);

	if (fd < 0 || timerfd_settime(fd, 0, &after, NULL) != 0 ||
	    epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &ev) != 0)
		die("timerfd");
}

__attribute__((noreturn)) static void give_up(void)
{
	fprintf(stderr,
		"load: gave up after %ld s, with %zu of %ld connections warm "
		"and %llu of %ld requests answered\n",
		want.seconds, opened, want.connections,
		(unsigned long long)answered, want.requests);
	exit(1);
}

/* Moves on whatever is ready, or waits for at most so many milliseconds. */
static void step(int timeout)
{
	struct epoll_event events[MAX_EVENTS];
	int n = epoll_wait(epoll, events, MAX_EVENTS, timeout);

	if (n < 0 && errno != EINTR)
		die("epoll_wait");
	for (int e = 0; e < n; e++) {
		size_t i = events[e].data.u64;

		if (events[e].data.u64 == UINT64_MAX)
			give_up();
		if (connections[i].state == CONNECTING)
			connected(i);
		else if (connections[i].state == SHAKING)
			shake(i);
		/* Whatever the server has said by then has its edge behind it. */
		if (connections[i].state >= GREETING)
			receive(i);
		/* The end may have come with the last answer, and shows once. */
		if (connections[i].state != FREE &&
		    events[e].events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
			receive(i);
	}
}

static void open_all(void)
{
	size_t next = 0;

	while (next < (size_t)want.connections || opening > 0) {
		while (next < (size_t)want.connections && opening < MAX_OPENING)
			open_connection(next++);
		step(-1);
	}
}

static void pause_until_told(void)
{
	printf("{\"opened\": %zu, \"errors\": %llu}\n", opened,
	       (unsigned long long)errors);
	fflush(stdout);
	while (getchar() != '\n')
		if (feof(stdin) || ferror(stdin))
			exit(1);
}

static void wait_for(int64_t ns)
{
	int64_t end = now() + ns, left;

	while ((left = end - now()) > 0)
		step((int)(left / 1000000 + 1));
}

static void make_requests(void)
{
	int64_t start = now(), took;
	int64_t cpu = server_cpu();
	double n;

	no_more_after = start + want.most * SEC;
	send_more();
	while (in_flight > 0) {
		step(-1);
		send_more();
	}
	cpu = server_cpu() - cpu;
	took = now() - start;
	n = answered ? (double)answered : 1;
	printf("{\"connections\": %ld, \"in_flight\": %ld, \"bytes\": %ld, "
	       "\"requests\": %llu, \"seconds\": %.6f, \"per_second\": %.0f, "
	       "\"cpu_ns\": %.0f, \"p50_us\": %.1f, \"p99_us\": %.1f, "
	       "\"max_us\": %.1f, \"errors\": %llu, \"wrong\": %llu}\n",
	       want.connections, want.in_flight, talk_bytes,
	       (unsigned long long)answered, (double)took / 1e9,
	       (double)answered / ((double)took / 1e9), (double)cpu / n,
	       latency(0.5), latency(0.99), (double)longest / 1e3,
	       (unsigned long long)errors, (unsigned long long)wrong);
}

/* ---- the server's process ------------------------------------------------ */

struct figures {
	int64_t rss, pss, page_tables;
};

/* The file of /proc/PID, or what there is of it, as one string; "" if none. */
static void read_proc(const char *name, char *ret, size_t size)
{
	char path[PATH_MAX];
	FILE *f;
	size_t n = 0;

	snprintf(path, sizeof(path), "/proc/%ld/%s", want.pid, name);
	f = fopen(path, "re");
	if (f != NULL) {
		n = fread(ret, 1, size - 1, f);
		fclose(f);
	}
	ret[n] = '\0';
}

/* The number behind "name:" at the beginning of a line; 0 if there is none. */
static int64_t field(const char *text, const char *name)
{
	size_t n = strlen(name);

	for (const char *line = text; line != NULL;
	     line = strchr(line, '\n')) {
		line += *line == '\n';
		if (strncmp(line, name, n) == 0 && line[n] == ':')
			return strtoll(line + n + 1, NULL, 10);
	}
	return 0;
}

static struct figures figures(void)
{
	struct figures f;
	char text[8192];

	read_proc("smaps_rollup", text, sizeof(text));
	f.rss = field(text, "Rss") * 1024;
	f.pss = field(text, "Pss") * 1024;
	read_proc("status", text, sizeof(text));
	f.page_tables = field(text, "VmPTE") * 1024;
	if (f.rss == 0) {
		fprintf(stderr, "load: /proc/%ld/smaps_rollup cannot be read\n",
			want.pid);
		exit(1);
	}
	return f;
}

static int64_t switches(void)
{
	char path[64], name[NAME_MAX + 16], text[8192];
	struct dirent *entry;
	int64_t sum = 0;
	DIR *tasks;

	snprintf(path, sizeof(path), "/proc/%ld/task", want.pid);
	tasks = opendir(path);
	if (tasks == NULL)
		die(path);
	while ((entry = readdir(tasks)) != NULL) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(name, sizeof(name), "task/%s/status", entry->d_name);
		read_proc(name, text, sizeof(text));
		sum += field(text, "voluntary_ctxt_switches") +
		       field(text, "nonvoluntary_ctxt_switches");
	}
	closedir(tasks);
	return sum;
}

/* Until none of its threads has woken in two seconds: what it does once, when it
 * becomes quiet, is done. One that is never so quiet is taken as it is after ten. */
static void wait_until_quiet(void)
{
	for (int i = 0; i < 5; i++) {
		int64_t before = switches();

		wait_for(2 * SEC);
		if (switches() == before)
			return;
	}
}

static void stay_idle(struct figures before)
{
	int64_t cpu, switched;
	struct figures after;

	wait_until_quiet();
	switched = switches();
	cpu = server_cpu();
	wait_for(want.idle * SEC);
	cpu = server_cpu() - cpu;
	switched = switches() - switched;
	after = figures();
	printf("{\"connections\": %ld, \"idle\": %ld, \"cpu_ns\": %lld, "
	       "\"switches\": %lld, \"rss\": %lld, \"pss\": %lld, "
	       "\"page_tables\": %lld, \"errors\": %llu, \"wrong\": %llu}\n",
	       want.connections, want.idle, (long long)cpu,
	       (long long)switched,
	       (long long)((after.rss - before.rss) / want.connections),
	       (long long)((after.pss - before.pss) / want.connections),
	       (long long)((after.page_tables - before.page_tables) /
			   want.connections),
	       (unsigned long long)errors, (unsigned long long)wrong);
}

/* ---- what is asked for --------------------------------------------------- */

/* Neither side may run out of descriptors half-way. The server has raised its
 * own limit by the time that it tells its port. */
static void check_descriptors(void)
{
	rlim_t need = (rlim_t)want.connections + OTHER_FDS;
	struct rlimit ours, theirs;

	if (getrlimit(RLIMIT_NOFILE, &ours) != 0)
		die("getrlimit");
	ours.rlim_cur = ours.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &ours) != 0)
		die("setrlimit");
	if (prlimit((pid_t)want.pid, RLIMIT_NOFILE, NULL, &theirs) != 0)
		die("the server's limit of descriptors");
	if (ours.rlim_cur >= need && theirs.rlim_cur >= need)
		return;
	fprintf(stderr,
		"load: %ld connections need %llu descriptors here and in the "
		"server, and the limits (ulimit -n) are %llu and %llu\n",
		want.connections, (unsigned long long)need,
		(unsigned long long)ours.rlim_cur,
		(unsigned long long)theirs.rlim_cur);
	exit(1);
}

static long number(const char *option, const char *s, long max)
{
	char *end;
	long n = strtol(s, &end, 10);

	if (*end != '\0' || n < 1 || n > max) {
		fprintf(stderr,
			"load: --%s %s: give a number from 1 to %ld\n", option,
			s, max);
		exit(2);
	}
	return n;
}

static void read_options(int argc, char **argv)
{
	static const struct {
		long *value, max;
	} of[] = {
		{&want.port, 65535},
		{&want.pid, INT_MAX},
		{&want.connections, MAX_CONNECTIONS},
		{&want.requests, LONG_MAX},
		{&talk_bytes, TALK_BYTES},
		{&want.in_flight, MAX_CONNECTIONS},
		{&want.idle, 86400},
		{&want.seconds, 86400},
		{&want.most, 86400},
		{&talk_target, 65535},
	};
	static const struct option options[] = {
		{"port", required_argument, NULL, 0},
		{"pid", required_argument, NULL, 0},
		{"connections", required_argument, NULL, 0},
		{"requests", required_argument, NULL, 0},
		{"bytes", required_argument, NULL, 0},
		{"in-flight", required_argument, NULL, 0},
		{"idle", required_argument, NULL, 0},
		{"seconds", required_argument, NULL, 0},
		{"for", required_argument, NULL, 0},
		{"target", required_argument, NULL, 0},
		{"speak", required_argument, NULL, 's'},
		{"pause", no_argument, NULL, 'p'},
		{0},
	};
	const char *speak = "echo";
	int c, at;

	while ((c = getopt_long(argc, argv, "", options, &at)) != -1) {
		if (c == 's')
			speak = optarg;
		else if (c == 'p')
			want.pause = true;
		else if (c == 0)
			*of[at].value = number(options[at].name, optarg,
					       of[at].max);
		else
			exit(2);
	}
	talk = talk_find(speak);
	if (talk == NULL) {
		fprintf(stderr, "load: --speak %s: there is no such talk\n",
			speak);
		exit(2);
	}
	if (optind < argc || want.port == 0 || want.pid == 0 ||
	    want.connections == 0) {
		fputs("load: give --port, --pid and --connections\n", stderr);
		exit(2);
	}
	if (want.idle >= want.seconds) {
		fputs("load: give --seconds more than --idle\n", stderr);
		exit(2);
	}
	if (want.in_flight == 0 || want.in_flight > want.connections)
		want.in_flight = want.connections;
}

int main(int argc, char **argv)
{
	struct figures before = {0};

	read_options(argc, argv);
	errno = clock_getcpuclockid((pid_t)want.pid, &server_clock);
	if (errno != 0)
		die("--pid");
	check_descriptors();
	epoll = epoll_create1(EPOLL_CLOEXEC);
	connections = calloc((size_t)want.connections, sizeof(*connections));
	queue.slots = calloc((size_t)want.connections, sizeof(*queue.slots));
	if (epoll < 0 || connections == NULL || queue.slots == NULL)
		die("setting up");
	start_clock();
	if (want.idle > 0) {
		wait_until_quiet();
		before = figures();
	}
	open_all();
	if (want.pause)
		pause_until_told();
	if (want.idle > 0)
		stay_idle(before);
	else
		make_requests();
	return errors == 0 && wrong == 0 ? 0 : 1;
}
