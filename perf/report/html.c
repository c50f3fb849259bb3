/* SPDX-License-Identifier: Apache-2.0 */
#include "perf/report/html.h"

#include <stdio.h>
#include <unistd.h>

#include "perf/report/page.h"
#include "perf/report/picture.h"
#include "perf/report/rates.h"
#include "perf/report/table.h"
#include "queue/base/bits.h"
#include "queue/base/err.h"

/* Values of the host that are numbers or texts; others are left out. */
static void write_host(FILE *file, const json_t *host)
{
	static const char *const keys[] = {"cpu", "cpus", "memory", "kernel", "directory",
		"shmem_huge_pages", "swappiness", "page_cluster", "date"};
	const char *separator = "";

	(void)fputs("<p>", file);
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		const json_t *value = json_object_get(host, keys[i]);

		if (!json_is_integer(value) && !json_is_string(value))
			continue;
		(void)fprintf(file, "%s<span class=\"dim\">%s</span> ", separator, keys[i]);
		if (json_is_integer(value))
			(void)fprintf(file, "%lld", (long long)json_integer_value(value));
		page_text(file, json_string_value(value));
		separator = " · ";
	}
	(void)fputs("</p>\n", file);
}

static void write_key(FILE *file)
{
	(void)fputs("<p class=\"dim\">Each ratio is of a subject to a reference, measured "
		    "alternately in one run: the median of the rounds, and their range. In the "
		    "pictures the dot is the median (hollow: noisy, others used the CPUs in more "
		    "than a third of the rounds), the bar the range, the tall mark the target with "
		    "the side that meets it shaded, an arrow what is beyond the scale.</p>\n",
		file);
}

static void write_skipped(FILE *file, const json_t *skipped)
{
	if (json_array_size(skipped) == 0)
		return;
	(void)fputs("<h2>Not run</h2>\n<ul>\n", file);
	for (size_t i = 0; i < json_array_size(skipped); i++) {
		const json_t *one = json_array_get(skipped, i);

		(void)fputs("<li>", file);
		page_member(file, one, "what");
		(void)fputs(": ", file);
		page_member(file, one, "why");
		(void)fputs("</li>\n", file);
	}
	(void)fputs("</ul>\n", file);
}

static void write_page(FILE *file, const json_t *results)
{
	const json_t *rows = json_object_get(results, "rows");

	page_begin(file);
	(void)fputs("<h1>vmswap-bench</h1>\n", file);
	write_host(file, json_object_get(results, "host"));
	table_summary(file, rows);
	write_key(file);
	table_draw(file, rows, true, "Targets");
	(void)fputs("<h2>Pictures</h2>\n", file);
	picture_series(file, json_object_get(results, "series"));
	rates_draw(file, rows);
	table_draw(file, rows, false, "Beside the targets");
	write_skipped(file, json_object_get(results, "skipped"));
	page_end(file);
}

int html_write(const json_t *results, const char *path)
{
	CLEANUP_FREE char *temporary = NULL;
	FILE *file;
	int error = 0;

	if (asprintf(&temporary, "%s.new", path) < 0) {
		temporary = NULL;
		return -ENOMEM;
	}
	file = fopen(temporary, "we");
	if (!file)
		return -errno;
	write_page(file, results);
	if (ferror(file))
		error = -EIO;
	if (fclose(file) != 0 && error == 0)
		error = -errno;
	if (error == 0)
		error = errno_of(rename(temporary, path));
	if (error < 0)
		(void)unlink(temporary);
	return error;
}
