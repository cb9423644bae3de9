/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* wire_tls.c - bytes by TLS, with OpenSSL.
 *
 * Nobody's certificate is looked at: it is ours, made for this run, and every
 * answer is checked. */
#include "wire.h"
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static SSL_CTX *context;

__attribute__((noreturn)) static void tls_die(void)
{
	fputs("load: ", stderr);
	ERR_print_errors_fp(stderr);
	exit(1);
}

static SSL *tls_new(int fd)
{
	SSL *tls;

	if (context == NULL) {
		/* OpenSSL's write() knows no MSG_NOSIGNAL. */
		signal(SIGPIPE, SIG_IGN);
		context = SSL_CTX_new(TLS_client_method());
		if (context == NULL)
			tls_die();
		/* One recv takes a record's head and body. */
		SSL_CTX_set_read_ahead(context, 1);
		/* What an idle one needs no more is given back. */
		SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
	}
	tls = SSL_new(context);
	if (tls == NULL || SSL_set_fd(tls, fd) != 1)
		tls_die();
	SSL_set_connect_state(tls);
	return tls;
}

/* What a call that did not do it has to say: 0 if it wants to be called again when
 * something has come, else -1 with errno. */
static int tls_waits(SSL *tls, int result)
{
	int saved = errno;
	int error = SSL_get_error(tls, result);

	ERR_clear_error();
	if (error == SSL_ERROR_WANT_READ)
		return 0;
	errno = error == SSL_ERROR_SYSCALL && saved != 0 ? saved : EPROTO;
	return -1;
}

int wire_shake(struct wire *w)
{
	int r;

	if (w->tls == NULL)
		w->tls = tls_new(w->fd);
	r = SSL_do_handshake(w->tls);
	return r == 1 ? 1 : tls_waits(w->tls, r);
}

int wire_send(struct wire *w, const char *bytes, size_t n)
{
	int r = SSL_write(w->tls, bytes, (int)n);

	if (r == (int)n)
		return 0;
	if (tls_waits(w->tls, r) == 0)
		errno = EAGAIN;
	return -1;
}

/* The socket is empty, and not just out of whole records, once SSL_read says that
 * it wants more; else a piece that waits there would bring no further edge. */
ssize_t wire_recv(struct wire *w, char *ret, size_t n)
{
	size_t got = 0;
	int r;

	while (got < n) {
		r = SSL_read(w->tls, ret + got, (int)(n - got));
		if (r > 0) {
			got += (size_t)r;
			continue;
		}
		if (got > 0)
			break;
		if (SSL_get_error(w->tls, r) == SSL_ERROR_ZERO_RETURN)
			return 0;
		if (tls_waits(w->tls, r) == 0)
			errno = EAGAIN;
		return -1;
	}
	return (ssize_t)got;
}

/* Without a word: whoever ends here ends all of them at once. */
void wire_close(struct wire *w)
{
	if (w->tls != NULL)
		SSL_free(w->tls);
	close(w->fd);
}
