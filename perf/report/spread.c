/* SPDX-License-Identifier: Apache-2.0 */
#include "perf/report/spread.h"

#include <stdlib.h>

#include "queue/base/assert.h"
#include "queue/base/err.h"

static int compare(const void *a, const void *b)
{
	const double *first = a;
	const double *second = b;

	return (*first > *second) - (*first < *second);
}

struct spread spread_of(double *values, uint32_t count)
{
	ASSERT(count > 0);
	qsort(values, count, sizeof(*values), compare);
	return (struct spread){
		.median = count % 2 == 1 ? values[count / 2]
					 : (values[count / 2 - 1] + values[count / 2]) / 2,
		.min = values[0],
		.max = values[count - 1],
	};
}

bool spread_of_array(const json_t *array, struct spread *ret_spread)
{
	const size_t count = json_array_size(array);
	CLEANUP_FREE double *values = calloc(count > 0 ? count : 1, sizeof(*values));

	if (!values || count == 0 || count > UINT32_MAX)
		return false;
	for (size_t i = 0; i < count; i++)
		values[i] = json_number_value(json_array_get(array, i));
	*ret_spread = spread_of(values, (uint32_t)count);
	return true;
}
