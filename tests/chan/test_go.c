/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* test_go.c - programs that every implementation of channels is tried with, as
 * they are known from Go: what they must print follows from what a channel is. */
#include "with.h"
#include "cogo/select.h"

/* ---- a sieve of coroutines: each lets through what its prime does not divide ---- */

static COGO_CHAN(int) first_primes;

struct filter {
	COGO_CHAN(int) in, out;
	int prime;
};

static void generate(void *arg)
{
	COGO_CHAN(int) c = arg;

	for (int i = 2; cogo_put(c, i) == 0; i++)
		;
}

static void filter(void *arg)
{
	struct filter *f = arg;

	cogo_each (f->in, x)
		if (x % f->prime && cogo_put(f->out, x))
			break;
	/* Whoever feeds us finds nobody there, and ends as well. */
	cogo_close(f->in);
	free(f);
}

static void sieve(void *arg)
{
	COGO_CHAN(int) c = cogo_make(int, 0);
	int prime = 0;

	(void)arg;
	go(generate, c);
	for (int i = 0; i < 100; i++) {
		struct filter *f = malloc(sizeof(*f));

		check_eq(cogo_get(c, prime), 0);
		check_eq(cogo_put(first_primes, prime), 0);
		*f = (struct filter){ c, cogo_make(int, 0), prime };
		c = f->out;
		go(filter, f);
	}
	cogo_close(c);
	cogo_close(first_primes);
}

static void check_primes(int workers)
{
	int n = 0;

	with(workers);
	first_primes = cogo_make(int, 0);
	go(sieve, NULL);
	cogo_each (first_primes, p) {
		n++;
		for (int d = 2; d * d <= p; d++)
			check(p % d);
		if (n == 100)
			check_eq(p, 541);
	}
	check_eq(n, 100);
	join_all();
}

Test(go, the_hundredth_number_out_of_the_sieve_is_541_on_one_worker)
{
	check_primes(1);
}

Test(go, the_hundredth_number_out_of_the_sieve_is_541_on_two_workers)
{
	check_primes(2);
}

/* ---- power series: streams of coefficients, made only as they are asked for ---- */

struct rat {
	int64_t num, den;
};

static int64_t gcd(int64_t a, int64_t b)
{
	return b ? gcd(b, a % b) : a < 0 ? -a : a;
}

static struct rat rat(int64_t num, int64_t den)
{
	int64_t g = gcd(num, den);

	if (den < 0)
		g = -g;
	return (struct rat){ num / g, den / g };
}

static struct rat add(struct rat a, struct rat b)
{
	int64_t g = gcd(a.den, b.den);

	return rat(a.num * (b.den / g) + b.num * (a.den / g), a.den / g * b.den);
}

static struct rat mul(struct rat a, struct rat b)
{
	return rat(a.num * b.num, a.den * b.den);
}

/* A coefficient is sent only after it was asked for; a closed request ends it. */
struct series {
	struct cogo_chan *ask;
	COGO_CHAN(struct rat) tell;
};

static struct series series(void)
{
	return (struct series){ cogo_chan_new(0, 0), cogo_make(struct rat, 0) };
}

static struct rat next(struct series s)
{
	struct rat x = { 0, 1 };

	/* Nobody will ask for what is made of it. */
	if (cogo_send(s.ask, NULL, COGO_FOREVER) == -EPIPE)
		return x;
	check_eq(cogo_get(s.tell, x), 0);
	return x;
}

static bool asked(struct series s)
{
	return cogo_recv(s.ask, NULL, COGO_FOREVER) == 0;
}

struct operation {
	struct series a, b, out;
	struct rat c;
};

static struct series start(void (*fn)(void *), struct series a, struct series b,
			   struct rat c)
{
	struct operation *o = malloc(sizeof(*o));

	*o = (struct operation){ a, b, series(), c };
	go(fn, o);
	return o->out;
}

static const struct series none;
static const struct rat zero = { 0, 1 };

static void do_constant(void *arg)
{
	struct operation *o = arg;

	while (asked(o->out))
		cogo_put(o->out.tell, o->c);
}

static void do_add(void *arg)
{
	struct operation *o = arg;

	while (asked(o->out))
		cogo_put(o->out.tell, add(next(o->a), next(o->b)));
	cogo_chan_close(o->a.ask);
	cogo_chan_close(o->b.ask);
}

static void do_scale(void *arg)
{
	struct operation *o = arg;

	while (asked(o->out))
		cogo_put(o->out.tell, mul(next(o->a), o->c));
	cogo_chan_close(o->a.ask);
}

/* c + x * a */
static void do_shift(void *arg)
{
	struct operation *o = arg;
	struct rat x = o->c;

	while (asked(o->out)) {
		cogo_put(o->out.tell, x);
		x = next(o->a);
	}
	cogo_chan_close(o->a.ask);
}

static void do_integrate(void *arg)
{
	struct operation *o = arg;
	struct rat x = o->c;
	int64_t n = 0;

	while (asked(o->out)) {
		cogo_put(o->out.tell, x);
		x = mul(next(o->a), rat(1, ++n));
	}
	cogo_chan_close(o->a.ask);
}

#define TERMS 12

static void do_multiply(void *arg)
{
	struct operation *o = arg;
	struct rat a[4 * TERMS], b[4 * TERMS], sum;
	int n = 0;

	for (; asked(o->out); n++) {
		check(n < 4 * TERMS);
		a[n] = next(o->a);
		b[n] = next(o->b);
		sum = zero;
		for (int i = 0; i <= n; i++)
			sum = add(sum, mul(a[i], b[n - i]));
		cogo_put(o->out.tell, sum);
	}
	cogo_chan_close(o->a.ask);
	cogo_chan_close(o->b.ask);
}

/* Two that want the same series each at his own pace. */
struct split {
	struct series in, out[2];
	struct rat seen[4 * TERMS];
	int known, at[2];
	bool loops;		/* the second is made of what it gets here */
};

static void tell(struct split *s, int who)
{
	cogo_put(s->out[who].tell, s->seen[s->at[who]++]);
}

/* Of a series that is made of itself, all that is known goes there before more is
 * asked for: the one who makes it waits for that, and not for us. */
static void learn(struct split *s)
{
	if (s->loops && s->at[1] < s->known) {
		check(asked(s->out[1]));
		tell(s, 1);
	}
	check(s->known < 4 * TERMS);
	s->seen[s->known++] = next(s->in);
}

static void do_split(void *arg)
{
	struct split *s = arg;
	struct cogo_chan *ask[2] = { s->out[0].ask, s->out[1].ask };
	int who;

	while (ask[0] || (ask[1] && !s->loops)) {
		who = -1;
		cogo_choose (COGO_FOREVER) {
		COGO_SIGNAL(ask[0]) {
			who = 0;
			if (COGO_RESULT)
				ask[0] = NULL;
		}
		COGO_SIGNAL(ask[1]) {
			who = 1;
			if (COGO_RESULT)
				ask[1] = NULL;
		}
		}
		check(who >= 0);
		if (!ask[who])
			continue;
		if (s->at[who] == s->known)
			learn(s);
		tell(s, who);
	}
	cogo_chan_close(s->in.ask);
	/* Its reader may have asked for more, before it hears of that. */
	if (s->loops)
		cogo_chan_close(s->out[1].ask);
}

static void split(struct series in, bool loops, struct series *ret_a,
		  struct series *ret_b)
{
	struct split *s = malloc(sizeof(*s));

	*s = (struct split){ .in = in, .out = { series(), series() },
			     .loops = loops };
	*ret_a = s->out[0];
	*ret_b = s->out[1];
	go(do_split, s);
}

/* The first terms are these: num, den, num, den, … */
static void expect(struct series s, const int64_t *terms)
{
	for (int i = 0; i < TERMS; i++) {
		struct rat x = next(s);

		check_eq(x.num, terms[2 * i]);
		check_eq(x.den, terms[2 * i + 1]);
	}
	cogo_chan_close(s.ask);
}

static struct series ones(void)
{
	return start(do_constant, none, none, rat(1, 1));
}

/* e = 1 + integral of e: a stream that is made of itself. */
static struct series exponential(void)
{
	struct series a, b, loop = series();
	struct operation *o = malloc(sizeof(*o));

	split(loop, true, &a, &b);
	*o = (struct operation){ .a = b, .out = loop, .c = rat(1, 1) };
	go(do_integrate, o);
	return a;
}

static void power_series(void *arg)
{
	int64_t two[2 * TERMS], count[2 * TERMS], exp2[2 * TERMS], shifted[2 * TERMS];
	struct series a, b;
	int64_t power = 1, factorial = 1;

	(void)arg;
	for (int i = 0; i < TERMS; i++) {
		struct rat e = rat(power, factorial);

		two[2 * i] = 2;
		count[2 * i] = i + 1;
		two[2 * i + 1] = count[2 * i + 1] = shifted[2 * i + 1] = 1;
		shifted[2 * i] = i ? 3 : 5;
		/* The square of e to the x is e to the 2 x. */
		exp2[2 * i] = e.num;
		exp2[2 * i + 1] = e.den;
		power *= 2;
		factorial *= i + 1;
	}
	expect(start(do_add, ones(), ones(), zero), two);
	expect(start(do_multiply, ones(), ones(), zero), count);
	expect(start(do_shift, start(do_scale, ones(), none, rat(3, 1)), none,
		     rat(5, 1)), shifted);
	split(ones(), false, &a, &b);
	expect(start(do_multiply, a, b, zero), count);
	expect(start(do_multiply, exponential(), exponential(), zero), exp2);
}

Test(go, power_series_have_the_coefficients_that_they_have)
{
	with(2);
	go(power_series, NULL);
	join_all();
}

/* ---- fifo ---- */

struct link {
	COGO_CHAN(int) c;
	struct cogo_chan *in, *out;
	int value;
};

static void pass(void *arg)
{
	struct link *l = arg;
	int x = 0;

	check_eq(cogo_recv(l->in, NULL, COGO_FOREVER), 0);
	check_eq(cogo_get(l->c, x), 0);
	check_eq(x, l->value);
	check_eq(cogo_send(l->out, NULL, COGO_FOREVER), 0);
}

Test(go, a_chain_of_receivers_finds_items_in_order_with_a_buffer_and_without)
{
	enum { N = 40 };
	struct link l[N];

	with(2);
	for (int cap = N; cap >= 0; cap -= N) {
		COGO_CHAN(int) c = cogo_make(int, (size_t)cap);
		struct cogo_chan *in = cogo_chan_new(0, 0), *first = in;

		for (int i = 0; i < N && cap; i++)
			check_eq(cogo_put(c, i), 0);
		for (int i = 0; i < N; i++) {
			l[i] = (struct link){ c, in, cogo_chan_new(0, 0), i };
			in = l[i].out;
			go(pass, &l[i]);
		}
		check_eq(cogo_send(first, NULL, COGO_FOREVER), 0);
		for (int i = 0; i < N && !cap; i++)
			check_eq(cogo_put(c, i), 0);
		check_eq(cogo_recv(in, NULL, COGO_FOREVER), 0);
		join_all();
	}
}

/* ---- nonblocking ---- */

static void receive_42(void *arg)
{
	int x = 0;

	check_eq(cogo_recv(arg, &x, COGO_FOREVER), 0);
	check_eq(x, 42);
}

static void send_43(void *arg)
{
	int x = 43;

	check_eq(cogo_send(arg, &x, COGO_FOREVER), 0);
}

static int try_in_a_select(COGO_CHAN(int) c, bool send, int x)
{
	int got = x;

	if (send)
		cogo_choose (COGO_FOREVER) {
		COGO_SEND(c, got)
			return 1;
		COGO_DEFAULT
			return 0;
		}
	else
		cogo_choose (COGO_FOREVER) {
		COGO_RECV(c, got)
			return got;
		COGO_DEFAULT
			return 0;
		}
	return -1;
}

Test(go, a_select_with_a_default_does_what_is_possible_and_never_waits)
{
	with(2);
	for (size_t cap = 0; cap <= 10; cap += 10) {
		COGO_CHAN(int) c = cogo_make(int, cap);

		check_eq(try_in_a_select(c, false, 0), 0);
		until_waits(go(receive_42, c));
		check_eq(try_in_a_select(c, true, 42), 1);
		join_all();
		for (size_t i = 0; i < cap; i++)
			check_eq(try_in_a_select(c, true, 1), 1);
		check_eq(try_in_a_select(c, true, 1), 0);
		until_waits(go(send_43, c));
		for (size_t i = 0; i < cap; i++)
			check_eq(try_in_a_select(c, false, 0), 1);
		check_eq(try_in_a_select(c, false, 0), 43);
		check_eq(try_in_a_select(c, false, 0), 0);
		join_all();
	}
}

/* ---- fairness ---- */

Test(go, a_select_over_two_that_are_always_ready_takes_from_both_alike)
{
	enum { TRIALS = 10000 };
	COGO_CHAN(char) a = cogo_make(char, TRIALS + 1);
	COGO_CHAN(char) b = cogo_make(char, TRIALS + 1);
	int from_a = 0;
	char x;

	with(1);
	self()->luck = 1;
	for (int i = 0; i <= TRIALS; i++) {
		check_eq(cogo_put(a, 'a'), 0);
		check_eq(cogo_put(b, 'b'), 0);
	}
	for (int i = 0; i < TRIALS; i++) {
		cogo_choose (COGO_FOREVER) {
		COGO_RECV(a, x)
			from_a++;
		COGO_RECV(b, x)
			check_eq(x, 'b');
		}
	}
	/* Nine standard deviations. */
	check(from_a > TRIALS / 2 - 450 && from_a < TRIALS / 2 + 450);
}

/* ---- double select: what one select sends, another receives, once ---- */

#define SENT 20000

struct doubled {
	COGO_CHAN(int) c[4];
	COGO_CHAN(int) all;
	_Atomic int left;
};

static void send_by_select(void *arg)
{
	struct doubled *d = arg;

	for (int i = 0; i < SENT; i++)
		cogo_choose (COGO_FOREVER) {
		COGO_SEND(d->c[0], i) {}
		COGO_SEND(d->c[1], i) {}
		COGO_SEND(d->c[2], i) {}
		COGO_SEND(d->c[3], i) {}
		}
	for (int i = 0; i < 4; i++)
		cogo_close(d->c[i]);
}

struct mux {
	struct doubled *d;
	int n;
};

static void forward(void *arg)
{
	struct mux *m = arg;

	cogo_each (m->d->c[m->n], x)
		check_eq(cogo_put(m->d->all, x), 0);
	if (--m->d->left == 0)
		cogo_close(m->d->all);
}

static void double_select(int workers)
{
	static bool seen[SENT];
	struct doubled d = { .left = 4, .all = cogo_make(int, 0) };
	struct mux m[4];
	int n = 0;

	with(workers);
	for (int i = 0; i < 4; i++) {
		d.c[i] = cogo_make(int, 0);
		m[i] = (struct mux){ &d, i };
		go(forward, &m[i]);
	}
	go(send_by_select, &d);
	cogo_each (d.all, x) {
		check(!seen[x]);
		seen[x] = true;
		n++;
	}
	check_eq(n, SENT);
	join_all();
}

Test(go, what_a_select_sends_is_received_once_on_one_worker)
{
	double_select(1);
}

Test(go, what_a_select_sends_is_received_once_on_two_workers)
{
	double_select(2);
}
