/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* explore.c - runs real code in every order in which it can run.
 *
 * A state is the program's variables (from the start of its data to the end of
 * its bss, less what is skipped), the memory given out here, and of each stack
 * the part in use. It is copied aside to come back to, and known by a hash of
 * 64 bits: of a few million states, two being taken for one is as likely as
 * winning a lottery. The explorer's own variables are in memory of their own, or
 * they would be part of what they describe.
 *
 * X1  A step begins with an access to something that another actor touches as
 *     well, one of them writing, or with a lock, a sleep, a wake or a choice; and
 *     goes up to just before the next. What is touched by one actor only, or
 *     read only, cannot be seen from outside, so nothing is lost by not stopping
 *     there.
 * X2  Nobody knows beforehand what that is. So at first nothing is taken to be
 *     shared; when a second actor turns up somewhere, that place is, from then
 *     on, and everything is begun anew. The last time round none turned up: so
 *     there is no way in which one could, the first such way included.
 * X3  Each step is an edge between two states. When all are known, those are
 *     looked for from which no end can be reached. */
#include "explore.h"
#include "arch/context.h"
#include "arch/tp.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define ACTORS	8
#define STACKS	16
#define STACK	(16 << 10)
#define ARENA	(256 << 10)
#define SKIPS	8
#define DEPTH	100000
#define CELLS	4096
#define EDGES	(EXPLORE_MOST * 8ul)
#define QUIET	10000		/* so long does nobody go without a stop */

enum status { NOBODY, READY, CHOOSING, ASLEEP, HELD_UP, OVER };

struct actor {
	const char *name;
	enum status status;
	bool timed, timed_out;
	int options, chosen;
	_Atomic uint32_t *word;
	uint32_t value, quiet;
	void *sp, *local;
	void (*fn)(void *);
	void *arg;
	const char *file, *what;	/* where it stopped, and before what */
	int line;
};

struct range {
	char *at;
	size_t size;
};

/* One on the way from the first state to where we are. */
struct step {
	char *saved;
	size_t size;
	uint32_t state;		/* its number */
	uint32_t next;		/* the choice to try next */
};

/* Something that is accessed (X2). */
struct cell {
	const volatile void *at;
	int actor;		/* the first */
	bool several, written;
};

struct edge {
	uint32_t from, to;
};

/* Beside the state. */
struct explorer {
	void *main_sp;
	uintptr_t tp;
	void *local;
	bool inside;		/* an actor runs */
	bool anew;		/* X2 */
	bool settling;		/* nobody's time is up */
	struct range skips[SKIPS], kept[SKIPS + 1];
	int nskips, nkept;
	char *arena, *stacks;
	struct cell cells[CELLS];
	int nshared;
	/* States by number, and their numbers by hash; 0: none. */
	uint64_t *hashes;
	uint32_t *numbers, room, states, most;
	unsigned char *is_end;
	struct edge *edges;
	size_t nedges;
	struct step *path;
	int depth, deepest;
	const char *name;
	/* What is not so. */
	char failure[300];
	char where[300];
};

/* Part of the state. */
static struct {
	struct actor actor[ACTORS];
	int nactors, now;
	size_t used;
	int nstacks;
} st;

void (*explore_contexts)(void (*it)(void *sp));
void (*explore_blank)(void);
static struct explorer *e;

extern char __data_start, _end;

/* ---- what a model calls ---- */

static struct actor *me(void)
{
	return &st.actor[st.now];
}

static void stop(enum status status, const char *file, int line, const char *what)
{
	struct actor *a = me();

	a->status = status;
	a->file = file;
	a->line = line;
	a->what = what;
	a->quiet = 0;
	arch_switch(&a->sp, e->main_sp, e->tp);
	a->word = NULL;
	a->value = 0;
	a->options = 0;
}

/* Whether others touch it too, one of them writing. */
static bool is_shared(const volatile void *at, bool writes)
{
	size_t k = ((uintptr_t)at >> 2) * 0x9e3779b1u % CELLS;
	struct cell *c;
	bool before;

	for (int n = 0; e->cells[k].at && e->cells[k].at != at; n++) {
		if (n == CELLS - 1)
			abort();
		k = (k + 1) % CELLS;
	}
	c = &e->cells[k];
	if (!c->at) {
		c->at = at;
		c->actor = st.now;
	}
	before = c->several && c->written;
	c->several |= c->actor != st.now;
	c->written |= writes;
	if (!before && c->several && c->written) {
		e->nshared++;
		e->anew = true;
	}
	return c->several && c->written;
}

void explore_point(const char *file, int line, const char *what,
		   const volatile void *at, bool writes)
{
	/* Not while the model is being set up, or looked at. */
	if (e->inside && (is_shared(at, writes) || ++me()->quiet > QUIET))
		stop(READY, file, line, what);
}

int explore_choose(int n)
{
	int chosen;

	me()->options = n;
	stop(CHOOSING, NULL, 0, "chooses");
	chosen = me()->chosen;
	me()->chosen = 0;
	return chosen;
}

bool explore_wait(_Atomic uint32_t *word, uint32_t value, bool timed)
{
	bool timed_out;

	stop(READY, NULL, 0, "looks whether to sleep");
	if (*word != value)
		return true;
	me()->word = word;
	me()->timed = timed;
	stop(ASLEEP, NULL, 0, "goes on from its sleep");
	timed_out = me()->timed_out;
	me()->timed = me()->timed_out = false;
	return !timed_out;
}

static bool sleeps_on(const struct actor *a, _Atomic uint32_t *word)
{
	return a->status == ASLEEP && a->word == word;
}

int explore_wake(_Atomic uint32_t *word, int n)
{
	int asleep = 0, first = 0;

	if (e->inside)
		stop(READY, NULL, 0, "wakes who sleeps");
	for (int i = 0; i < st.nactors; i++)
		asleep += sleeps_on(&st.actor[i], word);
	/* Some, but not all: whichever they are. */
	if (asleep > n)
		first = explore_choose(st.nactors);
	asleep = 0;
	for (int i = 0; i < st.nactors && asleep < n; i++) {
		struct actor *a = &st.actor[(first + i) % st.nactors];

		if (sleeps_on(a, word)) {
			a->status = READY;
			asleep++;
		}
	}
	return asleep;
}

void explore_until(_Atomic uint32_t *word, uint32_t value)
{
	if (!e->inside || (!is_shared(word, true) && *word == value))
		return;
	me()->word = word;
	me()->value = value;
	stop(HELD_UP, NULL, 0, "gets what it awaits");
}

void **explore_local(void)
{
	/* Nobody, while the model is being set up. */
	return e->inside ? &me()->local : &e->local;
}

void *explore_alloc(size_t size)
{
	char *p = e->arena + st.used;

	size = (size + 127) & ~(size_t)127;
	if (st.used + size > ARENA)
		abort();
	st.used += size;
	memset(p, 0, size);
	return p;
}

void *explore_stack(void)
{
	if (st.nstacks == STACKS)
		abort();
	return e->stacks + (size_t)++st.nstacks * STACK;
}

void explore_skip(void *at, size_t size)
{
	e->skips[e->nskips++] = (struct range){ at, size };
}

static void actor_begins(void *arg)
{
	struct actor *a = arg;

	a->fn(a->arg);
	stop(OVER, NULL, 0, "is at its end");
	abort();
}

void explore_actor(const char *name, void (*fn)(void *), void *arg)
{
	struct actor *a = &st.actor[st.nactors];

	if (st.nactors++ == ACTORS)
		abort();
	a->name = name;
	a->fn = fn;
	a->arg = arg;
	a->what = "begins";
	a->sp = arch_context_make(explore_stack(), actor_begins, a);
	a->status = READY;
}

static const char *last_part(const char *file)
{
	const char *slash = strrchr(file, '/');

	return slash ? slash + 1 : file;
}

void explore_fail(const char *file, int line, const char *what)
{
	if (!e->failure[0]) {
		snprintf(e->failure, sizeof(e->failure), "%s", what);
		snprintf(e->where, sizeof(e->where), "%s:%d", last_part(file),
			 line);
	}
	if (e->inside)
		stop(OVER, file, line, "fails");
}

/* ---- states ---- */

/* From where on each stack is in use. */
static char *low[STACKS];

static void note_context(void *sp)
{
	size_t i = (size_t)((char *)sp - e->stacks) / STACK;

	if ((char *)sp >= e->stacks && i < STACKS && !low[i])
		low[i] = sp;
}

/* What is not in use is all the same, as far down as it was ever used: there is
 * no frame with a hole so large. */
static void wipe(char *from, char *bottom)
{
	static const char clean[2048];

	for (; from - bottom >= (long)sizeof(clean); from -= sizeof(clean)) {
		char *p = from - sizeof(clean);

		if (memcmp(p, clean, sizeof(clean)) == 0)
			return;
		memset(p, 0, sizeof(clean));
	}
}

static void wipe_all(void)
{
	for (int i = 0; i < st.nstacks; i++)
		wipe(low[i], e->stacks + (size_t)i * STACK);
}

static void find_lows(void)
{
	memset(low, 0, sizeof(low));
	for (int i = 0; i < st.nactors; i++)
		if (st.actor[i].status != OVER)
			note_context(st.actor[i].sp);
	if (explore_contexts)
		explore_contexts(note_context);
	for (int i = 0; i < STACKS; i++)
		if (!low[i])
			low[i] = e->stacks + (size_t)(i + 1) * STACK;
	wipe_all();
}

#define RANGES (SKIPS + 2 + STACKS)

static int ranges(struct range *r)
{
	int n = 0;

	for (int i = 0; i < e->nkept; i++)
		r[n++] = e->kept[i];
	r[n++] = (struct range){ e->arena, st.used };
	for (int i = 0; i < st.nstacks; i++)
		r[n++] = (struct range){ low[i],
			(size_t)(e->stacks + (size_t)(i + 1) * STACK - low[i]) };
	return n;
}

static uint64_t mix(uint64_t h, uint64_t v)
{
	h = (h ^ v) * 0x9e3779b97f4a7c15ull;
	return h ^ h >> 29;
}

/* Two words by one product, whose halves are folded into one. */
static inline uint64_t fold(uint64_t a, uint64_t b)
{
	__uint128_t product = (__uint128_t)a * b;

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline uint64_t word(const char *p)
{
	uint64_t w;

	memcpy(&w, p, sizeof(w));
	return w;
}

#define LANES 4		/* at a time: each waits for its own last product */

static uint64_t hash_range(uint64_t h, const char *p, size_t n)
{
	static const uint64_t odd[LANES] = {
		0xa0761d6478bd642full, 0xe7037ed1a0b428dbull,
		0x8ebc6af09c88c6e3ull, 0x589965cc75374cc3ull,
	};
	uint64_t lane[LANES];

	for (uint64_t i = 0; i < LANES; i++)
		lane[i] = h + i;
	for (; n >= 16 * LANES; n -= 16 * LANES, p += 16 * LANES)
		for (int i = 0; i < LANES; i++)
			lane[i] += fold(lane[i] ^ word(p + 16 * i),
					odd[i] ^ word(p + 16 * i + 8));
	for (; n >= 8; n -= 8, p += 8)
		lane[0] = mix(lane[0], word(p));
	for (; n; n--)
		lane[0] = mix(lane[0], (unsigned char)*p++);
	for (int i = 1; i < LANES; i++)
		lane[0] = mix(lane[0], lane[i]);
	return lane[0];
}

static uint64_t hash_state(void)
{
	struct range r[RANGES];
	int n = ranges(r);
	uint64_t h = (uint64_t)n;

	for (int i = 0; i < n; i++)
		h = hash_range(mix(h, r[i].size), r[i].at, r[i].size);
	return h;
}

static void save(struct step *s)
{
	struct range r[RANGES];
	size_t all = sizeof(low);
	int n = ranges(r);
	char *p;

	for (int i = 0; i < n; i++)
		all += r[i].size;
	if (all > s->size) {
		free(s->saved);
		s->saved = malloc(all + 1024);
		s->size = all + 1024;
	}
	if (!s->saved)
		abort();
	memcpy(s->saved, low, sizeof(low));
	p = s->saved + sizeof(low);
	for (int i = 0; i < n; i++) {
		memcpy(p, r[i].at, r[i].size);
		p += r[i].size;
	}
}

static void restore(const struct step *s)
{
	struct range r[RANGES];
	const char *p = s->saved + sizeof(low);
	int n;

	/* The variables first: they say how much there is of the rest. */
	for (int i = 0; i < e->nkept; i++) {
		memcpy(e->kept[i].at, p, e->kept[i].size);
		p += e->kept[i].size;
	}
	memcpy(low, s->saved, sizeof(low));
	n = ranges(r);
	for (int i = e->nkept; i < n; i++) {
		memcpy(r[i].at, p, r[i].size);
		p += r[i].size;
	}
	wipe_all();
}

static void *map(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		abort();
	return p;
}

/* Where its number is, or belongs. */
static uint32_t *place_of(uint64_t hash)
{
	uint32_t k = (uint32_t)(hash % e->room);

	while (e->numbers[k] && e->hashes[e->numbers[k]] != hash)
		k = (k + 1) % e->room;
	return &e->numbers[k];
}

static void grow_numbers(void)
{
	free(e->numbers);
	e->room *= 2;
	e->numbers = calloc(e->room, sizeof(*e->numbers));
	if (!e->numbers)
		abort();
	for (uint32_t i = 1; i <= e->states; i++)
		*place_of(e->hashes[i]) = i;
}

/* The number of the state that we are in. */
static uint32_t number(bool *ret_new)
{
	uint64_t h = hash_state();
	uint32_t *at = place_of(h), n = *at;

	*ret_new = !n;
	if (n)
		return n;
	n = *at = ++e->states;
	e->hashes[n] = h;
	e->is_end[n] = 0;
	if (e->states > e->room / 2)
		grow_numbers();
	return n;
}

/* ---- exploring ---- */

static bool can_go_on(const struct actor *a)
{
	return a->status == READY || a->status == CHOOSING ||
	       (a->status == ASLEEP && a->timed && !e->settling) ||
	       (a->status == HELD_UP && *a->word == a->value);
}

static void say(const struct actor *a)
{
	if (!a->file && a->status == OVER)
		return;
	printf("  %-10s %s", a->name,
	       a->status == ASLEEP ? "has slept long enough" : a->what);
	if (a->file)
		printf("  (%s:%d)", last_part(a->file), a->line);
	printf("\n");
}

/* Takes the choice of that number, among all that all actors have; false when
 * there are not so many. */
static bool take(uint32_t choice, bool aloud)
{
	for (int i = 0; i < st.nactors; i++) {
		struct actor *a = &st.actor[i];
		uint32_t options = a->status == CHOOSING ? (uint32_t)a->options : 1;

		if (!can_go_on(a))
			continue;
		if (choice >= options) {
			choice -= options;
			continue;
		}
		if (aloud)
			say(a);
		if (a->status == ASLEEP)
			a->timed_out = true;
		if (a->status == CHOOSING)
			a->chosen = (int)choice;
		a->status = READY;
		st.now = i;
		e->inside = true;
		arch_switch(&e->main_sp, a->sp, e->tp);
		e->inside = false;
		/* Nobody is on: or it would tell states apart. */
		st.now = 0;
		if (explore_blank)
			explore_blank();
		find_lows();
		return true;
	}
	return false;
}

void explore_settle(void)
{
	e->settling = true;
	for (int i = 0; i < QUIET && take(0, false); i++)
		;
	e->settling = false;
}

/* No actor can go on. */
static void look_at_end(void (*end)(void))
{
	for (int i = 0; i < st.nactors; i++)
		if (st.actor[i].status == HELD_UP)
			explore_fail("explore.c", __LINE__,
				     "every lock that is taken is given back");
	end();
}

/* Every state once, every choice from each. */
static void walk(void (*end)(void))
{
	bool is_new;

	e->states = 0;
	e->nedges = 0;
	e->depth = e->deepest = 0;
	memset(e->numbers, 0, e->room * sizeof(*e->numbers));
	e->path[0].state = number(&is_new);
	e->path[0].next = 0;
	while (e->depth >= 0) {
		struct step *s = &e->path[e->depth];
		uint32_t n;

		if (s->next)
			restore(s);
		if (!take(s->next, false)) {
			if (s->next == 0) {
				e->is_end[s->state] = 1;
				look_at_end(end);
				if (e->failure[0])
					return;
			}
			e->depth--;
			continue;
		}
		s->next++;
		if (e->anew || e->failure[0])
			return;
		n = number(&is_new);
		if (e->nedges == EDGES || e->states > e->most ||
		    e->depth == DEPTH) {
			explore_fail("explore.c", __LINE__, "not too many states");
			return;
		}
		e->edges[e->nedges++] = (struct edge){ s->state, n };
		if (!is_new)
			continue;
		s++;
		if (++e->depth > e->deepest)
			e->deepest = e->depth;
		s->state = n;
		s->next = 0;
		save(s);
	}
}

/* The edges sorted by where they begin (or end), each state's in the order in
 * which they came: those of state i are at[first[i]] to at[first[i + 1] - 1]. */
static uint32_t *sort_edges(bool by_end, uint32_t **ret_first)
{
	uint32_t *first = calloc(e->states + 2, sizeof(*first));
	uint32_t *at = malloc((e->nedges + 1) * sizeof(*at));

	if (!first || !at)
		abort();
	for (size_t i = 0; i < e->nedges; i++)
		first[1 + (by_end ? e->edges[i].to : e->edges[i].from)]++;
	for (uint32_t i = 1; i <= e->states + 1; i++)
		first[i] += first[i - 1];
	for (size_t i = 0; i < e->nedges; i++) {
		struct edge g = e->edges[i];

		at[first[by_end ? g.to : g.from]++] = by_end ? g.from : g.to;
	}
	memmove(first + 1, first, (e->states + 1) * sizeof(*first));
	first[0] = 0;
	*ret_first = first;
	return at;
}

/* Fills `queue` with all that can be reached from what it begins with, nearest
 * first; from[i] is over which, 0: not reached. Returns how many. */
static uint32_t spread(const uint32_t *at, const uint32_t *first,
		       uint32_t *queue, uint32_t n, uint32_t *from)
{
	for (uint32_t i = 0; i < n; i++)
		for (uint32_t k = first[queue[i]]; k < first[queue[i] + 1]; k++)
			if (!from[at[k]]) {
				from[at[k]] = queue[i];
				queue[n++] = at[k];
			}
	return n;
}

static uint32_t *numbers_for_all(void)
{
	uint32_t *p = calloc(e->states + 2, sizeof(*p));

	if (!p)
		abort();
	return p;
}

/* The nearest state from which there is no way to any end, or 0 (X3). */
static uint32_t find_doomed(void)
{
	uint32_t *first, *at = sort_edges(true, &first);
	uint32_t *from = numbers_for_all(), *queue = numbers_for_all();
	uint32_t n = 0, doomed = 0;

	for (uint32_t i = 1; i <= e->states; i++)
		if (e->is_end[i]) {
			from[i] = i;
			queue[n++] = i;
		}
	n = spread(at, first, queue, n, from);
	if (n < e->states) {
		uint32_t *way = numbers_for_all();

		free(at);
		free(first);
		at = sort_edges(false, &first);
		queue[0] = way[1] = 1;
		n = spread(at, first, queue, 1, way);
		for (uint32_t i = 0; i < n && !doomed; i++)
			if (!from[queue[i]])
				doomed = queue[i];
		free(way);
	}
	free(at);
	free(first);
	free(from);
	free(queue);
	return doomed;
}

/* Goes to a state, by the fewest steps that are known, and on by that choice. */
static void show_way(uint32_t to, uint32_t choice)
{
	uint32_t *first, *at = sort_edges(false, &first);
	uint32_t *from = numbers_for_all(), *queue = numbers_for_all();
	uint32_t n = 0;

	queue[0] = from[1] = 1;
	spread(at, first, queue, 1, from);
	for (uint32_t i = to; i != 1; i = from[i])
		queue[n++] = i;
	restore(&e->path[0]);
	for (uint32_t i = 1; n--; i = queue[n]) {
		uint32_t k = 0;

		while (at[first[i] + k] != queue[n])
			k++;
		take(k, true);
	}
	if (choice != UINT32_MAX)
		take(choice, true);
	for (int i = 0; i < st.nactors; i++) {
		const struct actor *a = &st.actor[i];

		printf("  now %s %s%s\n", a->name,
		       a->status == ASLEEP ? "sleeps" :
		       a->status == READY  ? "is where it " : "",
		       a->status == ASLEEP ? "" : a->what);
	}
	free(at);
	free(first);
	free(from);
	free(queue);
}

static int by_address(const void *a, const void *b)
{
	const struct range *x = a, *y = b;

	return x->at < y->at ? -1 : x->at > y->at;
}

/* The variables, less what is skipped. */
static void find_kept(void)
{
	char *at = &__data_start;

	explore_skip(low, sizeof(low));
	explore_skip(&e, sizeof(e));
	qsort(e->skips, (size_t)e->nskips, sizeof(e->skips[0]), by_address);
	for (int i = 0; i < e->nskips; i++) {
		e->kept[e->nkept++] = (struct range){
			at, (size_t)(e->skips[i].at - at) };
		at = e->skips[i].at + e->skips[i].size;
	}
	e->kept[e->nkept++] = (struct range){ at, (size_t)(&_end - at) };
}

void explore_begin(void)
{
	const char *most = getenv("EXPLORE_MOST");

	e = map(sizeof(*e));
	e->most = most ? (uint32_t)atol(most) : EXPLORE_MOST;
	e->arena = map(ARENA);
	e->stacks = map(STACKS * STACK);
	e->path = map((DEPTH + 2) * sizeof(*e->path));
	e->hashes = map((e->most + 2ul) * sizeof(*e->hashes));
	e->is_end = map(e->most + 2ul);
	e->edges = map(EDGES * sizeof(*e->edges));
	e->room = 1 << 12;
	e->numbers = calloc(e->room, sizeof(*e->numbers));
	e->tp = arch_tp_get();
	if (!e->numbers)
		abort();
}

const char *explore(const char *name, void (*end)(void))
{
	clock_t began = clock();
	uint32_t doomed = 0, ends = 0;
	int rounds = 0;

	e->name = name;
	find_kept();
	if (explore_blank)
		explore_blank();
	find_lows();
	save(&e->path[0]);
	do {
		e->anew = false;
		e->failure[0] = 0;
		rounds++;
		restore(&e->path[0]);
		walk(end);
	} while (e->anew);
	for (uint32_t i = 1; i <= e->states; i++)
		ends += e->is_end[i];
	printf("%s: %u states, %zu steps, %u ends, %d deep; %d places shared, "
	       "found in %d rounds; %.1f s\n", name, e->states, e->nedges, ends,
	       e->deepest, e->nshared, rounds,
	       (double)(clock() - began) / CLOCKS_PER_SEC);
	if (!e->failure[0]) {
		doomed = find_doomed();
		if (!doomed) {
			fflush(stdout);
			return NULL;
		}
		explore_fail("explore.c", __LINE__, "an end can still be reached");
	}
	printf("%s: not so: %s (%s), after this:\n", name, e->failure, e->where);
	if (doomed) {
		show_way(doomed, UINT32_MAX);
	} else {
		const struct step *s = &e->path[e->depth];

		show_way(s->state, s->next ? s->next - 1 : UINT32_MAX);
	}
	fflush(stdout);
	return e->failure;
}
