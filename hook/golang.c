/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* hook/golang.c - threads that Go's runtime makes.
 *
 * It makes them by pthread_create where a program has C in it, and from there on
 * speaks to the kernel alone: sets the thread's mask, reads its alternate stack and
 * keeps to it. On a coroutine all that would be a worker's, until the next switch:
 * so a goroutine's fault, of which Go makes a panic, found its signal blocked and
 * ended the process. Such threads gain nothing as coroutines, for goroutines have
 * their own scheduler; they stay kernel threads. They are known by the note that Go's
 * linker puts into whatever it links. */
#include "hook/golang.h"
#include "base/compiler.h"
#include <elf.h>
#include <link.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

static bool is_go(const ElfW(Nhdr) *note)
{
	return note->n_namesz == 4 && memcmp(note + 1, "Go\0", 4) == 0;
}

static bool has_go_note(uintptr_t at, size_t size)
{
	uintptr_t end = at + size;

	while (end - at >= sizeof(ElfW(Nhdr))) {
		const ElfW(Nhdr) *note = (const void *)at;
		size_t room = sizeof(*note) + (((size_t)note->n_namesz + 3) & ~3ul) +
			      (((size_t)note->n_descsz + 3) & ~3ul);

		if (room > end - at)
			return false;
		if (is_go(note))
			return true;
		at += room;
	}
	return false;
}

struct search {
	uintptr_t at;
	bool go;
};

static int look(struct dl_phdr_info *info, size_t size, void *arg)
{
	struct search *s = arg;
	bool here = false, go = false;

	(void)size;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *p = &info->dlpi_phdr[i];
		uintptr_t low = info->dlpi_addr + p->p_vaddr;

		if (p->p_type == PT_LOAD && s->at - low < p->p_memsz)
			here = true;
		/* One aligned to 8 is the GNU property, which pads differently. */
		if (p->p_type == PT_NOTE && p->p_align <= 4)
			go = go || has_go_note(low, p->p_memsz);
	}
	s->go = here && go;
	return here;
}

bool golang_code(const void *at)
{
	/* Where it was not so before: most threads of a program begin in one place. */
	static _Atomic uintptr_t known[16];
	struct search s = { .at = (uintptr_t)at };
	_Atomic uintptr_t *slot = &known[s.at / 16 % ARRAY_SIZE(known)];

	/* relaxed: it says all that it says by its value. */
	if (likely(atomic_load_explicit(slot, memory_order_relaxed) == s.at))
		return false;
	dl_iterate_phdr(look, &s);
	if (!s.go)
		atomic_store_explicit(slot, s.at, memory_order_relaxed);
	return s.go;
}
