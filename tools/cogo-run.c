/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* cogo-run - run a program with its threads as coroutines.
 *
 * It puts libcogo.so at the end of LD_PRELOAD, the options into COGO_*
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
#include "check-program.h"
#include "die.h"
#include "program.h"

#include <errno.h>
#include <getopt.h>
#include <libgen.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

extern char **environ;

static void set_variable(const char *name, const char *value)
{
	if (setenv(name, value, 1) != 0)
		die(EXIT_OURS, "out of memory");
}

/* ---- will the loader honour a preload? --------------------------------- */

static void refuse_program(const char *path, const char *library_path,
			   const struct binary *library)
{
	struct binary b;
	char *binary = follow_scripts(path, &b);
	char *refusal = NULL;

	if (b.kind == KIND_ELF)
		refusal = binary_refusal(binary, &b, library_path, library);
	if (refusal != NULL)
		die(EXIT_CANNOT, "%s", refusal);
	free(binary);
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
	/* Without /proc: what exec was told, which a link may have been. */
	if (n <= 0 && realpath((const char *)getauxval(AT_EXECFN), self) != NULL)
		n = (ssize_t)strlen(self);
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

/* Last, because what else is there (faketime, socket_wrapper, a sanitizer) stands
 * in front of the C library, and so of us: a name is bound to the first library that
 * has it. In front of them we would go past them to the kernel. And once, although a
 * shell under cogo-run may start cogo-run again. */
static void preload(const char *library)
{
	const char *old = getenv("LD_PRELOAD");
	char *all = must(strdup(""));

	while (old != NULL && *(old += strspn(old, ": ")) != '\0') {
		size_t n = strcspn(old, ": ");
		char *more;

		if (n != strlen(library) || strncmp(old, library, n) != 0) {
			more = text("%s%.*s:", all, (int)n, old);
			free(all);
			all = more;
		}
		old += n;
	}
	set_variable("LD_PRELOAD", text("%s%s", all, library));
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
	puts("  --check            say how the program would fare, and run "
	     "nothing of it\n"
	     "  --version          print the version\n"
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
	     "glibc), 125 if cogo-run was asked for something wrong. With "
	     "--check: 0 if it\n"
	     "will run well, 1 if it will run with the remarks given, 2 if it "
	     "cannot be run;\n"
	     "127, 126 or 125 if there was nothing to check.");
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
static int read_options(int argc, char **argv, bool *ret_check)
{
	enum { OPT_HELP = 1000, OPT_VERSION, OPT_CHECK };
	struct option options[32] = {
		{"help", no_argument, NULL, OPT_HELP},
		{"version", no_argument, NULL, OPT_VERSION},
		{"check", no_argument, NULL, OPT_CHECK},
	};
	char *bind = NULL;
	int n = 3, c;

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
		case OPT_CHECK:
			*ret_check = true;
			continue;
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
	bool check = false;
	int first, error;

	/* Whole lines, or two processes' words would mix. */
	setvbuf(stderr, NULL, _IOLBF, BUFSIZ);
	conf_parse(&c, environ, complain, warn_unknown);
	first = read_options(argc, argv, &check);

	error = find_program(argv[first], &path);
	if (error == -ENOENT)
		die(EXIT_NOT_FOUND, "%s: there is no such program in PATH",
		    argv[first]);
	if (error != 0)
		die(EXIT_CANNOT, "%s: %s", argv[first], strerror(-error));

	if (check) {
		library_path = find_library(&library);
		error = check_program(path, library_path, &library);
		exit(fflush(stdout) == 0 ? error : EXIT_OURS);
	}
	if (!c.disable) {
		library_path = find_library(&library);
		/* First whether it is there at all, in exec's own order. */
		if (access(path, X_OK) == 0)
			refuse_program(path, library_path, &library);
		preload(library_path);
		set_variable("COGO_RUN", text("%d", (int)getpid()));
	}
	run(path, argv + first);
}
