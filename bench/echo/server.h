/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* server.h - what the echo servers in C have in common: their option, their
 * listening socket, and their end. What they differ in, serving connections, is
 * in the file of each. */
#ifndef ECHO_SERVER_H
#define ECHO_SERVER_H

enum {
	MAX_WORKERS = 256,
	MESSAGE = 4096, /* bytes received at most at a time */
};

/* Says what has failed, and errno, and ends the process. */
__attribute__((noreturn)) void server_die(const char *what);

/* The number after --workers, or 1. */
int server_workers(int argc, char **argv);

/* A socket that listens on a free port of 127.0.0.1, blocking. Before it returns,
 * the limit of descriptors is the hard one, "port N" is printed, and a thread
 * waits for the end of standard input, to end the process. */
int server_listen(void);

/* Accepts a connection, with the flags of accept4 and without Nagle's algorithm.
 * -1 where it would have to wait and may not; other failures end the process. */
int server_accept(int listener, int flags);

/* Serves a connection by calls that wait, until it ends, and closes it. */
void server_echo(int fd);

/* Turns Nagle's algorithm off, for who accepts otherwise. */
void server_accepted(int fd);

#endif
