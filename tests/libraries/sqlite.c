/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* sqlite: one file, a connection for each member, and the library's own patience.
 *
 * Locks between connections of one process are sqlite's; between processes they are
 * fcntl's. Who finds the file busy sleeps in the busy handler and looks again. What
 * all wait for at once is a file that main has for itself. A layer above the
 * system's file layer counts the sleepers: so main knows when all of them are in
 * there.
 *
 * The second argument is the journal's mode, "wal" or "delete", in which readers
 * and writers meet in different places. */
#include "crowd.h"
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ACCOUNTS 50
#define PATIENCE_MS 300000

static sqlite3_vfs layer, *below;
static _Thread_local bool counted;
static _Atomic int asleep;

static int count_sleep(sqlite3_vfs *vfs, int us)
{
	(void)vfs;
	if (!counted) {
		counted = true;
		asleep++;
	}
	return below->xSleep(below, us);
}

static void lay(void)
{
	below = sqlite3_vfs_find(NULL);
	layer = *below;
	layer.zName = "counting";
	layer.pNext = NULL;
	layer.xSleep = count_sleep;
	check(sqlite3_vfs_register(&layer, 1) == SQLITE_OK, "sqlite3_vfs_register");
}

static void tell(sqlite3 *db, const char *sql)
{
	char *why = NULL;

	check(sqlite3_exec(db, sql, NULL, NULL, &why) == SQLITE_OK, "%s: %s", sql,
	      why);
	crowd_trips(1);
}

static sqlite3 *join(void)
{
	sqlite3 *db;

	check(sqlite3_open_v2(crowd.args[0], &db,
			      SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE,
			      NULL) == SQLITE_OK, "%s", sqlite3_errmsg(db));
	sqlite3_busy_timeout(db, PATIENCE_MS);
	return db;
}

static sqlite3_stmt *prepare(sqlite3 *db, const char *sql)
{
	sqlite3_stmt *s;

	check(sqlite3_prepare_v2(db, sql, -1, &s, NULL) == SQLITE_OK, "%s: %s",
	      sql, sqlite3_errmsg(db));
	return s;
}

static long number(sqlite3 *db, const char *sql)
{
	sqlite3_stmt *s = prepare(db, sql);
	long n;

	check(sqlite3_step(s) == SQLITE_ROW, "%s: %s", sql, sqlite3_errmsg(db));
	n = (long)sqlite3_column_int64(s, 0);
	sqlite3_finalize(s);
	crowd_trips(1);
	return n;
}

/* A row of its own, and a transfer, in one transaction. */
static void put(sqlite3 *db, int i, int round, const char *body)
{
	sqlite3_stmt *s;
	char sql[256];

	tell(db, "BEGIN IMMEDIATE");
	s = prepare(db, "INSERT INTO note VALUES (?, ?, ?)");
	sqlite3_bind_int(s, 1, i * 1000 + round);
	sqlite3_bind_int(s, 2, i);
	sqlite3_bind_text(s, 3, body, -1, SQLITE_STATIC);
	check(sqlite3_step(s) == SQLITE_DONE, "%s", sqlite3_errmsg(db));
	sqlite3_finalize(s);
	snprintf(sql, sizeof(sql),
		 "UPDATE account SET balance = balance - %d WHERE id = %d;"
		 "UPDATE account SET balance = balance + %d WHERE id = %d",
		 i, (i + round) % ACCOUNTS, i, (i * 7 + 1) % ACCOUNTS);
	tell(db, sql);
	tell(db, i % 7 == 3 ? "ROLLBACK" : "COMMIT");
	crowd_trips(1);
}

static void get(sqlite3 *db, int i, int round, const char *body)
{
	sqlite3_stmt *s = prepare(db, "SELECT owner, body FROM note WHERE id = ?");
	int r;

	sqlite3_bind_int(s, 1, i * 1000 + round);
	r = sqlite3_step(s);
	if (i % 7 == 3) {
		check(r == SQLITE_DONE, "what was rolled back is there: %s",
		      sqlite3_errmsg(db));
	} else {
		check(r == SQLITE_ROW, "%s", sqlite3_errmsg(db));
		check(sqlite3_column_int(s, 0) == i &&
		      !strcmp((const char *)sqlite3_column_text(s, 1), body),
		      "a row of member %d", i);
	}
	sqlite3_finalize(s);
	crowd_trips(1);
}

static void member(int i)
{
	sqlite3 *db = join();

	crowd_meet();
	for (int round = 0; round < crowd.rounds; round++) {
		size_t size = 100 + (size_t)(i * 97 + round * 7919) % 5000;
		char *body = malloc(size);

		check(body != NULL, "no memory");
		crowd_text(body, size, (uint64_t)(i * 1000 + round));
		put(db, i, round, body);
		get(db, i, round, body);
		/* Whoever reads sees no money on its way. */
		if (round % 2)
			check(number(db, "SELECT sum(balance) FROM account") ==
			      1000 * ACCOUNTS, "member %d", i);
		free(body);
	}
	sqlite3_close(db);
}

int main(int argc, char **argv)
{
	char sql[64];
	sqlite3 *db;

	(void)argc;
	crowd_options(argv, 2, "sqlite [OPTION...] FILE JOURNAL-MODE");
	lay();
	db = join();
	snprintf(sql, sizeof(sql), "PRAGMA journal_mode = %s", crowd.args[1]);
	tell(db, sql);
	tell(db, "CREATE TABLE account (id INTEGER PRIMARY KEY, balance INT)");
	for (int i = 0; i < ACCOUNTS; i++)
		tell(db, "INSERT INTO account (balance) VALUES (1000)");
	tell(db, "UPDATE account SET id = id - 1");
	tell(db, "CREATE TABLE note (id INTEGER PRIMARY KEY, owner INT, body TEXT)");
	tell(db, "BEGIN EXCLUSIVE");

	crowd_begin(member);
	while (asleep != crowd.members)
		crowd_moment();
	crowd_in_flight();
	tell(db, "COMMIT");
	crowd_end();

	check(number(db, "SELECT sum(balance) FROM account") == 1000 * ACCOUNTS,
	      "money was made or lost");
	printf("rows=%ld owners=%ld\n", number(db, "SELECT count(*) FROM note"),
	       number(db, "SELECT count(DISTINCT owner) FROM note"));
	sqlite3_close(db);
	return 0;
}
