/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* elf-file.c - what a program or a library has in it, read from its file.
 *
 * A file may be damaged in any way, and must not bring us down: no offset or
 * count from it is used before inside() has agreed. What it does not agree to is
 * as if it were not there; only a file that is shorter than its own headers say
 * is refused at once, because the loader could not map it either.
 *
 * Symbols are found through the section headers, or, where those have been cut
 * away, through what the loader reads, which does not tell how many there are:
 * there the table of names begins where the symbols end. */
#include "elf-file.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Whether n things of that size lie there, and as what is in memory must. */
static bool inside(const struct elf_file *f, uint64_t offset, uint64_t n,
		   size_t size)
{
	return offset <= f->size && n <= (f->size - offset) / size &&
	       offset % (size >= 8 ? 8 : 1) == 0;
}

static const Elf64_Ehdr *head(const struct elf_file *f)
{
	return (const void *)f->at;
}

static const Elf64_Phdr *segments(const struct elf_file *f, size_t *ret_n)
{
	const Elf64_Ehdr *h = head(f);

	*ret_n = 0;
	if (h->e_phentsize != sizeof(Elf64_Phdr) ||
	    !inside(f, h->e_phoff, h->e_phnum, sizeof(Elf64_Phdr)))
		return NULL;
	*ret_n = h->e_phnum;
	return (const void *)(f->at + h->e_phoff);
}

static const Elf64_Shdr *sections(const struct elf_file *f, size_t *ret_n)
{
	const Elf64_Ehdr *h = head(f);

	*ret_n = 0;
	if (h->e_shoff == 0 || h->e_shentsize != sizeof(Elf64_Shdr) ||
	    !inside(f, h->e_shoff, h->e_shnum, sizeof(Elf64_Shdr)))
		return NULL;
	*ret_n = h->e_shnum;
	return (const void *)(f->at + h->e_shoff);
}

/* ---- make and end ------------------------------------------------------- */

static const char *fault(const struct elf_file *f)
{
	const Elf64_Phdr *p;
	size_t n;

	if (f->size < sizeof(Elf64_Ehdr) ||
	    memcmp(f->at, ELFMAG, SELFMAG) != 0)
		return "is neither a program nor a script that begins with #!";
	if (f->at[EI_CLASS] != ELFCLASS64 || f->at[EI_DATA] != ELFDATA2LSB)
		return "is for another kind of machine";
	p = segments(f, &n);
	if (n == 0)
		return "is damaged: its headers lead past its end";
	for (size_t i = 0; i < n; i++)
		if (p[i].p_type == PT_LOAD &&
		    (p[i].p_offset > f->size ||
		     p[i].p_filesz > f->size - p[i].p_offset))
			return "is damaged: it is shorter than its headers say";
	return NULL;
}

const char *elf_file_open(const char *path, struct elf_file *ret)
{
	struct elf_file f = {0};
	const char *why = NULL;
	struct stat st;
	void *at;
	int fd;

	/* Not blocking: it might be a FIFO. */
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return strerror(errno);
	if (fstat(fd, &st) != 0)
		why = strerror(errno);
	else if (S_ISDIR(st.st_mode))
		why = "is a directory";
	else if (!S_ISREG(st.st_mode))
		why = "is no regular file";
	else if (st.st_size == 0)
		why = "is empty";
	if (why != NULL)
		goto close_fd;
	f.size = (size_t)st.st_size;
	at = mmap(NULL, f.size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (at == MAP_FAILED) {
		why = strerror(errno);
		goto close_fd;
	}
	f.at = at;
	why = fault(&f);
	if (why != NULL)
		elf_file_close(&f);
	else
		*ret = f;
close_fd:
	close(fd);
	return why;
}

void elf_file_close(struct elf_file *f)
{
	munmap((void *)f->at, f->size);
	f->at = NULL;
}

/* ---- symbols ------------------------------------------------------------ */

struct symbols {
	uint64_t at, n;		/* offset in the file, how many */
	uint64_t names, size;
};

static bool by_sections(const struct elf_file *f, struct symbols *ret)
{
	size_t n;
	const Elf64_Shdr *s = sections(f, &n);

	for (size_t i = 0; i < n; i++) {
		if (s[i].sh_type != SHT_DYNSYM || s[i].sh_link >= n)
			continue;
		ret->at = s[i].sh_offset;
		ret->n = s[i].sh_size / sizeof(Elf64_Sym);
		ret->names = s[s[i].sh_link].sh_offset;
		ret->size = s[s[i].sh_link].sh_size;
		return true;
	}
	return false;
}

/* Where in the file lies what will be at that address? */
static uint64_t offset_of(const struct elf_file *f, uint64_t address)
{
	size_t n;
	const Elf64_Phdr *p = segments(f, &n);

	for (size_t i = 0; i < n; i++)
		if (p[i].p_type == PT_LOAD && address >= p[i].p_vaddr &&
		    address - p[i].p_vaddr < p[i].p_filesz)
			return address - p[i].p_vaddr + p[i].p_offset;
	return UINT64_MAX;
}

static bool by_segments(const struct elf_file *f, struct symbols *ret)
{
	size_t n;
	const Elf64_Phdr *p = segments(f, &n);
	uint64_t symbols = 0, names = 0;

	for (size_t i = 0; i < n; i++) {
		uint64_t count = p[i].p_filesz / sizeof(Elf64_Dyn);
		const Elf64_Dyn *d;

		if (p[i].p_type != PT_DYNAMIC ||
		    !inside(f, p[i].p_offset, count, sizeof(Elf64_Dyn)))
			continue;
		d = (const void *)(f->at + p[i].p_offset);
		for (; count > 0 && d->d_tag != DT_NULL; count--, d++) {
			if (d->d_tag == DT_SYMTAB)
				symbols = d->d_un.d_ptr;
			else if (d->d_tag == DT_STRTAB)
				names = d->d_un.d_ptr;
			else if (d->d_tag == DT_STRSZ)
				ret->size = d->d_un.d_val;
		}
	}
	if (symbols == 0 || names <= symbols)
		return false;
	ret->at = offset_of(f, symbols);
	ret->n = (names - symbols) / sizeof(Elf64_Sym);
	ret->names = offset_of(f, names);
	return true;
}

void elf_file_symbols(const struct elf_file *f,
		      void (*each)(const char *name, bool defined, void *arg),
		      void *arg)
{
	struct symbols t = {0};
	const Elf64_Sym *s;
	const char *names;

	if ((!by_sections(f, &t) && !by_segments(f, &t)) ||
	    !inside(f, t.at, t.n, sizeof(Elf64_Sym)) ||
	    !inside(f, t.names, t.size, 1))
		return;
	s = (const void *)(f->at + t.at);
	names = (const char *)f->at + t.names;
	/* The first is none. */
	for (uint64_t i = 1; i < t.n; i++)
		if (s[i].st_name < t.size &&
		    memchr(names + s[i].st_name, 0, t.size - s[i].st_name))
			each(names + s[i].st_name, s[i].st_shndx != SHN_UNDEF,
			     arg);
}

/* ---- sections ----------------------------------------------------------- */

bool elf_file_has_section(const struct elf_file *f, const char *name)
{
	size_t n, room = strlen(name) + 1;
	const Elf64_Shdr *s = sections(f, &n);
	const Elf64_Shdr *names;

	if (head(f)->e_shstrndx >= n)
		return false;
	names = &s[head(f)->e_shstrndx];
	if (!inside(f, names->sh_offset, names->sh_size, 1))
		return false;
	for (size_t i = 0; i < n; i++)
		if (s[i].sh_name < names->sh_size &&
		    room <= names->sh_size - s[i].sh_name &&
		    memcmp(f->at + names->sh_offset + s[i].sh_name, name,
			   room) == 0)
			return true;
	return false;
}

/* ---- system calls ------------------------------------------------------- */

/* Before a system call its number has to come into eax: as a constant, as zero,
 * or from another register. Two bytes alone are found in every large file by
 * chance; with this before them, hardly. */
static bool has_number(const unsigned char *from, const unsigned char *to)
{
	for (const unsigned char *p = from; p + 2 <= to; p++) {
		/* mov $small, %eax and mov $small, %rax */
		if (p + 5 <= to && p[0] == 0xb8 && p[2] < 4 && !p[3] && !p[4])
			return true;
		if (p + 7 <= to && p[0] == 0x48 && p[1] == 0xc7 &&
		    p[2] == 0xc0 && p[4] < 4 && !p[5] && !p[6])
			return true;
		/* xor %eax, %eax; mov %…, %eax */
		if ((p[0] == 0x31 && p[1] == 0xc0) ||
		    (p[0] == 0x89 && (p[1] & 0xc7) == 0xc0))
			return true;
	}
	return false;
}

/* Most of those two bytes are the middle of an address, of which the highest byte
 * is then one of the next two, and all zeros or all ones; but so may be what comes
 * after `cmp $…, %eax`, with which the answer is looked at. */
static bool in_address(const unsigned char *p, const unsigned char *end)
{
	if (end - p < 4 || p[2] == 0x3d)
		return false;
	return p[2] == 0x00 || p[2] == 0xff || p[3] == 0x00 || p[3] == 0xff;
}

static size_t count_x86(const unsigned char *code, size_t n)
{
	const unsigned char *end = code + n, *p = code;
	size_t found = 0;

	while (end - p >= 2 && (p = memchr(p, 0x0f, (size_t)(end - p - 1)))) {
		if (p[1] == 0x05 && !in_address(p, end) &&
		    has_number(p - code > 48 ? p - 48 : code, p))
			found++;
		p++;
	}
	return found;
}

/* svc #0 */
static size_t count_aarch64(const unsigned char *code, size_t n)
{
	static const unsigned char svc[] = {0x01, 0x00, 0x00, 0xd4};
	size_t found = 0;

	for (size_t i = 0; i + 4 <= n; i += 4)
		found += memcmp(code + i, svc, sizeof(svc)) == 0;
	return found;
}

static size_t count(const struct elf_file *f, uint64_t offset, uint64_t n)
{
	if (!inside(f, offset, n, 1))
		return 0;
	switch (head(f)->e_machine) {
	case EM_X86_64:
		return count_x86(f->at + offset, n);
	case EM_AARCH64:
		return count_aarch64(f->at + offset, n);
	}
	return 0;
}

size_t elf_file_system_calls(const struct elf_file *f)
{
	size_t n, found = 0;
	const Elf64_Shdr *s = sections(f, &n);
	const Elf64_Phdr *p;

	/* Sections tell the code from the constants that may share its pages. */
	for (size_t i = 0; i < n; i++)
		if (s[i].sh_type == SHT_PROGBITS &&
		    s[i].sh_flags & SHF_EXECINSTR)
			found += count(f, s[i].sh_offset, s[i].sh_size);
	if (n > 0)
		return found;
	p = segments(f, &n);
	for (size_t i = 0; i < n; i++)
		if (p[i].p_type == PT_LOAD && p[i].p_flags & PF_X)
			found += count(f, p[i].p_offset, p[i].p_filesz);
	return found;
}
