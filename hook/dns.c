/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* hook/dns.c - names and numbers of hosts, services, networks, users and groups.
 *
 * libc's own resolver answers, with its configuration, its name services and
 * its caches: whatever we wrote instead would answer differently somewhere. It
 * waits inside libc, where no hook sees it; so each of these is a declared
 * blocking section, with room for the resolver's large buffers.
 *
 * All of their arguments are integers and pointers, at most eight. Both CPUs'
 * calling conventions pass each of those as one word, in registers or in a slot
 * of the stack of its own, so one way of calling serves them all. */
#include "hook/bigstack.h"
#include "hook/call.h"
#include "hook/real.h"
#include <aliases.h>
#include <grp.h>
#include <netdb.h>
#include <netinet/ether.h>
#include <pwd.h>
#include <shadow.h>
#include <sys/socket.h>
#include <unistd.h>

#define MOST_WORDS 8

typedef long (*word_fn)(long, long, long, long, long, long, long, long);

struct lookup {
	word_fn fn;
	const long *w;
};

static long run(void *arg)
{
	const struct lookup *l = arg;
	const long *w = l->w;

	return l->fn(w[0], w[1], w[2], w[3], w[4], w[5], w[6], w[7]);
}

static long look_up(struct coro *me, void *fn, const long *words)
{
	struct lookup l = { (word_fn)fn, words };
	long r;

	call_begin(me, WHY_LOOKUP);
	r = bigstack_call(run, &l);
	call_end(me);
	return r;
}

#define W1(a)		  (long)(a)
#define W2(a, ...)	  (long)(a), W1(__VA_ARGS__)
#define W3(a, ...)	  (long)(a), W2(__VA_ARGS__)
#define W4(a, ...)	  (long)(a), W3(__VA_ARGS__)
#define W5(a, ...)	  (long)(a), W4(__VA_ARGS__)
#define W6(a, ...)	  (long)(a), W5(__VA_ARGS__)
#define W7(a, ...)	  (long)(a), W6(__VA_ARGS__)
#define W8(a, ...)	  (long)(a), W7(__VA_ARGS__)

/* LOOKUP(number of arguments, result, name, (parameters), arguments) */
#define LOOKUP(n, type, name, parameters, ...)				\
	HOOKED type name parameters					\
	{								\
		struct coro *me = gate_coro();				\
		long words[MOST_WORDS] = { W##n(__VA_ARGS__) };		\
									\
		if (!me)						\
			return REAL(name)(__VA_ARGS__);			\
		return (type)look_up(me, real_get(REAL_##name), words);	\
	}

#define LOOKUP0(type, name)						\
	HOOKED type name(void)						\
	{								\
		static const long none[MOST_WORDS];			\
		struct coro *me = gate_coro();				\
									\
		if (!me)						\
			return REAL(name)();				\
		return (type)look_up(me, real_get(REAL_##name), none);	\
	}

/* Hosts */

LOOKUP(4, int, getaddrinfo,
       (const char *restrict node, const char *restrict service,
	const struct addrinfo *restrict hints,
	struct addrinfo **restrict ret), node, service, hints, ret)

/* Numbers are put into words without asking anybody. */
static bool asks_nobody(const char *host, socklen_t host_size,
			const char *service, socklen_t service_size, int flags)
{
	return (!host || !host_size || flags & NI_NUMERICHOST) &&
	       (!service || !service_size || flags & NI_NUMERICSERV);
}

HOOKED int getnameinfo(const struct sockaddr *restrict sa, socklen_t len,
		       char *restrict host, socklen_t host_size,
		       char *restrict service, socklen_t service_size, int flags)
{
	struct coro *me = gate_coro();
	long words[MOST_WORDS] = { W7(sa, len, host, host_size, service,
				      service_size, flags) };
	struct lookup l = { (word_fn)real_get(REAL_getnameinfo), words };

	if (!me)
		return REAL(getnameinfo)(sa, len, host, host_size, service,
					 service_size, flags);
	if (asks_nobody(host, host_size, service, service_size, flags))
		return (int)bigstack_call(run, &l);
	return (int)look_up(me, (void *)l.fn, words);
}

LOOKUP(1, struct hostent *, gethostbyname, (const char *name), name)

LOOKUP(6, int, gethostbyname_r,
       (const char *restrict name, struct hostent *restrict ret,
	char *restrict buf, size_t size, struct hostent **restrict result,
	int *restrict error), name, ret, buf, size, result, error)

LOOKUP(2, struct hostent *, gethostbyname2, (const char *name, int af), name, af)

LOOKUP(7, int, gethostbyname2_r,
       (const char *restrict name, int af, struct hostent *restrict ret,
	char *restrict buf, size_t size, struct hostent **restrict result,
	int *restrict error), name, af, ret, buf, size, result, error)

LOOKUP(3, struct hostent *, gethostbyaddr,
       (const void *addr, socklen_t len, int af), addr, len, af)

LOOKUP(8, int, gethostbyaddr_r,
       (const void *restrict addr, socklen_t len, int af,
	struct hostent *restrict ret, char *restrict buf, size_t size,
	struct hostent **restrict result, int *restrict error),
       addr, len, af, ret, buf, size, result, error)

LOOKUP0(struct hostent *, gethostent)

LOOKUP(5, int, gethostent_r,
       (struct hostent *restrict ret, char *restrict buf, size_t size,
	struct hostent **restrict result, int *restrict error),
       ret, buf, size, result, error)

/* The resolver itself. <resolv.h> would say the same through macros that
 * differ from one libc to the next. */

struct __res_state;

int res_query(const char *name, int class, int type, unsigned char *ret,
	      int size);
int res_search(const char *name, int class, int type, unsigned char *ret,
	       int size);
int res_querydomain(const char *name, const char *domain, int class, int type,
		    unsigned char *ret, int size);
int res_send(const unsigned char *msg, int len, unsigned char *ret, int size);
int res_nquery(struct __res_state *s, const char *name, int class, int type,
	       unsigned char *ret, int size);
int res_nsearch(struct __res_state *s, const char *name, int class, int type,
		unsigned char *ret, int size);
int res_nquerydomain(struct __res_state *s, const char *name,
		     const char *domain, int class, int type,
		     unsigned char *ret, int size);
int res_nsend(struct __res_state *s, const unsigned char *msg, int len,
	      unsigned char *ret, int size);

LOOKUP(5, int, res_query,
       (const char *name, int class, int type, unsigned char *ret, int size),
       name, class, type, ret, size)
ALIAS(__res_query, res_query);

LOOKUP(5, int, res_search,
       (const char *name, int class, int type, unsigned char *ret, int size),
       name, class, type, ret, size)
ALIAS(__res_search, res_search);

LOOKUP(6, int, res_querydomain,
       (const char *name, const char *domain, int class, int type,
	unsigned char *ret, int size), name, domain, class, type, ret, size)
ALIAS(__res_querydomain, res_querydomain);

LOOKUP(4, int, res_send,
       (const unsigned char *msg, int len, unsigned char *ret, int size),
       msg, len, ret, size)
ALIAS(__res_send, res_send);

LOOKUP(6, int, res_nquery,
       (struct __res_state *s, const char *name, int class, int type,
	unsigned char *ret, int size), s, name, class, type, ret, size)
ALIAS(__res_nquery, res_nquery);

LOOKUP(6, int, res_nsearch,
       (struct __res_state *s, const char *name, int class, int type,
	unsigned char *ret, int size), s, name, class, type, ret, size)
ALIAS(__res_nsearch, res_nsearch);

LOOKUP(7, int, res_nquerydomain,
       (struct __res_state *s, const char *name, const char *domain, int class,
	int type, unsigned char *ret, int size),
       s, name, domain, class, type, ret, size)
ALIAS(__res_nquerydomain, res_nquerydomain);

LOOKUP(5, int, res_nsend,
       (struct __res_state *s, const unsigned char *msg, int len,
	unsigned char *ret, int size), s, msg, len, ret, size)
ALIAS(__res_nsend, res_nsend);

/* Services, protocols, networks: files as a rule, but a name service may ask
 * a server for them. */

LOOKUP(2, struct servent *, getservbyname,
       (const char *name, const char *proto), name, proto)
LOOKUP(6, int, getservbyname_r,
       (const char *restrict name, const char *restrict proto,
	struct servent *restrict ret, char *restrict buf, size_t size,
	struct servent **restrict result), name, proto, ret, buf, size, result)
LOOKUP(2, struct servent *, getservbyport, (int port, const char *proto),
       port, proto)
LOOKUP(6, int, getservbyport_r,
       (int port, const char *restrict proto, struct servent *restrict ret,
	char *restrict buf, size_t size, struct servent **restrict result),
       port, proto, ret, buf, size, result)

LOOKUP(1, struct protoent *, getprotobyname, (const char *name), name)
LOOKUP(5, int, getprotobyname_r,
       (const char *restrict name, struct protoent *restrict ret,
	char *restrict buf, size_t size, struct protoent **restrict result),
       name, ret, buf, size, result)
LOOKUP(1, struct protoent *, getprotobynumber, (int number), number)
LOOKUP(5, int, getprotobynumber_r,
       (int number, struct protoent *restrict ret, char *restrict buf,
	size_t size, struct protoent **restrict result),
       number, ret, buf, size, result)

LOOKUP(1, struct netent *, getnetbyname, (const char *name), name)
LOOKUP(6, int, getnetbyname_r,
       (const char *restrict name, struct netent *restrict ret,
	char *restrict buf, size_t size, struct netent **restrict result,
	int *restrict error), name, ret, buf, size, result, error)
LOOKUP(2, struct netent *, getnetbyaddr, (uint32_t net, int type), net, type)
LOOKUP(7, int, getnetbyaddr_r,
       (uint32_t net, int type, struct netent *restrict ret, char *restrict buf,
	size_t size, struct netent **restrict result, int *restrict error),
       net, type, ret, buf, size, result, error)

LOOKUP(1, struct rpcent *, getrpcbyname, (const char *name), name)
LOOKUP(1, struct rpcent *, getrpcbynumber, (int number), number)
LOOKUP(5, int, getrpcbyname_r,
       (const char *name, struct rpcent *ret, char *buf, size_t size,
	struct rpcent **result), name, ret, buf, size, result)
LOOKUP(5, int, getrpcbynumber_r,
       (int number, struct rpcent *ret, char *buf, size_t size,
	struct rpcent **result), number, ret, buf, size, result)

LOOKUP(2, int, ether_hostton,
       (const char *host, struct ether_addr *ret), host, ret)
LOOKUP(2, int, ether_ntohost,
       (char *host, const struct ether_addr *addr), host, addr)

/* Logging in elsewhere, and whether somebody may here. */

LOOKUP(6, int, rcmd,
       (char **restrict host, unsigned short port, const char *restrict local,
	const char *restrict remote, const char *restrict command,
	int *restrict error_fd), host, port, local, remote, command, error_fd)
LOOKUP(7, int, rcmd_af,
       (char **restrict host, unsigned short port, const char *restrict local,
	const char *restrict remote, const char *restrict command,
	int *restrict error_fd, sa_family_t af),
       host, port, local, remote, command, error_fd, af)
LOOKUP(6, int, rexec,
       (char **restrict host, int port, const char *restrict user,
	const char *restrict password, const char *restrict command,
	int *restrict error_fd), host, port, user, password, command, error_fd)
LOOKUP(7, int, rexec_af,
       (char **restrict host, int port, const char *restrict user,
	const char *restrict password, const char *restrict command,
	int *restrict error_fd, sa_family_t af),
       host, port, user, password, command, error_fd, af)
LOOKUP(4, int, ruserok,
       (const char *host, int superuser, const char *remote, const char *local),
       host, superuser, remote, local)
LOOKUP(5, int, ruserok_af,
       (const char *host, int superuser, const char *remote, const char *local,
	sa_family_t af), host, superuser, remote, local, af)
LOOKUP(4, int, iruserok,
       (uint32_t host, int superuser, const char *remote, const char *local),
       host, superuser, remote, local)
LOOKUP(5, int, iruserok_af,
       (const void *host, int superuser, const char *remote, const char *local,
	sa_family_t af), host, superuser, remote, local, af)

/* Users and groups. A file answers at once; a directory service is another
 * machine. */

#define ENTRIES(type, kind, by_number, number)				\
	LOOKUP(1, type *, get##kind##nam, (const char *name), name)	\
	LOOKUP(5, int, get##kind##nam_r,				\
	       (const char *restrict name, type *restrict ret,		\
		char *restrict buf, size_t size, type **restrict result), \
	       name, ret, buf, size, result)				\
	LOOKUP(1, type *, by_number, (number id), id)			\
	LOOKUP(5, int, by_number##_r,					\
	       (number id, type *restrict ret, char *restrict buf,	\
		size_t size, type **restrict result),			\
	       id, ret, buf, size, result)				\
	LOOKUP0(type *, get##kind##ent)					\
	LOOKUP(4, int, get##kind##ent_r,				\
	       (type *restrict ret, char *restrict buf, size_t size,	\
		type **restrict result), ret, buf, size, result)

ENTRIES(struct passwd, pw, getpwuid, uid_t)
ENTRIES(struct group, gr, getgrgid, gid_t)

LOOKUP(1, struct spwd *, getspnam, (const char *name), name)
LOOKUP(5, int, getspnam_r,
       (const char *name, struct spwd *ret, char *buf, size_t size,
	struct spwd **result), name, ret, buf, size, result)
LOOKUP(4, int, getgrouplist, (const char *user, gid_t group, gid_t *ret, int *n),
       user, group, ret, n)
LOOKUP0(char *, getlogin)
LOOKUP(2, int, getlogin_r, (char *buf, size_t size), buf, size)
int __getlogin_r_chk(char *buf, size_t size, size_t room);
LOOKUP(3, int, __getlogin_r_chk, (char *buf, size_t size, size_t room),
       buf, size, room)
char *cuserid(char *buf);
LOOKUP(1, char *, cuserid, (char *buf), buf)

LOOKUP(1, int, setnetgrent, (const char *group), group)
LOOKUP(3, int, getnetgrent, (char **host, char **user, char **domain),
       host, user, domain)
LOOKUP(5, int, getnetgrent_r,
       (char **restrict host, char **restrict user, char **restrict domain,
	char *restrict buf, size_t size), host, user, domain, buf, size)
LOOKUP(4, int, innetgr,
       (const char *group, const char *host, const char *user, const char *domain),
       group, host, user, domain)
LOOKUP(1, struct aliasent *, getaliasbyname, (const char *name), name)
LOOKUP(5, int, getaliasbyname_r,
       (const char *restrict name, struct aliasent *restrict ret,
	char *restrict buf, size_t size, struct aliasent **restrict result),
       name, ret, buf, size, result)

/* It may ask for the number of the host's name. */
LOOKUP0(long, gethostid)
