/* SPDX-License-Identifier: Apache-2.0 */
#include "perf/client/order.h"

#include <math.h>
#include <stdlib.h>

#include "perf/client/random.h"
#include "queue/base/assert.h"
#include "queue/base/err.h"

#define ZIPF_EXPONENT 0.99

const char *order_name(enum order_kind kind)
{
	static const char *const name[ORDER_KINDS] = {
		[ORDER_UNIFORM] = "uniform",
		[ORDER_SEQUENTIAL] = "sequential",
		[ORDER_STRIDED] = "strided",
		[ORDER_ZIPF] = "zipf",
	};

	ASSERT(kind < ORDER_KINDS);
	return name[kind];
}

/* Fisher and Yates's shuffle, stopped after the first @count. */
static void shuffle(uint32_t *page, uint64_t pages, uint64_t count, uint64_t *random)
{
	for (uint64_t i = 0; i < pages; i++)
		page[i] = (uint32_t)i;
	for (uint64_t i = 0; i < count; i++) {
		const uint64_t other = i + random_next(random) % (pages - i);
		const uint32_t taken = page[other];

		page[other] = page[i];
		page[i] = taken;
	}
}

static void make_strided(uint64_t pages, uint64_t count, uint32_t *ret_order)
{
	uint64_t page = 0;
	uint32_t lane = 0;

	for (uint64_t i = 0; i < count; i++) {
		ret_order[i] = (uint32_t)page;
		page += ORDER_STRIDE;
		if (page >= pages)
			page = ++lane;
	}
}

/*
 * Ranks by the method of Gray et al., "Quickly generating billion-record synthetic databases"
 * (SIGMOD 1994), section 4; rank r is page shuffled[r], so that hot pages lie apart.
 */
static void make_zipf(
	const uint32_t *shuffled, uint64_t pages, uint64_t count, uint64_t *random, uint32_t *order)
{
	const double alpha = 1 / (1 - ZIPF_EXPONENT);
	const double second = 1 + pow(0.5, ZIPF_EXPONENT);
	double zeta = 0;
	double eta;

	for (uint64_t i = 1; i <= pages; i++)
		zeta += 1 / pow((double)i, ZIPF_EXPONENT);
	eta = (1 - pow(2 / (double)pages, 1 - ZIPF_EXPONENT)) / (1 - second / zeta);
	for (uint64_t i = 0; i < count; i++) {
		const double u = random_share(random);
		double rank = (double)pages * pow(eta * u - eta + 1, alpha);

		if (u * zeta < 1)
			rank = 0;
		else if (u * zeta < second)
			rank = 1;
		order[i] = shuffled[rank < (double)pages ? (uint64_t)rank : pages - 1];
	}
}

int order_make(
	enum order_kind kind, uint64_t pages, uint64_t count, uint64_t seed, uint32_t *ret_order)
{
	CLEANUP_FREE uint32_t *page = NULL;
	uint64_t random = random_seed(seed);

	ASSERT(pages > 0);
	ASSERT(pages <= UINT32_MAX);
	ASSERT(count <= pages || kind == ORDER_ZIPF);
	if (kind == ORDER_SEQUENTIAL) {
		for (uint64_t i = 0; i < count; i++)
			ret_order[i] = (uint32_t)i;
		return 0;
	}
	if (kind == ORDER_STRIDED) {
		make_strided(pages, count, ret_order);
		return 0;
	}
	page = malloc(pages * sizeof(*page));
	if (!page)
		return -ENOMEM;
	shuffle(page, pages, kind == ORDER_ZIPF ? pages : count, &random);
	if (kind == ORDER_ZIPF)
		make_zipf(page, pages, count, &random, ret_order);
	else
		for (uint64_t i = 0; i < count; i++)
			ret_order[i] = page[i];
	return 0;
}
