/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* program.c - what file a command means, and whether cogo can be loaded into it.
 *
 * It is read as the kernel and the loader will read it. What cannot be read or is
 * not understood is left to exec, which knows best. */
#include "program.h"
#include "die.h"
#include "elf-file.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

/* ---- what a file is ---------------------------------------------------- */

/* The fields we need lie at other places in a 32-bit file, and are turned
 * round in one of the other byte order. */
static uint64_t field(const struct binary *b, const void *at, size_t size)
{
	const unsigned char *p = at;
	uint64_t n = 0;

	for (size_t i = 0; i < size; i++)
		n = n << 8 | p[b->data == ELFDATA2MSB ? i : size - 1 - i];
	return n;
}

#define FIELD(b, header, type, name)                                     \
	((b)->class == ELFCLASS64                                        \
		 ? field(b, (char *)(header) + offsetof(Elf64_##type, name), \
			 sizeof(((Elf64_##type *)0)->name))              \
		 : field(b, (char *)(header) + offsetof(Elf32_##type, name), \
			 sizeof(((Elf32_##type *)0)->name)))

static bool read_at(int fd, void *buf, size_t size, uint64_t offset)
{
	return offset <= INT64_MAX &&
	       pread(fd, buf, size, (off_t)offset) == (ssize_t)size;
}

/* An ELF file that is damaged is left unknown: the kernel will say so. */
static void read_elf(int fd, struct binary *b, const unsigned char *head)
{
	uint64_t offset, count, size;

	b->class = head[EI_CLASS];
	b->data = head[EI_DATA];
	if (b->class != ELFCLASS32 && b->class != ELFCLASS64)
		return;
	b->machine = (unsigned)FIELD(b, head, Ehdr, e_machine);
	offset = FIELD(b, head, Ehdr, e_phoff);
	count = FIELD(b, head, Ehdr, e_phnum);
	size = FIELD(b, head, Ehdr, e_phentsize);
	if (size != (b->class == ELFCLASS64 ? sizeof(Elf64_Phdr)
					    : sizeof(Elf32_Phdr)))
		return;

	for (uint64_t i = 0; i < count; i++) {
		char phdr[sizeof(Elf64_Phdr)];
		uint64_t n;

		if (!read_at(fd, phdr, size, offset + i * size))
			return;
		if (FIELD(b, phdr, Phdr, p_type) != PT_INTERP)
			continue;
		n = FIELD(b, phdr, Phdr, p_filesz);
		if (n >= sizeof(b->loader) ||
		    !read_at(fd, b->loader, n, FIELD(b, phdr, Phdr, p_offset)))
			return;
		b->loader[n] = '\0';
		break;
	}
	b->kind = KIND_ELF;
}

/* As the kernel reads it: blanks around the interpreter go, and all the rest
 * is one argument. */
static void read_script(struct binary *b, char *line)
{
	size_t n;

	line[strcspn(line, "\n")] = '\0';
	line += 2;
	line += strspn(line, " \t");
	n = strcspn(line, " \t");
	if (n == 0)
		return;
	snprintf(b->interpreter, sizeof(b->interpreter), "%.*s", (int)n, line);
	line += n;
	line += strspn(line, " \t");
	snprintf(b->argument, sizeof(b->argument), "%s", line);
	b->argument[strcspn(b->argument, " \t")] = '\0';
	b->kind = KIND_SCRIPT;
}

void read_binary(const char *path, struct binary *b)
{
	unsigned char head[512] = {0};
	ssize_t n;
	int fd;

	memset(b, 0, sizeof(*b));
	/* Not blocking: it might be a FIFO. */
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return;
	if (fstat(fd, &b->st) != 0 || !S_ISREG(b->st.st_mode))
		goto close_fd;
	n = pread(fd, head, sizeof(head) - 1, 0);
	if (n >= (ssize_t)sizeof(Elf64_Ehdr) &&
	    memcmp(head, ELFMAG, SELFMAG) == 0)
		read_elf(fd, b, head);
	else if (n > 2 && head[0] == '#' && head[1] == '!')
		read_script(b, (char *)head);
close_fd:
	close(fd);
}

/* ---- will the loader honour a preload? --------------------------------- */

/* What the kernel will set AT_SECURE for: identities that this exec changes,
 * or capabilities that it gives to somebody who is not root. A set-uid file
 * that belongs to root changes nothing for root, and so preloads well; nor
 * do the bits count on a nosuid mount or under no_new_privs. A process whose
 * two uids differ already (somebody's set-uid wrapper) stays protected. */
static const char *why_secure(const char *path, const struct binary *b)
{
	mode_t marks = b->st.st_mode;
	uid_t euid = geteuid();
	gid_t egid = getegid();
	struct statvfs vfs;
	char caps[64];

	if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 ||
	    (statvfs(path, &vfs) == 0 && (vfs.f_flag & ST_NOSUID)))
		marks = 0;
	else if (getuid() != 0 &&
		 getxattr(path, "security.capability", caps, sizeof(caps)) > 0)
		return "has file capabilities";
	/* Set-gid without the execute bit once meant mandatory locks. */
	if (!(marks & S_IXGRP))
		marks &= ~(mode_t)S_ISGID;

	if (marks & S_ISUID)
		euid = b->st.st_uid;
	if (marks & S_ISGID)
		egid = b->st.st_gid;
	if (euid != getuid())
		return marks & S_ISUID ? "is set-uid" : "runs as another user";
	if (egid != getgid())
		return marks & S_ISGID ? "is set-gid" : "runs as another group";
	return NULL;
}

/* ---- is it somebody else's patient? ------------------------------------- */

enum sanitizer { ASAN_APART = 1, TSAN = 2 };

/* Its runtime is in the program itself (clang), or a library of its own (gcc). */
static void note_sanitizer(const char *name, bool defined, void *arg)
{
	unsigned *found = arg;

	if (!defined && strcmp(name, "__asan_init") == 0)
		*found |= ASAN_APART;
	if (strcmp(name, "__tsan_init") == 0)
		*found |= TSAN;
}

static unsigned sanitizers(const char *path)
{
	struct elf_file f;
	unsigned found = 0;

	if (elf_file_open(path, &f) != NULL)
		return 0;
	elf_file_symbols(&f, note_sanitizer, &found);
	elf_file_close(&f);
	return found;
}

static bool asan_is_preloaded(void)
{
	const char *all = getenv("LD_PRELOAD"), *options = getenv("ASAN_OPTIONS");

	return (all != NULL && (strstr(all, "libasan.so") != NULL ||
				strstr(all, "libclang_rt.asan") != NULL)) ||
	       (options != NULL &&
		strstr(options, "verify_asan_link_order=0") != NULL);
}

/* AddressSanitizer ends the program when its library is not the first of all, and
 * ThreadSanitizer takes what it finds on the kernel thread for the thread's own.
 * A cogo that is built with them has told them otherwise. */
static char *sanitizer_refusal(const char *path, const char *library_path)
{
	unsigned found = sanitizers(path);

	if (found != 0)
		found &= ~sanitizers(library_path);
	if (found & TSAN)
		return text("%s is built with ThreadSanitizer, which follows "
			    "kernel threads and no coroutines; start it without "
			    "cogo-run", path);
	if ((found & ASAN_APART) && !asan_is_preloaded())
		return text("%s is built with AddressSanitizer, whose library "
			    "wants to be the first that is loaded; start it as "
			    "LD_PRELOAD=\"$(gcc -print-file-name=libasan.so)\" "
			    "cogo-run %s, or with the path of clang's library if "
			    "clang built it", path, path);
	return NULL;
}

const char *machine_name(const struct binary *b)
{
	switch (b->machine) {
	case EM_X86_64:
		return b->class == ELFCLASS64 ? "x86-64" : "x32";
	case EM_AARCH64:
		return b->class == ELFCLASS64 ? "aarch64" : "aarch64 (ilp32)";
	case EM_386:
		return "32-bit x86";
	case EM_ARM:
		return "32-bit ARM";
	case EM_RISCV:
		return "RISC-V";
	case EM_PPC64:
		return "POWER";
	case EM_S390:
		return "S/390";
	}
	return text("machine %u", b->machine);
}

const char *last_part(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash != NULL ? slash + 1 : path;
}

/* glibc's loader has had this name on every architecture and every
 * distribution, wherever they put it. */
bool is_glibc_loader(const char *path)
{
	return strncmp(last_part(path), "ld-linux", 8) == 0 ||
	       strncmp(last_part(path), "ld64.so", 7) == 0;
}

/* Static in form, but it will load the program that it is given, and us. */
static bool is_loader_itself(const char *path)
{
	char real[PATH_MAX];

	return is_glibc_loader(path) ||
	       (realpath(path, real) != NULL && is_glibc_loader(real));
}

char *binary_refusal(const char *path, const struct binary *b,
		     const char *library_path, const struct binary *library)
{
	const char *secure;

	if (b->class != library->class || b->machine != library->machine ||
	    b->data != library->data)
		return text(
			"%s is a program for %s, and %s is for %s; use the "
			"cogo-run of a cogo built for %s",
			path, machine_name(b), library_path,
			machine_name(library), machine_name(b));
	if (b->loader[0] == '\0' && !is_loader_itself(path))
		return text(
			"%s is statically linked, so nothing can be loaded "
			"into it; link it dynamically, or start it without "
			"cogo-run", path);
	if (b->loader[0] != '\0' && !is_glibc_loader(b->loader))
		return text(
			"%s is not a glibc program (its loader is %s); use a "
			"build of it for glibc, or start it without cogo-run",
			path, b->loader);
	secure = why_secure(path, b);
	if (secure == NULL)
		return sanitizer_refusal(path, library_path);
	return text("%s %s, and for your protection the loader then ignores "
		    "preloaded libraries; start it as the user it changes to, "
		    "from a copy without that mark, or without cogo-run",
		    path, secure);
}

/* ---- finding the program ----------------------------------------------- */

int find_program(const char *name, char **ret_path)
{
	const char *path = getenv("PATH");
	int error = ENOENT;

	if (strchr(name, '/') != NULL) {
		*ret_path = must(strdup(name));
		return 0;
	}
	if (path == NULL)
		path = "/bin:/usr/bin";
	for (;;) {
		size_t n = strcspn(path, ":");
		struct stat st;
		char *full = text("%.*s%s%s", (int)n, path,
				  n == 0 ? "./" : "/", name);

		if (stat(full, &st) == 0 && !S_ISDIR(st.st_mode)) {
			if (access(full, X_OK) == 0) {
				*ret_path = full;
				return 0;
			}
			error = errno;
		}
		free(full);
		if (path[n] == '\0')
			return -error;
		path += n + 1;
	}
}

char *follow_scripts(const char *path, struct binary *ret_b)
{
	char *here = must(strdup(path));

	/* The kernel gives up after five; past that it is its word. */
	for (int level = 0; level < 8; level++) {
		char *next = NULL;

		read_binary(here, ret_b);
		if (ret_b->kind != KIND_SCRIPT)
			return here;
		if (strcmp(last_part(ret_b->interpreter), "env") == 0 &&
		    ret_b->argument[0] != '\0' && ret_b->argument[0] != '-' &&
		    strchr(ret_b->argument, '=') == NULL)
			find_program(ret_b->argument, &next);
		if (next == NULL)
			next = must(strdup(ret_b->interpreter));
		free(here);
		here = next;
	}
	return here;
}
