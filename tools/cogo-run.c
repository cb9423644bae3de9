/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* cogo-run - run a program with its threads as coroutines.
 *
 * It puts libcogo.so in front of LD_PRELOAD, the options into COGO_*
 * variables, and becomes the program: one exec, so that process id, parent,
 * signals, descriptors and exit status are the program's own. Like env(1) it
 * ends with 127 when there is no such program, 126 when there is one that
 * cannot be run, 125 when it was itself asked for something wrong.
 *
 * The dynamic loader drops a preload silently wherever it cannot honour it: a
 * static program has no loader, a set-uid one is protected from us, a
 * library of another architecture is skipped. The program would then run,
 * with threads, and its user would believe that coroutines are no better. So
 * we read the file as the kernel and the loader will, and say beforehand what
 * would not work. What we cannot read or do not understand we leave to exec,
 * which knows best. */
#include "base/conf.h"

#include <elf.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <libgen.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

enum {
	EXIT_OURS = 125,
	EXIT_CANNOT = 126,
	EXIT_NOT_FOUND = 127,
};

extern char **environ;

__attribute__((noreturn, format(printf, 2, 3))) static void
die(int status, const char *format, ...)
{
	va_list ap;

	fputs("cogo-run: ", stderr);
	va_start(ap, format);
	vfprintf(stderr, format, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(status);
}

static void *must(void *memory)
{
	if (memory == NULL)
		die(EXIT_OURS, "out of memory");
	return memory;
}

__attribute__((format(printf, 1, 2))) static char *text(const char *format, ...)
{
	va_list ap;
	char *s;
	int n;

	va_start(ap, format);
	n = vasprintf(&s, format, ap);
	va_end(ap);
	return must(n < 0 ? NULL : s);
}

static void set_variable(const char *name, const char *value)
{
	if (setenv(name, value, 1) != 0)
		die(EXIT_OURS, "out of memory");
}

/* ---- what a file is ---------------------------------------------------- */

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

static void read_binary(const char *path, struct binary *b)
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

static const char *machine_name(const struct binary *b)
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

static const char *last_part(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash != NULL ? slash + 1 : path;
}

/* glibc's loader has had this name on every architecture and every
 * distribution, wherever they put it. */
static bool is_glibc_loader(const char *path)
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

static void check_elf(const char *path, const struct binary *b,
		      const char *library_path, const struct binary *library)
{
	const char *secure;

	if (b->class != library->class || b->machine != library->machine ||
	    b->data != library->data)
		die(EXIT_CANNOT,
		    "%s is a program for %s, and %s is for %s; use the "
		    "cogo-run of a cogo built for %s",
		    path, machine_name(b), library_path, machine_name(library),
		    machine_name(b));
	if (b->loader[0] == '\0' && !is_loader_itself(path))
		die(EXIT_CANNOT,
		    "%s is statically linked, so nothing can be loaded into "
		    "it; link it dynamically, or start it without cogo-run",
		    path);
	if (b->loader[0] != '\0' && !is_glibc_loader(b->loader))
		die(EXIT_CANNOT,
		    "%s is not a glibc program (its loader is %s); use a "
		    "build of it for glibc, or start it without cogo-run",
		    path, b->loader);
	secure = why_secure(path, b);
	if (secure != NULL)
		die(EXIT_CANNOT,
		    "%s %s, and for your protection the loader then ignores "
		    "preloaded libraries; start it as the user it changes to, "
		    "from a copy without that mark, or without cogo-run",
		    path, secure);
}

/* ---- finding the program ----------------------------------------------- */

/* Where execvp() would find it: 0 and *ret_path (to be freed), or -errno. It
 * goes on past a file that may not be executed, and remembers. */
static int find_program(const char *name, char **ret_path)
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

/* Follows #! lines as the kernel does, and `#!/usr/bin/env python3` as env
 * will: what counts is the binary that runs in the end. */
static void check_program(const char *path, const char *library_path,
			  const struct binary *library)
{
	char *next = must(strdup(path));
	struct binary b;

	/* The kernel gives up after five; past that it is its word. */
	for (int level = 0; level < 8; level++) {
		read_binary(next, &b);
		if (b.kind == KIND_UNKNOWN)
			break;
		if (b.kind == KIND_ELF) {
			check_elf(next, &b, library_path, library);
			break;
		}
		free(next);
		next = NULL;
		if (strcmp(last_part(b.interpreter), "env") == 0 &&
		    b.argument[0] != '\0' && b.argument[0] != '-' &&
		    strchr(b.argument, '=') == NULL)
			find_program(b.argument, &next);
		if (next == NULL)
			next = must(strdup(b.interpreter));
	}
	free(next);
}

/* ---- finding the library ------------------------------------------------ */

/* What is wrong with it as something to preload, or NULL. */
static const char *library_fault(const char *path, struct binary *ret_b)
{
	/* The loader takes both for the end of a name, and has no quotes. */
	if (strpbrk(path, ": ") != NULL)
		return "has a space or a colon in its path, which LD_PRELOAD "
		       "cannot express; move it";
	if (access(path, R_OK) != 0)
		return strerror(errno);
	read_binary(path, ret_b);
	if (ret_b->kind != KIND_ELF)
		return "is not a shared library";
	return NULL;
}

/* The places where a build, an unpacked archive and an installation have it,
 * seen from where cogo-run is. */
static char *find_library(struct binary *ret_b)
{
	static const char *const places[] = {
		"%s/libcogo.so",
		"%s/../libcogo.so",
		"%s/../lib/libcogo.so",
		"%s/../lib/" COGO_MULTIARCH "/libcogo.so",
		"%s/../lib64/libcogo.so",
	};
	const char *chosen = getenv("COGO_LIBRARY");
	char self[PATH_MAX], full[PATH_MAX];
	const char *fault;
	ssize_t n;

	if (chosen != NULL && chosen[0] != '\0') {
		/* The program may change its directory before it execs. */
		if (realpath(chosen, full) == NULL)
			die(EXIT_OURS, "COGO_LIBRARY=%s: %s; give the path of "
				       "a libcogo.so", chosen, strerror(errno));
		fault = library_fault(full, ret_b);
		if (fault != NULL)
			die(EXIT_OURS, "COGO_LIBRARY=%s %s", chosen, fault);
		return must(strdup(full));
	}

	n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	for (size_t i = 0; n > 0 && i < sizeof(places) / sizeof(*places); i++) {
		char *guess, *dir;

		self[n] = '\0';
		dir = must(strdup(self));
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
		guess = text(places[i], dirname(dir));
#pragma GCC diagnostic pop
		free(dir);
		dir = realpath(guess, NULL);
		free(guess);
		if (dir == NULL)
			continue;
		fault = library_fault(dir, ret_b);
		if (fault != NULL)
			die(EXIT_OURS, "%s %s", dir, fault);
		return dir;
	}
	if (library_fault(COGO_LIBDIR "/libcogo.so", ret_b) == NULL)
		return must(strdup(COGO_LIBDIR "/libcogo.so"));
	die(EXIT_OURS,
	    "libcogo.so is neither beside %.*s nor in %s; install it, or name "
	    "it in COGO_LIBRARY", n > 0 ? (int)n : 8, n > 0 ? self : "cogo-run",
	    COGO_LIBDIR);
}

/* In front, because a name is bound to the first library that has it; and
 * once, although a shell under cogo-run may start cogo-run again. */
static void preload(const char *library)
{
	const char *old = getenv("LD_PRELOAD");
	char *all = must(strdup(library));

	while (old != NULL && *(old += strspn(old, ": ")) != '\0') {
		size_t n = strcspn(old, ": ");
		char *more;

		if (n != strlen(library) || strncmp(old, library, n) != 0) {
			more = text("%s:%.*s", all, (int)n, old);
			free(all);
			all = more;
		}
		old += n;
	}
	set_variable("LD_PRELOAD", all);
	free(all);
}

/* ---- the command line ---------------------------------------------------- */

static void print_setting(const struct conf_setting *s)
{
	const char *line = s->help;
	char left[64];

	if (s->option != NULL)
		snprintf(left, sizeof(left), "--%s%s%s", s->option,
			 s->argument != NULL ? " " : "",
			 s->argument != NULL ? s->argument : "");
	else
		snprintf(left, sizeof(left), "%s=%s", s->name,
			 s->argument != NULL ? s->argument : "1");
	printf("  %-18s ", left);
	for (;;) {
		size_t n = strcspn(line, "\n");

		printf("%.*s\n", (int)n, line);
		if (line[n] == '\0')
			break;
		line += n + 1;
		printf("%21s", "");
	}
	if (s->option != NULL)
		printf("%21s[%s=%s]\n", "", s->name,
		       s->argument != NULL ? s->argument : "1");
}

static void help(void)
{
	puts("Usage: cogo-run [options] [--] program [arguments]\n"
	     "\n"
	     "Runs a multithreaded program, unchanged, with its threads as "
	     "coroutines on a\n"
	     "few kernel threads. It becomes the program: process id, "
	     "signals and exit status\n"
	     "are the program's own.\n"
	     "\n"
	     "Options, each with the variable that does the same; an option "
	     "wins:");
	for (size_t i = 0; i < conf_nsettings; i++)
		if (conf_settings[i].help != NULL &&
		    conf_settings[i].option != NULL)
			print_setting(&conf_settings[i]);
	puts("  --version          print the version\n"
	     "  --help             print this\n"
	     "\n"
	     "Variables without an option:");
	for (size_t i = 0; i < conf_nsettings; i++)
		if (conf_settings[i].help != NULL &&
		    conf_settings[i].option == NULL)
			print_setting(&conf_settings[i]);
	puts("\n"
	     "Exit status: the program's; 127 if there is no such program, 126 "
	     "if it cannot be\n"
	     "run (or not under cogo: statically linked, set-uid, another "
	     "architecture, not\n"
	     "glibc), 125 if cogo-run was asked for something wrong.");
}

static void complain(const struct conf_error *e)
{
	char line[512];

	conf_explain(e, false, line, sizeof(line));
	die(EXIT_OURS, "%s", line);
}

/* A letter left out, put in or changed: one row of the usual table. */
static size_t distance(const char *a, size_t n, const char *b)
{
	size_t row[64], m = strlen(b);

	if (m >= sizeof(row) / sizeof(*row))
		return n;
	for (size_t j = 0; j <= m; j++)
		row[j] = j;
	for (size_t i = 1; i <= n; i++) {
		size_t corner = row[0];

		row[0] = i;
		for (size_t j = 1; j <= m; j++) {
			size_t best = corner + (a[i - 1] != b[j - 1]);

			corner = row[j];
			if (row[j] + 1 < best)
				best = row[j] + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			row[j] = best;
		}
	}
	return row[m];
}

/* The library would take no notice of it, and so would its user not. */
static void warn_unknown(const char *entry)
{
	size_t n = strcspn(entry, "=");
	const char *meant = NULL;
	size_t nearest = 4;

	for (size_t i = 0; i < conf_nsettings; i++) {
		size_t d;

		if (conf_settings[i].help == NULL)
			continue;
		d = distance(entry, n, conf_settings[i].name);
		if (d < nearest) {
			nearest = d;
			meant = conf_settings[i].name;
		}
	}
	if (meant != NULL)
		fprintf(stderr,
			"cogo-run: warning: %.*s is no setting of cogo; did "
			"you mean %s?\n", (int)n, entry, meant);
	else
		fprintf(stderr,
			"cogo-run: warning: %.*s is no setting of cogo; "
			"cogo-run --help lists them\n", (int)n, entry);
}

static void set_option(const struct conf_setting *s, const char *value)
{
	struct cogo_conf scratch = {0};
	struct conf_error e;
	char line[512];

	if (value[0] == '\0') {
		e = (struct conf_error){s, value, "is empty"};
		conf_explain(&e, true, line, sizeof(line));
		die(EXIT_OURS, "%s", line);
	}
	if (conf_set(&scratch, s, value, &e) != 0) {
		conf_explain(&e, true, line, sizeof(line));
		die(EXIT_OURS, "%s", line);
	}
	set_variable(s->name, value);
}

/* Returns the index of the program in argv. */
static int read_options(int argc, char **argv)
{
	enum { OPT_HELP = 1000, OPT_VERSION };
	struct option options[32] = {
		{"help", no_argument, NULL, OPT_HELP},
		{"version", no_argument, NULL, OPT_VERSION},
	};
	char *bind = NULL;
	int n = 2, c;

	for (size_t i = 0; i < conf_nsettings; i++)
		if (conf_settings[i].option != NULL)
			options[n++] = (struct option){
				conf_settings[i].option,
				conf_settings[i].argument != NULL
					? required_argument
					: no_argument,
				NULL, (int)i};

	/* "+": what follows the program's name is the program's. */
	while ((c = getopt_long(argc, argv, "+", options, NULL)) != -1) {
		const struct conf_setting *s;

		switch (c) {
		case OPT_HELP:
			help();
			exit(fflush(stdout) == 0 ? 0 : EXIT_OURS);
		case OPT_VERSION:
			puts("cogo-run " COGO_VERSION);
			exit(fflush(stdout) == 0 ? 0 : EXIT_OURS);
		case '?':
			die(EXIT_OURS, "cogo-run --help lists the options");
		}
		s = &conf_settings[c];
		if (strcmp(s->option, "bind") == 0 && bind != NULL) {
			char *both = text("%s,%s", bind, optarg);

			free(bind);
			bind = both;
			set_option(s, bind);
			continue;
		}
		if (strcmp(s->option, "bind") == 0)
			bind = must(strdup(optarg));
		set_option(s, s->argument != NULL ? optarg : "1");
	}
	free(bind);
	if (optind == argc)
		die(EXIT_OURS, "which program? Usage: cogo-run [options] [--] "
			       "program [arguments]");
	return optind;
}

/* As execvp() does, a file that the kernel does not know is the shell's. */
__attribute__((noreturn)) static void run(const char *path, char **argv)
{
	int error;

	execv(path, argv);
	error = errno;
	if (error == ENOEXEC) {
		char **args;
		int n = 0;

		while (argv[n] != NULL)
			n++;
		args = must(calloc((size_t)n + 2, sizeof(*args)));
		args[0] = "/bin/sh";
		args[1] = (char *)path;
		for (int i = 1; i < n; i++)
			args[i + 1] = argv[i];
		execv("/bin/sh", args);
	}
	/* The file is there, but what its first line or its header names is
	 * not; "No such file" alone has puzzled everybody once. */
	if (error == ENOENT && access(path, F_OK) == 0)
		die(EXIT_NOT_FOUND,
		    "%s is there, but the interpreter that it names is not",
		    path);
	die(error == ENOENT || error == ENOTDIR ? EXIT_NOT_FOUND : EXIT_CANNOT,
	    "%s: %s", path, strerror(error));
}

int main(int argc, char **argv)
{
	struct cogo_conf c = {0};
	struct binary library;
	char *path, *library_path;
	int first, error;

	/* Whole lines, or two processes' words would mix. */
	setvbuf(stderr, NULL, _IOLBF, BUFSIZ);
	conf_parse(&c, environ, complain, warn_unknown);
	first = read_options(argc, argv);

	error = find_program(argv[first], &path);
	if (error == -ENOENT)
		die(EXIT_NOT_FOUND, "%s: there is no such program in PATH",
		    argv[first]);
	if (error != 0)
		die(EXIT_CANNOT, "%s: %s", argv[first], strerror(-error));

	if (!c.disable) {
		library_path = find_library(&library);
		/* First whether it is there at all, in exec's own order. */
		if (access(path, X_OK) == 0)
			check_program(path, library_path, &library);
		preload(library_path);
		set_variable("COGO_RUN", text("%d", (int)getpid()));
	}
	run(path, argv + first);
}
