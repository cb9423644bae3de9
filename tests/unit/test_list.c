/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The intrusive list. */
#include "base/list.h"
#include "unit.h"

struct item {
	int n;
	struct list link;
};

static int sum(struct list *head)
{
	int all = 0, place = 1;

	list_for_each_safe(pos, tmp, head)
		all += place++ * list_entry(pos, struct item, link)->n;
	return all;
}

Test(list, zeroed_memory_is_an_empty_list)
{
	struct list head = { 0 };

	check(list_empty(&head));
	check(list_first(&head) == NULL);
	check_eq(sum(&head), 0);
}

Test(list, items_come_out_in_the_order_they_went_in)
{
	struct list head = { 0 };
	struct item items[5] = { 0 };

	for (int i = 0; i < 5; i++) {
		items[i].n = i + 1;
		list_add_tail(&head, &items[i].link);
	}
	for (int i = 0; i < 5; i++) {
		struct list *first = list_first(&head);

		check_eq(list_entry(first, struct item, link)->n, i + 1);
		list_del(first);
	}
	check(list_empty(&head));
}

Test(list, what_is_taken_off_is_linked_no_more)
{
	struct list head = { 0 };
	struct item a = { .n = 1 }, b = { .n = 2 };

	check(!list_linked(&a.link));
	list_add_tail(&head, &a.link);
	list_add_tail(&head, &b.link);
	check(list_linked(&a.link));
	list_del(&a.link);
	check(!list_linked(&a.link));
	check(list_linked(&b.link));
	check_eq(sum(&head), 2);
	list_del(&b.link);
	check(list_empty(&head));
	list_add_tail(&head, &a.link);
	check_eq(sum(&head), 1);
}

Test(list, a_walk_may_take_off_the_item_at_hand)
{
	struct list head = { 0 };
	struct item items[9] = { 0 };
	int seen = 0;

	for (int i = 0; i < 9; i++) {
		items[i].n = i;
		list_add_tail(&head, &items[i].link);
	}
	list_for_each_safe(pos, tmp, &head) {
		seen++;
		if (list_entry(pos, struct item, link)->n % 2)
			list_del(pos);
	}
	check_eq(seen, 9);
	/* 0 2 4 6 8 */
	check_eq(sum(&head), 0 + 2 * 2 + 3 * 4 + 4 * 6 + 5 * 8);
}
