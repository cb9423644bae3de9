/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* base/vdso.c - the clock, from the page that the kernel maps into every process.
 *
 * That page is a shared library in memory, whose symbols are looked through once,
 * by whoever needs it first; several may, and find the same. */
#include "base/vdso.h"
#include "base/sys.h"
#include <elf.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/auxv.h>

/* The one that this processor's kernel has. */
static const char *const names[] = {
	"__vdso_clock_gettime", "__kernel_clock_gettime",
};

typedef int clock_fn(clockid_t clock, struct timespec *ret);

static int by_number(clockid_t clock, struct timespec *ret)
{
	return (int)sys_call(SYS_clock_gettime, clock, ret);
}

struct image {
	const char *base;	/* what addresses in it are relative to */
	const Elf64_Sym *symbols;
	const char *names;
	const uint32_t *hash, *gnu_hash;
};

/* Of the old table it is written there; in the newer one the last symbol is the
 * end of the chain that begins last. */
static uint32_t count(const struct image *v)
{
	const uint32_t *h = v->gnu_hash, *buckets, *chain;
	uint32_t last = 0;

	if (v->hash)
		return v->hash[1];
	if (!h)
		return 0;
	buckets = h + 4 + 2 * (size_t)h[2];
	chain = buckets + h[0];
	for (uint32_t i = 0; i < h[0]; i++)
		if (buckets[i] > last)
			last = buckets[i];
	if (last < h[1])
		return h[1];
	while (!(chain[last - h[1]] & 1))
		last++;
	return last + 1;
}

static bool look_into(struct image *v, const char *at)
{
	const Elf64_Ehdr *header = (const void *)at;
	const Elf64_Phdr *p = (const void *)(at + header->e_phoff);
	const Elf64_Dyn *d = NULL;

	v->base = NULL;
	for (int i = 0; i < header->e_phnum; i++) {
		if (p[i].p_type == PT_LOAD && !v->base)
			v->base = at + p[i].p_offset - p[i].p_vaddr;
		else if (p[i].p_type == PT_DYNAMIC)
			d = (const void *)(at + p[i].p_offset);
	}
	if (!v->base || !d)
		return false;
	for (; d->d_tag != DT_NULL; d++) {
		const void *what = v->base + d->d_un.d_ptr;

		if (d->d_tag == DT_SYMTAB)
			v->symbols = what;
		else if (d->d_tag == DT_STRTAB)
			v->names = what;
		else if (d->d_tag == DT_HASH)
			v->hash = what;
		else if (d->d_tag == DT_GNU_HASH)
			v->gnu_hash = what;
	}
	return v->symbols && v->names;
}

static bool is_clock(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (!strcmp(name, names[i]))
			return true;
	return false;
}

static clock_fn *find(void)
{
	const char *at = (const char *)getauxval(AT_SYSINFO_EHDR);
	struct image v = { 0 };
	uint32_t n;

	/* Emulators and tools may have taken it away. */
	if (!at || memcmp(at, ELFMAG, SELFMAG) || !look_into(&v, at))
		return by_number;
	n = count(&v);
	for (uint32_t i = 0; i < n; i++)
		if (v.symbols[i].st_shndx != SHN_UNDEF &&
		    is_clock(v.names + v.symbols[i].st_name))
			return (clock_fn *)(v.base + v.symbols[i].st_value);
	return by_number;
}

int vdso_clock(clockid_t clock, struct timespec *ret)
{
	static _Atomic(clock_fn *) found;
	clock_fn *fn = atomic_load_explicit(&found, memory_order_relaxed);

	if (unlikely(!fn)) {
		fn = find();
		atomic_store_explicit(&found, fn, memory_order_relaxed);
	}
	return fn(clock, ret);
}
