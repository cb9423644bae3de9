/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* hook/real.c - libc's own functions behind the names we stand in front of.
 *
 * dlsym would find them, and would change what the thread's next dlerror says: that
 * of a dlopen which has just failed, when one of our functions is called for the
 * first time before the program has asked; or under the feet of dlerror itself, when
 * the program's malloc, which that calls, looks at a clock.
 *
 * So we look ourselves, where dlsym(RTLD_NEXT) would: in the libraries that stand
 * behind us, in the order in which they were loaded, up to libc; each has a table of
 * its names (DT_GNU_HASH), and says which version of one is the default. Libc is there
 * from the start, so these are too, and never unloaded: no lock is needed. What is not
 * found so dlsym looks for: when libc stands before us, since we were loaded later
 * ourselves, when a library has another kind of table, or when the function must be
 * chosen for this processor first. */
#include "hook/real.h"
#include <dlfcn.h>
#include <gnu/libc-version.h>
#include <link.h>
#include <stdbool.h>
#include <string.h>
#include <sys/auxv.h>

#define MOST_LIBRARIES	256
#define HIDDEN_VERSION	0x8000

_Atomic(void *) real_table[REAL_COUNT];

static const char *const names[REAL_COUNT] = {
#define HOOK(name, ...) [REAL_##name] = #name,
#define ALSO(name, ...) [REAL_##name] = #name,
#define PASS(name, ...)
#define GROUP(...)
#include "hook/names.def"
};

static const char *const first_versions[] = {
	"GLIBC_2.2.5", "GLIBC_2.4", "GLIBC_2.17",
};

struct library {
	uintptr_t base;
	const ElfW(Sym) *symbols;
	const char *strings;
	const ElfW(Half) *versions;	/* or NULL */
	const uint32_t *table;
};

static struct library behind[MOST_LIBRARIES];
static uint32_t nbehind;

/* The loader has put addresses there, but where a library may not be written to. */
static const void *address(const struct link_map *map, ElfW(Addr) value)
{
	return (const void *)(value < map->l_addr ? value + map->l_addr : value);
}

static bool read_library(const struct link_map *map, struct library *ret)
{
	struct library l = { .base = map->l_addr };

	for (const ElfW(Dyn) *d = map->l_ld; d && d->d_tag != DT_NULL; d++) {
		const void *at = address(map, d->d_un.d_ptr);

		if (d->d_tag == DT_SYMTAB)
			l.symbols = at;
		else if (d->d_tag == DT_STRTAB)
			l.strings = at;
		else if (d->d_tag == DT_VERSYM)
			l.versions = at;
		else if (d->d_tag == DT_GNU_HASH)
			l.table = at;
	}
	*ret = l;
	return l.symbols && l.strings && l.table;
}

#ifdef DLFO_STRUCT_HAS_EH_DBASE	/* glibc 2.35 */
#pragma weak _dl_find_object
#endif

/* The library that has this inside; NULL if none is known to. */
static const struct link_map *library_of(const void *inside)
{
	const struct link_map *map = NULL;
	Dl_info info;
#ifdef DLFO_STRUCT_HAS_EH_DBASE
	struct dl_find_object found;

	/* dladdr1 looks for the nearest symbol, too: at all that a library has. */
	if (_dl_find_object && _dl_find_object((void *)inside, &found) == 0)
		return found.dlfo_link_map;
#endif
	return dladdr1(inside, &info, (void **)&map, RTLD_DL_LINKMAP) ? map : NULL;
}

void real_load(void)
{
	const struct link_map *map = library_of((void *)real_table);
	const struct link_map *libc = library_of((void *)gnu_get_libc_version);
	uint32_t n = 0;

	while (map && map != libc && (map = map->l_next)) {
		/* The kernel's own, which is on the list and is not looked in. */
		if (map->l_addr == getauxval(AT_SYSINFO_EHDR))
			continue;
		if (n == MOST_LIBRARIES || !read_library(map, &behind[n]))
			return;
		n++;
	}
	if (map)
		nbehind = n;
}

static uint32_t hash_of(const char *name)
{
	uint32_t h = 5381;

	for (; *name; name++)
		h = h * 33 + (unsigned char)*name;
	return h;
}

static bool is_function(const struct library *l, uint32_t i, const char *name)
{
	const ElfW(Sym) *s = &l->symbols[i];
	unsigned type = ELF64_ST_TYPE(s->st_info);

	return s->st_shndx != SHN_UNDEF && s->st_value &&
	       (type == STT_FUNC || type == STT_NOTYPE || type == STT_GNU_IFUNC) &&
	       strcmp(l->strings + s->st_name, name) == 0;
}

/* The symbol of that name, or 0: in its default version, or where it has none and
 * old is true, in its oldest. See the ABI's description of DT_GNU_HASH: a filter, then
 * a chain for each bucket that ends with an odd hash. */
static uint32_t find_in(const struct library *l, const char *name, uint32_t hash,
			bool old)
{
	const uint32_t buckets = l->table[0], first = l->table[1],
		       words = l->table[2], shift = l->table[3];
	const unsigned bits = 8 * sizeof(ElfW(Addr));
	const ElfW(Addr) *filter = (const void *)&l->table[4];
	const uint32_t *bucket = (const void *)&filter[words];
	const uint32_t *chain = &bucket[buckets];
	ElfW(Addr) word, both = (ElfW(Addr))1 << hash % bits |
				(ElfW(Addr))1 << (hash >> shift) % bits;
	uint32_t i, oldest = 0;

	if (!buckets || !words)
		return 0;
	word = filter[hash / bits % words];
	i = bucket[hash % buckets];
	if ((word & both) != both || i < first)
		return 0;
	for (;; i++) {
		uint32_t h = chain[i - first];

		if ((h | 1) == (hash | 1) && is_function(l, i, name)) {
			if (!l->versions || !(l->versions[i] & HIDDEN_VERSION))
				return i;
			/* They are numbered in the order in which libc grew. */
			if (!oldest || l->versions[i] < l->versions[oldest])
				oldest = i;
		}
		if (h & 1)
			return old ? oldest : 0;
	}
}

static void *find_behind(const char *name, bool old)
{
	uint32_t hash = hash_of(name), i;

	for (uint32_t k = 0; k < nbehind; k++) {
		const struct library *l = &behind[k];

		i = find_in(l, name, hash, old);
		if (!i)
			continue;
		if (ELF64_ST_TYPE(l->symbols[i].st_info) == STT_GNU_IFUNC)
			return NULL;
		return (void *)(l->base + l->symbols[i].st_value);
	}
	return NULL;
}

void *real_find(enum real_name name)
{
	/* Two threads may look at once: they find the same. */
	void *fn = find_behind(names[name], false);

	/* Some are there for old programs alone, under a version from when libc
	 * began with them. */
	if (!fn)
		fn = find_behind(names[name], true);
	if (!fn)
		fn = dlsym(RTLD_NEXT, names[name]);
	for (size_t i = 0; !fn && i < ARRAY_SIZE(first_versions); i++)
		fn = dlvsym(RTLD_NEXT, names[name], first_versions[i]);
	atomic_store_explicit(&real_table[name], fn, memory_order_release);
	return fn;
}
