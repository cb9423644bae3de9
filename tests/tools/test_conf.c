/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The table of settings: what each value means, and what is refused. */
#include "base/conf.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

static struct cogo_conf c;
static struct conf_error error;
static char line[512];
static int complaints, unknowns;

static int set(const char *name, const char *value)
{
	const struct conf_setting *s = conf_find(name);

	cr_assert_not_null(s, "no setting %s", name);
	return conf_set(&c, s, value, &error);
}

static void complain(const struct conf_error *e)
{
	complaints++;
	conf_explain(e, false, line, sizeof(line));
}

static void unknown(const char *entry)
{
	unknowns++;
	strcpy(line, entry);
}

static void parse(char **envp)
{
	complaints = unknowns = 0;
	conf_parse(&c, envp, complain, unknown);
}

static const char *const not_numbers[] = {
	"x", "8x", "-1", "+1", " 8", "8 ", "0x8", "1.5", "1e2",
};

Test(conf, workers_are_a_whole_number_from_1_to_256)
{
	cr_assert_eq(set("COGO_WORKERS", "1"), 0);
	cr_assert_eq(c.workers, 1);
	cr_assert_eq(set("COGO_WORKERS", "256"), 0);
	cr_assert_eq(c.workers, 256);
	cr_assert_eq(set("COGO_WORKERS", "0"), -EINVAL);
	cr_assert_eq(set("COGO_WORKERS", "257"), -EINVAL);
	/* 2^64 + 1, and many more digits than any integer has */
	cr_assert_eq(set("COGO_WORKERS", "18446744073709551617"), -EINVAL);
	cr_assert_eq(set("COGO_WORKERS", "100000000000000000000000000000001"),
		     -EINVAL);
	for (size_t i = 0; i < sizeof(not_numbers) / sizeof(*not_numbers); i++)
		cr_assert_eq(set("COGO_WORKERS", not_numbers[i]), -EINVAL, "%s",
			     not_numbers[i]);
	cr_assert_eq(c.workers, 256, "a refused value changes nothing");
}

Test(conf, a_stack_is_bytes_with_a_suffix_from_16K_to_1G)
{
	static const struct {
		const char *value;
		size_t bytes; /* 0: refused */
	} cases[] = {
		{"16384", 16384},  {"16K", 16384},    {"16k", 16384},
		{"1M", 1 << 20},   {"1G", 1 << 30},   {"1024m", 1 << 30},
		{"100000", 100000}, {"16383", 0},     {"15K", 0},
		{"0", 0},	   {"1025M", 0},      {"2G", 0},
		{"1T", 0},	   {"64KB", 0},	      {"K", 0},
		{"64 K", 0},	   {"-64K", 0},	      {"17179869185G", 0},
		{"18014398509481985K", 0},	      {"1.5M", 0},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		c.stack = 0;
		cr_assert_eq(set("COGO_STACK", cases[i].value),
			     cases[i].bytes ? 0 : -EINVAL, "%s",
			     cases[i].value);
		cr_assert_eq(c.stack, cases[i].bytes, "%s", cases[i].value);
	}
}

Test(conf, a_dump_signal_is_a_name_or_a_number_with_or_without_SIG)
{
	const struct {
		const char *value;
		int number;
	} cases[] = {
		{"USR1", SIGUSR1},   {"SIGUSR2", SIGUSR2}, {"sigusr2", SIGUSR2},
		{"12", 12},	     {"QUIT", SIGQUIT},	   {"64", 64},
		{"34", 34},	     {"RTMIN", SIGRTMIN},  {"PWR", SIGPWR},
		{"RTMIN+3", SIGRTMIN + 3}, {"SIGRTMAX-1", SIGRTMAX - 1},
		{"rtmax", SIGRTMAX}, {"CLD", SIGCHLD},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		c.dump = 0;
		cr_assert_eq(set("COGO_DUMP", cases[i].value), 0, "%s",
			     cases[i].value);
		cr_assert_eq(c.dump, cases[i].number, "%s", cases[i].value);
	}
}

Test(conf, a_signal_that_cannot_bring_a_dump_is_refused)
{
	static const char *const bad[] = {
		"KILL", "SIGKILL", "9", "STOP", "19", "SEGV", "11", "BUS", "7",
		"FPE", "8", "ILL", "4", "32", "33", "0", "65", "-1", "SIG",
		"USR3", "SIGSIGUSR1", "USR1 ", "RTMIN+31", "RTMIN-1",
		"RTMAX+1", "RTMIN+", "RTMAX-99999999999999999999", "12x",
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		cr_assert_eq(set("COGO_DUMP", bad[i]), -EINVAL, "%s", bad[i]);
	cr_assert_eq(c.dump, 0);
}

Test(conf, every_signal_of_libc_has_its_own_name_here)
{
	for (int n = 1; n < 32; n++) {
		const char *name = sigabbrev_np(n);
		int by_name, by_number;
		char number[12];

		cr_assert_not_null(name);
		snprintf(number, sizeof(number), "%d", n);
		c.dump = 0;
		by_name = set("COGO_DUMP", name) == 0 ? c.dump : -1;
		c.dump = 0;
		by_number = set("COGO_DUMP", number) == 0 ? c.dump : -1;
		cr_assert_eq(by_name, by_number, "%s", name);
		cr_assert(by_name == n || by_name == -1, "%s", name);
	}
}

Test(conf, a_switch_is_on_or_off_in_words_or_digits)
{
	cr_assert_eq(set("COGO_STATS", "1"), 0);
	cr_assert(c.stats);
	cr_assert_eq(set("COGO_STATS", "no"), 0);
	cr_assert_not(c.stats);
	cr_assert_eq(set("COGO_NO_INHERIT", "YES"), 0);
	cr_assert(c.no_inherit);
	cr_assert_eq(set("COGO_DISABLE", "true"), 0);
	cr_assert(c.disable);
	cr_assert_eq(set("COGO_RUN", "on"), 0);
	cr_assert(c.run);
	cr_assert_eq(c.process, 0);
	cr_assert_eq(set("COGO_RUN", "0"), 0);
	cr_assert_not(c.run);
	cr_assert_eq(set("COGO_RUN", "4711"), 0);
	cr_assert(c.run);
	cr_assert_eq(c.process, 4711);
	cr_assert_eq(set("COGO_RUN", "4711x"), -EINVAL);
	cr_assert_eq(set("COGO_RUN", "99999999999"), -EINVAL);
	cr_assert_eq(set("COGO_STATS", "2"), -EINVAL);
	cr_assert_eq(set("COGO_STATS", "yess"), -EINVAL);
	cr_assert_eq(set("COGO_STATS", "y"), -EINVAL);
}

Test(conf, forced_ways_are_a_list_and_a_wrong_one_spoils_it_whole)
{
	cr_assert_eq(set("COGO_FORCE", "arch_prctl,shared_tls"), 0);
	cr_assert_eq(c.force, CONF_FORCE_ARCH_PRCTL | CONF_FORCE_SHARED_TLS);
	cr_assert_eq(set("COGO_FORCE", "no_nowait,no_guard_install"), 0);
	cr_assert_eq(c.force,
		     CONF_FORCE_NO_NOWAIT | CONF_FORCE_NO_GUARD_INSTALL);
	cr_assert_eq(set("COGO_FORCE", "arch_prctl,nowait"), -EINVAL);
	cr_assert_eq(set("COGO_FORCE", "arch_prctl,"), -EINVAL);
	cr_assert_eq(c.force,
		     CONF_FORCE_NO_NOWAIT | CONF_FORCE_NO_GUARD_INSTALL);
}

Test(conf, a_poller_is_one_of_two)
{
	cr_assert_eq(c.poller, CONF_POLLER_EPOLL);
	cr_assert_eq(set("COGO_POLLER", "io_uring"), 0);
	cr_assert_eq(c.poller, CONF_POLLER_IO_URING);
	cr_assert_eq(set("COGO_POLLER", "kqueue"), -EINVAL);
	cr_assert_eq(set("COGO_POLLER", "io_uring2"), -EINVAL);
	cr_assert_eq(c.poller, CONF_POLLER_IO_URING);
	cr_assert_eq(set("COGO_POLLER", "EPOLL"), 0);
	cr_assert_eq(c.poller, CONF_POLLER_EPOLL);
}

Test(conf, an_empty_environment_is_every_default)
{
	static const struct cogo_conf zero;
	char *envp[] = {"HOME=/root", "COG=1", NULL};

	parse(envp);
	cr_assert_eq(memcmp(&c, &zero, sizeof(c)), 0);
	cr_assert_eq(complaints + unknowns, 0);
}

Test(conf, an_empty_value_is_the_default_and_no_mistake)
{
	char *envp[] = {"COGO_WORKERS=", "COGO_DUMP=", "COGO_STATS=", NULL};

	parse(envp);
	cr_assert_eq(c.workers, 0);
	cr_assert_eq(complaints, 0);
}

Test(conf, a_bad_value_keeps_its_default_and_the_others_still_count)
{
	char *envp[] = {"COGO_WORKERS=many", "COGO_STACK=64K", NULL};

	parse(envp);
	cr_assert_eq(complaints, 1);
	cr_assert_eq(c.workers, 0);
	cr_assert_eq(c.stack, 65536);
	cr_assert_str_eq(line, "COGO_WORKERS=many is not a number; give a "
			       "number from 1 to 256");
}

Test(conf, of_two_values_the_first_counts_as_for_getenv)
{
	char *envp[] = {"COGO_WORKERS=2", "COGO_WORKERS=3", "COGO_WORKERS=x",
			NULL};

	parse(envp);
	cr_assert_eq(c.workers, 2);
	cr_assert_eq(complaints, 0);
}

Test(conf, an_unknown_name_is_told_and_a_longer_or_shorter_one_is_unknown)
{
	char *longer[] = {"COGO_WORKERSX=2", NULL};
	char *shorter[] = {"COGO_WORKER=2", NULL};
	char *no_name[] = {"COGO_=2", NULL};

	parse(longer);
	cr_assert_eq(unknowns, 1);
	cr_assert_str_eq(line, "COGO_WORKERSX=2");
	parse(shorter);
	cr_assert_eq(unknowns, 1);
	parse(no_name);
	cr_assert_eq(unknowns, 1);
	cr_assert_eq(c.workers, 0);
}

Test(conf, an_explanation_names_the_option_the_value_and_what_is_right)
{
	size_t n;

	cr_assert_eq(set("COGO_DUMP", "KILL"), -EINVAL);
	n = conf_explain(&error, true, line, sizeof(line));
	cr_assert_str_eq(line,
			 "--dump KILL is a signal that no program can catch; "
			 "give a signal that you do not need otherwise, such "
			 "as USR2");
	cr_assert_eq(n, strlen(line));
}

Test(conf, an_explanation_fits_its_room_and_stays_one_line)
{
	char value[5000], small[10];

	memset(value, '7', sizeof(value));
	value[3] = '\n';
	value[sizeof(value) - 1] = '\0';
	cr_assert_eq(set("COGO_WORKERS", value), -EINVAL);
	conf_explain(&error, false, line, sizeof(line));
	cr_assert_null(strchr(line, '\n'));
	cr_assert_not_null(strstr(line, "1 to 256"));
	cr_assert_eq(conf_explain(&error, false, small, sizeof(small)), 9);
	cr_assert_str_eq(small, "COGO_WORK");
}

Test(conf, the_bind_list_is_a_copy_and_a_longer_one_is_refused)
{
	char value[600] = "worker-*,main";
	char before[sizeof(c.bind)];

	cr_assert_eq(set("COGO_BIND", value), 0);
	memset(value, 'x', sizeof(value) - 1);
	cr_assert_str_eq(c.bind, "worker-*,main");
	memcpy(before, c.bind, sizeof(before));
	cr_assert_eq(set("COGO_BIND", value), -EINVAL);
	cr_assert_eq(memcmp(before, c.bind, sizeof(before)), 0);
}

Test(conf, a_thread_is_bound_when_one_of_the_patterns_matches_all_its_name)
{
	set("COGO_BIND", "io-*,,gc_?ain");
	cr_assert(conf_binds(&c, "io-7"));
	cr_assert(conf_binds(&c, "gc_main"));
	cr_assert_not(conf_binds(&c, "gc_remain"));
	cr_assert_not(conf_binds(&c, "my io-7"));
	cr_assert_not(conf_binds(&c, ""));
	cr_assert_not(conf_binds(&c, NULL));
	set("COGO_BIND", "*");
	cr_assert(conf_binds(&c, ""));
	cr_assert(conf_binds(&c, "anything"));
	memset(&c, 0, sizeof(c));
	cr_assert_not(conf_binds(&c, ""));
	cr_assert_not(conf_binds(&c, "anything"));
}

Test(conf, globs_match_as_the_shells_do)
{
	static const struct {
		const char *pattern, *text;
		bool matches;
	} cases[] = {
		{"", "", true},		  {"", "a", false},
		{"a", "", false},	  {"abc", "abc", true},
		{"abc", "abcd", false},	  {"*", "", true},
		{"*a", "bca", true},	  {"*a", "bcab", false},
		{"a*b*c", "aXbYbZc", true}, {"a*b*c", "aXbYbZ", false},
		{"**a**", "a", true},	  {"?", "", false},
		{"?", "x", true},	  {"a?c", "abc", true},
		{"[abc]", "b", true},	  {"[abc]", "d", false},
		{"[a-c]x", "bx", true},	  {"[!a-c]x", "bx", false},
		{"[^a-c]x", "dx", true},  {"[]]", "]", true},
		{"[!]]", "]", false},	  {"[a-]", "-", true},
		{"[", "[", true},	  {"[ab", "[ab", true},
		{"\\*", "*", true},	  {"\\*", "a", false},
		{"\\", "\\", true},	  {"[\\]]", "]", true},
		{"*[0-9]", "worker12", true}, {"*[0-9]", "worker", false},
		{"*ab", "aab", true},	  {"*?b", "b", false},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		cr_assert_eq(conf_glob(cases[i].pattern,
				       strlen(cases[i].pattern),
				       cases[i].text),
			     cases[i].matches, "%s %s", cases[i].pattern,
			     cases[i].text);
}

Test(conf, a_pattern_of_many_stars_takes_no_time_to_fail, .timeout = 20)
{
	const char *pattern = "*a*a*a*a*a*a*a*a*a*a*a*a*a*b";
	char text[4001];

	memset(text, 'a', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	cr_assert_not(conf_glob(pattern, strlen(pattern), text));
}

Test(conf, a_pattern_ends_where_it_is_said_to)
{
	cr_assert(conf_glob("ab,cd", 2, "ab"));
	cr_assert_not(conf_glob("ab*", 2, "abc"));
	cr_assert_not(conf_glob("[a]", 2, "a"));
}

Test(conf, what_is_in_the_table_has_a_name_a_cure_and_an_unmistakable_option)
{
	for (size_t i = 0; i < conf_nsettings; i++) {
		const struct conf_setting *s = &conf_settings[i];

		cr_assert_eq(strncmp(s->name, "COGO_", 5), 0);
		cr_assert_not_null(s->want);
		cr_assert(s->option == NULL || s->help != NULL);
		cr_assert_eq(conf_find(s->name), s);
	}
}
