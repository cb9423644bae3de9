/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* probe.h - what the files of the probe share.
 *
 * Two programs: operations (does the rest of the program go on while one
 * thread blocks, and is the result right?) and semantics (does a thread see
 * what the kernel shows a thread?). Each is a table, each entry of it runs in
 * a process of its own, so that one that hangs or dies takes nothing along. */
#ifndef TESTS_HOOK_PROBE_H
#define TESTS_HOOK_PROBE_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <time.h>

#include "../../support/shared.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- operations ---- */

/* The order of calls: prepare (main), hold (ticker), run (the thread that
 * blocks), release (ticker, after some ticks). All but run may be missing; an
 * operation without release ends by itself. Each is true when all went well. */
struct operation {
	const char *name;
	bool (*prepare)(void);
	bool (*hold)(void);
	bool (*run)(void);
	bool (*release)(void);
};

extern const struct operation reading_operations[];
extern const struct operation writing_operations[];
extern const struct operation waiting_operations[];
extern const struct operation process_operations[];
extern const struct operation lock_operations[];
extern const struct operation name_operations[];

/* ---- semantics ---- */

struct semantic {
	const char *name;
	bool (*run)(void);
};

extern const struct semantic descriptor_semantics[];
extern const struct semantic thread_semantics[];
extern const struct semantic exception_semantics[];

/* ---- both ---- */

/* Says on stderr what was not so. */
void probe_wrong(const char *file, int line, const char *text);

/* Ends the process at once: this one cannot be seen here, and why. */
#define PROBE_SKIPPED 77
void probe_skip(const char *why);

#define MUST(cond)                                                             \
	do {                                                                   \
		if (!(cond)) {                                                 \
			probe_wrong(__FILE__, __LINE__, #cond);                \
			return false;                                          \
		}                                                              \
	} while (0)

/* A call that succeeds leaves errno alone, however often whoever made it had
 * to try. */
#define MUST_QUIETLY(cond)                                                     \
	do {                                                                   \
		errno = 4711;                                                  \
		MUST(cond);                                                    \
		MUST(errno == 4711);                                           \
	} while (0)

/* A listener on 127.0.0.1, -1 on failure; its port is *ret_port. */
int probe_listen(int backlog, int *ret_port);
int probe_connect(int port);
bool probe_socketpair(int type, int pair[2]);
bool probe_read_all(int fd, void *to, size_t size);
bool probe_write_all(int fd, const void *from, size_t size);
void probe_nap_ms(long ms);
long long probe_now_ns(void);

/* Runs each entry, or those that the arguments name, in a child: this very
 * program with "--one NAME". The child's exit status is the verdict; verdict()
 * puts it into words. Those that are skipped do not count. Returns how many were good, and their number. */
struct probe_table {
	size_t count;
	const char *(*name)(size_t i);
	int (*one)(size_t i);
	void (*verdict)(const char *name, int status, bool hung);
};

int probe_run(int argc, char **argv, const struct probe_table *table,
	      const char *closing);

#ifdef __cplusplus
}
#endif

#endif
