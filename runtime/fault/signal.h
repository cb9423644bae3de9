/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* fault/signal.h - signals belong to coroutines.
 *
 * The kernel knows main and the workers. What it delivers to a worker is sent on
 * to main, unless main blocks it; else whoever ran there at that moment takes it
 * if it was in the program's code. In any other case (inside the runtime, on a
 * worker's own stack) the signal is put down as pending with its siginfo, for the
 * coroutine that ran, or for the router, a kernel thread that sleeps otherwise:
 * it finds a coroutine that does not block the signal, ends its wait and lets it
 * run the handler. A signal for a certain coroutine goes to it the same way. */
#ifndef COGO_FAULT_SIGNAL_H
#define COGO_FAULT_SIGNAL_H

#include "coro/coro.h"
#include <signal.h>

/* The kernel's form of a set of signals: bit n-1 is signal n. */
typedef uint64_t sigbits;
#define SIGBIT(sig) ((sigbits)1 << ((sig) - 1))

/* The signal by which the runtime gets the attention of a kernel thread. It is
 * libc's SIGSETXID, which programs can neither block nor handle. */
#define SIG_KICK 33
/* Never blocked by anyone. */
#define SIG_OURS (SIGBIT(32) | SIGBIT(33))

/* What to do about a signal, as the program last said. The table is the
 * program's view; the kernel's has our wrapper where the program has a
 * function. */
struct signal_action {
	union {			/* SIG_DFL and SIG_IGN in either */
		void (*handler)(int);
		void (*action)(int, siginfo_t *, void *);	/* SA_SIGINFO */
	};
	uint64_t flags;		/* SA_* */
	sigbits mask;
};
void signal_get_action(int sig, struct signal_action *ret);
/* 0 or -errno. `direct`: for the kernel as it is, without our wrapper. */
int signal_set_action(int sig, const struct signal_action *act, bool direct);

/* The runtime's own handler for a signal that the program leaves to its
 * default. The program is not shown it, and replaces it as it would the
 * default; then `taken`, if given, is said on stderr, once. 0, -EBUSY where
 * the default is not what is set, or -errno. */
typedef void (*signal_own_fn)(int, siginfo_t *, void *);
int signal_own(int sig, signal_own_fn fn, const char *taken);
/* In a handler of the runtime's own, or before a fault is repeated: from now
 * on the kernel does as it does by default. */
void signal_disown(int sig);

/* Puts sig down for c and sees to its delivery. 0, or -EAGAIN when too many are
 * pending. Any thread; not in a signal handler. */
int signal_post(struct coro *c, int sig, const siginfo_t *info);

/* Whether sp is on the alternate stack of me. */
bool signal_on_altstack(const struct coro *me, const void *sp);

/* The mask of the caller. A coroutine's is its own and, while it runs, the
 * kernel thread's; setting it runs what it lets in. */
sigbits signal_mask(struct coro *me);
void signal_set_mask(struct coro *me, sigbits mask);

/* Takes a pending signal of the set, the caller's or the process's, without
 * running anything: its number, or 0. */
int signal_take(struct coro *me, sigbits set, siginfo_t *ret_info);
/* From now on the caller waits for these, blocked or not: one that is put down
 * ends its wait. 0: for none. */
void signal_await(struct coro *me, sigbits set);
/* The same for who shall be told though he blocks it, and will take it in some
 * other way: it stays where it is. */
void signal_watch(struct coro *me, sigbits set);

/* Lends what is pending for me alone, of the set and blocked, to the kernel thread
 * it runs on, for a system call that tells of what is pending there; and takes
 * back what that has not used up; if there is any. Inside the runtime, without a
 * park in between. */
struct signal_loan {
	uint16_t lent[65], used[65];	/* of each signal; who makes the call
					 * counts what it has used up */
};
bool signal_lends(struct coro *me, sigbits set);
void signal_lend(struct coro *me, sigbits set, struct signal_loan *ret);
void signal_take_back(struct coro *me, const struct signal_loan *loan);

/* For one who has waited in the kernel: what there is to say of the signal that
 * it got, where the kernel did not know. False: it was taken already. */
bool signal_story(struct coro *me, int sig, siginfo_t *info);
/* What is pending for the caller, blocked or not. */
sigbits signal_pending(struct coro *me);

/* Runs the handlers of what is pending and not blocked. How many ran;
 * *ret_restart: whether all of them had SA_RESTART. Outside the runtime. */
int signal_deliver(struct coro *me, bool *ret_restart);

/* A handler was left by a jump, perhaps: what had been done for its sake is
 * undone. Before the jump; outside the runtime. */
void signal_jumped(struct coro *me);

/* The caller will end: everything is blocked from here on; it returns what was not
 * before. Inside the runtime, which a coroutine does not leave any more. */
sigbits signal_shut(struct coro *me);
/* After that, and a fence or an atomic read-modify-write of the caller's (which may be
 * one it makes anyhow): what was sent to it alone goes with it, what it had of the
 * process's to somebody else. */
void signal_end(struct coro *me, sigbits shut);
/* Main ends, and the process does not: nothing goes to it any more. */
void signal_main_left(void);

/* Gets c to look at what is pending for it: ends its wait, or stops the worker
 * it runs on for a moment. */
void signal_kick(struct coro *c);

/* What to do first on every kernel thread that is kicked, whatever for: one
 * function, for credentials. In a signal handler, on whatever stack and thread
 * pointer: system calls alone. */
void signal_on_kick(void (*act)(void));
/* The same, for who has taken SIG_KICK by waiting for it. */
void signal_run_kick(void);

/* Asynchronous cancellation: what to do, in a handler on top of the program's
 * own code, with a coroutine that wants to be told at any moment. */
void signal_on_cancel(void (*act)(struct coro *me));

/* The router's kernel thread. */
int signal_start(void);
/* Makes it look about. */
void signal_poke(void);
void signal_fork_child(void);

#endif
