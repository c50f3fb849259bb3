/* SPDX-License-Identifier: Apache-2.0 */
#include "perf/report/html.h"

#include <stdio.h>
#include <unistd.h>

#include "perf/report/page.h"
#include "perf/report/picture.h"
#include "queue/base/err.h"

static const char head[] =
	"<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
	"<meta name=\"viewport\" content=\"width=device-width\">\n<title>vmswap-bench</title>\n"
	"<style>\n"
	":root{color-scheme:light dark;--ink:#1c2430;--dim:#667085;--line:#d5dae1;--back:#fff;"
	"--card:#f6f8fa;--good:#00734c;--bad:#b3261e}\n"
	"@media(prefers-color-scheme:dark){:root{--ink:#e6e9ee;--dim:#9aa4b2;--line:#39424e;"
	"--back:#12161c;--card:#1a2028;--good:#4fd1a1;--bad:#ff8a80}}\n"
	"body{font:14px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--back);"
	"max-width:1080px;margin:2em auto;padding:0 1em}\n"
	"h1{font-size:24px}h2{font-size:18px;margin-top:2em}\n"
	"table{border-collapse:collapse;width:100%}\n"
	"th,td{text-align:left;padding:3px 8px;border-bottom:1px solid var(--line);"
	"vertical-align:middle}\n"
	"td.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}\n"
	".dim{color:var(--dim)}.good{color:var(--good)}.bad{color:var(--bad);font-weight:600}\n"
	"figure{margin:1em 0;padding:12px;background:var(--card);border-radius:8px}\n"
	"figcaption{font-weight:600;margin-bottom:6px}svg{max-width:100%;height:auto}\n"
	"svg text{fill:var(--ink);font:12px system-ui,sans-serif}\n"
	"svg .axis{stroke:var(--dim)}svg .grid{stroke:var(--line)}\n"
	"</style></head><body>\n";

static void write_host(FILE *file, const json_t *host)
{
	static const char *const keys[] = {"cpu", "cpus", "memory", "kernel", "directory",
		"shmem_huge_pages", "swappiness", "page_cluster", "date"};

	(void)fputs("<h1>vmswap-bench</h1>\n<p class=\"dim\">Ratios of a subject to a reference, "
		    "measured alternately in one run: median [min–max] over the rounds.</p>\n<p>",
		file);
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		const json_t *value = json_object_get(host, keys[i]);

		(void)fprintf(file, "<span class=\"dim\">%s</span> ", keys[i]);
		if (json_is_integer(value))
			(void)fprintf(file, "%lld", (long long)json_integer_value(value));
		else
			page_text(file, json_string_value(value));
		(void)fputs(" · ", file);
	}
	(void)fputs("</p>\n", file);
}

static void write_ratio(FILE *file, const json_t *row)
{
	const json_t *ratio = json_object_get(row, "ratio");

	(void)fprintf(file,
		"<td class=\"n\">%.3g <span class=\"dim\">[%.3g–%.3g] ×%d</span></td><td>",
		json_number_value(json_object_get(ratio, "median")),
		json_number_value(json_object_get(ratio, "min")),
		json_number_value(json_object_get(ratio, "max")),
		(int)json_integer_value(json_object_get(ratio, "rounds")));
	picture_spread(file, row);
	(void)fputs("</td>", file);
}

static void write_cell(FILE *file, const json_t *row, const char *key)
{
	(void)fputs("<td>", file);
	page_text(file, json_string_value(json_object_get(row, key)));
	(void)fputs("</td>", file);
}

static void write_verdict(FILE *file, const json_t *row)
{
	const json_t *met = json_object_get(row, "met");

	write_cell(file, row, "target");
	(void)fputs("<td>", file);
	if (json_is_boolean(met))
		(void)fputs(json_is_true(met) ? "<span class=\"good\">met</span>"
					      : "<span class=\"bad\">missed</span>",
			file);
	if (json_is_true(json_object_get(row, "noisy")))
		(void)fputs(" <span class=\"dim\">noisy</span>", file);
	(void)fputs("</td>", file);
}

static void write_row(FILE *file, const json_t *row)
{
	(void)fputs("<tr>", file);
	write_cell(file, row, "id");
	write_cell(file, row, "part");
	write_cell(file, row, "what");
	(void)fputs("<td>", file);
	page_text(file, json_string_value(json_object_get(row, "subject")));
	(void)fputs(" / ", file);
	page_text(file, json_string_value(json_object_get(row, "reference")));
	(void)fputs("</td>", file);
	write_cell(file, row, "placement");
	write_ratio(file, row);
	write_verdict(file, row);
	(void)fputs("</tr>\n", file);
}

/* Rows with a target, or those without. */
static void write_rows(FILE *file, const json_t *rows, int has_target, const char *title)
{
	(void)fprintf(file,
		"<h2>%s</h2>\n<table><tr><th>id<th>part<th>what<th>subject / reference<th>CPUs"
		"<th>ratio<th>spread<th>target<th></tr>\n",
		title);
	for (size_t i = 0; i < json_array_size(rows); i++) {
		const json_t *row = json_array_get(rows, i);

		if (json_is_string(json_object_get(row, "target")) == has_target)
			write_row(file, row);
	}
	(void)fputs("</table>\n", file);
}

static void write_skipped(FILE *file, const json_t *skipped)
{
	if (json_array_size(skipped) == 0)
		return;
	(void)fputs("<h2>Not run</h2>\n<ul>\n", file);
	for (size_t i = 0; i < json_array_size(skipped); i++) {
		const json_t *one = json_array_get(skipped, i);

		(void)fputs("<li>", file);
		page_text(file, json_string_value(json_object_get(one, "what")));
		(void)fputs(": ", file);
		page_text(file, json_string_value(json_object_get(one, "why")));
		(void)fputs("</li>\n", file);
	}
	(void)fputs("</ul>\n", file);
}

static void write_page(FILE *file, const json_t *results)
{
	const json_t *rows = json_object_get(results, "rows");

	(void)fputs(head, file);
	write_host(file, json_object_get(results, "host"));
	write_rows(file, rows, 1, "Targets");
	picture_series(file, json_object_get(results, "series"));
	picture_rates(file, rows);
	write_rows(file, rows, 0, "Beside the targets");
	write_skipped(file, json_object_get(results, "skipped"));
	(void)fputs("</body></html>\n", file);
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
