/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* exec.c - other programs, from threads: in our place, and as our children. This
 * program is the other one as well, when its first argument is --say. */
#include <dirent.h>
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <spawn.h>
#include <sys/stat.h>
#include <wordexp.h>

#include "../support/expect.h"

extern char **environ;

/* What a started program finds, in one line. */
static int say(int argc, char **argv)
{
	int ours = 0, fds = 0, tasks = 0, blocked = 0;
	struct dirent *e;
	sigset_t mask;
	DIR *d;

	for (char **v = environ; *v; v++)
		ours += strncmp(*v, "COGO_", 5) == 0 ||
			(strncmp(*v, "LD_PRELOAD=", 11) == 0 &&
			 strstr(*v, "libcogo"));
	d = opendir("/proc/self/fd");
	while ((e = readdir(d)))
		fds += e->d_name[0] != '.';
	closedir(d);
	d = opendir("/proc/self/task");
	while ((e = readdir(d)))
		tasks += e->d_name[0] != '.';
	closedir(d);
	sigprocmask(SIG_BLOCK, NULL, &mask);
	for (int sig = 1; sig < 32; sig++)
		blocked += sigismember(&mask, sig) == 1 ? sig : 0;
	printf("ours %d descriptors %d tasks %d blocked %d int %s", ours, fds - 1,
	       tasks, blocked,
	       signal(SIGINT, SIG_DFL) == SIG_IGN ? "ignored" : "default");
	for (int i = 2; i < argc; i++)
		printf(" %s", argv[i]);
	printf(" %s\n", getenv("WORD") ? getenv("WORD") : "-");
	return 21;
}

static char self_path[512];

/* Runs `how` in a thread of a child whose output comes here. */
static void run(void (*how)(void), char *line, size_t size)
{
	int fd[2], status;
	size_t n = 0;
	ssize_t r;
	pid_t pid;

	EXPECT_OK(pipe2(fd, O_CLOEXEC));
	pid = fork();
	if (pid == 0) {
		dup2(fd[1], 1);
		how();
		_exit(1);
	}
	close(fd[1]);
	while (n < size - 1 && (r = read(fd[0], line + n, size - 1 - n)) > 0)
		n += (size_t)r;
	line[n] = 0;
	close(fd[0]);
	status = status_of(pid);
	EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == 21);
}

static char *env[] = {"WORD=given", NULL};

static void by_execl(void) { execl(self_path, "x", "--say", "a", "b", NULL); }

static void by_execle(void)
{
	execle(self_path, "x", "--say", "a", "b", NULL, env);
}

static void by_execlp(void)
{
	setenv("PATH", "/nowhere", 1);
	execlp(self_path, "x", "--say", "a", "b", NULL);
}

static char *args[] = {"x", "--say", "a", "b", NULL};

static void by_execv(void) { execv(self_path, args); }
static void by_execve(void) { execve(self_path, args, env); }
static void by_execvp(void) { execvp(self_path, args); }
static void by_execvpe(void) { execvpe(self_path, args, env); }

static void by_fexecve(void)
{
	fexecve(open(self_path, O_RDONLY | O_CLOEXEC), args, env);
}

static void by_number(void) { syscall(SYS_execve, self_path, args, env); }

static void every_way_to_exec_works_in_a_thread(void)
{
	static const struct way {
		const char *name;
		void (*how)(void);
		const char *word;
	} ways[] = {
		{"execl", by_execl, "kept"},    {"execle", by_execle, "given"},
		{"execlp", by_execlp, "kept"},  {"execv", by_execv, "kept"},
		{"execve", by_execve, "given"}, {"execvp", by_execvp, "kept"},
		{"execvpe", by_execvpe, "given"},
		{"fexecve", by_fexecve, "given"},
		{"by number", by_number, "given"},
	};
	char line[256], want[256];

	setenv("WORD", "kept", 1);
	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		run(ways[i].how, line, sizeof(line));
		snprintf(want, sizeof(want), "a b %s\n", ways[i].word);
		if (!EXPECT(strstr(line, want) && strstr(line, "tasks 1 ")))
			expect_say("%s: %s", ways[i].name, line);
	}
	EXPECT_ERR(execl("/nowhere/at/all", "x", NULL), ENOENT);
	EXPECT_ERR(execl("/", "x", NULL), EACCES);
	unsetenv("WORD");
}

/* Bare there is nothing of ours to be found; run with --no-inherit neither. */
static void nothing_of_ours_reaches_a_started_program(void)
{
	char command[600], line[256];
	posix_spawn_file_actions_t actions;
	pid_t pid;
	FILE *f;
	int fd[2];

	if (getenv("EXPECT_INHERITED")) {
		SKIP("it is to be inherited");
		return;
	}
	run(by_execl, line, sizeof(line));
	EXPECT(strncmp(line, "ours 0 ", 7) == 0);
	run(by_execve, line, sizeof(line));
	EXPECT(strncmp(line, "ours 0 ", 7) == 0);
	snprintf(command, sizeof(command), "%s --say", self_path);
	f = popen(command, "r");
	EXPECT(fgets(line, sizeof(line), f) && strncmp(line, "ours 0 ", 7) == 0);
	EXPECT_EQ(WEXITSTATUS(pclose(f)), 21);
	EXPECT_OK(pipe2(fd, O_CLOEXEC));
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, fd[1], 1);
	EXPECT_EQ(posix_spawn(&pid, self_path, &actions, NULL, args, environ), 0);
	posix_spawn_file_actions_destroy(&actions);
	close(fd[1]);
	memset(line, 0, sizeof(line));
	EXPECT(read(fd[0], line, sizeof(line) - 1) > 0);
	EXPECT(strncmp(line, "ours 0 ", 7) == 0);
	close(fd[0]);
	EXPECT_EQ(WEXITSTATUS(status_of(pid)), 21);
}

/* One that was handed an environment of the program's own making. */
static void other_preloads_stay(void)
{
	char *mine[] = {"LD_PRELOAD=/lib/nothing-there.so:/x/libcogo.so",
			"COGO_WORKERS=7", "WORD=here", NULL};
	char line[256];
	posix_spawn_file_actions_t actions;
	char *sh[] = {"sh", "-c", "echo $LD_PRELOAD, $COGO_WORKERS, $WORD", NULL};
	pid_t pid;
	int fd[2];

	if (!getenv("EXPECT_CLEANED")) {
		SKIP("nothing is to be taken out");
		return;
	}
	EXPECT_OK(pipe2(fd, O_CLOEXEC));
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, fd[1], 1);
	posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
	EXPECT_EQ(posix_spawn(&pid, "/bin/sh", &actions, NULL, sh, mine), 0);
	posix_spawn_file_actions_destroy(&actions);
	close(fd[1]);
	memset(line, 0, sizeof(line));
	EXPECT(read(fd[0], line, sizeof(line) - 1) > 0);
	EXPECT_STR(line, "/lib/nothing-there.so, , here\n");
	close(fd[0]);
	status_of(pid);
}

/* ---- a program of another C library, as far as its header says ---- */

static char strange_path[64], strange_loader[64];

/* A copy of this program whose loader has another name, and is the same. */
static bool make_strange(void)
{
	int from = open(self_path, O_RDONLY | O_CLOEXEC), to;
	bool done = false;
	ElfW(Ehdr) *e;
	ElfW(Phdr) *p;
	struct stat st;
	char *file;

	snprintf(strange_path, sizeof(strange_path), "/tmp/exec-%d", getpid());
	snprintf(strange_loader, sizeof(strange_loader), "/tmp/l-%d", getpid());
	if (!EXPECT_OK(from) || !EXPECT_OK(fstat(from, &st)))
		return false;
	file = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_PRIVATE,
		    from, 0);
	close(from);
	if (!EXPECT(file != MAP_FAILED))
		return false;
	e = (ElfW(Ehdr) *)file;
	p = (ElfW(Phdr) *)(file + e->e_phoff);
	for (int i = 0; i < e->e_phnum; i++) {
		if (p[i].p_type != PT_INTERP)
			continue;
		done = EXPECT_OK(symlink(file + p[i].p_offset, strange_loader));
		snprintf(file + p[i].p_offset, p[i].p_filesz, "%s",
			 strange_loader);
	}
	to = open(strange_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);
	done = EXPECT_OK(to) && done &&
	       EXPECT_EQ(write(to, file, (size_t)st.st_size), st.st_size);
	close(to);
	munmap(file, (size_t)st.st_size);
	return done;
}

static void by_spawn(void)
{
	pid_t pid;

	if (posix_spawn(&pid, self_path, NULL, NULL, args, environ) != 0)
		_exit(1);
	_exit(WEXITSTATUS(status_of(pid)));
}

static void by_env(void)
{
	execlp("env", "env", self_path, "--say", "a", "b", NULL);
}

/* Its loader might know nothing of what we need, and refuse to start it. */
static void a_program_of_another_libc_is_spared_what_is_preloaded(void)
{
	static void (*const ways[])(void) = { by_execv, by_execle, by_execvp,
					      by_fexecve, by_spawn, by_env };
	char kept[sizeof(self_path)], line[256];
	int usual, strange;

	memcpy(kept, self_path, sizeof(kept));
	if (make_strange()) {
		for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
			run(ways[i], line, sizeof(line));
			usual = atoi(line + strlen("ours "));
			snprintf(self_path, sizeof(self_path), "%s", strange_path);
			run(ways[i], line, sizeof(line));
			strange = atoi(line + strlen("ours "));
			memcpy(self_path, kept, sizeof(kept));
			EXPECT_EQ(strange, usual - (usual > 0));
		}
	}
	unlink(strange_path);
	unlink(strange_loader);
}

static void *wait_for_nothing(void *arg)
{
	char c;

	return (void *)(long)read(*(int *)arg, &c, 1);
}

static void blocked_and_ignored(void)
{
	sigset_t mask;

	sigemptyset(&mask);
	sigaddset(&mask, SIGHUP);
	sigaddset(&mask, SIGUSR1);
	pthread_sigmask(SIG_SETMASK, &mask, NULL);
	signal(SIGINT, SIG_IGN);
	by_execv();
}

static void a_program_inherits_its_callers_mask_and_what_is_ignored(void)
{
	char line[256], want[64];
	pthread_t t[4];
	int fd[2];

	EXPECT_OK(pipe2(fd, O_CLOEXEC));
	for (int i = 0; i < 4; i++)
		t[i] = start(wait_for_nothing, &fd[0]);
	run(blocked_and_ignored, line, sizeof(line));
	snprintf(want, sizeof(want), "blocked %d int ignored", SIGHUP + SIGUSR1);
	EXPECT(strstr(line, want) != NULL);
	run(by_execv, line, sizeof(line));
	EXPECT(strstr(line, "blocked 0 int default") != NULL);
	close(fd[1]);
	for (int i = 0; i < 4; i++)
		finish(t[i]);
	close(fd[0]);
}

static void no_descriptor_of_ours_is_left_open(void)
{
	char line[256], *at;
	int n = 0;

	/* As many as this process has, and the one to the pipe is closed. */
	for (int fd = 0; fd < 512; fd++)
		n += fcntl(fd, F_GETFD) >= 0 &&
		     !(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	run(by_execv, line, sizeof(line));
	at = strstr(line, "descriptors ");
	EXPECT(at && atoi(at + 12) == n);
}

static void *expand(void *arg)
{
	wordexp_t w;

	(void)arg;
	for (int i = 0; i < 3; i++) {
		if (!EXPECT_EQ(wordexp("a \"b c\" $((6*7)) $(echo from a shell)",
				       &w, 0), 0))
			return NULL;
		EXPECT_EQ(w.we_wordc, 6);
		EXPECT_STR(w.we_wordv[1], "b c");
		EXPECT_STR(w.we_wordv[2], "42");
		EXPECT_STR(w.we_wordv[5], "shell");
		wordfree(&w);
	}
	return NULL;
}

static void words_are_expanded_in_many_threads(void)
{
	pthread_t t[8];

	for (int i = 0; i < 8; i++)
		t[i] = start(expand, NULL);
	for (int i = 0; i < 8; i++)
		finish(t[i]);
}

static const struct expect_case cases[] = {
	CASE(every_way_to_exec_works_in_a_thread),
	CASE_IN_MAIN(every_way_to_exec_works_in_a_thread),
	CASE(nothing_of_ours_reaches_a_started_program),
	CASE_IN_MAIN(nothing_of_ours_reaches_a_started_program),
	CASE(other_preloads_stay),
	CASE(a_program_of_another_libc_is_spared_what_is_preloaded),
	CASE(a_program_inherits_its_callers_mask_and_what_is_ignored),
	CASE(no_descriptor_of_ours_is_left_open),
	CASE(words_are_expanded_in_many_threads),
};

int main(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], "--say") == 0)
		return say(argc, argv);
	if (readlink("/proc/self/exe", self_path, sizeof(self_path) - 1) < 0)
		return 2;
	return expect_main(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}
