/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* hook/exec.c - another program in our place, or beside us, and the end.
 *
 * exec needs nothing from us: the kernel ends every other thread, whatever it
 * does, and the mask of the kernel thread is the coroutine's while it runs. Our
 * descriptors are closed by it. What these hooks are for is the environment.
 *
 * With COGO_NO_INHERIT, programs started by this one shall not find us in it. We
 * take ourselves out once, at load, which covers system() and whatever else libc
 * starts by itself; and we look at the environments that the program hands over,
 * since it may have made them from a copy.
 *
 * Otherwise we stay the last of those that are preloaded, as cogo-run has made us:
 * what faketime or eatmydata puts there is a layer over libc, and so over us. In
 * front of it we would go past it to the kernel. And a program that cannot have us
 * (target.h) is spared us.
 *
 * All of it may run in a child of vfork, in the parent's memory: nothing is
 * allocated, nothing is noted down. */
#include "base/conf.h"
#include "base/sys.h"
#include "hook/call.h"
#include "hook/file.h"
#include "hook/fork.h"
#include "hook/real.h"
#include "hook/target.h"
#include "inspect/report.h"
#include <alloca.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#define PRELOAD	"LD_PRELOAD="
#define PREFIX	"COGO_"
#define LIBRARY	"libcogo.so"

/* An environment on the stack up to this; a larger one in memory of its own. */
#define ON_STACK (16 << 10)

static bool is_preload(const char *entry)
{
	return strncmp(entry, PRELOAD, strlen(PRELOAD)) == 0;
}

static bool is_setting(const char *entry)
{
	return strncmp(entry, PREFIX, strlen(PREFIX)) == 0;
}

/* The next element of a list as ld.so reads it; its length, 0 at the end. */
static size_t next_library(const char **at)
{
	*at += strspn(*at, ": ");
	return strcspn(*at, ": ");
}

static bool is_us(const char *path, size_t n)
{
	const char *name = path + n;

	while (name > path && name[-1] != '/')
		name--;
	return strncmp(name, LIBRARY, strlen(LIBRARY)) == 0;
}

static bool names_us(const char *entry)
{
	size_t n;

	for (const char *at = entry + strlen(PRELOAD); (n = next_library(&at));
	     at += n)
		if (is_us(at, n))
			return true;
	return false;
}

static bool is_last(const char *entry)
{
	bool last = true;
	size_t n;

	for (const char *at = entry + strlen(PRELOAD); (n = next_library(&at));
	     at += n)
		last = is_us(at, n);
	return last;
}

/* Appends the libraries of an entry that are us, or those that are not. */
static char *append(char *out, const char *start, const char *entry, bool us)
{
	const char *at = entry + strlen(PRELOAD);
	size_t n;

	for (; (n = next_library(&at)); at += n) {
		if (is_us(at, n) != us)
			continue;
		if (out > start)
			*out++ = ':';
		memmove(out, at, n);
		out += n;
	}
	return out;
}

/* Writes the entry without us to `to`, which may be the entry itself. Whether
 * anything is left. */
static bool without_us(const char *entry, char *to)
{
	char *start, *out;

	memmove(to, PRELOAD, strlen(PRELOAD));
	start = to + strlen(PRELOAD);
	out = append(start, start, entry, false);
	*out = 0;
	return out > start;
}

static void with_us_last(const char *entry, char *to)
{
	char *start = to + strlen(PRELOAD), *out;

	memcpy(to, PRELOAD, strlen(PRELOAD));
	out = append(start, start, entry, false);
	out = append(out, start, entry, true);
	*out = 0;
}

static bool to_rewrite(const char *entry, bool drop)
{
	return is_preload(entry) && names_us(entry) && (drop || !is_last(entry));
}

static bool to_drop(const char *entry)
{
	return conf.no_inherit && is_setting(entry);
}

/* The bytes that a copy of env as it should be needs; 0 when it is so. */
static size_t copy_size(char *const env[], bool drop)
{
	size_t size = sizeof(char *);
	bool found = false;

	if (!env || conf.disable)
		return 0;
	for (; *env; env++) {
		size += sizeof(char *);
		if (to_rewrite(*env, drop))
			size += strlen(*env) + 1;
		found |= to_rewrite(*env, drop) || to_drop(*env);
	}
	return found ? size : 0;
}

static char **copy_rewritten(char *const env[], char **to, bool drop)
{
	char **out = to;
	char *text;
	size_t n = 1;

	for (char *const *e = env; *e; e++)
		n++;
	text = (char *)(to + n);
	for (; *env; env++) {
		if (to_drop(*env))
			continue;
		*out = *env;
		if (to_rewrite(*env, drop)) {
			if (!drop)
				with_us_last(*env, text);
			else if (!without_us(*env, text))
				continue;
			*out = text;
			text += strlen(text) + 1;
		}
		out++;
	}
	*out = NULL;
	return to;
}

static bool preloads_us(char *const env[])
{
	for (; env && *env; env++)
		if (is_preload(*env) && names_us(*env))
			return true;
	return false;
}

/* env, or a copy that is as it should be for a program that takes us or does not: a
 * macro, since the copy is in the caller's frame. A failed exec loses what a large
 * one took. */
#define CLEAN(env, takes_us) __extension__ ({				\
	char *const *clean_ = (env);					\
	bool drop_ = conf.no_inherit ||					\
		     (preloads_us(clean_) && !(takes_us));		\
	size_t size_ = copy_size(clean_, drop_);			\
	void *room_ = NULL;						\
	if (size_)							\
		room_ = size_ <= ON_STACK ? alloca(size_) : sys_map(size_); \
	if (room_)							\
		clean_ = copy_rewritten(clean_, room_, drop_);		\
	(char **)clean_;						\
})

/* In place: main's own envp is this array too. */
void exec_load(void)
{
	char **out = environ;

	if (!conf.no_inherit || !environ)
		return;
	for (char **e = environ; *e; e++) {
		if (is_setting(*e) ||
		    (is_preload(*e) && names_us(*e) && !without_us(*e, *e)))
			continue;
		*out++ = *e;
	}
	*out = NULL;
}

/* exec */

HOOKED int execve(const char *path, char *const argv[], char *const env[])
{
	return REAL(execve)(path, argv, CLEAN(env, target_takes_us(path)));
}

HOOKED int execv(const char *path, char *const argv[])
{
	return execve(path, argv, environ);
}

HOOKED int execvpe(const char *file, char *const argv[], char *const env[])
{
	return REAL(execvpe)(file, argv,
			     CLEAN(env, target_in_path_takes_us(file)));
}

HOOKED int execvp(const char *file, char *const argv[])
{
	return execvpe(file, argv, environ);
}

HOOKED int fexecve(int fd, char *const argv[], char *const env[])
{
	return REAL(fexecve)(fd, argv, CLEAN(env, target_fd_takes_us(fd)));
}

/* A path that begins elsewhere is not looked at. */
static bool execveat_takes_us(int dir, const char *path)
{
	if (*path)
		return (dir != AT_FDCWD && *path != '/') || target_takes_us(path);
	return target_fd_takes_us(dir);
}

HOOKED int execveat(int dir, const char *path, char *const argv[],
		    char *const env[], int flags)
{
	return REAL(execveat)(dir, path, argv,
			      CLEAN(env, execveat_takes_us(dir, path)), flags);
}

/* Before the NULL, which may be the first. */
static NOINLINE size_t count(const char *first, va_list ap)
{
	size_t n = 0;

	for (; first; first = va_arg(ap, const char *))
		n++;
	return n;
}

/* The arguments of execl and its like as an array in the caller's frame; ap
 * stands behind their NULL then. */
#define COLLECT(first, ap, argv)					\
	do {								\
		va_list all_;						\
		size_t n_;						\
		va_start(all_, first);					\
		n_ = count(first, all_);				\
		va_end(all_);						\
		(argv) = alloca((n_ + 1) * sizeof(char *));		\
		(argv)[0] = (char *)(uintptr_t)(first);			\
		for (size_t i_ = 1; i_ <= n_; i_++)			\
			(argv)[i_] = va_arg(ap, char *);		\
	} while (0)

HOOKED int execl(const char *path, const char *first, ...)
{
	char **argv;
	va_list ap;

	va_start(ap, first);
	COLLECT(first, ap, argv);
	va_end(ap);
	return execve(path, argv, environ);
}

HOOKED int execlp(const char *file, const char *first, ...)
{
	char **argv;
	va_list ap;

	va_start(ap, first);
	COLLECT(first, ap, argv);
	va_end(ap);
	return execvpe(file, argv, environ);
}

HOOKED int execle(const char *path, const char *first, ...)
{
	char **argv, **env;
	va_list ap;

	va_start(ap, first);
	COLLECT(first, ap, argv);
	env = va_arg(ap, char **);
	va_end(ap);
	return execve(path, argv, env);
}

/* posix_spawn makes its child on a stack of its own, with every signal
 * blocked, and sleeps until that has run exec. */

typedef bool (*takes_fn)(const char *);
typedef int (*spawn_fn)(pid_t *restrict, const char *restrict,
			const posix_spawn_file_actions_t *restrict,
			const posix_spawnattr_t *restrict, char *const *restrict,
			char *const *restrict);

static int spawn(spawn_fn real, takes_fn takes, pid_t *ret, const char *file,
		 const posix_spawn_file_actions_t *actions,
		 const posix_spawnattr_t *attr, char *const argv[],
		 char *const env[])
{
	struct coro *me = gate_coro();
	int r;

	if (me)
		call_begin(me, WHY_BLOCKED);
	r = real(ret, file, actions, attr, argv, CLEAN(env, takes(file)));
	if (me)
		call_end(me);
	fork_shared();
	return r;
}

HOOKED int posix_spawn(pid_t *restrict ret, const char *restrict path,
		       const posix_spawn_file_actions_t *restrict actions,
		       const posix_spawnattr_t *restrict attr,
		       char *const argv[restrict], char *const env[restrict])
{
	return spawn(REAL(posix_spawn), target_takes_us, ret, path, actions,
		     attr, argv, env);
}

HOOKED int posix_spawnp(pid_t *restrict ret, const char *restrict file,
			const posix_spawn_file_actions_t *restrict actions,
			const posix_spawnattr_t *restrict attr,
			char *const argv[restrict], char *const env[restrict])
{
	return spawn(REAL(posix_spawnp), target_in_path_takes_us, ret, file,
		     actions, attr, argv, env);
}

/* libc's since 2.39: the same, but that a descriptor is told instead of a number.
 * Whoever looks for them in an older one finds ours. */
int pidfd_spawn(int *restrict ret, const char *restrict path,
		const posix_spawn_file_actions_t *restrict actions,
		const posix_spawnattr_t *restrict attr,
		char *const argv[restrict], char *const env[restrict]);
int pidfd_spawnp(int *restrict ret, const char *restrict file,
		 const posix_spawn_file_actions_t *restrict actions,
		 const posix_spawnattr_t *restrict attr,
		 char *const argv[restrict], char *const env[restrict]);

static int spawn_for_fd(spawn_fn real, takes_fn takes, int *ret, const char *file,
			const posix_spawn_file_actions_t *actions,
			const posix_spawnattr_t *attr, char *const argv[],
			char *const env[])
{
	int r = real ? spawn(real, takes, ret, file, actions, attr, argv, env)
		     : ENOSYS;

	if (r == 0)
		file_came(*ret);
	return r;
}

HOOKED int pidfd_spawn(int *restrict ret, const char *restrict path,
		       const posix_spawn_file_actions_t *restrict actions,
		       const posix_spawnattr_t *restrict attr,
		       char *const argv[restrict], char *const env[restrict])
{
	return spawn_for_fd((spawn_fn)real_get(REAL_pidfd_spawn), target_takes_us,
			    ret, path, actions, attr, argv, env);
}

HOOKED int pidfd_spawnp(int *restrict ret, const char *restrict file,
			const posix_spawn_file_actions_t *restrict actions,
			const posix_spawnattr_t *restrict attr,
			char *const argv[restrict], char *const env[restrict])
{
	return spawn_for_fd((spawn_fn)real_get(REAL_pidfd_spawnp),
			    target_in_path_takes_us, ret, file, actions, attr, argv,
			    env);
}

/* The end. exit() runs the program's handlers where it was called, then our
 * destructor (report.c). These go past it. */

HOOKED void _exit(int status)
{
	if (!fork_vforked())
		report_at_exit();
	for (;;)
		sys_call(SYS_exit_group, status);
}
ALIAS(_Exit, _exit);
