/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* A thread control block and thread-local storage per coroutine. */
#include "mem/tls.h"
#include "there.h"
#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <netdb.h>
#include <pthread.h>
#include <sys/mman.h>
#include <ctype.h>
#include <locale.h>

#define STACK (256 << 10)

static __thread long number = 12345;
static __thread char zeroed[100];
static __thread char text[40] = "as it was";

struct block {
	char *low, *top;
	void *frames;	/* they go below */
	uintptr_t tp;
};

static void prepare(void)
{
	arch_tp_init(0);
	tls_init(false);
	if (!tls_private()) {
		printf("%s\n", tls_why_shared());
		skip("this libc gives coroutines no storage of their own");
	}
}

static struct block make(size_t size)
{
	struct block b;

	b.low = mmap(NULL, size, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	check(b.low != MAP_FAILED);
	b.top = b.low + size;
	b.tp = tls_make(b.top);
	check(b.tp != 0);
	b.frames = (void *)(((uintptr_t)b.top - tls_size()) & ~(uintptr_t)15);
	return b;
}

static void run_in(struct block *b, void (*fn)(void *), void *arg)
{
	run_there(b->frames, b->tp, fn, arg);
}

/* Not one that the compiler has looked up before. */
static __attribute__((noinline)) long *my_number(void)
{
	__asm__ volatile("");
	return &number;
}

static __attribute__((noinline)) int *my_errno(void)
{
	__asm__ volatile("");
	return &errno;
}

static void look_new(void *arg)
{
	struct block *b = arg;
	char *at = (char *)my_number();

	tls_enter();
	check(at >= b->top - tls_size() && at < b->top);
	check_eq(*my_number(), 12345);
	check(strcmp(text, "as it was") == 0);
	for (size_t i = 0; i < sizeof(zeroed); i++)
		check_eq(zeroed[i], 0);
	check_eq(*my_errno(), 0);
	check_eq((uintptr_t)pthread_self(), arch_tp_to_thread(b->tp));
	/* Character tables are per thread. */
	check(isalpha('a') && !isalpha('1') && toupper('a') == 'A');
	*my_number() = 1;
	zeroed[5] = 1;
	strcpy(text, "changed");
	*my_errno() = EDOM;
}

Test(tls, a_block_is_as_a_new_thread_finds_its_own)
{
	struct block b;

	prepare();
	number = 77;
	b = make(STACK);
	run_in(&b, look_new, &b);
	check_eq(number, 77);
	check(strcmp(text, "as it was") == 0);
}

Test(tls, a_renewed_block_is_as_new)
{
	struct block b;

	prepare();
	b = make(STACK);
	for (int i = 0; i < 100; i++) {
		run_in(&b, look_new, &b);
		check(tls_renew(b.tp));
	}
}

#ifndef __SANITIZE_ADDRESS__	/* it has an allocator of its own */
/* The loader allocates with it, too. */
static bool dry;
void *__libc_calloc(size_t n, size_t size);

__attribute__((visibility("default"))) void *calloc(size_t n, size_t size)
{
	return dry ? NULL : __libc_calloc(n, size);
}

Test(tls, a_block_that_could_not_be_renewed_can_be_later)
{
	struct block b;

	prepare();
	b = make(STACK);
	/* Since it may have variables in the block, libc has to renew it. */
	check(dlopen(TLS_LIB, RTLD_NOW));
	dry = true;
	check(!tls_renew(b.tp));
	check(!tls_renew(b.tp));
	dry = false;
	check(tls_renew(b.tp));
	run_in(&b, look_new, &b);
}
#endif

Test(tls, a_block_keeps_to_the_room_it_said_it_needs)
{
	struct block b;

	prepare();
	for (int shift = 0; shift < 512; shift += 64) {
		char *low = mmap(NULL, STACK, PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		b.top = low + STACK - shift;
		memset(b.top, 0x5a, (size_t)shift);
		memset(low, 0x5a, (size_t)(b.top - low) - tls_size());
		b.tp = tls_make(b.top);
		b.frames = low + STACK / 2;
		run_in(&b, look_new, &b);
		check(tls_renew(b.tp));
		for (char *p = b.top; p < low + STACK; p++)
			check_eq(*p, 0x5a);
		for (char *p = low + STACK / 2; p < b.top - tls_size(); p++)
			check_eq(*p, 0x5a);
	}
}

static void use_libc(void *arg)
{
	static pthread_mutex_t m = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
	char line[64];
	FILE *f = tmpfile();
	locale_t c = newlocale(LC_ALL_MASK, "C", NULL);

	tls_enter();
	for (int i = 0; i < 3; i++)
		check_eq(pthread_mutex_lock(&m), 0);
	check_eq(m.__data.__owner, *(int *)arg);
	for (int i = 0; i < 3; i++)
		check_eq(pthread_mutex_unlock(&m), 0);
	check(f && c);
	check(uselocale(c) == LC_GLOBAL_LOCALE);
	flockfile(f);
	fprintf(f, "%d %s %.2f\n", 42, "text", 1.5);
	rewind(f);
	check(fgets(line, sizeof(line), f));
	check(strcmp(line, "42 text 1.50\n") == 0);
	funlockfile(f);
	fclose(f);
	for (int i = 1; i < 200; i++)
		free(malloc((size_t)i * 50));
	uselocale(LC_GLOBAL_LOCALE);
	freelocale(c);
}

Test(tls, libc_works_on_a_block)
{
	int tid = 4194400;
	struct block b;

	prepare();
	b = make(STACK);
	for (int i = 0; i < 10; i++, tid++) {
		tls_set_tid(b.tp, tid);
		check_eq(tls_tid(b.tp), tid);
		run_in(&b, use_libc, &tid);
		check(tls_renew(b.tp));
	}
}

static pthread_key_t keys[200];

static void use_keys(void *arg)
{
	(void)arg;
	tls_enter();
	for (int i = 0; i < 200; i++) {
		check(pthread_getspecific(keys[i]) == NULL);
		check_eq(pthread_setspecific(keys[i], &keys[i]), 0);
	}
	for (int i = 0; i < 200; i++)
		check(pthread_getspecific(keys[i]) == &keys[i]);
}

Test(tls, keys_are_each_blocks_own_and_their_memory_comes_back)
{
	struct block b;
	size_t before = 0;

	prepare();
	for (int i = 0; i < 200; i++)
		check_eq(pthread_key_create(&keys[i], NULL), 0);
	b = make(STACK);
	for (int i = 0; i < 2000; i++) {
		run_in(&b, use_keys, NULL);
		tls_free_specific(b.tp);
		check(tls_renew(b.tp));
		if (i == 100)
			before = mallinfo2().uordblks;
	}
	check(mallinfo2().uordblks < before + 65536);
	for (int i = 0; i < 200; i++)
		check(pthread_getspecific(keys[i]) == NULL);
}

#define MANY 3000

static void mark(void *arg)
{
	tls_enter();
	check_eq(*my_number(), 12345);
	*my_number() = *(long *)arg;
	*my_errno() = (int)*(long *)arg;
}

static void recall(void *arg)
{
	check_eq(*my_number(), *(long *)arg);
	check_eq(*my_errno(), *(long *)arg);
}

Test(tls, of_many_blocks_none_touches_another, .timeout = 120)
{
	static struct block b[MANY];

	prepare();
	for (long i = 0; i < MANY; i++) {
		b[i] = make(64 << 10);
		run_in(&b[i], mark, &i);
	}
	for (long i = 0; i < MANY; i++)
		run_in(&b[i], recall, &i);
	check_eq(number, 12345);
}

typedef long *(*number_fn)(void);
typedef char *(*text_fn)(void);
static number_fn lib_number;
static text_fn lib_text;

static void look_at_lib(void *arg)
{
	long *had = arg;

	check(strcmp(lib_text(), "loaded late") == 0);
	check_eq(*lib_number(), *had);
	*lib_number() = 1;
	lib_text()[0] = 'L';
	lib_text()[0] = 'l';
}

Test(tls, a_library_loaded_later_finds_its_first_values_in_every_block)
{
	long first = 4321, second = 1;
	long (*seen)(void);
	struct block b[20];
	void *lib;

	prepare();
	if (!tls_follows_dlopen())
		skip("this libc does not say where its list of threads is");
	for (int i = 0; i < 20; i++)
		b[i] = make(STACK);
	lib = dlopen(TLS_LIB, RTLD_NOW);
	if (!lib)
		printf("%s\n", dlerror());
	check(lib);
	*(void **)&lib_number = dlsym(lib, "lib_number");
	*(void **)&lib_text = dlsym(lib, "lib_text");
	*(void **)&seen = dlsym(lib, "lib_seen_by_constructor");
	check_eq(seen(), 4321);
	for (int i = 0; i < 20; i++)
		run_in(&b[i], look_at_lib, &first);
	for (int i = 0; i < 20; i++)
		run_in(&b[i], look_at_lib, &second);
	/* And in those that are made or renewed from now on. */
	b[0] = make(STACK);
	run_in(&b[0], look_at_lib, &first);
	check(tls_renew(b[1].tp));
	run_in(&b[1], look_at_lib, &first);
}

static void use_lazy_lib(void *arg)
{
	long first = 4321;
	bool stays = *(bool *)arg;
	void *lib;

	tls_enter();
	lib = dlopen(TLS_LAZY_LIB, RTLD_NOW);
	check(lib);
	*(void **)&lib_number = dlsym(lib, "lib_number");
	*(void **)&lib_text = dlsym(lib, "lib_text");
	look_at_lib(&first);
	if (!stays)
		dlclose(lib);
}

static void renew_beside_a_later_library(void)
{
	struct block b = make(STACK);
	bool stays;

	for (int i = 0; i < 20; i++) {
		stays = i % 10 > 6;
		run_in(&b, use_lazy_lib, &stays);
		check(tls_renew(b.tp));
		run_in(&b, look_new, &b);
		check(tls_renew(b.tp));
	}
}

Test(tls, a_renewed_block_has_nothing_of_a_library_that_came_later)
{
	prepare();
	renew_beside_a_later_library();
}

/* As the one for backtraces is kept, which brings others along. */
Test(tls, nor_where_one_of_ours_came_in_between_that_stays)
{
	void *lib;

	prepare();
	lib = dlopen("libunwind.so.8", RTLD_NOW | RTLD_LOCAL);
	if (!lib) {
		printf("left out: there is no libunwind.so.8\n");
		return;
	}
	tls_harmless(dlsym(lib, "unw_strerror"), dlopen);
	renew_beside_a_later_library();
}

static void use_lib_apart(void *lib)
{
	long first = 4321;

	tls_enter();
	*(void **)&lib_number = dlsym(lib, "lib_number");
	*(void **)&lib_text = dlsym(lib, "lib_text");
	look_at_lib(&first);
}

Test(tls, a_renewed_block_has_the_first_values_of_a_library_that_stands_apart)
{
	struct block b;
	void *lib;

	prepare();
	b = make(STACK);
	lib = dlmopen(LM_ID_NEWLM, TLS_LAZY_LIB, RTLD_NOW);
	check(lib);
	for (int i = 0; i < 3; i++) {
		run_in(&b, use_lib_apart, lib);
		check(tls_renew(b.tp));
	}
}

static void load_on_a_block(void *arg)
{
	long (*seen)(void);
	void *lib;

	tls_enter();
	lib = dlopen(arg, RTLD_NOW);
	check(lib);
	*(void **)&seen = dlsym(lib, "lib_seen_by_constructor");
	check_eq(seen(), 4321);
}

Test(tls, a_library_may_be_loaded_from_a_block)
{
	struct block b;

	prepare();
	if (!tls_follows_dlopen())
		skip("this libc does not say where its list of threads is");
	b = make(STACK);
	run_in(&b, load_on_a_block, (void *)TLS_LIB);
}

static uintptr_t own_tp, kernel_tp;

static void fork_on_a_block(void *arg)
{
	int status;
	pid_t pid;

	(void)arg;
	tls_enter();
	tls_fork_lock();
	pid = fork();
	if (pid == 0) {
		tls_fork_unlock();
		tls_fork_child(own_tp, kernel_tp, true);
		alarm(UNIT_CAP_SECONDS);
		check_eq(*my_number(), 12345);
		free(malloc(100));
		/* And its child's, and a thread of the child's. */
		pid = fork();
		if (pid == 0)
			_exit(0);
		check_eq(waitpid(pid, &status, 0), pid);
		_exit(status);
	}
	tls_fork_unlock();
	check_eq(waitpid(pid, &status, 0), pid);
	check_eq(status, 0);
}

Test(tls, a_process_may_be_forked_from_a_block)
{
	struct block b;

	prepare();
	kernel_tp = arch_tp_get();
	for (int i = 0; i < 20; i++) {
		b = make(STACK);
		own_tp = b.tp;
		run_in(&b, fork_on_a_block, NULL);
	}
}

static void *start_one(void *arg)
{
	return arg;
}

static void start_threads(void *arg)
{
	int given;
	pthread_t t;
	void *ret;

	(void)arg;
	tls_enter();
	for (int i = 0; i < 20; i++) {
		check_eq(pthread_create(&t, NULL, start_one, &given), 0);
		check_eq(pthread_join(t, &ret), 0);
		check(ret == &given);
	}
}

Test(tls, threads_of_libc_come_and_go_beside_blocks)
{
	struct block b;

	prepare();
	tls_set_tid(arch_tp_get(), tls_tid(arch_tp_get()));
	b = make(STACK);
	tls_set_tid(b.tp, 4194500);
	run_in(&b, start_threads, NULL);
	start_threads(NULL);
}

static int destroyed;

static void destroy(void *arg)
{
	destroyed += *(int *)arg;
}

extern int __cxa_thread_atexit_impl(void (*fn)(void *), void *arg, void *dso);
extern void *__dso_handle;

static void leave_something(void *arg)
{
	tls_enter();
	check_eq(__cxa_thread_atexit_impl(destroy, arg, &__dso_handle), 0);
	check_eq(__cxa_thread_atexit_impl(destroy, arg, &__dso_handle), 0);
	check_eq(destroyed, 0);
	tls_call_destructors();
	check_eq(destroyed, 6);
}

Test(tls, destructors_of_thread_locals_are_called_on_the_block_that_has_them)
{
	int three = 3;
	struct block b;

	prepare();
	b = make(STACK);
	run_in(&b, leave_something, &three);
	tls_call_destructors();
	check_eq(destroyed, 6);
}

static size_t heap(void)
{
	return mallinfo2().uordblks;
}

static void fill_cache(void *arg)
{
	void *p[20];

	(void)arg;
	tls_enter();
	for (int i = 0; i < 20; i++)
		p[i] = malloc(48);
	for (int i = 0; i < 20; i++)
		free(p[i]);
}

Test(tls, nothing_leaks_when_blocks_are_renewed)
{
	struct block b;
	size_t before = 0;

	prepare();
	b = make(STACK);
	for (int i = 0; i < 5000; i++) {
		run_in(&b, fill_cache, NULL);
		check(tls_renew(b.tp));
		if (i == 500)
			before = heap();
	}
	check(heap() < before + 65536);
}

Test(tls, what_is_carried_is_as_it_was_after_another_had_the_storage)
{
	locale_t c = newlocale(LC_ALL_MASK, "C", NULL);
	struct tls_carried one, other;

	tls_init(true);
	tls_carried_init(&other);
	errno = EDOM;
	h_errno = TRY_AGAIN;
	check(uselocale(c));
	tls_take(&one);
	tls_give(&other);	/* one that begins */
	check(errno == 0 && h_errno == 0);
	check(uselocale(NULL) == LC_GLOBAL_LOCALE);
	errno = ERANGE;
	tls_take(&other);
	tls_give(&one);
	check(errno == EDOM && h_errno == TRY_AGAIN);
	check(uselocale(NULL) == c);
	tls_give(&other);
	check(errno == ERANGE && uselocale(NULL) == LC_GLOBAL_LOCALE);
	freelocale(c);
}

Test(tls, without_it_the_reason_is_said)
{
	arch_tp_init(0);
	check(!tls_private());
	check(*tls_why_shared());
	tls_init(true);
	check(!tls_private());
	check(*tls_why_shared());
}
