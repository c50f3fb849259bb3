/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/waiter.h"

#include <stdlib.h>

#include "queue/base/assert.h"
#include "queue/base/bits.h"
#include "queue/base/err.h"

int waiter_add(struct waiter_list *list, const struct waiter *waiter)
{
	ASSERT(waiter->call != NULL);
	if (list->count == list->capacity) {
		uint32_t capacity = MAX(16u, 2 * list->capacity);
		struct waiter *item = reallocarray(list->item, capacity, sizeof(*item));

		if (!item)
			return -ENOMEM;
		list->item = item;
		list->capacity = capacity;
	}
	list->item[list->count++] = *waiter;
	return 0;
}

bool waiter_take(struct waiter_list *list, waiter_match *match, const void *context,
	struct waiter *ret_waiter)
{
	for (uint32_t i = 0; i < list->count; i++) {
		if (!match(&list->item[i], context))
			continue;
		*ret_waiter = list->item[i];
		list->item[i] = list->item[--list->count];
		return true;
	}
	return false;
}

uint64_t waiter_deadline(const struct waiter_list *list)
{
	uint64_t deadline_ns = UINT64_MAX;

	for (uint32_t i = 0; i < list->count; i++)
		deadline_ns = MIN(deadline_ns, list->item[i].deadline_ns);
	return deadline_ns;
}

void waiter_free(struct waiter_list *list)
{
	ASSERT(list->count == 0);
	free(list->item);
	*list = (struct waiter_list){.item = NULL};
}
