/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* early.c - threads that were there before main was, and before any constructor but
 * libc's. */
#include "../../support/expect.h"
#include "early_lib.h"

static void what_a_constructor_makes_has_run(void)
{
	EXPECT_EQ(early_begun(), 0);
}

static void one_that_waits_since_then_answers_main_and_others(void)
{
	for (int i = 1; i <= 1000; i++)
		EXPECT_EQ(early_ask(i), i);
}

static void a_handler_of_then_runs_at_a_fork(void)
{
	int before = early_forks(), status = -1;
	pid_t child = fork();

	if (child == 0)
		_exit(early_forks() == before + 1 ? 0 : 1);
	EXPECT_EQ(waitpid(child, &status, 0), child);
	EXPECT_EQ(status, 0);
	EXPECT_EQ(early_forks(), before + 1);
}

static void one_of_then_ends_when_it_is_told(void)
{
	EXPECT_EQ(early_end(), 1);
}

static const struct expect_case cases[] = {
	CASE_IN_MAIN(what_a_constructor_makes_has_run),
	CASE_IN_MAIN(one_that_waits_since_then_answers_main_and_others),
	CASE(one_that_waits_since_then_answers_main_and_others),
	CASE(a_handler_of_then_runs_at_a_fork),
	CASE_IN_MAIN(one_of_then_ends_when_it_is_told),
};

int main(int argc, char **argv)
{
	return expect_main(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}
