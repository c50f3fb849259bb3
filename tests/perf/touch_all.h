/* SPDX-License-Identifier: Apache-2.0 */
/* For tests of contestants. */
#ifndef VMSWAP_TESTS_PERF_TOUCH_ALL_H
#define VMSWAP_TESTS_PERF_TOUCH_ALL_H

#include <stdlib.h>

#include "../support/check.h"
#include "perf/client/client.h"
#include "perf/client/order.h"

/* Every page once; none may be wrong. */
static inline void touch_all(struct client *client, uint32_t pages, bool is_write)
{
	uint32_t *order = calloc(pages, sizeof(*order));
	struct touch_result result;

	CHECK(order != NULL);
	CHECK(order_make(ORDER_UNIFORM, pages, pages, 1, order) == 0);
	CHECK(client_touch(client,
		      &(struct touch){
			      .order = order,
			      .count = pages,
			      .threads = 2,
			      .cpu = CLIENT_ANY_CPU,
			      .is_write = is_write,
		      },
		      &result) == 0);
	CHECK(result.touches == pages);
	CHECK(result.bad_pages == 0);
	free(order);
}

#endif
