/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* libmariadb: mysql_real_connect, mysql_query, prepared statements.
 *
 * A third of the members comes by a Unix socket, a third by TCP, a third by TCP and
 * TLS. What all wait for at once is a table that main's own connection has locked. */
#include "crowd.h"
#include <mysql.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ACCOUNTS 50

static MYSQL *join(int i)
{
	my_bool tls = i % 3 == 2, no = 0;
	MYSQL *db = mysql_init(NULL);

	check(db != NULL, "no memory");
	mysql_options(db, MYSQL_OPT_SSL_VERIFY_SERVER_CERT, &no);
	/* Without a file each of them reads all that the system trusts. */
	if (tls)
		mysql_options(db, MYSQL_OPT_SSL_CA, crowd.args[2]);
	check(mysql_real_connect(db, i % 3 ? "127.0.0.1" : NULL, "teller",
				 "secret", "bank",
				 i % 3 ? (unsigned)atoi(crowd.args[1]) : 0,
				 i % 3 ? NULL : crowd.args[0], 0) != NULL,
	      "member %d: %s", i, mysql_error(db));
	check((mysql_get_ssl_cipher(db) != NULL) == tls, "member %d", i);
	return db;
}

static void tell(MYSQL *db, const char *sql)
{
	check(mysql_query(db, sql) == 0, "%s: %s", sql, mysql_error(db));
	crowd_trips(1);
}

static long number(MYSQL *db, const char *sql)
{
	MYSQL_RES *r;
	MYSQL_ROW row;
	long n;

	tell(db, sql);
	r = mysql_store_result(db);
	check(r != NULL, "%s: %s", sql, mysql_error(db));
	row = mysql_fetch_row(r);
	check(row && row[0], "%s: no row", sql);
	n = atol(row[0]);
	mysql_free_result(r);
	return n;
}

static MYSQL_STMT *prepare(MYSQL *db, const char *sql)
{
	MYSQL_STMT *s = mysql_stmt_init(db);

	check(s != NULL, "no memory");
	check(mysql_stmt_prepare(s, sql, strlen(sql)) == 0, "%s: %s", sql,
	      mysql_stmt_error(s));
	crowd_trips(1);
	return s;
}

static void bind(MYSQL_BIND *b, enum enum_field_types type, void *p,
		 unsigned long size)
{
	memset(b, 0, sizeof(*b));
	b->buffer_type = type;
	b->buffer = p;
	b->buffer_length = size;
}

/* A row of its own, of up to 20,000 bytes, and back. */
static void keep(MYSQL *db, int i, int round)
{
	MYSQL_STMT *put = prepare(db, "INSERT INTO note VALUES (?, ?, ?)");
	MYSQL_STMT *get = prepare(db, "SELECT owner, body, CONNECTION_ID() "
				      "FROM note WHERE id = ?");
	size_t size = 100 + (size_t)(i * 97 + round * 7919) % 20000;
	char *body = malloc(size), *again = malloc(size);
	int id = i * 1000 + round, owner = i;
	long long who;
	MYSQL_BIND b[3];

	check(body && again, "no memory");
	crowd_text(body, size, (uint64_t)id);
	bind(&b[0], MYSQL_TYPE_LONG, &id, 0);
	bind(&b[1], MYSQL_TYPE_LONG, &owner, 0);
	bind(&b[2], MYSQL_TYPE_STRING, body, size - 1);
	check(mysql_stmt_bind_param(put, b) == 0 && mysql_stmt_execute(put) == 0,
	      "%s", mysql_stmt_error(put));
	check(mysql_stmt_affected_rows(put) == 1, "member %d", i);
	mysql_stmt_close(put);

	bind(&b[0], MYSQL_TYPE_LONG, &id, 0);
	check(mysql_stmt_bind_param(get, b) == 0 && mysql_stmt_execute(get) == 0,
	      "%s", mysql_stmt_error(get));
	owner = -1;
	memset(again, 0, size);
	bind(&b[0], MYSQL_TYPE_LONG, &owner, 0);
	bind(&b[1], MYSQL_TYPE_STRING, again, size);
	bind(&b[2], MYSQL_TYPE_LONGLONG, &who, 0);
	check(mysql_stmt_bind_result(get, b) == 0 && mysql_stmt_fetch(get) == 0,
	      "%s", mysql_stmt_error(get));
	check(owner == i && !strcmp(body, again), "a row of member %d", i);
	check(who == (long long)mysql_thread_id(db),
	      "another's answer came to member %d", i);
	check(mysql_stmt_fetch(get) == MYSQL_NO_DATA, "more rows than one");
	mysql_stmt_close(get);
	crowd_trips(2);
	free(body);
	free(again);
}

/* Money goes from one account to another, the lower number first, so that none
 * waits in a circle. Every seventh changes its mind. */
static void transfer(MYSQL *db, int i, int round)
{
	int from = (i + round) % ACCOUNTS, to = (i * 7 + 1) % ACCOUNTS;
	char sql[128];

	if (from == to)
		to = (to + 1) % ACCOUNTS;
	tell(db, "START TRANSACTION");
	for (int k = 0; k < 2; k++) {
		int low = from < to ? from : to, high = from < to ? to : from;
		int id = k ? high : low;

		snprintf(sql, sizeof(sql), "UPDATE account SET balance = balance "
			 "%+d WHERE id = %d", id == from ? -i : i, id);
		tell(db, sql);
	}
	tell(db, i % 7 == 3 ? "ROLLBACK" : "COMMIT");
}

/* An error is an answer as well, and leaves the connection as it was. */
static void err(MYSQL *db)
{
	check(mysql_query(db, "SELECT * FROM nothing") != 0, "there is a nothing");
	check(mysql_errno(db) == 1146, "%s", mysql_error(db));
	crowd_trips(1);
}

static void member(int i)
{
	MYSQL *db = join(i);

	crowd_meet();
	check(number(db, "SELECT COUNT(*) FROM gate") == 0, "member %d", i);
	for (int round = 0; round < crowd.rounds; round++) {
		keep(db, i, round);
		if (round % 3 == 0)
			transfer(db, i, round);
		if (round % 4 == 1)
			err(db);
	}
	mysql_close(db);
	mysql_thread_end();
}

int main(int argc, char **argv)
{
	MYSQL *db;

	(void)argc;
	crowd_options(argv, 3, "mariadb [OPTION...] SOCKET PORT CERTIFICATE");
	mysql_library_init(0, NULL, NULL);
	db = join(0);
	tell(db, "CREATE TABLE account (id INT PRIMARY KEY, balance INT)");
	tell(db, "INSERT INTO account SELECT seq, 1000 FROM seq_0_to_49");
	tell(db, "CREATE TABLE note (id INT PRIMARY KEY, owner INT, body TEXT)");
	tell(db, "CREATE TABLE gate (id INT)");
	tell(db, "LOCK TABLES gate WRITE");

	crowd_begin(member);
	while (number(db, "SELECT COUNT(*) FROM information_schema.processlist "
			  "WHERE state = 'Waiting for table metadata lock'") !=
	       crowd.members)
		crowd_moment();
	crowd_in_flight();
	tell(db, "UNLOCK TABLES");
	crowd_end();

	check(number(db, "SELECT SUM(balance) FROM account") == 1000 * ACCOUNTS,
	      "money was made or lost");
	printf("rows=%ld owners=%ld\n", number(db, "SELECT COUNT(*) FROM note"),
	       number(db, "SELECT COUNT(DISTINCT owner) FROM note"));
	mysql_close(db);
	mysql_library_end();
	return 0;
}
