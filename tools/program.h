/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* program.h - what file a command means, and whether cogo can be loaded into it. */
#ifndef COGO_TOOLS_PROGRAM_H
#define COGO_TOOLS_PROGRAM_H

#include <limits.h>
#include <stdbool.h>
#include <sys/stat.h>

enum kind { KIND_UNKNOWN, KIND_SCRIPT, KIND_ELF };

struct binary {
	enum kind kind;
	struct stat st;
	/* KIND_SCRIPT */
	char interpreter[PATH_MAX];
	char argument[PATH_MAX]; /* the rest of the #! line, "" if none */
	/* KIND_ELF; class, machine and byte order decide who may load whom */
	unsigned char class, data;
	unsigned machine;
	char loader[PATH_MAX]; /* PT_INTERP, "" if none: static */
};

/* Reads the head of a file. One that is damaged, or no regular file, or cannot be
 * read, is KIND_UNKNOWN. */
void read_binary(const char *path, struct binary *ret_b);

/* Where execvp() would find it: 0 and *ret_path (to be freed), or -errno. It
 * goes on past a file that may not be executed, and remembers. */
int find_program(const char *name, char **ret_path);

/* Follows #! lines as the kernel does, and `#!/usr/bin/env python3` as env
 * will: what counts is the binary that runs in the end. Its path, to be freed,
 * and what it is: KIND_SCRIPT still where scripts name each other without end. */
char *follow_scripts(const char *path, struct binary *ret_b);

/* Why the loader would not put that library into the program, as a sentence to be
 * freed; or NULL. */
char *binary_refusal(const char *path, const struct binary *b,
		     const char *library_path, const struct binary *library);

const char *machine_name(const struct binary *b);
const char *last_part(const char *path);
bool is_glibc_loader(const char *path);

#endif
