/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* OpenSSL on blocking sockets, both ends in this process: for each member, who is a
 * client, there is another coroutine (or thread) that serves it.
 *
 * One SSL_CTX each for all clients and all servers: its locks, its cache of sessions
 * and its references are everybody's. The queue of errors and the random numbers
 * are each thread's own, and so each coroutine's. What all wait for at once is a
 * greeting that the servers hold back. */
#include "crowd.h"
#include <arpa/inet.h>
#include <cogo.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MOST 30000	/* bytes of one message: two records */

static SSL_CTX *client_ctx, *server_ctx;
static struct sockaddr_in address = { .sin_family = AF_INET };
static _Atomic int greeted, resumed;

/* The gate: servers wait here once their client's handshake is done. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t opened = PTHREAD_COND_INITIALIZER;
static bool open_;
static _Atomic int at_gate, asking;

static void sure(bool true_, const char *what)
{
	char text[256];

	ERR_error_string_n(ERR_peek_last_error(), text, sizeof(text));
	check(true_, "%s: %s, %m", what, text);
}

/* ---- a certificate of our own ---------------------------------------------- */

static EVP_PKEY *make_key(void)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");

	sure(key != NULL, "a key");
	return key;
}

static X509 *make_certificate(EVP_PKEY *key)
{
	X509 *x = X509_new();
	X509_NAME *name = X509_get_subject_name(x);

	ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
	X509_gmtime_adj(X509_getm_notBefore(x), -3600);
	X509_gmtime_adj(X509_getm_notAfter(x), 86400);
	X509_set_pubkey(x, key);
	X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
				   (const unsigned char *)"localhost", -1, -1, 0);
	X509_set_issuer_name(x, name);
	sure(X509_sign(x, key, EVP_sha256()) > 0, "a certificate");
	return x;
}

static void make_contexts(void)
{
	EVP_PKEY *key = make_key();
	X509 *x = make_certificate(key);

	server_ctx = SSL_CTX_new(TLS_server_method());
	client_ctx = SSL_CTX_new(TLS_client_method());
	sure(server_ctx && client_ctx, "contexts");
	sure(SSL_CTX_use_certificate(server_ctx, x) == 1 &&
	     SSL_CTX_use_PrivateKey(server_ctx, key) == 1, "the certificate");
	X509_STORE_add_cert(SSL_CTX_get_cert_store(client_ctx), x);
	SSL_CTX_set_verify(client_ctx, SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_mode(client_ctx, SSL_MODE_AUTO_RETRY);
	SSL_CTX_set_mode(server_ctx, SSL_MODE_AUTO_RETRY);
	X509_free(x);
	EVP_PKEY_free(key);
}

/* ---- messages: four bytes of length, and so many --------------------------- */

static void put(SSL *s, const char *p, uint32_t n)
{
	unsigned char head[4] = { (unsigned char)(n >> 24), (unsigned char)(n >> 16),
				  (unsigned char)(n >> 8), (unsigned char)n };

	sure(SSL_write(s, head, 4) == 4 && SSL_write(s, p, (int)n) == (int)n,
	     "SSL_write");
}

static bool get_all(SSL *s, void *p, int n)
{
	for (int at = 0; at < n; ) {
		int r = SSL_read(s, (char *)p + at, n - at);

		if (r <= 0 && at == 0 &&
		    SSL_get_error(s, r) == SSL_ERROR_ZERO_RETURN)
			return false;
		sure(r > 0, "SSL_read");
		at += r;
	}
	return true;
}

/* Its length; 0 at the end. */
static uint32_t get(SSL *s, char *p)
{
	unsigned char head[4];
	uint32_t n;

	if (!get_all(s, head, 4))
		return 0;
	n = (uint32_t)head[0] << 24 | (uint32_t)head[1] << 16 |
	    (uint32_t)head[2] << 8 | head[3];
	check(n <= MOST, "a message of %u bytes", n);
	check(get_all(s, p, (int)n), "the end in the middle of a message");
	return n;
}

/* ---- servers --------------------------------------------------------------- */

static void wait_at_gate(void)
{
	at_gate++;
	pthread_mutex_lock(&lock);
	while (!open_)
		pthread_cond_wait(&opened, &lock);
	pthread_mutex_unlock(&lock);
}

static void serve(void *arg)
{
	int fd = (int)(intptr_t)arg;
	SSL *s = SSL_new(server_ctx);
	char *p = malloc(MOST);
	uint32_t n;

	sure(s && p && SSL_set_fd(s, fd) == 1, "a server");
	sure(SSL_accept(s) == 1, "SSL_accept");
	if (!SSL_session_reused(s))
		wait_at_gate();
	put(s, "hello", 5);
	while ((n = get(s, p)) > 0)
		put(s, p, n);
	sure(SSL_shutdown(s) >= 0, "SSL_shutdown");
	SSL_free(s);
	close(fd);
	free(p);
}

static void *serve_as_thread(void *arg)
{
	serve(arg);
	return NULL;
}

static void accept_all(void *arg)
{
	int listener = (int)(intptr_t)arg, fd, r;
	pthread_t thread;

	while ((fd = accept(listener, NULL, NULL)) >= 0) {
		if (!crowd.threads) {
			r = -cogo_go(NULL, NULL, serve, (void *)(intptr_t)fd);
		} else {
			r = pthread_create(&thread, NULL, serve_as_thread,
					   (void *)(intptr_t)fd);
			if (r == 0)
				pthread_detach(thread);
		}
		check(r == 0, "%s", strerror(r));
	}
}

static void *accept_as_thread(void *arg)
{
	accept_all(arg);
	return NULL;
}

static int listen_(void)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof(address);

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	check(fd >= 0 && bind(fd, (struct sockaddr *)&address, len) == 0 &&
	      getsockname(fd, (struct sockaddr *)&address, &len) == 0 &&
	      listen(fd, 4096) == 0, "a listener: %m");
	return fd;
}

/* ---- clients --------------------------------------------------------------- */

static SSL *join(SSL_SESSION *before)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
	SSL *s = SSL_new(client_ctx);

	check(fd >= 0 && connect(fd, (struct sockaddr *)&address,
				 sizeof(address)) == 0, "connect: %m");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	sure(s && SSL_set_fd(s, fd) == 1, "a client");
	if (before)
		SSL_set_session(s, before);
	sure(SSL_connect(s) == 1, "SSL_connect");
	sure(SSL_get_verify_result(s) == X509_V_OK, "the certificate");
	return s;
}

/* The session stays, for the next connection. */
static void part(SSL *s)
{
	int fd = SSL_get_fd(s);
	char rest[16];

	sure(SSL_shutdown(s) >= 0, "SSL_shutdown");
	check(SSL_read(s, rest, sizeof(rest)) <= 0, "more than was asked for");
	SSL_free(s);
	close(fd);
}

static void greet(SSL *s, char *p)
{
	asking++;
	check(get(s, p) == 5 && !memcmp(p, "hello", 5), "the greeting");
	greeted++;
	crowd_trips(1);
}

/* Both ends compute, but for the first answer's way only the other is awaited. */
static void echo(SSL *s, int i, int round, char *p, char *again)
{
	uint32_t n = 1 + (uint32_t)(i * 7919 + round * 104729) % (MOST - 1);

	crowd_text(p, n + 1, (uint64_t)(i * 1000 + round));
	put(s, p, n);
	check(get(s, again) == n && !memcmp(p, again, n),
	      "another's answer came to member %d", i);
	crowd_trips(1);
}

/* What went wrong for one is in nobody else's queue, whoever ran meanwhile. */
static void blunder(int i)
{
	unsigned long code = ERR_PACK(ERR_LIB_USER, 0, 1 + i % 500);

	ERR_clear_error();
	ERR_put_error(ERR_LIB_USER, 0, 1 + i % 500, __FILE__, __LINE__);
	cogo_yield();
	crowd_meet();
	check(ERR_get_error() == code, "another's error came to member %d", i);
	check(ERR_get_error() == 0, "one error too many, at member %d", i);
}

static void member(int i)
{
	char *p = malloc(MOST + 1), *again = malloc(MOST + 1);
	unsigned char id[16];
	SSL_SESSION *session;
	SSL *s = join(NULL);

	check(p && again, "no memory");
	crowd_meet();
	greet(s, p);
	blunder(i);
	for (int round = 0; round < crowd.rounds; round++)
		echo(s, i, round, p, again);
	check(RAND_bytes(id, sizeof(id)) == 1, "random numbers");
	session = SSL_get1_session(s);
	part(s);

	/* Once more, with what both know of each other. */
	s = join(session);
	resumed += SSL_session_reused(s);
	SSL_SESSION_free(session);
	greet(s, p);
	echo(s, i, crowd.rounds, p, again);
	part(s);
	free(p);
	free(again);
}

int main(int argc, char **argv)
{
	struct cogo_coro *accepter = NULL;
	pthread_t thread;
	int listener;

	(void)argc;
	crowd_options(argv, 0, "openssl [OPTION...]");
	make_contexts();
	listener = listen_();
	if (crowd.threads)
		pthread_create(&thread, NULL, accept_as_thread,
			       (void *)(intptr_t)listener);
	else
		cogo_go(&accepter, NULL, accept_all, (void *)(intptr_t)listener);
	crowd_begin(member);
	while (at_gate != crowd.members || asking != crowd.members)
		crowd_moment();
	crowd_in_flight();
	pthread_mutex_lock(&lock);
	open_ = true;
	pthread_cond_broadcast(&opened);
	pthread_mutex_unlock(&lock);
	crowd_end();
	/* Who accepts ends with its listener. */
	shutdown(listener, SHUT_RD);
	if (crowd.threads)
		pthread_join(thread, NULL);
	else
		cogo_join(accepter);
	close(listener);
	printf("greeted=%d resumed=%d\n", greeted, resumed);
	return 0;
}
