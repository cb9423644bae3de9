/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* explore.h - runs real code in every order in which it can run.
 *
 * A model is a few actors (kernel threads), each a function, and the runtime's
 * own sources compiled so that every atomic access asks the explorer first
 * (explore_atomic.h). It runs all actors on one kernel thread and lets each stop
 * before every access to what another one of them touches too. It knows every
 * state that it has been in (all variables of the program, and the stacks of all
 * actors) and tries, from each, every actor that could go on. What it proves of
 * all interleavings, not of those that a machine happened to show:
 *
 *	- every explore_check() holds, and no invariant() of the runtime breaks;
 *	- every end, where no actor can go on, is one that end() accepts, and
 *	  nobody stands there before a lock;
 *	- an end can be reached from everywhere: an actor that looks again and
 *	  again for what never comes is as bad as one that sleeps for ever.
 *
 * What it does not show: what weaker memory than one order for all accesses
 * could do (the fences in the code are nothing here), and races of plain
 * accesses, which move together with the atomic one before them.
 *
 *	explore_actor(name, fn, arg)	one more actor; it may be made by another
 *	explore_check(cond)		must hold
 *	explore_choose(n)		0 to n - 1: all of them are tried
 *	explore_wait(word, value, timed) sleeps until explore_wake(word), if the
 *					word has the value; `timed`: or until
 *					its time is up, which may be any moment:
 *					false then
 *	explore_until(word, value)	goes on only when the word has the value
 *	explore_settle()		in one order, until nobody can go on before
 *					some time is up: what comes before the
 *					part that is explored
 *	explore(name, end)		tries everything. NULL, or what is not
 *					so; then the shortest way there that is
 *					known has been printed */
#ifndef TESTS_UNIT_EXPLORE_H
#define TESTS_UNIT_EXPLORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Before anything else. */
void explore_begin(void);
void explore_actor(const char *name, void (*fn)(void *), void *arg);
void explore_fail(const char *file, int line, const char *what);
#define explore_check(cond)                                                    \
	((cond) ? (void)0 : explore_fail(__FILE__, __LINE__, #cond))
int explore_choose(int n);
bool explore_wait(_Atomic uint32_t *word, uint32_t value, bool timed);
int explore_wake(_Atomic uint32_t *word, int n);
void explore_until(_Atomic uint32_t *word, uint32_t value);
/* Before a look at, or a change of, something that is not atomic and that other
 * actors look at or change. */
void explore_point(const char *file, int line, const char *what,
		   const volatile void *at, bool writes);
void explore_settle(void);
const char *explore(const char *name, void (*end)(void));

/* More states than this: "too many states". From the environment,
 * EXPLORE_MOST. */
#define EXPLORE_MOST 6000000

/* A word per actor that the model may use: who runs here. */
void **explore_local(void);

/* Memory that belongs to the state, zeroed; and a stack in it, its top. */
void *explore_alloc(size_t size);
void *explore_stack(void);
/* Variables that do not belong to it, though they look so. */
void explore_skip(void *at, size_t size);
/* The model's own list of contexts that are suspended: calls it(sp) for each. */
extern void (*explore_contexts)(void (*it)(void *sp));
/* Called between steps, to blank what nobody will look at again, so that states
 * which differ in nothing else are one. */
extern void (*explore_blank)(void);

#endif
