/* SPDX-License-Identifier: Apache-2.0 */
#include "perf/report/table.h"

#include <string.h>

#include "perf/report/figure.h"
#include "perf/report/page.h"
#include "perf/report/quantity.h"
#include "perf/report/ratio.h"
#include "perf/report/spread.h"
#include "queue/base/bits.h"

static bool is_noisy(const json_t *row)
{
	return json_is_true(json_object_get(row, "noisy"));
}

static bool is_met(const json_t *row)
{
	return json_is_true(json_object_get(row, "met"));
}

static bool has_target_of(const json_t *row)
{
	return json_is_string(json_object_get(row, "target"));
}

/* Of the rows with a target. */
struct tally {
	uint32_t met, missed, noisy;
};

static struct tally tally_of(const json_t *rows)
{
	struct tally tally = {0};

	for (size_t i = 0; i < json_array_size(rows); i++) {
		const json_t *row = json_array_get(rows, i);

		if (!has_target_of(row))
			continue;
		tally.met += is_met(row);
		tally.missed += !is_met(row);
		tally.noisy += is_noisy(row);
	}
	return tally;
}

static void write_chip(FILE *file, const json_t *row, size_t index)
{
	(void)fprintf(file, "<a href=\"#row%zu\" class=\"%s%s\">%s ", index,
		is_met(row) ? "good" : "bad", is_noisy(row) ? " unsure" : "",
		is_met(row) ? "✓" : "✗");
	page_member(file, row, "id");
	(void)fputc(' ', file);
	page_member(file, row, "part");
	(void)fprintf(file, "%s</a>\n", is_noisy(row) ? " ~" : "");
}

void table_summary(FILE *file, const json_t *rows)
{
	const struct tally tally = tally_of(rows);

	if (tally.met + tally.missed == 0)
		return;
	(void)fprintf(file,
		"<div class=\"tiles\"><div class=\"good\"><b>%u</b>targets met</div>"
		"<div class=\"bad\"><b>%u</b>missed</div>"
		"<div class=\"noisy\"><b>%u</b>noisy</div></div>\n<div class=\"chips\">\n",
		tally.met, tally.missed, tally.noisy);
	for (size_t i = 0; i < json_array_size(rows); i++)
		if (has_target_of(json_array_get(rows, i)))
			write_chip(file, json_array_get(rows, i), i);
	(void)fputs("</div>\n", file);
}

static void write_verdict(FILE *file, const json_t *row)
{
	(void)fputs("<td>", file);
	if (has_target_of(row))
		(void)fputs(is_met(row) ? "<span class=\"pill good\">✓ met</span> "
					: "<span class=\"pill bad\">✗ missed</span> ",
			file);
	if (is_noisy(row))
		(void)fputs("<span class=\"pill noisy\">~ noisy</span>", file);
	(void)fputs("</td>", file);
}

static void write_what(FILE *file, const json_t *row)
{
	const char *placement = json_string_value(json_object_get(row, "placement"));

	(void)fputs("<td><b>", file);
	page_member(file, row, "id");
	(void)fputc(' ', file);
	page_member(file, row, "part");
	(void)fputs("</b> ", file);
	page_member(file, row, "what");
	if (placement && strcmp(placement, "same") == 0)
		(void)fputs("<small>client and daemon on one CPU</small>", file);
	else if (placement && strcmp(placement, "cross") == 0)
		(void)fputs("<small>client and daemon on a CPU each</small>", file);
	(void)fputs("</td>", file);
}

/* "8.7 µs vmswapd", or nothing when the file lacks the rounds. */
static void write_median(FILE *file, const json_t *row, const char *key)
{
	struct spread spread;

	if (!spread_of_array(json_object_get(json_object_get(row, "values"), key), &spread))
		return;
	quantity_print(file, spread.median, json_string_value(json_object_get(row, "unit")));
	(void)fputc(' ', file);
	page_member(file, row, key);
}

static void write_measured(FILE *file, const json_t *row)
{
	const char *reference = json_string_value(json_object_get(row, "reference"));

	(void)fputs("<td class=\"n\">", file);
	write_median(file, row, "subject");
	/* Rows of absolute values are ratios to 1. */
	if (reference && strcmp(reference, "1") != 0) {
		(void)fputs("<small>", file);
		write_median(file, row, "reference");
		(void)fputs("</small>", file);
	}
	(void)fputs("</td>", file);
}

static void write_ratio(FILE *file, const json_t *row)
{
	const json_t *ratio = json_object_get(row, "ratio");
	const char *target = json_string_value(json_object_get(row, "target"));

	(void)fprintf(file, "<td class=\"n\"><b>%.3g</b>", figure_number(ratio, "median"));
	if (target) {
		(void)fprintf(file, " target %s ", target[0] == '<' ? "≤" : "≥");
		page_text(file, strlen(target) > 2 ? target + 2 : "");
	}
	(void)fprintf(file, "<small>%.3g–%.3g, %d round%s</small></td>",
		figure_number(ratio, "min"), figure_number(ratio, "max"),
		(int)figure_number(ratio, "rounds"),
		figure_number(ratio, "rounds") == 1 ? "" : "s");
}

static void write_row(FILE *file, const json_t *row, size_t index)
{
	const char *verdict = is_met(row) ? "met" : "missed";

	(void)fprintf(file, "<tr id=\"row%zu\" class=\"%s\">", index,
		has_target_of(row) ? verdict : "free");
	write_verdict(file, row);
	write_what(file, row);
	write_measured(file, row);
	write_ratio(file, row);
	(void)fputs("<td class=\"ratio\">", file);
	ratio_draw(file, row);
	(void)fputs("</td></tr>\n", file);
}

void table_draw(FILE *file, const json_t *rows, bool has_target, const char *title)
{
	bool is_begun = false;

	for (size_t i = 0; i < json_array_size(rows); i++) {
		if (has_target_of(json_array_get(rows, i)) != has_target)
			continue;
		if (!is_begun) {
			(void)fprintf(file,
				"<h2>%s</h2>\n<table><tr><th><th>what<th>measured<th>ratio"
				"<th class=\"ratio\">ratio, on one scale for all rows ",
				title);
			ratio_axis(file);
			(void)fputs("</tr>\n", file);
			is_begun = true;
		}
		write_row(file, json_array_get(rows, i), i);
	}
	if (is_begun)
		(void)fputs("</table>\n", file);
}
