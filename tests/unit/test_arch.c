/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* test_arch.c - what runtime/arch owes, on whatever CPU this is.
 *
 * A plain main, so that it can be built for another CPU and run under an
 * emulator, where there is no test framework. Each test is a function whose
 * name is a sentence that can be false; with arguments, only those whose names
 * contain one of them are run. */
#include "arch/context.h"
#include "arch/syscall.h"
#include "arch/tp.h"
#include "arch/ucontext.h"
#include <errno.h>
#include <fenv.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <unwind.h>

static int failures;

#define CHECK(cond)                                                            \
	do {                                                                   \
		if (!(cond)) {                                                 \
			printf("%s:%d: not so: %s\n", __FILE__, __LINE__,      \
			       #cond);                                         \
			failures++;                                            \
		}                                                              \
	} while (0)

#define STACK (256 << 10)

static void *new_stack(void)
{
	char *low = mmap(NULL, STACK, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (low == MAP_FAILED) {
		perror("mmap");
		exit(2);
	}
	return low + STACK;
}

/* ---- switching ---- */

#define CONTEXTS 3
static void *contexts[CONTEXTS];	/* each one's saved stack pointer */
static void *main_sp;
static long turns;

/* Round and round, and at the end to main. A context that one of the two has left is
 * gone on with by the other. */
static void next(int me)
{
	int to = (me + 1) % CONTEXTS;

	if (--turns <= 0)
		arch_switch(&contexts[me], main_sp, arch_tp_get());
	else if (turns % 5 < 2)
		arch_switch_across(&contexts[me], contexts[to], arch_tp_get());
	else
		arch_switch(&contexts[me], contexts[to], arch_tp_get());
}

/* More values than there are registers that survive a call, all of them alive
 * across the switch, and others in each context. */
static void keep_registers(void *arg)
{
	int me = (int)(intptr_t)arg;
	volatile long seed = 1000 * (me + 1);
	long a = seed + 1, b = seed + 2, c = seed + 3, d = seed + 4,
	     e = seed + 5, f = seed + 6, g = seed + 7, h = seed + 8,
	     i = seed + 9, j = seed + 10, k = seed + 11, l = seed + 12;
	double s = seed + .5, t = seed + 1.5, u = seed + 2.5, v = seed + 3.5,
	       w = seed + 4.5, x = seed + 5.5, y = seed + 6.5, z = seed + 7.5;

	for (long n = 0;; n++) {
		next(me);
		CHECK(a == seed + 1 + n && b == seed + 2 + n &&
		      c == seed + 3 + n && d == seed + 4 + n &&
		      e == seed + 5 + n && f == seed + 6 + n &&
		      g == seed + 7 + n && h == seed + 8 + n &&
		      i == seed + 9 + n && j == seed + 10 + n &&
		      k == seed + 11 + n && l == seed + 12 + n);
		CHECK(s == seed + .5 + n && t == seed + 1.5 + n &&
		      u == seed + 2.5 + n && v == seed + 3.5 + n &&
		      w == seed + 4.5 + n && x == seed + 5.5 + n &&
		      y == seed + 6.5 + n && z == seed + 7.5 + n);
		a++, b++, c++, d++, e++, f++, g++, h++, i++, j++, k++, l++;
		s++, t++, u++, v++, w++, x++, y++, z++;
	}
}

static void run_ring(void (*fn)(void *), long n)
{
	turns = n;
	for (int i = 0; i < CONTEXTS; i++)
		contexts[i] = arch_context_make(new_stack(), fn,
						(void *)(intptr_t)i);
	arch_switch(&main_sp, contexts[0], arch_tp_get());
	CHECK(turns == 0);
}

static void what_must_survive_a_call_survives_a_switch(void)
{
	run_ring(keep_registers, 3000);
}

static const int roundings[CONTEXTS] = { FE_UPWARD, FE_DOWNWARD,
					 FE_TOWARDZERO };

static void keep_rounding(void *arg)
{
	int me = (int)(intptr_t)arg;

	/* A new context begins with its maker's. */
	CHECK(fegetround() == FE_TONEAREST);
	fesetround(roundings[me]);
	for (;;) {
		next(me);
		CHECK(fegetround() == roundings[me]);
	}
}

static void how_numbers_are_rounded_is_each_contexts_own(void)
{
	run_ring(keep_rounding, 300);
	CHECK(fegetround() == FE_TONEAREST);
}

static char *first_top;
static void *first_arg;

static void first_look(void *arg)
{
	/* Volatile: the compiler knows how it has aligned its own. */
	char here __attribute__((aligned(64))) = 1;
	volatile uintptr_t at = (uintptr_t)&here;
	uintptr_t frame = (uintptr_t)__builtin_dwarf_cfa();

	CHECK(at % 64 == 0);
	CHECK(frame % 16 == 0);
	CHECK(frame <= (uintptr_t)first_top &&
	      frame > (uintptr_t)first_top - 1024);
	first_arg = arg;
	arch_switch(&contexts[0], main_sp, arch_tp_get());
}

static void an_entry_gets_its_argument_on_an_aligned_stack(void)
{
	for (int off = 0; off < 32; off += 8) {
		first_top = (char *)new_stack() - off;
		first_arg = NULL;
		contexts[0] = arch_context_make(first_top, first_look,
						&first_top);
		CHECK((char *)contexts[0] < first_top);
		arch_switch(&main_sp, contexts[0], arch_tp_get());
		CHECK(first_arg == &first_top);
	}
}

/* ---- the thread pointer ---- */

struct sleeper {
	pthread_t thread;
	int wake[2];
	int ready[2];
	uintptr_t tp;
	int *err;
};

static void *sleep_until_told(void *arg)
{
	struct sleeper *s = arg;
	char c = 0;

	s->tp = arch_tp_get();
	s->err = &errno;
	if (write(s->ready[1], &c, 1) != 1 || read(s->wake[0], &c, 1) != 1)
		abort();
	return NULL;
}

static void start_sleeper(struct sleeper *s)
{
	char c;

	if (pipe(s->wake) || pipe(s->ready) ||
	    pthread_create(&s->thread, NULL, sleep_until_told, s) ||
	    read(s->ready[0], &c, 1) != 1) {
		perror("a thread");
		exit(2);
	}
}

static void end_sleeper(struct sleeper *s)
{
	CHECK(write(s->wake[1], "", 1) == 1);
	CHECK(pthread_join(s->thread, NULL) == 0);
}

/* The compiler takes errno's address for constant: ask anew. */
static __attribute__((noinline)) int *errno_address(void)
{
	__asm__ volatile("");
	return &errno;
}

static struct sleeper other;
static uintptr_t main_tp;
static int visits;

static void on_the_others_tp(void *arg)
{
	(void)arg;
	for (;;) {
		CHECK(arch_tp_get() == other.tp);
		CHECK(errno_address() == other.err);
		visits++;
		arch_switch(&contexts[0], main_sp, main_tp);
	}
}

static void switch_thread_pointers(int force_syscall)
{
	int *mine = errno_address();

	arch_tp_init(force_syscall);
	CHECK(*arch_tp_method() != 0);
	visits = 0;
	main_tp = arch_tp_get();
	start_sleeper(&other);
	CHECK(other.tp != main_tp);
	contexts[0] = arch_context_make(new_stack(), on_the_others_tp, NULL);
	for (int i = 0; i < 100; i++) {
		arch_switch(&main_sp, contexts[0], other.tp);
		CHECK(arch_tp_get() == main_tp);
		CHECK(errno_address() == mine);
	}
	CHECK(visits == 100);
	arch_tp_set(other.tp);
	CHECK(arch_tp_get() == other.tp);
	arch_tp_set(main_tp);
	CHECK(errno_address() == mine);
	end_sleeper(&other);
	arch_tp_init(0);
}

static void the_thread_pointer_moves_with_the_switch(void)
{
	switch_thread_pointers(0);
}

static void the_thread_pointer_moves_by_system_call_too(void)
{
	switch_thread_pointers(1);
}

static void the_thread_is_found_from_the_thread_pointer(void)
{
	CHECK(arch_tp_to_thread(arch_tp_get()) == (uintptr_t)pthread_self());
	start_sleeper(&other);
	CHECK(arch_tp_to_thread(other.tp) == (uintptr_t)other.thread);
	end_sleeper(&other);
}

static void the_header_of_a_block_makes_it_readable(void)
{
	/* Not laid out by libc: only what arch_tcb_init and the thread pointer
	 * itself need. No code that looks at TLS runs on it. */
	static uintptr_t block[512] __attribute__((aligned(64)));
	void *tcb = &block[256];
	uintptr_t seen;

	arch_tcb_init(tcb, (const void *)arch_tp_get());
	main_tp = arch_tp_get();
	arch_tp_set(arch_tcb_to_tp(tcb));
	seen = arch_tp_get();
	arch_tp_set(main_tp);
	CHECK(seen == arch_tcb_to_tp(tcb));
}

/* ---- unwinding ---- */

struct walk {
	const void *wanted;	/* a function */
	int frames;
	bool found;
};

static _Unwind_Reason_Code count_frame(struct _Unwind_Context *context,
				       void *arg)
{
	struct walk *w = arg;
	uintptr_t pc = _Unwind_GetIP(context);

	if (++w->frames > 100)
		return _URC_END_OF_STACK;
	if (pc && _Unwind_FindEnclosingFunction((void *)(pc - 1)) == w->wanted)
		w->found = true;
	return _URC_NO_REASON;
}

static struct walk walk_for(const void *wanted)
{
	struct walk w = { .wanted = wanted };

	_Unwind_Backtrace(count_frame, &w);
	return w;
}

static void look_down(void *arg)
{
	struct walk w = walk_for((const void *)look_down);

	(void)arg;
	CHECK(w.found);
	/* This function, perhaps walk_for, and the start of the context; not
	 * on into whatever lies above. */
	CHECK(w.frames >= 2 && w.frames <= 4);
	arch_switch(&contexts[0], main_sp, arch_tp_get());
}

static void unwinding_ends_where_a_context_begins(void)
{
	contexts[0] = arch_context_make(new_stack(), look_down, NULL);
	arch_switch(&main_sp, contexts[0], arch_tp_get());
}

static void a_new_context_has_no_frame_above(void)
{
	struct arch_regs regs;

	contexts[0] = arch_context_make(new_stack(), look_down, NULL);
	memset(&regs, 0xff, sizeof(regs));
	arch_context_regs(contexts[0], &regs);
	CHECK(regs.fp == 0);
	CHECK(regs.sp > (uintptr_t)contexts[0]);
	CHECK(regs.sp % 16 == 0);
	CHECK(regs.pc != 0);
}

static __attribute__((noinline)) void park_here(void *arg)
{
	(void)arg;
	arch_switch(&contexts[0], main_sp, arch_tp_get());
	/* Not a tail call, which would leave no frame. */
	__asm__ volatile("");
}

static void the_registers_of_who_is_suspended_can_be_read(void)
{
	char *top = new_stack();
	struct arch_regs regs, back;
	static ucontext_t uc;

	contexts[0] = arch_context_make(top, park_here, NULL);
	arch_switch(&main_sp, contexts[0], arch_tp_get());
	memset(&regs, 0, sizeof(regs));
	arch_context_regs(contexts[0], &regs);
	CHECK(_Unwind_FindEnclosingFunction((void *)(regs.pc - 1)) ==
	      (void *)park_here);
	CHECK(regs.sp > (uintptr_t)contexts[0] && regs.sp < (uintptr_t)top);
	CHECK(regs.fp >= regs.sp && regs.fp < (uintptr_t)top);
	/* And they survive the form that unwinders want. */
	for (int i = 0; i < ARCH_SAVED_REGS; i++)
		regs.saved[i] = arch_reg_numbers[i] >= 0 ? 1000u + i : 0;
	arch_regs_to_ucontext(&regs, &uc);
	arch_regs_from_ucontext(&uc, &back);
	CHECK(memcmp(&regs, &back, sizeof(regs)) == 0);
}

static char *call_top;

static long called(void *arg)
{
	char here;
	uintptr_t frame = (uintptr_t)__builtin_dwarf_cfa();

	CHECK(frame % 16 == 0);
	CHECK((uintptr_t)&here < (uintptr_t)call_top &&
	      (uintptr_t)&here > (uintptr_t)call_top - STACK);
	return *(long *)arg + 1;
}

static void a_call_on_another_stack_returns_what_was_returned(void)
{
	for (int off = 0; off < 32; off += 8) {
		long n = 41;

		call_top = (char *)new_stack() - off;
		CHECK(arch_call_on(call_top, called, &n) == 42);
	}
}

static long far_away(void *arg)
{
	struct walk w = walk_for(arg);

	CHECK(w.found);
	CHECK(w.frames < 50);
	return 7;
}

static __attribute__((noinline)) void unwinding_crosses_a_call_on_another_stack(void)
{
	CHECK(arch_call_on(new_stack(), far_away,
			   (void *)unwinding_crosses_a_call_on_another_stack) ==
	      7);
}

#if defined(__x86_64__)
/* Every instruction of the switch traps, and from every one of them the stack
 * is walked: by their notes alone it must lead to one of the two sides. */
static struct {
	int steps, lost;
} trace;

static void on_here(void);
static void on_there(void *arg);

static _Unwind_Reason_Code find_side(struct _Unwind_Context *context, void *arg)
{
	int before = 0;
	uintptr_t pc = _Unwind_GetIPInfo(context, &before);
	void *fn = _Unwind_FindEnclosingFunction(
		(void *)(pc - (before ? 0 : 1)));

	if (fn == (void *)on_here || fn == (void *)on_there)
		*(bool *)arg = true;
	return _URC_NO_REASON;
}

static void on_step(int sig, siginfo_t *info, void *uc)
{
	bool found = false;

	(void)sig;
	(void)info;
	(void)uc;
	_Unwind_Backtrace(find_side, &found);
	trace.steps++;
	trace.lost += !found;
}

static __attribute__((noinline)) void on_there(void *arg)
{
	(void)arg;
	for (;;)
		arch_switch(&contexts[0], main_sp, arch_tp_get());
}

static __attribute__((noinline)) void on_here(void)
{
	void *to = contexts[0];

	__asm__ volatile("pushfq; orq $0x100, (%%rsp); popfq" : : : "cc", "memory");
	arch_switch(&main_sp, to, arch_tp_get());
	__asm__ volatile("pushfq; andq $~0x100, (%%rsp); popfq" : : : "cc", "memory");
}

static void from_every_instruction_the_way_back_is_known(void)
{
	struct sigaction sa = { .sa_sigaction = on_step,
				.sa_flags = SA_SIGINFO | SA_ONSTACK }, old;
	stack_t ss = { .ss_size = STACK };

	ss.ss_sp = (char *)new_stack() - STACK;
	sigaltstack(&ss, NULL);
	sigaction(SIGTRAP, &sa, &old);
	contexts[0] = arch_context_make(new_stack(), on_there, NULL);
	arch_switch(&main_sp, contexts[0], arch_tp_get());
	on_here();
	sigaction(SIGTRAP, &old, NULL);
	/* There and back: two passes through some 27 instructions. */
	CHECK(trace.steps > 50);
	CHECK(trace.lost == 0);
}
#endif

/* ---- the kernel ---- */

static void a_system_call_returns_what_the_kernel_did(void)
{
	errno = 77;
	CHECK(arch_syscall(SYS_close, -1, 0, 0, 0, 0, 0) == -EBADF);
	CHECK(errno == 77);
	CHECK(arch_syscall(SYS_getpid, 0, 0, 0, 0, 0, 0) == getpid());
}

static void a_system_call_has_six_arguments(void)
{
	char name[] = "/tmp/cogo-test-arch-XXXXXX";
	int fd = mkstemp(name);
	long p;

	CHECK(fd >= 0);
	unlink(name);
	CHECK(ftruncate(fd, 1 << 20) == 0);
	CHECK(pwrite(fd, "sixth", 5, 1 << 16) == 5);
	/* The offset is the sixth. */
	p = arch_syscall(SYS_mmap, 0, 1 << 16, PROT_READ, MAP_PRIVATE, fd,
			 1 << 16);
	CHECK(p > 0 || p < -4095);
	CHECK(memcmp((void *)p, "sixth", 5) == 0);
	CHECK(arch_syscall(SYS_munmap, p, 1 << 16, 0, 0, 0, 0) == 0);
	close(fd);
}

struct kernel_action {
	void (*action)(int, siginfo_t *, void *);
	unsigned long flags;
	arch_restorer restorer;
	uint64_t mask;
};

static volatile int handled;

static void handle(int sig, siginfo_t *info, void *uc)
{
	struct arch_regs regs;

	arch_regs_from_ucontext(uc, &regs);
	handled = sig == SIGUSR1 && info->si_pid == getpid() && regs.pc &&
		  regs.sp;
}

static void a_handler_returns_to_what_it_interrupted(void)
{
	struct kernel_action k = { .action = handle, .flags = SA_SIGINFO };
	volatile long before = 12345;
	long kept = before;
	double also = (double)before;

	k.restorer = arch_signal_restorer();
	if (k.restorer)
		k.flags |= 0x04000000;	/* SA_RESTORER */
	CHECK(arch_syscall(SYS_rt_sigaction, SIGUSR1, (long)&k, 0, 8, 0, 0) == 0);
	for (int i = 0; i < 10; i++) {
		handled = 0;
		CHECK(arch_syscall(SYS_tgkill, getpid(),
				   arch_syscall(SYS_gettid, 0, 0, 0, 0, 0, 0),
				   SIGUSR1, 0, 0, 0) == 0);
		CHECK(handled == 1);
		CHECK(kept == before && also == (double)before);
	}
	signal(SIGUSR1, SIG_DFL);
}

static void the_counter_of_cycles_goes_up(void)
{
	uint64_t first = arch_cycles(), now = first;

	for (long i = 0; i < 100000000 && now == first; i++) {
		arch_relax();
		now = arch_cycles();
	}
	CHECK(now > first);
}

static _Atomic unsigned told;
static volatile sig_atomic_t failed_in_call;

static void fail_it(int sig, siginfo_t *info, void *uc)
{
	(void)sig;
	(void)info;
	told = 1;
	failed_in_call += arch_fail_unless(uc);
}

static void a_call_is_not_begun_once_the_flag_is_set(void)
{
	static const long args[6];

	told = 0;
	CHECK(arch_syscall_unless(&told, SYS_getpid, args) == getpid());
	told = 1;
	CHECK(arch_syscall_unless(&told, SYS_getpid, args) == -EINTR);
}

static void a_handler_ends_the_call_that_it_interrupted(void)
{
	struct sigaction act = { .sa_sigaction = fail_it,
				 .sa_flags = SA_SIGINFO | SA_RESTART }, before;
	long args[6] = { 0 };
	char byte;
	int fd[2];

	CHECK(pipe(fd) == 0);
	sigaction(SIGALRM, &act, &before);
	told = 0;
	failed_in_call = 0;
	args[0] = fd[0];
	args[1] = (long)&byte;
	args[2] = 1;
	/* Nothing is ever written: without the handler it would be restarted. */
	alarm(1);
	CHECK(arch_syscall_unless(&told, SYS_read, args) == -EINTR);
	CHECK(failed_in_call == 1);
	/* Elsewhere it changes nothing. */
	raise(SIGALRM);
	CHECK(failed_in_call == 1);
	sigaction(SIGALRM, &before, NULL);
	alarm(300);
	close(fd[0]);
	close(fd[1]);
}

#define TEST(fn) { #fn, fn }
static const struct {
	const char *name;
	void (*fn)(void);
} tests[] = {
	TEST(what_must_survive_a_call_survives_a_switch),
	TEST(how_numbers_are_rounded_is_each_contexts_own),
	TEST(an_entry_gets_its_argument_on_an_aligned_stack),
	TEST(the_thread_pointer_moves_with_the_switch),
	TEST(the_thread_pointer_moves_by_system_call_too),
	TEST(the_thread_is_found_from_the_thread_pointer),
	TEST(the_header_of_a_block_makes_it_readable),
	TEST(unwinding_ends_where_a_context_begins),
	TEST(a_new_context_has_no_frame_above),
	TEST(the_registers_of_who_is_suspended_can_be_read),
	TEST(a_call_on_another_stack_returns_what_was_returned),
	TEST(unwinding_crosses_a_call_on_another_stack),
#if defined(__x86_64__)
	TEST(from_every_instruction_the_way_back_is_known),
#endif
	TEST(a_system_call_returns_what_the_kernel_did),
	TEST(a_system_call_has_six_arguments),
	TEST(a_handler_returns_to_what_it_interrupted),
	TEST(a_call_is_not_begun_once_the_flag_is_set),
	TEST(a_handler_ends_the_call_that_it_interrupted),
	TEST(the_counter_of_cycles_goes_up),
};

static bool chosen(const char *name, int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (strstr(name, argv[i]))
			return true;
	return argc < 2;
}

int main(int argc, char **argv)
{
	int failed = 0, ran = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	arch_tp_init(0);
	alarm(300);
	for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
		if (!chosen(tests[i].name, argc, argv))
			continue;
		failures = 0;
		tests[i].fn();
		printf("%s %s\n", failures ? "FAILED" : "ok", tests[i].name);
		failed += failures != 0;
		ran++;
	}
	printf("%d tests, %d failed\n", ran, failed);
	return failed || !ran;
}
