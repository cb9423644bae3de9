/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* hook/target.c - can a program that is about to be executed have us?
 *
 * glibc's loader leaves out what it cannot preload, with a line on stderr that the
 * program's user has not asked for; another libc's loader does not start the program
 * at all. So the file is read as the kernel will read it. What cannot be read or is
 * not understood is none of our business: exec will say what is the matter. A static
 * program takes no notice, and hands us on to those that it starts. */
#include "hook/target.h"
#include "base/compiler.h"
#include "base/sys.h"
#include <elf.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MOST_SCRIPTS 5	/* the kernel goes no further */

/* The linker's name for our own. */
extern const ElfW(Ehdr) __ehdr_start __attribute__((visibility("hidden")));

static bool read_at(int fd, void *buf, size_t size, uint64_t at)
{
	return sys_call(SYS_pread64, fd, buf, size, at) == (long)size;
}

/* The name that glibc's loader has had everywhere. */
static bool is_glibc_loader(const char *path)
{
	const char *name = strrchr(path, '/');

	return strncmp(name ? name + 1 : path, "ld-linux", 8) == 0;
}

static bool elf_takes_us(int fd, const ElfW(Ehdr) *e)
{
	char loader[256];

	if (e->e_ident[EI_CLASS] != __ehdr_start.e_ident[EI_CLASS] ||
	    e->e_machine != __ehdr_start.e_machine)
		return false;
	if (e->e_phentsize != sizeof(ElfW(Phdr)))
		return true;
	for (unsigned i = 0; i < e->e_phnum; i++) {
		ElfW(Phdr) p;

		if (!read_at(fd, &p, sizeof(p), e->e_phoff + i * sizeof(p)))
			return true;
		if (p.p_type != PT_INTERP)
			continue;
		if (p.p_filesz == 0 || p.p_filesz > sizeof(loader) ||
		    !read_at(fd, loader, p.p_filesz, p.p_offset))
			return true;
		loader[p.p_filesz - 1] = 0;
		return is_glibc_loader(loader);
	}
	return true;
}

/* The interpreter of a script in head, as the kernel cuts it out; NULL. */
static const char *interpreter(char *head)
{
	char *name = head + 2 + strspn(head + 2, " \t");

	name[strcspn(name, " \t\n")] = 0;
	return *name ? name : NULL;
}

/* Whether it may; *ret_next is the interpreter to look at instead, in head. */
static bool file_takes_us(int fd, char head[static 256], const char **ret_next)
{
	ElfW(Ehdr) e;
	long n = sys_call(SYS_pread64, fd, head, 255, 0);

	*ret_next = NULL;
	if (n < 2)
		return true;
	head[n] = 0;
	if (head[0] == '#' && head[1] == '!')
		*ret_next = interpreter(head);
	if (n < (long)sizeof(e) || memcmp(head, ELFMAG, SELFMAG) != 0)
		return true;
	memcpy(&e, head, sizeof(e));
	return elf_takes_us(fd, &e);
}

bool target_takes_us(const char *path)
{
	char head[256];
	const char *at = path;
	bool takes = true;

	for (int i = 0; i < MOST_SCRIPTS && at && takes; i++) {
		/* It may be a FIFO. */
		int fd = (int)sys_call(SYS_openat, AT_FDCWD, at,
				       O_RDONLY | O_CLOEXEC | O_NONBLOCK);

		if (fd < 0)
			return true;
		takes = file_takes_us(fd, head, &at);
		sys_call(SYS_close, fd);
	}
	return takes;
}

bool target_fd_takes_us(int fd)
{
	char head[256];
	const char *next;
	bool takes = file_takes_us(fd, head, &next);

	return next ? target_takes_us(next) : takes;
}

bool target_in_path_takes_us(const char *file)
{
	const char *dirs = getenv("PATH");
	char path[PATH_MAX];

	if (!dirs)
		dirs = "/bin:/usr/bin";
	if (strchr(file, '/'))
		return target_takes_us(file);
	for (;;) {
		size_t n = strcspn(dirs, ":"), m = strlen(file);

		if (n + m + 2 <= sizeof(path)) {
			memcpy(path, dirs, n);
			if (n)
				path[n++] = '/';
			memcpy(path + n, file, m + 1);
			if (sys_call(SYS_faccessat, AT_FDCWD, path, X_OK) == 0)
				return target_takes_us(path);
		}
		dirs = strchr(dirs, ':');
		if (!dirs)
			return true;
		dirs++;
	}
}
