/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* mem/tls.c - a thread control block and thread-local storage per coroutine.
 *
 * What libc expects of a thread descriptor that it did not make itself:
 *
 * - the header words (arch_tcb_init), with multiple_threads set: malloc and
 *   stdio skip their locks where it is not;
 * - tid, unique: recursive locks inside libc compare it;
 * - list linked to itself: fork takes the caller's descriptor out of libc's
 *   list of stacks, whatever list that is;
 * - the rseq area marked unregistered: the kernel knows only the worker's;
 * - the locale's character tables (__ctype_init), on the coroutine.
 *
 * A finished coroutine's block is used again. All of it is laid out anew
 * except libc's own thread-local variables, among which is malloc's cache:
 * dropping it would leak it, and libc's way of freeing it cannot be called. */
#include "mem/tls.h"
#include "arch/tp.h"
#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>

#define RSEQ_CPU_ID_REGISTRATION_FAILED (-2)

/* As libc exports a member for debuggers: bits, count, offset. */
struct db_member {
	uint32_t bits, count, offset;
};

static struct {
	bool private;
	const char *why;
	size_t size, align;	/* of static TLS with the descriptor */
	size_t thread_size;	/* of the descriptor */
	long rseq;		/* of the rseq area from the thread pointer, 0: none */
	uint32_t rseq_size;
	struct db_member tid, list, specific;
	long libc_offset;	/* libc's variables, from the thread pointer */
	size_t libc_size;

	void *(*allocate)(void *);
	void (*deallocate)(void *, bool);
	void (*ctype_init)(void);
	void (*call_dtors)(void);
} tls = { .why = "not initialised" };

static bool find_member(const char *name, struct db_member *ret)
{
	const struct db_member *m = dlsym(RTLD_DEFAULT, name);

	if (!m)
		return false;
	*ret = *m;
	return true;
}

/* dl_iterate_phdr's view of libc: where its variables are on this thread. */
static int find_libc(struct dl_phdr_info *info, size_t size UNUSED, void *inside)
{
	const ElfW(Phdr) *tls_phdr = NULL;
	bool here = false;

	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *ph = &info->dlpi_phdr[i];
		uintptr_t start = info->dlpi_addr + ph->p_vaddr;

		if (ph->p_type == PT_TLS)
			tls_phdr = ph;
		if (ph->p_type == PT_LOAD && (uintptr_t)inside - start < ph->p_memsz)
			here = true;
	}
	if (!here)
		return 0;
	if (tls_phdr && info->dlpi_tls_data) {
		tls.libc_offset = (char *)info->dlpi_tls_data -
				  (char *)arch_tp_get();
		tls.libc_size = tls_phdr->p_memsz;
	}
	return 1;
}

static const char *look_up(void)
{
	void (*static_info)(size_t *, size_t *);
	const uint32_t *sizeof_pthread;
	const long *rseq_offset;
	const unsigned *rseq_size;

	*(void **)&static_info = dlsym(RTLD_DEFAULT, "_dl_get_tls_static_info");
	*(void **)&tls.allocate = dlsym(RTLD_DEFAULT, "_dl_allocate_tls");
	*(void **)&tls.deallocate = dlsym(RTLD_DEFAULT, "_dl_deallocate_tls");
	if (!static_info || !tls.allocate || !tls.deallocate)
		return "ld.so does not export _dl_allocate_tls";
	sizeof_pthread = dlsym(RTLD_DEFAULT, "_thread_db_sizeof_pthread");
	if (!sizeof_pthread ||
	    !find_member("_thread_db_pthread_tid", &tls.tid) ||
	    !find_member("_thread_db_pthread_list", &tls.list) ||
	    !find_member("_thread_db_pthread_specific", &tls.specific))
		return "libc does not export its descriptors for debuggers";
	static_info(&tls.size, &tls.align);
	if (tls.align < 64)
		tls.align = 64;
	tls.thread_size = *sizeof_pthread;
	*(void **)&tls.ctype_init = dlsym(RTLD_DEFAULT, "__ctype_init");
	*(void **)&tls.call_dtors = dlsym(RTLD_DEFAULT, "__call_tls_dtors");
	if (!tls.ctype_init || !tls.call_dtors)
		return "libc does not export __ctype_init or __call_tls_dtors";
	rseq_offset = dlsym(RTLD_DEFAULT, "__rseq_offset");
	rseq_size = dlsym(RTLD_DEFAULT, "__rseq_size");
	if (rseq_offset && rseq_size && *rseq_size) {
		tls.rseq = *rseq_offset;
		tls.rseq_size = *rseq_size;
	}
	if (tls.tid.bits != 32 || tls.tid.offset >= tls.thread_size ||
	    tls.list.offset >= tls.thread_size || tls.size < tls.thread_size)
		return "libc's descriptors for debuggers make no sense";
	return NULL;
}

void tls_init(bool force_shared)
{
	tls.why = force_shared ? "forced" : look_up();
	tls.private = !tls.why;
	if (tls.private) {
		tls.why = "";
		dl_iterate_phdr(find_libc, (void *)tls.ctype_init);
	}
}

bool tls_private(void)
{
	return tls.private;
}

const char *tls_why_shared(void)
{
	return tls.why;
}

size_t tls_size(void)
{
	return align_up(tls.size, tls.align) + tls.align;
}

size_t tls_thread_size(void)
{
	return tls.thread_size;
}

static char *thread_of(uintptr_t tp)
{
	return (char *)arch_tp_to_thread(tp);
}

/* The members that must not be zero. */
static void init_thread(uintptr_t tp)
{
	char *thread = thread_of(tp);
	void **list = (void **)(thread + tls.list.offset);

	arch_tcb_init((void *)tp, (const void *)arch_tp_get());
	list[0] = list[1] = list;
	if (tls.rseq)
		((int32_t *)(tp + (uintptr_t)tls.rseq))[1] =
			RSEQ_CPU_ID_REGISTRATION_FAILED;
}

uintptr_t tls_make(void *top)
{
	uintptr_t tcb = ((uintptr_t)top - tls.thread_size) &
			~(uintptr_t)(tls.align - 1);
	uintptr_t tp;

	if (!tls.allocate((void *)tcb))
		return 0;
	tp = arch_tcb_to_tp((void *)tcb);
	init_thread(tp);
	return tp;
}

bool tls_renew(uintptr_t tp)
{
	char keep[512];
	char *libc_vars = (char *)tp + tls.libc_offset;
	bool kept = tls.libc_size && tls.libc_size <= sizeof(keep);

	if (kept)
		memcpy(keep, libc_vars, tls.libc_size);
	tls.deallocate((void *)tp, false);
	memset(thread_of(tp), 0, tls.thread_size);
	if (!tls.allocate((void *)tp))
		return false;
	if (kept)
		memcpy(libc_vars, keep, tls.libc_size);
	init_thread(tp);
	return true;
}

void tls_enter(void)
{
	/* What libc keeps of the last user of this block: its locale and its
	 * errno are not ours. */
	uselocale(LC_GLOBAL_LOCALE);
	tls.ctype_init();
	errno = 0;
}

void tls_call_destructors(void)
{
	tls.call_dtors();
}

void tls_set_tid(uintptr_t tp, int tid)
{
	*(int32_t *)(thread_of(tp) + tls.tid.offset) = tid;
}

int tls_tid(uintptr_t tp)
{
	return *(int32_t *)(thread_of(tp) + tls.tid.offset);
}

void tls_free_specific(uintptr_t tp)
{
	void **level1 = (void **)(thread_of(tp) + tls.specific.offset);
	uint32_t n = tls.specific.count;

	/* The first block is part of the descriptor. */
	for (uint32_t i = 1; i < n; i++) {
		free(level1[i]);
		level1[i] = NULL;
	}
}

void tls_init_module(uintptr_t tp, long offset, const void *image,
		     size_t filesz, size_t memsz)
{
	char *at = (char *)tp + offset;

	memcpy(at, image, filesz);
	memset(at + filesz, 0, memsz - filesz);
}
