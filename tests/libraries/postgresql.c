/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* libpq, blocking calls throughout: PQconnectdb, PQexec, PQexecParams.
 *
 * A third of the members comes by a Unix socket, a third by TCP, a third by TCP and
 * TLS: then libpq and libcrypto wait for each other's locks as well. What all wait
 * for at once is an advisory lock that main's own connection has. */
#include "crowd.h"
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ACCOUNTS 50
#define GATE "4711"

static const char *host_of(int i, char *ret, size_t size)
{
	static const char *const tls[] = { "disable", "require" };

	if (i % 3 == 0)
		snprintf(ret, size, "host=%s port=%s user=teller dbname=postgres",
			 crowd.args[0], crowd.args[1]);
	else
		snprintf(ret, size, "host=127.0.0.1 port=%s user=teller "
			 "dbname=postgres sslmode=%s", crowd.args[1],
			 tls[i % 3 - 1]);
	return ret;
}

static PGconn *join(int i)
{
	char how[512];
	PGconn *db = PQconnectdb(host_of(i, how, sizeof(how)));

	check(PQstatus(db) == CONNECTION_OK, "%s", PQerrorMessage(db));
	check(PQsslInUse(db) == (i % 3 == 2), "member %d", i);
	return db;
}

/* What came, which the caller frees; or else an end. */
static PGresult *ask(PGconn *db, const char *sql, int n, const char *const *values)
{
	PGresult *r = PQexecParams(db, sql, n, NULL, values, NULL, NULL, 0);
	ExecStatusType s = PQresultStatus(r);

	check(s == PGRES_COMMAND_OK || s == PGRES_TUPLES_OK, "%s: %s", sql,
	      PQerrorMessage(db));
	crowd_trips(1);
	return r;
}

static void tell(PGconn *db, const char *sql)
{
	PQclear(ask(db, sql, 0, NULL));
}

static long number(PGconn *db, const char *sql)
{
	PGresult *r = ask(db, sql, 0, NULL);
	long n = atol(PQgetvalue(r, 0, 0));

	PQclear(r);
	return n;
}

/* A row of its own, of up to 20,000 bytes, and back. */
static void keep(PGconn *db, int i, int round)
{
	size_t size = 100 + (size_t)(i * 97 + round * 7919) % 20000;
	const char *values[3];
	char id[32], owner[32], *body = malloc(size);
	PGresult *r;

	check(body != NULL, "no memory");
	snprintf(id, sizeof(id), "%d", i * 1000 + round);
	snprintf(owner, sizeof(owner), "%d", i);
	crowd_text(body, size, (uint64_t)(i * 1000 + round));
	values[0] = id;
	values[1] = owner;
	values[2] = body;
	r = ask(db, "INSERT INTO note VALUES ($1::int, $2::int, $3::text)", 3,
		values);
	check(!strcmp(PQcmdTuples(r), "1"), "rows inserted: %s", PQcmdTuples(r));
	PQclear(r);
	r = ask(db, "SELECT owner, body, pg_backend_pid() FROM note WHERE id = $1::int",
		1, values);
	check(PQntuples(r) == 1, "%d rows", PQntuples(r));
	check(!strcmp(PQgetvalue(r, 0, 0), owner), "%s", PQgetvalue(r, 0, 0));
	check(!strcmp(PQgetvalue(r, 0, 1), body), "a body of member %d", i);
	check(atoi(PQgetvalue(r, 0, 2)) == PQbackendPID(db),
	      "another's answer came to member %d", i);
	PQclear(r);
	free(body);
}

/* Money goes from one account to another, both held for update: the lower number
 * first, so that none waits in a circle. Every seventh changes its mind. */
static void transfer(PGconn *db, int i, int round)
{
	int from = (i + round) % ACCOUNTS, to = (i * 7 + 1) % ACCOUNTS;
	char sql[128];

	if (from == to)
		to = (to + 1) % ACCOUNTS;
	tell(db, "BEGIN");
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
static void err(PGconn *db)
{
	PGresult *r = PQexec(db, "SELECT * FROM nothing");

	check(PQresultStatus(r) == PGRES_FATAL_ERROR, "%s",
	      PQresStatus(PQresultStatus(r)));
	check(!strcmp(PQresultErrorField(r, PG_DIAG_SQLSTATE), "42P01"), "%s",
	      PQerrorMessage(db));
	PQclear(r);
	crowd_trips(1);
}

static void member(int i)
{
	PGconn *db = join(i);

	crowd_meet();
	tell(db, "SELECT pg_advisory_lock_shared(" GATE ")");
	for (int round = 0; round < crowd.rounds; round++) {
		keep(db, i, round);
		if (round % 3 == 0)
			transfer(db, i, round);
		if (round % 4 == 1)
			err(db);
	}
	PQfinish(db);
}

int main(int argc, char **argv)
{
	PGconn *db;

	(void)argc;
	crowd_options(argv, 2, "postgresql [OPTION...] SOCKET-FOLDER PORT");
	db = join(0);
	tell(db, "CREATE TABLE account AS SELECT id, 1000 AS balance "
		 "FROM generate_series(0, 49) AS id");
	tell(db, "CREATE UNIQUE INDEX ON account (id)");
	tell(db, "CREATE TABLE note (id int PRIMARY KEY, owner int, body text)");
	tell(db, "SELECT pg_advisory_lock(" GATE ")");

	crowd_begin(member);
	while (number(db, "SELECT count(*) FROM pg_locks WHERE "
			  "locktype = 'advisory' AND NOT granted") != crowd.members)
		crowd_moment();
	crowd_in_flight();
	tell(db, "SELECT pg_advisory_unlock(" GATE ")");
	crowd_end();

	check(number(db, "SELECT sum(balance) FROM account") == 1000 * ACCOUNTS,
	      "money was made or lost");
	printf("rows=%ld owners=%ld\n", number(db, "SELECT count(*) FROM note"),
	       number(db, "SELECT count(DISTINCT owner) FROM note"));
	PQfinish(db);
	return 0;
}
