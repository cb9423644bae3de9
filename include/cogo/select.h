/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* cogo/select.h - waiting for several things, and doing exactly one of them.
 *
 *	int turn(COGO_CHAN(int) requests, COGO_CHAN(int) answers, int fd)
 *	{
 *		int q, a = next_answer(), r;
 *
 *		cogo_choose (cogo_in(COGO_SEC)) {
 *		COGO_RECV(requests, q) {
 *			serve(q);
 *		}
 *		COGO_SEND(answers, a) {
 *			a = next_answer();
 *		}
 *		COGO_READABLE(fd) {
 *			read_more(fd);
 *		}
 *		COGO_FAILED(r) {		// time is up, or we are to end
 *			return r;
 *		}
 *		}
 *		return 0;
 *	}
 *
 * Of those that can be done at once one is done, each with the same chance; when
 * there are none, the first that becomes possible. The others have not happened,
 * not even a little: nothing was sent there and nothing taken. */
#ifndef COGO_SELECT_H
#define COGO_SELECT_H

#include "cogo/chan.h"
#include <errno.h>
#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

struct cogo_coro;

/* What a case waits for. */
enum cogo_case_kind {
	COGO_CASE_NONE,		/* is passed over */
	COGO_CASE_SEND,		/* of item to chan */
	COGO_CASE_RECV,		/* from chan into ret_item, or NULL */
	COGO_CASE_READABLE,	/* fd, as poll has it: end and errors are, too */
	COGO_CASE_WRITABLE,
	COGO_CASE_END,		/* of a coroutine */
};

/* One thing that may happen. chan and coro may be NULL, and a descriptor negative:
 * then it never does. The caller holds a reference to what it names. */
struct cogo_case {
	enum cogo_case_kind kind;
	/* Of the one that was done: 0. -EPIPE: by a channel that is closed, and to
	 * receive from, empty; then nothing was sent, and what was received is all
	 * zero bytes. -EBADF: there is no such descriptor. */
	int result;
	__extension__ union {
		struct cogo_chan *chan;
		struct cogo_coro *coro;
		int fd;
	};
	__extension__ union {
		const void *item;
		void *ret_item;
	};
};

/* Does one of the n cases: its index, with its result in it. Of none (n may be 0)
 * none can be done. The same channel may stand in several, to send and to receive too; a select does not serve itself.
 * Parks until one can be done, but for the errors:
 *	-ETIMEDOUT	none by then; with a deadline that has passed, none now
 *	-ECANCELED	the coroutine is to end
 *	-ENOMEM		for more than eight cases, or on a thread's first call
 *	-EINVAL		more than INT_MAX cases */
COGO_API int cogo_select(struct cogo_case *cases, size_t n, cogo_time deadline);

/* ---- as a statement ----
 *
 *	cogo_choose (deadline) { bodies }	does one, and runs its body
 *	cogo_choose_loop (deadline) { … }	again and again, until a body breaks,
 *						or none was done in time, or the
 *						coroutine is to end
 *
 * A body is a statement, after one of:
 *
 *	COGO_RECV(c, x)		x, a variable, has been received
 *	COGO_SEND(c, x)		x, a variable, has been sent; its value of when the
 *				select began to wait, or a later one: do not change
 *				it meanwhile
 *	COGO_SIGNAL(c)		something was received and thrown away
 *	COGO_READABLE(fd)	there is something to read, or an end, or an error
 *	COGO_WRITABLE(fd)	there is room to write
 *	COGO_ENDED(coro)	a coroutine has ended
 *	COGO_DEFAULT		none of them is possible now; where this is given,
 *				nothing is waited for
 *	COGO_FAILED(r)		none was done, and r, a variable, says why, as
 *				cogo_select
 *
 * In the body of a case that was done, COGO_RESULT is what its `result` says: -EPIPE
 * where the channel is closed. break leaves the select, and a loop of selects; continue does the
 * same, or begins the loop's next round; return and goto are as everywhere.
 *
 * The block is run twice, once to see which cases there are, when each argument is
 * evaluated, and once to run the body; so nothing stands in it but these, always
 * the same. A case is switched off by giving it NULL. There are at most 16,
 * COGO_CHOOSE_MOST; one more aborts. A select in a body of another is better a function of its own:
 * its names are the same. */
#ifndef __cplusplus

#define COGO_CHOOSE_MOST 16

/* ---- what cogo_choose is made of ---- */

/* A select on its way. */
struct cogo_choosing {
	cogo_time deadline;
	bool gathers, loops, defaults, chose;
	int n;			/* cases that there are */
	int turn;		/* which one comes next */
	int chosen;		/* or why not */
	struct cogo_case cases[COGO_CHOOSE_MOST];
};

/* Before the block is run for the first time. */
static inline struct cogo_choosing *
cogo_choosing_begin(struct cogo_choosing *s, cogo_time deadline, bool loops)
{
	s->deadline = deadline;
	s->loops = loops;
	s->gathers = s->defaults = s->chose = false;
	return s;
}

/* Whether the block is to be run (once more). May park. */
COGO_API bool cogo_choosing_next(struct cogo_choosing *s);

/* One more case; false. size: what the variable has. */
COGO_API bool cogo_choosing_chan(struct cogo_choosing *s,
				 enum cogo_case_kind kind, struct cogo_chan *ch,
				 void *item, size_t size);
COGO_API bool cogo_choosing_fd(struct cogo_choosing *s,
			       enum cogo_case_kind kind, int fd);
COGO_API bool cogo_choosing_end(struct cogo_choosing *s, struct cogo_coro *c);

#define COGO_CHOOSE_(deadline, loops)                                          \
	for (struct cogo_choosing cogo_room_,                                  \
	     *cogo_here_ = cogo_choosing_begin(&cogo_room_, deadline, loops);  \
	     cogo_choosing_next(cogo_here_);)
#define cogo_choose(deadline)	   COGO_CHOOSE_(deadline, false)
#define cogo_choose_loop(deadline) COGO_CHOOSE_(deadline, true)

#define COGO_CASE_(gather)                                                     \
	if (cogo_here_->gathers ? (gather) :                                   \
				  cogo_here_->turn++ == cogo_here_->chosen)

#define COGO_RECV(c, x)                                                        \
	COGO_CASE_(cogo_choosing_chan(cogo_here_, COGO_CASE_RECV,              \
				      COGO_RAW_OF(c, x), &(x), sizeof(x)))
#define COGO_SEND(c, x)                                                        \
	COGO_CASE_(cogo_choosing_chan(cogo_here_, COGO_CASE_SEND,              \
				      COGO_RAW_OF(c, x), (void *)&(x),         \
				      sizeof(x)))
#define COGO_SIGNAL(c)                                                         \
	COGO_CASE_(cogo_choosing_chan(cogo_here_, COGO_CASE_RECV, cogo_raw(c), \
				      NULL, 0))
#define COGO_READABLE(fd)                                                      \
	COGO_CASE_(cogo_choosing_fd(cogo_here_, COGO_CASE_READABLE, fd))
#define COGO_WRITABLE(fd)                                                      \
	COGO_CASE_(cogo_choosing_fd(cogo_here_, COGO_CASE_WRITABLE, fd))
#define COGO_ENDED(coro) COGO_CASE_(cogo_choosing_end(cogo_here_, coro))
#define COGO_DEFAULT                                                           \
	if (cogo_here_->gathers ? !(cogo_here_->defaults = true) :             \
				  cogo_here_->chosen == -ETIMEDOUT)
#define COGO_FAILED(r)                                                         \
	if (!cogo_here_->gathers && ((r) = cogo_here_->chosen) < 0)
#define COGO_RESULT (cogo_here_->cases[cogo_here_->chosen].result)

#endif

#ifdef __cplusplus
}
#endif

#endif
