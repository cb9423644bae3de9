/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* base/conf.c - what can be set from outside, as COGO_* variables.
 *
 * One table, and for each kind of value a function that reads it. A value is
 * read whole or refused whole: "8x" workers is a mistake to be told about, and
 * never eight.
 *
 * fnmatch() and strtoul() are not used: they look at the locale, which lives
 * in thread-local storage that need not be set up yet, and fnmatch()
 * allocates. */
#include "base/conf.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

struct cogo_conf conf;

static int refuse(struct conf_error *ret_error, const char *why)
{
	ret_error->why = why;
	return -EINVAL;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static char to_upper(char c)
{
	return c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c;
}

/* Is the first n of a word, which ends there, this name? Either case. */
static bool is_name(const char *word, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (name[i] == '\0' || to_upper(word[i]) != to_upper(name[i]))
			return false;
	return name[n] == '\0';
}

/* Reads decimal digits; what does not fit becomes the largest number, which
 * every caller then finds too large. Returns what follows, or NULL. */
static const char *read_number(const char *s, uint64_t *ret_n)
{
	uint64_t n = 0;

	if (!is_digit(*s))
		return NULL;
	for (; is_digit(*s); s++) {
		if (n > (UINT64_MAX - 9) / 10)
			n = UINT64_MAX / 10 - 1;
		n = n * 10 + (uint64_t)(*s - '0');
	}
	*ret_n = n;
	return s;
}

static int read_switch(const char *value, bool *ret_on, struct conf_error *e)
{
	static const char *const off[] = {"0", "no", "off", "false"};
	static const char *const on[] = {"1", "yes", "on", "true"};
	size_t n = strlen(value);

	for (size_t i = 0; i < COUNT(on); i++) {
		if (is_name(value, n, on[i]) || is_name(value, n, off[i])) {
			*ret_on = is_name(value, n, on[i]);
			return 0;
		}
	}
	return refuse(e, "is neither on nor off");
}

static int set_workers(struct cogo_conf *c, const char *value,
		       struct conf_error *e)
{
	uint64_t n;
	const char *end = read_number(value, &n);

	if (end == NULL || *end != '\0')
		return refuse(e, "is not a number");
	if (n < 1)
		return refuse(e, "is too small");
	if (n > CONF_MAX_WORKERS)
		return refuse(e, "is too large");
	c->workers = (int)n;
	return 0;
}

static int set_stack(struct cogo_conf *c, const char *value,
		     struct conf_error *e)
{
	static const char suffixes[] = "KMG";
	uint64_t n;
	const char *end = read_number(value, &n);
	const char *suffix;
	int shift = 0;

	if (end == NULL)
		return refuse(e, "is not a size");
	if (*end != '\0') {
		suffix = strchr(suffixes, to_upper(*end));
		if (suffix == NULL || end[1] != '\0')
			return refuse(e, "is not a size");
		shift = 10 * (int)(suffix - suffixes + 1);
	}
	/* Before the shift, which could carry bits out at the top. */
	if (n > CONF_MAX_STACK >> shift)
		return refuse(e, "is too large");
	if (n << shift < CONF_MIN_STACK)
		return refuse(e, "is too small");
	c->stack = (size_t)(n << shift);
	return 0;
}

static int set_bind(struct cogo_conf *c, const char *value,
		    struct conf_error *e)
{
	size_t n = strlen(value);

	if (n >= sizeof(c->bind))
		return refuse(e, "is too long");
	memcpy(c->bind, value, n + 1);
	return 0;
}

static int set_poller(struct cogo_conf *c, const char *value,
		      struct conf_error *e)
{
	static const struct {
		const char *name;
		enum conf_poller poller;
	} pollers[] = {
		{"epoll", CONF_POLLER_EPOLL},
		{"io_uring", CONF_POLLER_IO_URING},
	};

	for (size_t i = 0; i < COUNT(pollers); i++) {
		if (is_name(value, strlen(value), pollers[i].name)) {
			c->poller = pollers[i].poller;
			return 0;
		}
	}
	return refuse(e, "is no poller");
}

static int set_stats(struct cogo_conf *c, const char *value,
		     struct conf_error *e)
{
	return read_switch(value, &c->stats, e);
}

static int set_no_inherit(struct cogo_conf *c, const char *value,
			  struct conf_error *e)
{
	return read_switch(value, &c->no_inherit, e);
}

static int set_disable(struct cogo_conf *c, const char *value,
		       struct conf_error *e)
{
	return read_switch(value, &c->disable, e);
}

static int set_run(struct cogo_conf *c, const char *value,
		   struct conf_error *e)
{
	const char *end;
	uint64_t n = 0;

	end = read_number(value, &n);
	if (end == NULL || *end != '\0' || n > INT_MAX)
		return read_switch(value, &c->run, e);
	c->run = n != 0;
	c->process = (int)n;
	return 0;
}

/* The signals, and why some cannot ask for a dump. */
#define UNCATCHABLE "is a signal that no program can catch"
#define A_FAULT	    "is the processor's own signal: its handler cannot go on"
#define LIBC_OWN    "is a signal that the C library keeps for itself"

static const struct {
	const char *name;
	int number;
	const char *refused;
} signals[] = {
	{"HUP", SIGHUP, NULL},	   {"INT", SIGINT, NULL},
	{"QUIT", SIGQUIT, NULL},   {"ILL", SIGILL, A_FAULT},
	{"TRAP", SIGTRAP, NULL},   {"ABRT", SIGABRT, NULL},
	{"IOT", SIGABRT, NULL},	   {"BUS", SIGBUS, A_FAULT},
	{"FPE", SIGFPE, A_FAULT},  {"KILL", SIGKILL, UNCATCHABLE},
	{"USR1", SIGUSR1, NULL},   {"SEGV", SIGSEGV, A_FAULT},
	{"USR2", SIGUSR2, NULL},   {"PIPE", SIGPIPE, NULL},
	{"ALRM", SIGALRM, NULL},   {"TERM", SIGTERM, NULL},
	{"CHLD", SIGCHLD, NULL},   {"CLD", SIGCHLD, NULL},
	{"CONT", SIGCONT, NULL},   {"STOP", SIGSTOP, UNCATCHABLE},
	{"TSTP", SIGTSTP, NULL},   {"TTIN", SIGTTIN, NULL},
	{"TTOU", SIGTTOU, NULL},   {"URG", SIGURG, NULL},
	{"XCPU", SIGXCPU, NULL},   {"XFSZ", SIGXFSZ, NULL},
	{"VTALRM", SIGVTALRM, NULL}, {"PROF", SIGPROF, NULL},
	{"WINCH", SIGWINCH, NULL}, {"IO", SIGIO, NULL},
	{"POLL", SIGIO, NULL},	   {"PWR", SIGPWR, NULL},
	{"SYS", SIGSYS, NULL},	   {"STKFLT", 16, NULL},
	/* Cancellation and set*id: glibc does not even name them. */
	{"", 32, LIBC_OWN},	   {"", 33, LIBC_OWN},
};

/* SIGRTMIN as programs see it: glibc has taken 32 and 33. SIGRTMIN itself is
 * a call into libc. */
enum { FIRST_REALTIME = 34, LAST_SIGNAL = 64 };

/* RTMIN, RTMIN+n, RTMAX, RTMAX-n: the number, or 0. */
static int realtime_signal(const char *name)
{
	bool from_min = is_name(name, strnlen(name, 5), "RTMIN");
	uint64_t n = 0;

	if (!from_min && !is_name(name, strnlen(name, 5), "RTMAX"))
		return 0;
	name += 5;
	if (*name != '\0') {
		if (*name != (from_min ? '+' : '-'))
			return 0;
		name = read_number(name + 1, &n);
		if (name == NULL || *name != '\0' ||
		    n > LAST_SIGNAL - FIRST_REALTIME)
			return 0;
	}
	return from_min ? FIRST_REALTIME + (int)n : LAST_SIGNAL - (int)n;
}

static int set_dump(struct cogo_conf *c, const char *value,
		    struct conf_error *e)
{
	const char *name = value;
	const char *end;
	uint64_t n = 0;
	int number;

	end = read_number(value, &n);
	if (end != NULL && (*end != '\0' || n < 1 || n > LAST_SIGNAL))
		return refuse(e, "is not the number of a signal");
	if (is_name(name, strnlen(name, 3), "SIG"))
		name += 3;
	number = end != NULL ? (int)n : realtime_signal(name);

	for (size_t i = 0; i < COUNT(signals); i++) {
		if (number != signals[i].number &&
		    (number != 0 || signals[i].name[0] == '\0' ||
		     !is_name(name, strlen(name), signals[i].name)))
			continue;
		if (signals[i].refused != NULL)
			return refuse(e, signals[i].refused);
		c->dump = signals[i].number;
		return 0;
	}
	if (number == 0)
		return refuse(e, "is not the name of a signal");
	c->dump = number;
	return 0;
}

static int set_force(struct cogo_conf *c, const char *value,
		     struct conf_error *e)
{
	static const struct {
		const char *name;
		enum conf_force bit;
	} ways[] = {
		{"arch_prctl", CONF_FORCE_ARCH_PRCTL},
		{"no_nowait", CONF_FORCE_NO_NOWAIT},
		{"no_guard_install", CONF_FORCE_NO_GUARD_INSTALL},
		{"shared_tls", CONF_FORCE_SHARED_TLS},
		{"migrate", CONF_FORCE_MIGRATE},
	};
	unsigned force = 0;

	for (;;) {
		size_t n = strcspn(value, ",");
		size_t i = 0;

		while (i < COUNT(ways) && !is_name(value, n, ways[i].name))
			i++;
		if (i == COUNT(ways))
			return refuse(e, "names no such way");
		force |= ways[i].bit;
		if (value[n] == '\0')
			break;
		value += n + 1;
	}
	c->force = force;
	return 0;
}

#define WANT_SWITCH "1 or 0"
#define WANT_RUN    "the id of the process that cogo-run became, or 0"

const struct conf_setting conf_settings[] = {
	{"COGO_WORKERS", "workers", "N",
	 "run the coroutines on N kernel threads, 1 to 256\n"
	 "(default: one for each CPU the process may use)",
	 "a number from 1 to 256", set_workers},
	{"COGO_STACK", "stack", "SIZE",
	 "give every coroutine a stack of SIZE bytes; K, M or G may\n"
	 "follow (default: what the program asks for)",
	 "bytes, with K, M or G after the number if you like, from 16K to 1G",
	 set_stack},
	{"COGO_BIND", "bind", "PATTERN",
	 "leave threads as kernel threads whose start function, if\n"
	 "the program exports it, or whose name, once they give it\n"
	 "themselves, matches the glob PATTERN; may be given several\n"
	 "times (in the variable: commas between)",
	 "patterns with commas between, 511 characters in all", set_bind},
	{"COGO_POLLER", "poller", "NAME",
	 "hear of descriptors from the kernel's epoll or io_uring;\n"
	 "where io_uring cannot be had, epoll does (default: epoll)",
	 "epoll or io_uring", set_poller},
	{"COGO_STATS", "stats", NULL,
	 "print a summary on standard error when the program ends",
	 WANT_SWITCH, set_stats},
	{"COGO_DUMP", "dump", "SIGNAL",
	 "print every coroutine, with what it waits for and where,\n"
	 "whenever SIGNAL (USR1, SIGUSR2, RTMIN+3, 12) arrives",
	 "a signal that you do not need otherwise, such as USR2", set_dump},
	{"COGO_NO_INHERIT", "no-inherit", NULL,
	 "run the programs that this one starts without cogo",
	 WANT_SWITCH, set_no_inherit},
	{"COGO_DISABLE", NULL, NULL,
	 "run the program as if cogo were not there",
	 WANT_SWITCH, set_disable},
	{"COGO_LIBRARY", NULL, "PATH",
	 "the libcogo.so to use, in place of the one that belongs\n"
	 "to this cogo-run",
	 "the path of a libcogo.so", NULL},
	/* Not for people: cogo-run's word to the library, and the tests'. */
	{"COGO_RUN", NULL, NULL, NULL, WANT_RUN, set_run},
	{"COGO_FORCE", NULL, "LIST", NULL,
	 "arch_prctl, no_nowait, no_guard_install, shared_tls, migrate, with "
	 "commas between", set_force},
};
const size_t conf_nsettings = COUNT(conf_settings);

/* The setting whose name is the first n characters, which end there. */
static const struct conf_setting *find(const char *name, size_t n)
{
	for (size_t i = 0; i < conf_nsettings; i++)
		if (strncmp(conf_settings[i].name, name, n) == 0 &&
		    conf_settings[i].name[n] == '\0')
			return &conf_settings[i];
	return NULL;
}

const struct conf_setting *conf_find(const char *name)
{
	return find(name, strlen(name));
}

int conf_set(struct cogo_conf *c, const struct conf_setting *s,
	     const char *value, struct conf_error *ret_error)
{
	ret_error->setting = s;
	ret_error->value = value;
	ret_error->why = NULL;
	if (s->set == NULL || value[0] == '\0')
		return 0;
	return s->set(c, value, ret_error);
}

int conf_parse(struct cogo_conf *c, char *const envp[],
	       void (*complain)(const struct conf_error *),
	       void (*unknown)(const char *entry))
{
	struct conf_error e;
	unsigned seen = 0;
	int bad = 0;

	_Static_assert(COUNT(conf_settings) <= 8 * sizeof(seen),
		       "a bit for each setting");

	for (; *envp != NULL; envp++) {
		const struct conf_setting *s;
		unsigned bit;
		size_t n;

		if (strncmp(*envp, "COGO_", 5) != 0)
			continue;
		n = strcspn(*envp, "=");
		if ((*envp)[n] == '\0') /* not a variable at all */
			continue;
		s = find(*envp, n);
		if (s == NULL) {
			if (unknown != NULL)
				unknown(*envp);
			continue;
		}
		bit = 1u << (s - conf_settings);
		if (seen & bit)
			continue;
		seen |= bit;
		if (conf_set(c, s, *envp + n + 1, &e) != 0) {
			bad++;
			if (complain != NULL)
				complain(&e);
		}
	}
	return bad;
}

/* Appends what fits and leaves room for the end. */
static size_t append(char *buf, size_t size, size_t at, const char *s)
{
	while (*s != '\0' && at + 1 < size)
		buf[at++] = *s++;
	buf[at] = '\0';
	return at;
}

size_t conf_explain(const struct conf_error *e, bool as_option, char *buf,
		    size_t size)
{
	const struct conf_setting *s = e->setting;
	char value[64];
	size_t at = 0;

	/* A value of a megabyte must not push the advice off the end; nor
	 * may an odd one break the line in two. */
	at = append(value, sizeof(value), 0, e->value);
	if (at == 0)
		append(value, sizeof(value), 0, "\"\"");
	if (e->value[at] != '\0')
		memcpy(value + at - 3, "...", 3);
	for (char *p = value; *p != '\0'; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = '?';

	at = 0;
	if (as_option && s->option != NULL) {
		at = append(buf, size, at, "--");
		at = append(buf, size, at, s->option);
		at = append(buf, size, at, " ");
	} else {
		at = append(buf, size, at, s->name);
		at = append(buf, size, at, "=");
	}
	at = append(buf, size, at, value);
	at = append(buf, size, at, " ");
	at = append(buf, size, at, e->why);
	at = append(buf, size, at, "; give ");
	return append(buf, size, at, s->want);
}

/* Does c match the set that begins after '['? *ret_next is what follows its
 * ']', or NULL when it has none, and '[' is then an ordinary character. */
static bool in_set(const char *p, const char *end, char c,
		   const char **ret_next)
{
	bool negate = p < end && (*p == '!' || *p == '^');
	bool found = false;
	const char *first;

	p += negate;
	/* A ']' at the very start is a member. */
	for (first = p; p < end && (*p != ']' || p == first); p++) {
		unsigned char lo, hi;

		if (*p == '\\' && p + 1 < end)
			p++;
		lo = hi = (unsigned char)*p;
		if (end - p > 2 && p[1] == '-' && p[2] != ']') {
			p += 2;
			if (*p == '\\' && p + 1 < end)
				p++;
			hi = (unsigned char)*p;
		}
		if (lo <= (unsigned char)c && (unsigned char)c <= hi)
			found = true;
	}
	*ret_next = p < end ? p + 1 : NULL;
	return found != negate;
}

/* On a mismatch only the last star need be tried again, one character later:
 * an earlier one could only make the part between them match further on. So
 * there is no recursion, and no pattern that takes for ever. */
bool conf_glob(const char *pattern, size_t n, const char *text)
{
	const char *p = pattern;
	const char *end = pattern + n;
	const char *after_star = NULL;
	const char *star_text = NULL;

	for (;;) {
		const char *next = NULL;
		bool matches = false;

		if (p < end && *p == '*') {
			after_star = ++p;
			star_text = text;
			continue;
		}
		if (*text == '\0' && p == end)
			return true;
		if (*text != '\0' && p < end) {
			if (*p == '[')
				matches = in_set(p + 1, end, *text, &next);
			if (next == NULL) {
				const char *lit = p;

				if (*p == '\\' && p + 1 < end)
					lit++;
				matches = (lit == p && *p == '?') ||
					  *lit == *text;
				next = lit + 1;
			}
		}
		if (matches) {
			p = next;
			text++;
			continue;
		}
		if (after_star == NULL || *star_text == '\0')
			return false;
		p = after_star;
		text = ++star_text;
	}
}

bool conf_binds(const struct cogo_conf *c, const char *name)
{
	const char *p = c->bind;

	if (name == NULL)
		return false;
	while (*p != '\0') {
		size_t n = strcspn(p, ",");

		if (n > 0 && conf_glob(p, n, name))
			return true;
		p += n + (p[n] == ',');
	}
	return false;
}
