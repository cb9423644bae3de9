/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* crowd.h - so many at once that use one library.
 *
 * A program makes a crowd of members, each a coroutine or, for comparison, a plain
 * thread. They connect, meet, and ask their server for what it holds back; when all
 * of them wait in the library for that, main counts the kernel threads of the
 * process, and has the server let go. Then each makes its round trips.
 *
 *	PROGRAM [--threads] [--members N] [--rounds N] WHAT-IT-NEEDS...
 *
 * It says on stdout, as key=value, what the driver looks at. What turns out wrong
 * ends the process with a line on stderr and status 1. */
#ifndef CROWD_H
#define CROWD_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct crowd {
	int members, rounds;
	bool threads;
	char **args;		/* what follows the options, NULL last */
};
extern struct crowd crowd;

/* Reads the command line; args: how many words follow the options. */
void crowd_options(char **argv, int args, const char *usage);

/* Makes the members; each runs member(number), from 0. */
void crowd_begin(void (*member)(int));

/* A member's: waits until as many have come as there are members. Each member comes
 * here as often as the others. */
void crowd_meet(void);

/* Main's, when all wait in the library and cannot go on: counts kernel threads, and
 * those of them that wait there as well. The clocks start. */
void crowd_in_flight(void);

/* A member's: another question has had its answer. */
void crowd_trips(int more);

/* Main's: waits for all members, stops the clocks and says what there is to say. */
void crowd_end(void);

/* Waits a moment, for somebody who looks again and again at what others bring
 * about. */
void crowd_moment(void);

/* Or else the process ends, and says why. %m works in format. */
#define check(true_, ...)						\
	do {								\
		if (!(true_))						\
			crowd_wrong(__FILE__, __LINE__, #true_, __VA_ARGS__); \
	} while (0)
_Noreturn void crowd_wrong(const char *file, int line, const char *what,
			   const char *format, ...)
	__attribute__((format(printf, 4, 5)));

/* The bytes that belong to a number: text without quotes, so that it goes anywhere.
 * Nul-terminated; size counts that too. */
void crowd_text(char *ret, size_t size, uint64_t number);

#endif
