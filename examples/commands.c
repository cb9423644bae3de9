/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* commands - shell commands all at once, and what they say in the order asked.
 *
 *	cc commands.c -o commands $(pkg-config --cflags --libs cogo)
 *	./commands 'sleep 1; date' 'sleep 1; uptime'
 *
 * popen, fgets and pclose are what the C library has always had; none knows of
 * coroutines. It takes as long as the longest command. */
#include <cogo.h>
#include <errno.h>
#include <error.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

struct command {
	const char *text;
	char *said;
	size_t length;
	int status;
};

static int run(void *arg)
{
	struct command *c = arg;
	FILE *said = open_memstream(&c->said, &c->length);
	FILE *in = popen(c->text, "r");
	char line[256];

	if (!said || !in)
		return -errno;
	while (fgets(line, sizeof(line), in))
		fputs(line, said);
	c->status = pclose(in);
	fclose(said);
	return 0;
}

int main(int argc, char **argv)
{
	struct command *c = calloc((size_t)argc, sizeof(*c));
	int r, status = 0;

	cogo_scope (s, &r) {
		for (int i = 1; i < argc; i++) {
			c[i].text = argv[i];
			cogo_scope_go(s, NULL, run, &c[i]);
		}
	}
	if (r)
		error(1, -r, "cannot start");
	for (int i = 1; i < argc; i++) {
		printf("$ %s\n%s", c[i].text, c[i].said);
		if (WIFEXITED(c[i].status) && WEXITSTATUS(c[i].status))
			printf("(exit status %d)\n", WEXITSTATUS(c[i].status));
		status |= c[i].status;
		free(c[i].said);
	}
	free(c);
	return status != 0;
}
