/* SPDX-License-Identifier: Apache-2.0 */
#include "perf/report/quantity.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "perf/report/page.h"
#include "queue/base/bits.h"

struct prefix {
	double factor;
	const char *text;
};

static const struct prefix prefixes[] = {{1e-9, "n"}, {1e-6, "µ"}, {1e-3, "m"}, {1, ""}, {1e3, "k"},
	{1e6, "M"}, {1e9, "G"}, {1e12, "T"}};

/* The smallest of the prefixes from @first to @last that leaves less than four digits. */
static const struct prefix *find_prefix(double value, size_t first, size_t last)
{
	size_t i = first;

	while (i < last && fabs(value) >= 999.5 * prefixes[i].factor)
		i++;
	return &prefixes[i];
}

static void print_prefixed(FILE *file, double value, const char *unit)
{
	const bool is_time = strcmp(unit, "s") == 0;
	const struct prefix *prefix = is_time ? find_prefix(value, 0, 3) : find_prefix(value, 3, 7);

	if (value == 0)
		prefix = &prefixes[3];
	(void)fprintf(file, "%.3g %s%s", value / prefix->factor, prefix->text, unit);
}

static void print_counted(FILE *file, double value, const char *unit)
{
	const struct prefix *prefix = find_prefix(value, 3, 7);

	(void)fprintf(file, "%.3g%s%s", value / prefix->factor, prefix->text, unit ? " " : "");
	page_text(file, unit);
}

void quantity_print(FILE *file, double value, const char *unit)
{
	if (unit && strcmp(unit, "us") == 0)
		print_prefixed(file, value / 1e6, "s");
	else if (unit && (strcmp(unit, "s") == 0 || strcmp(unit, "B") == 0))
		print_prefixed(file, value, unit);
	else
		print_counted(file, value, unit);
}
