/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* checksums - the CRC-32 of each file in a directory tree.
 *
 *	cc -O2 checksums.c -o checksums $(pkg-config --cflags --libs cogo)
 *	./checksums DIRECTORY...
 *
 * A coroutine for each file, so many at a time, each of which writes to a place of
 * its own; main then prints them in the order in which it found them. Reading a file
 * is a wait for the disk and the sum is plain computing, and neither holds up the
 * others: there is nothing here to be done differently on account of that. */
#include <cogo.h>
#include <errno.h>
#include <error.h>
#include <fts.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define AT_A_TIME 16

struct file {
	char *path;
	uint32_t crc;
	int error;
	struct file *next;
};

static uint32_t crc32(uint32_t crc, const unsigned char *p, size_t n)
{
	for (crc = ~crc; n--; p++) {
		crc ^= *p;
		for (int i = 0; i < 8; i++)
			crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
	}
	return ~crc;
}

static int sum(void *arg)
{
	struct file *f = arg;
	unsigned char buf[32768];
	FILE *in = fopen(f->path, "r");
	size_t n;

	if (!in) {
		f->error = errno;
		return 0;	/* of no matter to the others */
	}
	while ((n = fread(buf, 1, sizeof(buf), in)) > 0)
		f->crc = crc32(f->crc, buf, n);
	if (ferror(in))
		f->error = errno;
	fclose(in);
	return 0;
}

static int by_name(const FTSENT **a, const FTSENT **b)
{
	return strcmp((*a)->fts_name, (*b)->fts_name);
}

static struct file *file_new(const char *path)
{
	struct file *f = calloc(1, sizeof(*f));

	if (!f || !(f->path = strdup(path)))
		error(1, errno, "%s", path);
	return f;
}

int main(int argc, char **argv)
{
	struct file *first = NULL, **last = &first, *f;
	int r, status = 0;
	FTSENT *entry;
	FTS *tree;

	if (argc < 2)
		error(2, 0, "usage: checksums DIRECTORY...");
	tree = fts_open(argv + 1, FTS_PHYSICAL | FTS_NOCHDIR, by_name);
	if (!tree)
		error(1, errno, "%s", argv[1]);
	cogo_scope (s, &r) {
		cogo_scope_limit(s, AT_A_TIME);
		while ((entry = fts_read(tree))) {
			if (entry->fts_info != FTS_F)
				continue;
			*last = file_new(entry->fts_path);
			if (cogo_scope_go(s, NULL, sum, *last))
				break;
			last = &(*last)->next;
		}
	}
	if (r)
		error(1, -r, "gave up");
	fts_close(tree);
	while ((f = first)) {
		if (f->error == 0)
			printf("%08x  %s\n", f->crc, f->path);
		else
			error(0, f->error, "%s", f->path);
		status |= f->error != 0;
		first = f->next;
		free(f->path);
		free(f);
	}
	return status;
}
