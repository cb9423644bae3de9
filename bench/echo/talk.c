/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* talk.c - what load says to a server, and what it has to hear.
 *
 *     echo      a message; the same bytes
 *     tunnel    the same, after CONNECT, through a proxy
 *     sql       SELECT body FROM bench.t WHERE id = …, in MariaDB's text protocol
 *     http      GET /…, on a connection that is kept
 *
 * The last two know what the rows and files hold: ../programs.py makes them. */
#include "talk.h"
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	TABLE_ROWS = 100,
	ROW_BYTES = 64,
};

long talk_bytes = 64, talk_target;

/* A counter stirred until every bit depends on every other (Steele, Lea and
 * Flood's splitmix64). */
static uint64_t stir(uint64_t x)
{
	x += UINT64_C(0x9e3779b97f4a7c15);
	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

/* ---- echo ---------------------------------------------------------------- */

static size_t echo_ask(uint64_t key, char *ret)
{
	size_t n = (size_t)talk_bytes;

	key = stir(key);
	for (size_t k = 0; k < n; k += 8) {
		uint64_t word = stir(key + k);

		memcpy(ret + k, &word, n - k < 8 ? n - k : 8);
	}
	return n;
}

static size_t echo_answer(uint64_t key, const char *got, size_t n,
			  uint64_t *ret_wrong)
{
	char expected[TALK_BYTES];
	size_t length = (size_t)talk_bytes;

	if (n < length)
		return 0;
	echo_ask(key, expected);
	if (memcmp(got, expected, length) != 0)
		for (size_t k = 0; k < length; k++)
			*ret_wrong += got[k] != expected[k];
	return length;
}

/* ---- through a proxy ------------------------------------------------------ */

/* Where the head of an HTTP answer ends, or NULL while it has not. */
static const char *head_end(const char *got, size_t n)
{
	const char *end = memmem(got, n, "\r\n\r\n", 4);

	return end == NULL ? NULL : end + 4;
}

static bool status_is_200(const char *got, const char *end)
{
	return end - got > 12 && memcmp(got, "HTTP/1.", 7) == 0 &&
	       memcmp(got + 8, " 200", 4) == 0;
}

static int tunnel_greet(const char *got, size_t n, char *ret)
{
	const char *end = head_end(got, n);

	if (n == 0)
		return sprintf(ret,
			       "CONNECT 127.0.0.1:%ld HTTP/1.1\r\n"
			       "Host: 127.0.0.1:%ld\r\n\r\n",
			       talk_target, talk_target);
	if (end == NULL)
		return TALK_MORE;
	return status_is_200(got, end) ? TALK_READY : TALK_REFUSED;
}

/* ---- rows and files ------------------------------------------------------- */

static unsigned row_of(uint64_t key)
{
	return (unsigned)(stir(key) % TABLE_ROWS);
}

/* The bytes of row_of(key) that are not what they should be. */
static uint64_t compare_row(uint64_t key, const char *got, size_t n)
{
	char expected[ROW_BYTES + 1];
	uint64_t wrong = 0;

	if (n != ROW_BYTES)
		return ROW_BYTES;
	snprintf(expected, sizeof(expected), "%0*u", ROW_BYTES,
		 row_of(key) * 7919);
	for (size_t k = 0; k < n; k++)
		wrong += got[k] != expected[k];
	return wrong;
}

static size_t http_ask(uint64_t key, char *ret)
{
	return (size_t)sprintf(ret, "GET /%u HTTP/1.1\r\nHost: localhost\r\n\r\n",
			       row_of(key));
}

static size_t http_answer(uint64_t key, const char *got, size_t n,
			  uint64_t *ret_wrong)
{
	static const char name[] = "\r\nContent-Length: ";
	const char *end = head_end(got, n), *length;
	size_t size;

	if (end == NULL)
		return 0;
	length = memmem(got, (size_t)(end - got), name, sizeof(name) - 1);
	if (!status_is_200(got, end) || length == NULL) {
		*ret_wrong += n;
		return n;
	}
	size = strtoul(length + sizeof(name) - 1, NULL, 10);
	if (n - (size_t)(end - got) < size)
		return 0;
	*ret_wrong += compare_row(key, end, size);
	return (size_t)(end - got) + size;
}

/* ---- MariaDB -------------------------------------------------------------- */

/* A connection is a row of packets: a length of three bytes, a number of one that
 * counts from 0 in each exchange, and so many bytes. */
struct packet {
	const unsigned char *bytes;
	size_t n;
	unsigned number;
};

enum {
	PACKET_HEAD = 4,
	LONG_FLAG = 1 << 2,
	PROTOCOL_41 = 1 << 9,
	SECURE_CONNECTION = 1 << 15,
	LATIN1 = 8,
	OK = 0x00,
	NEW_METHOD = 0xfe,
	END = 0xfe,
	COM_QUERY = 3,
};

/* The one at *at, which is moved behind it; false if it is not whole. */
static bool packet_next(const char **at, const char *end, struct packet *ret_packet)
{
	const unsigned char *head = (const unsigned char *)*at;
	size_t room = (size_t)(end - *at), n;

	if (room < PACKET_HEAD)
		return false;
	n = (size_t)head[0] | (size_t)head[1] << 8 | (size_t)head[2] << 16;
	if (room - PACKET_HEAD < n)
		return false;
	*ret_packet = (struct packet){head + PACKET_HEAD, n, head[3]};
	*at += PACKET_HEAD + n;
	return true;
}

/* Puts the head before n bytes that stand behind it, and returns the sum. */
static size_t packet_close(char *packet, size_t n, unsigned number)
{
	packet[0] = (char)n;
	packet[1] = (char)(n >> 8);
	packet[2] = (char)(n >> 16);
	packet[3] = (char)number;
	return PACKET_HEAD + n;
}

/* Capabilities, the greatest packet, a character set, 23 bytes of nothing, a name,
 * and a password that is empty: the server has been told not to ask. */
static int sql_introduce(char *ret)
{
	static const char name[] = "bench";
	uint32_t capabilities = LONG_FLAG | PROTOCOL_41 | SECURE_CONNECTION;
	uint32_t greatest = 1 << 24;
	char *p = ret + PACKET_HEAD;

	memset(p, 0, 32);
	for (int k = 0; k < 4; k++) {
		p[k] = (char)(capabilities >> 8 * k);
		p[k + 4] = (char)(greatest >> 8 * k);
	}
	p[8] = LATIN1;
	memcpy(p + 32, name, sizeof(name));
	p[32 + sizeof(name)] = 0;
	return (int)packet_close(ret, 32 + sizeof(name) + 1, 1);
}

static int sql_greet(const char *got, size_t n, char *ret)
{
	struct packet packet;

	if (!packet_next(&got, got + n, &packet) || packet.n == 0)
		return TALK_MORE;
	if (packet.number == 0)
		return packet.bytes[0] == 0xff ? TALK_REFUSED :
						 sql_introduce(ret);
	if (packet.bytes[0] == NEW_METHOD) /* none is as good as another */
		return (int)packet_close(ret, 0, packet.number + 1);
	return packet.bytes[0] == OK ? TALK_READY : TALK_REFUSED;
}

static size_t sql_ask(uint64_t key, char *ret)
{
	int n = sprintf(ret + PACKET_HEAD,
			"%cSELECT body FROM bench.t WHERE id = %u", COM_QUERY,
			row_of(key));

	return packet_close(ret, (size_t)n, 0);
}

/* Five packets: how many columns, the one, an end, a row of it, an end. */
static size_t sql_answer(uint64_t key, const char *got, size_t n,
			 uint64_t *ret_wrong)
{
	enum { COLUMNS, COLUMN, DEFINED, ROW, LAST, PACKETS };
	struct packet packets[PACKETS];
	const char *at = got;

	for (int k = 0; k < PACKETS; k++) {
		if (!packet_next(&at, got + n, &packets[k]))
			return 0;
		/* Nothing comes behind an error, or an end where the row should
		 * be. */
		if (packets[k].number != (unsigned)k + 1 || packets[k].n == 0 ||
		    packets[k].bytes[0] == 0xff ||
		    (k == ROW && packets[k].bytes[0] == END)) {
			*ret_wrong += n;
			return n;
		}
	}
	if (packets[COLUMNS].bytes[0] != 1 || packets[DEFINED].bytes[0] != END ||
	    packets[LAST].bytes[0] != END || packets[ROW].bytes[0] != ROW_BYTES)
		*ret_wrong += n;
	else
		*ret_wrong += compare_row(key, (const char *)packets[ROW].bytes + 1,
					  packets[ROW].n - 1);
	return (size_t)(at - got);
}

/* ---- all of them ---------------------------------------------------------- */

const struct talk *talk_find(const char *name)
{
	static const struct talk talks[] = {
		{"echo", NULL, echo_ask, echo_answer},
		{"tunnel", tunnel_greet, echo_ask, echo_answer},
		{"sql", sql_greet, sql_ask, sql_answer},
		{"http", NULL, http_ask, http_answer},
	};

	for (size_t k = 0; k < sizeof(talks) / sizeof(talks[0]); k++)
		if (strcmp(talks[k].name, name) == 0)
			return &talks[k];
	return NULL;
}
