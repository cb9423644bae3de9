/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* writing.c - operations that wait for room.
 *
 * Before, what is written to is filled to the brim without touching its
 * flags. The ticker then empties it, all of it, and looks at every byte that
 * the operation put there. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "probe.h"

#define BIG (1 << 20)

static int in, out;
static size_t filled;        /* bytes that stood there before */
static unsigned char *bytes; /* BIG of them; what the operation sends */

static void make_bytes(void)
{
	bytes = malloc(BIG);
	for (size_t i = 0; i < BIG; i++)
		bytes[i] = (i * 7 + (i >> 8) * 13) & 0xff;
}

/* A pipe holds exactly as many pages as its size says. */
static bool a_full_pipe(void)
{
	static char page[4096];
	int fd[2];
	long size;

	make_bytes();
	MUST(pipe(fd) == 0);
	in = fd[0];
	out = fd[1];
	MUST((size = fcntl(out, F_GETPIPE_SZ)) > 0);
	for (; (long)filled < size; filled += sizeof(page))
		MUST(write(out, page, sizeof(page)) == sizeof(page));
	return true;
}

static bool an_empty_pipe(void)
{
	int fd[2];

	make_bytes();
	MUST(pipe(fd) == 0);
	in = fd[0];
	out = fd[1];
	return true;
}

static bool a_full_stream(void)
{
	static char page[4096];
	ssize_t n;
	int fd[2];

	make_bytes();
	MUST(probe_socketpair(SOCK_STREAM, fd));
	in = fd[0];
	out = fd[1];
	while ((n = send(out, page, sizeof(page), MSG_DONTWAIT)) > 0)
		filled += n;
	MUST(errno == EAGAIN);
	return true;
}

/* Takes out what stood there, and then size bytes of ours. */
static bool drain(size_t size)
{
	unsigned char *seen = malloc(filled + size);

	MUST(probe_read_all(in, seen, filled + size));
	MUST(memcmp(seen + filled, bytes, size) == 0);
	free(seen);
	return true;
}

static bool drain_page(void)
{
	return drain(4096);
}

static bool drain_big(void)
{
	return drain(BIG);
}

static bool by_write(void)
{
	MUST_QUIETLY(write(out, bytes, 4096) == 4096);
	return true;
}

/* More than any buffer on the way: one call, and all of it goes. */
static bool by_send(void)
{
	MUST_QUIETLY(send(out, bytes, BIG, 0) == BIG);
	return true;
}

static bool by_writev(void)
{
	struct iovec parts[3] = {
		{bytes, 1000}, {bytes + 1000, 96}, {bytes + 1096, 3000}};

	MUST_QUIETLY(writev(out, parts, 3) == 4096);
	return true;
}

static bool by_write_big(void)
{
	MUST_QUIETLY(write(out, bytes, BIG) == BIG);
	return true;
}

static bool by_fprintf(void)
{
	FILE *to = fdopen(out, "w");

	MUST(to);
	for (size_t i = 0; i < 4096; i++)
		bytes[i] = 'a' + i % 26;
	MUST(fprintf(to, "%.4096s", (char *)bytes) == 4096);
	MUST(fflush(to) == 0);
	return true;
}

static bool by_sendfile(void)
{
	off_t at = 0;
	int file = memfd_create("probe", 0);

	MUST(file >= 0);
	MUST(probe_write_all(file, bytes, BIG));
	MUST_QUIETLY(sendfile(out, file, &at, BIG) == BIG);
	MUST(at == BIG);
	MUST(lseek(file, 0, SEEK_CUR) == BIG); /* where write left it */
	return true;
}

/* From one pipe to another; the first is empty. */
static int feed_in, feed_out;

static bool two_pipes(void)
{
	int first[2];

	MUST(an_empty_pipe());
	MUST(pipe(first) == 0);
	feed_in = first[0];
	feed_out = first[1];
	return true;
}

static bool by_splice(void)
{
	MUST_QUIETLY(splice(feed_in, NULL, out, NULL, 4096, 0) == 1000);
	return drain(1000);
}

static bool feed_splice(void)
{
	MUST(write(feed_out, bytes, 1000) == 1000);
	return true;
}

const struct operation writing_operations[] = {
	{"write_full", a_full_pipe, NULL, by_write, drain_page},
	{"send_full", a_full_stream, NULL, by_send, drain_big},
	{"writev_full", a_full_pipe, NULL, by_writev, drain_page},
	{"write_big", an_empty_pipe, NULL, by_write_big, drain_big},
	{"fprintf_full", a_full_pipe, NULL, by_fprintf, drain_page},
	{"sendfile_full", a_full_stream, NULL, by_sendfile, drain_big},
	{"splice", two_pipes, NULL, by_splice, feed_splice},
	{0},
};
