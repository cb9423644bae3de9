/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* io.c - the errors of cogo/io.h. */
#include "errors.h"
#include <arpa/inet.h>
#include <dlfcn.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

/* ---- what stands ready ---- */

/* Nobody writes into `dry`, nobody reads from `full`, nobody connects to `alone`;
 * `crowd` is the address of a listener that takes no more. */
static int dry, full, alone;
static struct sockaddr_un crowd;

static int listen_at(struct sockaddr_un *at, int backlog)
{
	static int n;
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	memset(at, 0, sizeof(*at));
	at->sun_family = AF_UNIX;
	snprintf(at->sun_path + 1, sizeof(at->sun_path) - 1, "cogo.errors.%d.%d",
		 (int)getpid(), n++);
	check_eq(bind(fd, (struct sockaddr *)at, sizeof(*at)), 0);
	check_eq(listen(fd, backlog), 0);
	return fd;
}

static int connect_to(const struct sockaddr_un *at, int fd, cogo_time deadline)
{
	return cogo_connect(fd, (const struct sockaddr *)at, sizeof(*at), deadline);
}

static void prepare(void)
{
	struct sockaddr_un at;
	static char much[65536];
	int p[2], r;

	check_eq(pipe(p), 0);
	dry = p[0];
	check_eq(pipe(p), 0);
	full = p[1];
	while ((r = (int)cogo_write(full, much, sizeof(much), 0)) > 0)
		;
	check_eq(r, -ETIMEDOUT);
	alone = listen_at(&at, 1);
	listen_at(&crowd, 0);
	while ((r = connect_to(&crowd, socket(AF_UNIX, SOCK_STREAM, 0), 0)) == 0)
		;
	check_eq(r, -ETIMEDOUT);
}

/* ---- the C library's resolver, in parts ---- */

static atomic_int answers;	/* EAI_... instead of asking anybody */
static atomic_bool thinks;	/* for as long as that is set */

__attribute__((visibility("default")))
int getaddrinfo(const char *restrict node, const char *restrict service,
		const struct addrinfo *restrict hints,
		struct addrinfo **restrict ret)
{
	int (*real)(const char *, const char *, const struct addrinfo *,
		    struct addrinfo **);

	while (thinks)
		cogo_sleep(COGO_MS);
	if (answers) {
		errno = EMFILE;
		return answers;
	}
	*(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
	return real(node, service, hints, ret);
}

/* ---- too late, cancelled, unknown ---- */

/* Without its E, as a number is what would come to FAILS otherwise. */
#define EACH_CALL(which, deadline)                                             \
	do {                                                                   \
		int fd = socket(AF_UNIX, SOCK_STREAM, 0);                      \
		struct addrinfo *ai;                                           \
		char c = 0;                                                    \
                                                                               \
		check(fd >= 0);                                                \
		FAILS(E##which, cogo_wait_fd, dry, COGO_READ, deadline);       \
		FAILS(E##which, cogo_read, dry, &c, 1, deadline);              \
		FAILS(E##which, cogo_read_full, dry, &c, 1, deadline, NULL);   \
		FAILS(E##which, cogo_write, full, &c, 1, deadline);            \
		FAILS(E##which, cogo_write_all, full, &c, 1, deadline, NULL);  \
		FAILS(E##which, cogo_accept, alone, NULL, NULL, deadline);     \
		FAILS(E##which, cogo_connect, fd, (struct sockaddr *)&crowd,   \
		      sizeof(crowd), deadline);                                \
		FAILS(E##which, cogo_resolve, "127.0.0.1", NULL, NULL, &ai,    \
		      deadline);                                               \
		close(fd);                                                     \
	} while (0)

static void in_vain(void)
{
	thinks = true;
	EACH_CALL(TIMEDOUT, SOON);
	EACH_CALL(TIMEDOUT, 0);
	thinks = false;
}

static void canceled(void)
{
	EACH_CALL(CANCELED, COGO_FOREVER);
}

static void unknown(void)
{
	EACH_CALL(NOMEM, 0);
}

Test(errors, of_descriptors_where_nothing_comes)
{
	prepare();
	on_both(in_vain);
}

Test(errors, of_descriptors_for_one_that_is_cancelled)
{
	prepare();
	as_canceled(canceled);
}

Test(errors, of_descriptors_for_one_whom_there_is_no_memory_to_know_by)
{
	prepare();
	as_stranger(unknown);
}

/* ---- what the system says ---- */

static void system_calls(void)
{
	struct sockaddr_un gone;
	int p[2], fd = socket(AF_UNIX, SOCK_STREAM, 0);
	char c = 0;

	FAILS(EBADF, cogo_wait_fd, -1, COGO_READ, COGO_FOREVER);
	FAILS(EINVAL, cogo_wait_fd, dry, 0, COGO_FOREVER);
	FAILS(EINVAL, cogo_wait_fd, dry, 64, COGO_FOREVER);
	SAYS(EBADF, cogo_read, -1, &c, 1, COGO_FOREVER);
	SAYS(EBADF, cogo_read_full, -1, &c, 1, COGO_FOREVER, NULL);
	check_eq(pipe(p), 0);
	close(p[0]);
	SAYS(EPIPE, cogo_write, p[1], &c, 1, COGO_FOREVER);
	SAYS(EPIPE, cogo_write_all, p[1], &c, 1, COGO_FOREVER, NULL);
	close(p[1]);
	SAYS(EINVAL, cogo_accept, fd, NULL, NULL, COGO_FOREVER);
	close(listen_at(&gone, 1));
	SAYS(ECONNREFUSED, cogo_connect, fd, (struct sockaddr *)&gone,
	     sizeof(gone), COGO_FOREVER);
	close(fd);
}

Test(errors, of_descriptors_that_are_not_fit_for_it)
{
	signal(SIGPIPE, SIG_IGN);
	prepare();
	on_both(system_calls);
}

/* ---- names ---- */

#define RESOLVE_FAILS(which, host, service, ...)                               \
	do {                                                                   \
		struct addrinfo hints = { __VA_ARGS__ }, *ai = NULL;           \
                                                                               \
		FAILS(E##which, cogo_resolve, host, service, &hints, &ai,      \
		      COGO_FOREVER);                                           \
		check(ai == NULL);                                             \
	} while (0)

static void names(void)
{
	struct addrinfo *found;

	FAILS(ENOENT, cogo_resolve, NULL, NULL, NULL, &found, COGO_FOREVER);
	RESOLVE_FAILS(NOENT, "not.a.number", NULL, .ai_flags = AI_NUMERICHOST);
	RESOLVE_FAILS(PROTONOSUPPORT, "127.0.0.1", "no such service",
		      .ai_socktype = SOCK_STREAM);
	RESOLVE_FAILS(AFNOSUPPORT, "127.0.0.1", NULL, .ai_family = 12345);
	RESOLVE_FAILS(SOCKTNOSUPPORT, "127.0.0.1", NULL, .ai_socktype = 12345);
	RESOLVE_FAILS(ADDRNOTAVAIL, "::1", NULL, .ai_family = AF_INET,
		      .ai_flags = AI_NUMERICHOST);
	RESOLVE_FAILS(INVAL, "127.0.0.1", NULL, .ai_flags = 1 << 30);
	/* What a name server says. */
	answers = EAI_AGAIN;
	RESOLVE_FAILS(AGAIN, "localhost", NULL, .ai_flags = 0);
	answers = EAI_FAIL;
	RESOLVE_FAILS(IO, "localhost", NULL, .ai_flags = 0);
	answers = EAI_MEMORY;
	RESOLVE_FAILS(NOMEM, "localhost", NULL, .ai_flags = 0);
	answers = EAI_SYSTEM;
	SAYS(EMFILE, cogo_resolve, "localhost", NULL, NULL, &found,
	     COGO_FOREVER);
	answers = 0;
}

static void names_without_memory(void)
{
	struct addrinfo *ai = NULL;

	memory_ends();
	FAILS(ENOMEM, cogo_resolve, "127.0.0.1", NULL, NULL, &ai, COGO_FOREVER);
	memory_is_back();
}

Test(errors, of_names_that_are_looked_up)
{
	on_both(names);
	on_both(names_without_memory);
}
