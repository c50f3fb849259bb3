/* SPDX-License-Identifier: Apache-2.0 */
#include "perf/report/picture.h"

#include <string.h>

#include "perf/report/cdf.h"
#include "perf/report/curve.h"
#include "perf/report/timeline.h"
#include "queue/base/bits.h"

static const struct {
	const char *kind;
	void (*draw)(FILE *file, const json_t *series);
} kinds[] = {
	{"cdf", cdf_draw},
	{"points", curve_draw},
	{"timeline", timeline_draw},
};

void picture_series(FILE *file, const json_t *series)
{
	for (size_t i = 0; i < json_array_size(series); i++) {
		const json_t *one = json_array_get(series, i);
		const char *kind = json_string_value(json_object_get(one, "kind"));

		for (size_t k = 0; k < ARRAY_SIZE(kinds); k++)
			if (kind && strcmp(kind, kinds[k].kind) == 0)
				kinds[k].draw(file, one);
	}
}
