/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* check-program.c - what cogo-run --check says of a program.
 *
 * It tells what the program and the libraries that it is linked with ask of the C
 * library, and what becomes of each such call. hook/names.def is the table of
 * that, for this as for the hooks; so what is said here is what is done there.
 *
 * Which libraries those are, the loader is asked (--list): it alone has its rules
 * about paths, and in this way it runs nothing of the program or of them. The
 * loader that a program names might be anything; so it is ours that is asked, and
 * only for a program that names the same. The C library's own files are left out:
 * what happens in them is what the table is about.
 *
 * That a function is asked for does not say that it is called, nor by a thread: a
 * remark is a place to look at, and no more. */
#include "check-program.h"
#include "die.h"
#include "elf-file.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- the table ---------------------------------------------------------- */

enum word { WORD_, WORD_MAKES, WORD_WAITS, WORD_AWAY, WORD_BINDS, WORD_UNSEEN };

struct known {
	/* No pointers but where there is a reason: a cogo-run that checks
	 * nothing has none of this to relocate, or to read. */
	char name[40];
	char group[3];
	unsigned char word;	/* enum word */
	const char *why;	/* NULL: ours */
};

static const struct known known[] = {
#define HOOK(name, group, ...) { #name, #group, WORD_##__VA_ARGS__, NULL },
#define ALSO(name, group)
#define PASS(name, group, why, ...) { #name, #group, WORD_##__VA_ARGS__, why },
#define GROUP(...)
#include "hook/names.def"
#undef HOOK
#undef ALSO
#undef PASS
#undef GROUP
};
#define NKNOWN (sizeof(known) / sizeof(*known))

static const struct said {
	char group[3];
	unsigned char word;
	const char *what, *why;
} groups[] = {
#define HOOK(...)
#define ALSO(...)
#define PASS(...)
#define GROUP(group, word, what, why) { #group, WORD_##word, what, why },
#include "hook/names.def"
#undef HOOK
#undef ALSO
#undef PASS
#undef GROUP
};

static int by_name(const void *a, const void *b)
{
	return strcmp((*(const struct known *const *)a)->name,
		      (*(const struct known *const *)b)->name);
}

/* In the order of their names; the table has that of their groups. */
static const struct known *sorted[NKNOWN];

static void sort_table(void)
{
	for (size_t i = 0; i < NKNOWN; i++)
		sorted[i] = &known[i];
	qsort(sorted, NKNOWN, sizeof(*sorted), by_name);
}

static const struct known *find_known(const char *name)
{
	struct known key;
	const struct known *p = &key, **found;
	size_t n = strlen(name);

	if (n >= sizeof(key.name))
		return NULL;
	memcpy(key.name, name, n + 1);
	found = bsearch(&p, sorted, NKNOWN, sizeof(*sorted), by_name);
	return found != NULL ? *found : NULL;
}

/* ---- what is looked at -------------------------------------------------- */

enum engine { ENGINE_GO = 1, ENGINE_ERLANG = 2, ENGINE_JAVA = 4 };

struct part {
	char *path;
	const char *name;	/* the path's last part */
	size_t system_calls;
	bool *asks;		/* of NKNOWN */
	unsigned engines;	/* of enum engine */
};

struct report {
	const char *program;	/* as it is named in sentences */
	struct part *parts;	/* the program, then its libraries */
	size_t n;
	char *unlisted;		/* why its libraries are not known, or NULL */
	char *broken;		/* why the loader cannot load it, or NULL */
	bool remarks;
};

static void note_symbol(const char *name, bool defined, void *arg)
{
	struct part *p = arg;
	const struct known *k;

	if (strcmp(name, "JNI_CreateJavaVM") == 0 ||
	    strcmp(name, "JLI_Launch") == 0)
		p->engines |= ENGINE_JAVA;
	if (defined && strcmp(name, "enif_make_tuple_from_array") == 0)
		p->engines |= ENGINE_ERLANG;
	/* Who stands in front of pthread_create (a sanitizer in the program, for
	 * one) finds the real one at run time. */
	k = find_known(name);
	if (k != NULL && (!defined || k->word == WORD_MAKES))
		p->asks[k - known] = true;
}

/* NULL, or what is wrong with the file. */
static const char *add_part(struct report *r, const char *path)
{
	struct elf_file f;
	struct part *p;
	const char *why = elf_file_open(path, &f);

	if (why != NULL)
		return why;
	r->parts = must(realloc(r->parts, (r->n + 1) * sizeof(*r->parts)));
	p = &r->parts[r->n++];
	*p = (struct part){.path = must(strdup(path))};
	p->name = last_part(p->path);
	p->asks = must(calloc(NKNOWN, sizeof(*p->asks)));
	elf_file_symbols(&f, note_symbol, p);
	p->system_calls = elf_file_system_calls(&f);
	if (elf_file_has_section(&f, ".go.buildinfo") ||
	    elf_file_has_section(&f, ".note.go.buildid"))
		p->engines |= ENGINE_GO;
	elf_file_close(&f);
	return NULL;
}

/* ---- its libraries ------------------------------------------------------ */

/* The C library's own files, and ours. */
static bool left_out(const char *path)
{
	static const char *const names[] = {
		"libc.so.", "libpthread.so.", "libdl.so.", "librt.so.",
		"libm.so.", "libmvec.so.", "libresolv.so.", "libutil.so.",
		"libanl.so.", "libnss_", "libnsl.so.1", "libcogo.so",
	};
	const char *name = last_part(path);

	if (is_glibc_loader(path))
		return true;
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (strncmp(name, names[i], strlen(names[i])) == 0)
			return true;
	return false;
}

/* What the loader says, its errors among it; *ret is its wait status. */
static FILE *ask_loader(const char *loader, const char *program, pid_t *ret)
{
	/* What would have it do or say something else. */
	static const char *const others[] = {
		"LD_AUDIT", "LD_BIND_NOW", "LD_DEBUG", "LD_DEBUG_OUTPUT",
		"LD_PROFILE", "LD_SHOW_AUXV", "LD_VERBOSE", "LD_WARN",
		"LD_TRACE_LOADED_OBJECTS", "LD_TRACE_PRELINKING",
	};
	int pipes[2];
	pid_t pid;

	if (pipe(pipes) != 0)
		die(EXIT_OURS, "a pipe: %s", strerror(errno));
	pid = fork();
	if (pid < 0)
		die(EXIT_OURS, "a process to ask the loader: %s",
		    strerror(errno));
	if (pid == 0) {
		for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++)
			unsetenv(others[i]);
		dup2(pipes[1], STDOUT_FILENO);
		dup2(pipes[1], STDERR_FILENO);
		close(pipes[0]);
		close(pipes[1]);
		execl(loader, loader, "--list", program, (char *)NULL);
		_exit(EXIT_NOT_FOUND);
	}
	close(pipes[1]);
	*ret = pid;
	return must(fdopen(pipes[0], "r"));
}

static bool is_part(const struct report *r, const char *path)
{
	for (size_t i = 0; i < r->n; i++)
		if (strcmp(r->parts[i].path, path) == 0)
			return true;
	return false;
}

/* "\tNAME => PATH (0x…)", "\tPATH (0x…)", and, of some loaders, "\tNAME => not
 * found"; the vdso is a name without a path. */
static void read_line(struct report *r, char *line)
{
	char *arrow = strstr(line, " => "), *path, *end;

	path = arrow != NULL ? arrow + 4 : line + strspn(line, "\t");
	if (arrow != NULL && strncmp(path, "not found", 9) == 0) {
		free(r->broken);
		r->broken = text("%s", line + strspn(line, "\t"));
		return;
	}
	end = strstr(path, " (0x");
	if (end == NULL || strchr(path, '/') == NULL)
		return;
	*end = '\0';
	if (left_out(path) || is_part(r, path))
		return;
	/* The loader could read it; if we cannot, it is as if it asked for
	 * nothing. */
	add_part(r, path);
}

static void list_libraries(struct report *r, const char *path,
			   const struct binary *b)
{
	struct binary own;
	char theirs[PATH_MAX], ours[PATH_MAX], real[PATH_MAX];
	char line[2 * PATH_MAX];
	char last[sizeof(line)] = "";
	static const char prefix[] = "error while loading shared libraries: ";
	const char *error;
	int status = 0;
	FILE *f;
	pid_t pid;

	read_binary("/proc/self/exe", &own);
	if (own.loader[0] == '\0' || realpath(own.loader, ours) == NULL ||
	    realpath(b->loader, theirs) == NULL || strcmp(ours, theirs) != 0) {
		r->unlisted = text("its loader, %s, is not the system's own, "
				   "and is not asked", b->loader);
		return;
	}
	/* The kernel follows links, and $ORIGIN is where they lead. */
	f = ask_loader(ours, realpath(path, real) != NULL ? real : path, &pid);
	while (fgets(line, sizeof(line), f) != NULL) {
		line[strcspn(line, "\n")] = '\0';
		/* A line of its list begins with a blank. */
		if (line[0] == '\t')
			read_line(r, line);
		else if (line[0] != '\0')
			memcpy(last, line, sizeof(last));
	}
	fclose(f);
	waitpid(pid, &status, 0);
	if (WIFSIGNALED(status)) {
		r->broken = text("nothing: it ended by signal %d (%s)",
				 WTERMSIG(status), strsignal(WTERMSIG(status)));
	} else if (WEXITSTATUS(status) != 0) {
		error = strstr(last, prefix);
		r->broken = text("%s", error != NULL ?
				       error + strlen(prefix) : last);
	}
}

/* ---- telling ------------------------------------------------------------ */

#define WIDTH 79

/* Prints words in lines, which begin with so many blanks, the first with first. */
static void fold(size_t first, size_t indent, const char *words)
{
	size_t column = first;

	printf("%*s", (int)first, "");
	while (*words != '\0') {
		size_t n = strcspn(words, " ");

		if (column > indent && column > first && column + 1 + n > WIDTH) {
			printf("\n%*s", (int)indent, "");
			column = indent;
		} else if (column > first) {
			putchar(' ');
			column++;
		}
		printf("%.*s", (int)n, words);
		column += n;
		words += n;
		words += *words == ' ';
	}
	putchar('\n');
}

__attribute__((format(printf, 1, 2))) static void tell(const char *format, ...);
static void tell(const char *format, ...)
{
	va_list ap;
	char *s;

	va_start(ap, format);
	s = vtext(format, ap);
	va_end(ap);
	fold(0, 0, s);
	free(s);
}

static void list(FILE *to, bool *some, const char *word)
{
	fprintf(to, "%s%s", *some ? ", " : "", word);
	*some = true;
}

static bool anybody_asks(const struct report *r, const struct known *k)
{
	for (size_t i = 0; i < r->n; i++)
		if (r->parts[i].asks[k - known])
			return true;
	return false;
}

static bool asks_for(const struct report *r, const char *name)
{
	const struct known *k = find_known(name);

	return k != NULL && anybody_asks(r, k);
}

static bool is_of(const struct known *k, const struct said *s)
{
	return k->word == s->word && strcmp(k->group, s->group) == 0;
}

static bool part_asks(const struct part *p, const struct said *s)
{
	for (size_t i = 0; i < NKNOWN; i++)
		if (p->asks[i] && is_of(&known[i], s))
			return true;
	return false;
}

/* "in nginx and libpcre.so.1" and so on. */
static void list_parts(const struct report *r, const struct said *s, FILE *to)
{
	const size_t most = 4;
	size_t n = 0, told = 0;

	for (size_t i = 0; i < r->n; i++)
		n += part_asks(&r->parts[i], s);
	for (size_t i = 0; i < r->n && told < most; i++) {
		if (!part_asks(&r->parts[i], s))
			continue;
		fprintf(to, "%s%s", told == 0 ? " (in " :
				    told + 1 == n ? " and " : ", ",
			r->parts[i].name);
		told++;
	}
	if (n > most)
		fprintf(to, " and %zu more", n - most);
	fputc(')', to);
}

/* "  sockets: accept, recv" and so on; whether there was any. */
static bool tell_group(const struct report *r, const struct said *s, bool where)
{
	char *line = NULL;
	size_t size;
	bool some = false;
	FILE *to = must(open_memstream(&line, &size));

	fprintf(to, "%s: ", s->what);
	for (size_t i = 0; i < NKNOWN; i++)
		if (is_of(&known[i], s) && anybody_asks(r, &known[i]))
			list(to, &some, known[i].name);
	if (some && where)
		list_parts(r, s, to);
	if (some && s->why[0] != '\0')
		fprintf(to, "; %s", s->why);
	fclose(to);
	must(line);
	if (some)
		fold(2, 4, line);
	free(line);
	return some;
}

static bool any_of(const struct report *r, enum word word)
{
	for (size_t i = 0; i < NKNOWN; i++)
		if (known[i].word == word && anybody_asks(r, &known[i]))
			return true;
	return false;
}

/* Of those that bind: whose use is likely to. A program that starts a command, or
 * that sets its name or asks not to be dumped, is not looked at for that. */
static bool binds_truly(const struct report *r)
{
	for (size_t i = 0; i < NKNOWN; i++)
		if (known[i].word == WORD_BINDS && anybody_asks(r, &known[i]) &&
		    strcmp(known[i].name, "prctl") != 0 &&
		    strcmp(known[i].name, "system") != 0)
			return true;
	return false;
}

static bool tell_word(const struct report *r, enum word word,
		      const char *heading, bool where)
{
	if (!any_of(r, word))
		return false;
	putchar('\n');
	tell("%s", heading);
	for (size_t i = 0; i < sizeof(groups) / sizeof(*groups); i++)
		if (groups[i].word == word)
			tell_group(r, &groups[i], where);
	return true;
}

/* What is libc's and stays so: a line for each reason. */
static void tell_left(const struct report *r)
{
	bool told[NKNOWN] = {0}, any = false;

	for (size_t i = 0; i < NKNOWN; i++) {
		char *line = NULL;
		size_t size;
		bool some = false;
		FILE *to;

		if (told[i] || known[i].why == NULL || known[i].word != WORD_ ||
		    !anybody_asks(r, &known[i]))
			continue;
		if (!any)
			puts("\nStays the C library's, and keeps nobody "
			     "waiting:");
		any = true;
		to = must(open_memstream(&line, &size));
		for (size_t j = i; j < NKNOWN; j++)
			if (known[j].why != NULL && known[j].word == WORD_ &&
			    strcmp(known[j].why, known[i].why) == 0 &&
			    anybody_asks(r, &known[j])) {
				told[j] = true;
				list(to, &some, known[j].name);
			}
		fprintf(to, ": %s", known[i].why);
		fclose(to);
		fold(2, 4, must(line));
		free(line);
	}
}

static size_t all_system_calls(const struct report *r)
{
	size_t n = 0;

	for (size_t i = 0; i < r->n; i++)
		n += r->parts[i].system_calls;
	return n;
}

static void tell_system_calls(struct report *r)
{
	putchar('\n');
	if (all_system_calls(r) == 0) {
		tell("System calls by inline assembly: none found. (A guess: "
		     "the code was searched for the instruction.)");
		return;
	}
	tell("* System calls by inline assembly: each holds up its worker until "
	     "another one has noticed and takes over, after some 10 ms. (A "
	     "guess: the code was searched for the instruction.)");
	for (size_t i = 0; i < r->n; i++)
		if (r->parts[i].system_calls > 0)
			printf("  %s: %zu\n", r->parts[i].name,
			       r->parts[i].system_calls);
}

static void tell_engines(const struct report *r, unsigned engines)
{
	if (engines & ENGINE_GO)
		tell("It is a Go program, with a scheduler of its own: its "
		     "goroutines gain nothing from cogo.");
	if (engines & ENGINE_ERLANG)
		tell("It is Erlang's virtual machine, with a scheduler of its "
		     "own: its processes gain nothing from cogo.");
	if (engines & ENGINE_JAVA)
		tell("It starts a Java virtual machine, whose virtual threads "
		     "have a scheduler of their own and gain nothing from "
		     "cogo; its other threads become coroutines.");
	if (r->unlisted != NULL)
		tell("Its libraries were not looked at: %s.", r->unlisted);
}

static unsigned all_engines(const struct report *r)
{
	unsigned all = 0;

	for (size_t i = 0; i < r->n; i++)
		all |= r->parts[i].engines;
	return all;
}

static void tell_verdict(const struct report *r)
{
	tell("%s can run under cogo-run%s", r->program,
	     r->remarks ? ", with the remarks marked * below." : ".");
	tell("Looked at: %s%s.", r->parts[0].path,
	     r->n == 1 ? "; no library but the C library's own" :
	     r->n == 2 ? " and one library" :
			 text(" and %zu libraries", r->n - 1));
}

static void tell_options(const struct report *r)
{
	puts("\nOptions that may help:");
	if (binds_truly(r) && any_of(r, WORD_MAKES))
		fold(2, 4, "--bind FUNCTION, if such a thread begins in a "
			   "function of that name that the program exports: "
			   "it is a kernel thread from the beginning.");
	fold(2, 4, "--stats tells at the end how many of all these there were.");
}

static void tell_all(struct report *r)
{
	unsigned engines = all_engines(r);
	bool makes = any_of(r, WORD_MAKES), unknown;

	unknown = asks_for(r, "dlopen") || asks_for(r, "dlmopen");
	r->remarks = !makes || engines != 0 || r->unlisted != NULL ||
		     all_system_calls(r) > 0 || binds_truly(r);
	tell_verdict(r);
	if (!makes)
		tell("* Nothing in it makes threads%s.",
		     unknown ? ", unless what it loads later does" :
			       ", so there is nothing for cogo to do");
	if (engines != 0 || r->unlisted != NULL) {
		printf("* ");
		tell_engines(r, engines);
	}

	tell_word(r, WORD_MAKES, "Makes coroutines:", false);
	tell_word(r, WORD_WAITS, "Where it waits in these, only the coroutine "
		  "does, and its worker runs others:", false);
	tell_word(r, WORD_AWAY, "Where it waits in these, another worker takes "
		  "over at once; each costs a kernel thread while it lasts:",
		  true);
	tell_word(r, WORD_UNSEEN, "Where it waits in these, another worker "
		  "takes over when that is noticed, after some 10 ms:", true);
	tell_word(r, WORD_BINDS, binds_truly(r) ?
		  "* Whoever uses these keeps a kernel thread to itself, for "
		  "good where nothing else is said:" :
		  "Whoever uses these keeps a kernel thread to itself:", true);
	tell_left(r);
	tell_system_calls(r);
	if (unknown) {
		putchar('\n');
		tell("It may load more with dlopen; what that will be is not "
		     "known.");
	}
	tell_options(r);
}

/* ---- the check ---------------------------------------------------------- */

static int cannot(const char *sentence)
{
	tell("%s.", sentence);
	return CHECK_NOT;
}

int check_program(const char *path, const char *library_path,
		  const struct binary *library)
{
	struct report r = {.program = path};
	struct binary b;
	const char *why;
	char *binary, *refusal;

	if (access(path, F_OK) != 0)
		die(EXIT_NOT_FOUND, "%s: %s", path, strerror(errno));
	if (access(path, X_OK) != 0)
		die(EXIT_CANNOT, "%s: %s", path, strerror(errno));
	binary = follow_scripts(path, &b);
	if (b.kind == KIND_SCRIPT)
		die(EXIT_CANNOT, "%s names interpreters without end", path);
	if (strcmp(binary, path) != 0) {
		if (access(binary, F_OK) != 0)
			die(EXIT_NOT_FOUND, "%s is there, but the interpreter "
			    "that it names is not", path);
		tell("%s is a script. What counts is its interpreter, %s.",
		     path, binary);
		r.program = binary;
	}
	sort_table();
	refusal = b.kind == KIND_ELF ?
		binary_refusal(binary, &b, library_path, library) : NULL;
	/* Of another machine's program no more than that can be told. */
	why = add_part(&r, binary);
	if (refusal == NULL && why != NULL)
		die(EXIT_CANNOT, "%s %s", binary, why);
	if (refusal != NULL) {
		if (r.n > 0)
			tell_engines(&r, all_engines(&r));
		return cannot(refusal);
	}
	if (b.loader[0] == '\0')
		die(EXIT_CANNOT, "%s is the loader itself; give the program "
		    "that it is to load", binary);
	list_libraries(&r, binary, &b);
	if (r.broken != NULL)
		return cannot(text("%s does not start, with cogo-run or "
				   "without; the loader says: %s",
				   r.program, r.broken));
	tell_all(&r);
	return r.remarks ? CHECK_REMARKS : CHECK_WELL;
}
