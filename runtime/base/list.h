/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* base/list.h - the intrusive doubly linked list.
 *
 * The head is a link that points to itself when the list is empty. Zeroed
 * memory is an empty list too, so that objects need no initialiser: whoever
 * first adds to a zeroed head makes it point to itself. A link that is on no
 * list has next == NULL. */
#ifndef COGO_BASE_LIST_H
#define COGO_BASE_LIST_H

#include "base/compiler.h"
#include <stdatomic.h>
#include <stdbool.h>

struct list {
	struct list *next, *prev;
};

/* The compiler keeps what comes before it before. */
static inline void list_step(void)
{
	atomic_signal_fence(memory_order_seq_cst);
}

static inline bool list_empty(const struct list *head)
{
	return !head->next || head->next == head;
}

static inline bool list_linked(const struct list *link)
{
	return link->next != NULL;
}

/* Forwards a list is whole at each step of a change: see list_mend. */
static inline void list_add_tail(struct list *head, struct list *link)
{
	if (!head->next) {
		head->prev = head;
		list_step();
		head->next = head;
	}
	link->next = head;
	link->prev = head->prev;
	list_step();
	head->prev->next = link;
	list_step();
	head->prev = link;
}

static inline void list_del(struct list *link)
{
	link->prev->next = link->next;
	list_step();
	link->next->prev = link->prev;
	list_step();
	link->next = link->prev = NULL;
}

/* In the child of a fork, of a list that somebody in the parent may have been in the
 * middle of changing: as if that had been before, or after. */
static inline void list_mend(struct list *head)
{
	if (!head->next)
		return;
	for (struct list *l = head; l->next->prev = l, l->next != head; l = l->next)
		;
}

/* The first link, or NULL. */
static inline struct list *list_first(struct list *head)
{
	return list_empty(head) ? NULL : head->next;
}

/* Walks with room for removing the link at hand. A zeroed head is empty. */
#define list_for_each_safe(pos, tmp, head)				\
	for (struct list *pos = (head)->next, *tmp = pos ? pos->next : NULL; \
	     pos && pos != (head); pos = tmp, tmp = pos->next)

#define list_entry(link, type, member) container_of(link, type, member)

#endif
