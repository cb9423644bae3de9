/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* base/conf.h - what can be set from outside, as COGO_* variables.
 *
 * libcogo.so reads them once, at load; cogo-run checks its options with the
 * same code and hands them on as the same variables. So the two cannot
 * disagree about what is valid, and there is one table to document.
 *
 * Everything here runs before anything else does: no malloc, no stdio, no
 * system call, nothing but string functions and the caller's memory. */
#ifndef COGO_BASE_CONF_H
#define COGO_BASE_CONF_H

#include <stdbool.h>
#include <stddef.h>

#define CONF_MAX_WORKERS 256
#define CONF_MIN_STACK	 ((size_t)16 << 10)
#define CONF_MAX_STACK	 ((size_t)1 << 30)

/* The ways round that are taken only where the machine lacks something. The
 * tests take them everywhere, with COGO_FORCE=arch_prctl,no_nowait and so
 * on. For tests alone, and left out of --help. */
enum conf_force {
	CONF_FORCE_ARCH_PRCTL = 1 << 0,	      /* no wrfsbase instruction */
	CONF_FORCE_NO_NOWAIT = 1 << 1,	      /* RWF_NOWAIT: EOPNOTSUPP */
	CONF_FORCE_NO_GUARD_INSTALL = 1 << 2, /* guards by mprotect */
	CONF_FORCE_SHARED_TLS = 1 << 3,	      /* the workers' TLS, not ours */
	CONF_FORCE_MIGRATE = 1 << 4,	      /* nobody stays on its worker */
};

/* Where the runtime hears of descriptors from. */
enum conf_poller { CONF_POLLER_EPOLL, CONF_POLLER_IO_URING };

struct cogo_conf {
	/* 0: as many as there are CPUs the process may use. Only whoever
	 * starts the workers may ask the kernel how many that is. */
	int workers;
	/* Bytes for every stack, 0: what the program asks for. */
	size_t stack;
	/* Globs, comma between; "": nothing is bound. A copy: the program may
	 * write over its environment (many do, to set their title). */
	char bind[512];
	/* A signal's number, 0: no dump. */
	int dump;
	enum conf_poller poller;
	bool stats;
	bool no_inherit;
	bool disable;
	/* cogo-run started us: threads are to become coroutines. Without it
	 * (a program linked with -lcogo) pthread_create is left alone. */
	bool run;
	/* The process that cogo-run has become; those that it starts in its
	 * turn find the same number. 0: unknown. */
	int process;
	unsigned force; /* of enum conf_force */
};

/* All zero is every default. Filled by the library at load, then constant. */
extern struct cogo_conf conf;

struct conf_error;

/* One line of the table. An option of cogo-run has the name of its variable:
 * COGO_NO_INHERIT is --no-inherit. */
struct conf_setting {
	const char *name;     /* of the variable */
	const char *option;   /* long option of cogo-run, NULL: variable only */
	const char *argument; /* as --help names it, NULL: a switch, 0 or 1 */
	const char *help;     /* NULL: not for --help */
	const char *want;     /* what would be right, after "give " */
	/* NULL: for cogo-run, the library has no use for it. */
	int (*set)(struct cogo_conf *c, const char *value,
		   struct conf_error *ret_error);
};

extern const struct conf_setting conf_settings[];
extern const size_t conf_nsettings;

/* What is wrong with a value. All pointers live as long as the value did. */
struct conf_error {
	const struct conf_setting *setting;
	const char *value;
	const char *why; /* "is not a number" */
};

/* The setting of that variable, or NULL. */
const struct conf_setting *conf_find(const char *name);

/* Sets one value; an empty value means the default, as does a variable that
 * is not there. Returns 0, or -EINVAL with *c as it was. */
int conf_set(struct cogo_conf *c, const struct conf_setting *s,
	     const char *value, struct conf_error *ret_error);

/* Sets what the environment sets. A bad value keeps its default and is told
 * to complain(), once each; a name that begins with COGO_ and is in no table
 * is told to unknown() ("NAME=value"). Either may be NULL. Where a variable
 * is there twice the first counts, as for getenv(). Returns the number of
 * bad values. */
int conf_parse(struct cogo_conf *c, char *const envp[],
	       void (*complain)(const struct conf_error *),
	       void (*unknown)(const char *entry));

/* Writes one sentence, without a newline, into buf, cut short if need be:
 * "COGO_WORKERS=0 is too small; give a number from 1 to 256". With an option
 * named, "--workers 0 is too small; …". Returns its length. */
size_t conf_explain(const struct conf_error *e, bool as_option, char *buf,
		    size_t size);

/* Does a thread of that name (or start function; NULL matches nothing) stay
 * a kernel thread? */
bool conf_binds(const struct cogo_conf *c, const char *name);

/* Does the whole of text match the glob in pattern[0..n)? `*`, `?`, `[a-z]`,
 * `[!a-z]`, and a backslash takes the next character as itself. */
bool conf_glob(const char *pattern, size_t n, const char *text);

#endif
