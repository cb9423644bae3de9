/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* elf-file.h - what a program or a library has in it, read from its file. */
#ifndef COGO_TOOLS_ELF_FILE_H
#define COGO_TOOLS_ELF_FILE_H

#include <stdbool.h>
#include <stddef.h>

struct elf_file {
	const unsigned char *at;
	size_t size;
};

/* Maps it: NULL, or what is wrong with it, as the end of a sentence. Only files
 * of this very kind of machine, 64 bits and little-endian. */
const char *elf_file_open(const char *path, struct elf_file *ret);
void elf_file_close(struct elf_file *f);

/* Calls each() for its dynamic symbols: those it defines, and those it wants. */
void elf_file_symbols(const struct elf_file *f,
		      void (*each)(const char *name, bool defined, void *arg),
		      void *arg);

bool elf_file_has_section(const struct elf_file *f, const char *name);

/* How many instructions in it look like a system call. */
size_t elf_file_system_calls(const struct elf_file *f);

#endif
