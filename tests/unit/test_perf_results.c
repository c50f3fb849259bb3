/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <ctype.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "perf/bench/results.h"
#include "perf/report/html.h"

static char folder[] = "/tmp/vmswap-results-XXXXXX";
static char path[64];

static void make_folder(void)
{
	cr_assert_not_null(mkdtemp(folder));
	(void)snprintf(path, sizeof(path), "%s/file", folder);
}

static void remove_folder(void)
{
	(void)unlink(path);
	cr_assert_eq(rmdir(folder), 0, "something was left in the folder");
}

TestSuite(perf_results, .init = make_folder, .fini = remove_folder);

static json_t *row_of(const char *id, const char *reference, double median)
{
	return json_pack("{s:s, s:n, s:s, s:s, s:s, s:s, s:s, s:{s:f, s:f, s:f, s:i}, s:n, s:n, "
			 "s:b, s:{s:[f], s:[f], s:[]}}",
		"id", id, "part", "what", "a < b & c", "subject", "vmswapd", "reference", reference,
		"unit", "GB/s", "placement", "none", "ratio", "median", median, "min", median,
		"max", median, "rounds", 1, "target", "met", "noisy", 0, "values", "subject",
		median, "reference", 1.0, "noisy_rounds");
}

static double median_at(const struct results *results, size_t index)
{
	const json_t *row = json_array_get(json_object_get(results_json(results), "rows"), index);

	return json_number_value(json_object_get(json_object_get(row, "ratio"), "median"));
}

static void write_file(const char *text)
{
	FILE *file = fopen(path, "w");

	cr_assert_not_null(file);
	cr_assert_geq(fputs(text, file), 0);
	cr_assert_eq(fclose(file), 0);
}

Test(perf_results, a_newer_row_takes_the_place_of_the_same_older_one)
{
	struct results *results = results_new(json_object());

	results_add_row(results, row_of("P7", "kernel", 1));
	results_add_row(results, row_of("P8", "kernel", 2));
	results_add_row(results, row_of("P7", "kernel", 3));
	results_add_row(results, row_of("P7", "floor", 4));

	cr_assert_eq(json_array_size(json_object_get(results_json(results), "rows")), 3);
	cr_assert_eq(median_at(results, 0), 3);
	cr_assert_eq(median_at(results, 1), 2);
	cr_assert_eq(median_at(results, 2), 4);
	results_free(results);
}

Test(perf_results, what_is_saved_is_what_is_loaded)
{
	struct results *results = results_new(json_pack("{s:s}", "cpu", "a cpu"));
	struct results *loaded;
	char why[128];

	results_add_row(results, row_of("P7", "kernel", 1.5));
	results_add_skipped(results, "zram", "no module");
	cr_assert_eq(results_save(results, path), 0);
	loaded = results_load(path, why, sizeof(why));

	cr_assert_not_null(loaded, "%s", why);
	cr_assert(json_equal(results_json(results), results_json(loaded)));
	results_free(loaded);
	results_free(results);
}

Test(perf_results, a_file_that_is_no_result_is_refused_with_a_reason)
{
	static const char *const texts[] = {"", "{", "[]", "{\"version\":1}",
		"{\"version\":2,\"host\":{},\"rows\":[],\"series\":[],\"skipped\":[]}"};
	char why[128];

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		write_file(texts[i]);
		why[0] = '\0';

		cr_assert_null(results_load(path, why, sizeof(why)), "%s", texts[i]);
		cr_assert_neq(why[0], '\0');
	}
}

/* Elements that have no end, or end themselves. */
static bool is_void(const char *name)
{
	static const char *const names[] = {"meta", "th", "line", "circle", "rect", "polyline",
		"polygon", "path", "br", "!DOCTYPE"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(name, names[i]) == 0)
			return true;
	return false;
}

static void check_balance(const char *text)
{
	char open[64][16];
	size_t depth = 0;

	for (const char *at = strchr(text, '<'); at; at = strchr(at + 1, '<')) {
		const bool is_end = at[1] == '/';
		char name[16] = "";

		(void)sscanf(at + 1 + is_end, "%15[!A-Za-z0-9]", name);
		cr_assert_neq(name[0], '\0', "a bare < at: %.40s", at);
		if (is_void(name))
			continue;
		if (!is_end) {
			cr_assert_lt(depth, 64u);
			(void)strcpy(open[depth++], name);
			continue;
		}
		cr_assert_gt(depth, 0u, "</%s> ends nothing", name);
		cr_assert_str_eq(open[--depth], name);
	}
	cr_assert_eq(depth, 0u, "<%s> is not ended", depth > 0 ? open[depth - 1] : "");
}

static char *read_file(void)
{
	static char text[1 << 20];
	FILE *file = fopen(path, "r");
	size_t length;

	cr_assert_not_null(file);
	length = fread(text, 1, sizeof(text) - 1, file);
	text[length] = '\0';
	(void)fclose(file);
	return text;
}

static struct results *full_results(void)
{
	struct results *results = results_new(json_pack("{s:s, s:i}", "cpu", "a cpu", "cpus", 2));

	results_add_row(results, row_of("P7", "kernel", 1.5));
	results_add_row(results, row_of("with <tag>", "kernel", 0.5));
	results_add_skipped(results, "zram", "no module & no luck");
	results_add_series(
		results, json_pack("{s:s, s:s, s:s, s:[{s:s, s:[f,f,f,f], s:[f,f,f,f]}]}", "name",
				 "n", "kind", "cdf", "title", "t", "lines", "name", "vmswapd", "x",
				 1.0, 2.0, 3.0, 30.0, "y", 0.3, 0.6, 0.9, 1.0));
	results_add_series(
		results, json_pack("{s:s, s:s, s:s, s:i, s:[f,f], s:[{s:s, s:i, s:i}], "
				   "s:[{s:i, s:f, s:f, s:f, s:f}, {s:i, s:f, s:f, s:f, s:f}]}",
				 "name", "tl", "kind", "timeline", "title", "t", "bucket_us", 10000,
				 "stall_us", 50.0, 500.0, "phases", "name", "enable", "begin_us", 0,
				 "end_us", 9000, "states", "at_us", 0, "resident", 1.0, "staged",
				 0.0, "swapped", 0.0, "zero", 0.0, "at_us", 9000, "resident", 0.2,
				 "staged", 0.5, "swapped", 0.2, "zero", 0.1));
	results_add_series(results,
		json_pack("{s:s, s:s, s:s, s:[{s:i, s:i, s:f, s:f, s:f}, {s:i, s:i, s:f, s:f, "
			  "s:f}], s:{s:s, s:[{s:i, s:f, s:f, s:f}]}}",
			"name", "scale", "kind", "points", "title", "t", "points", "shards", 1,
			"threads", 1, "faults_per_s", 2e4, "min", 1e4, "max", 3e4, "shards", 2,
			"threads", 8, "faults_per_s", 9e4, "min", 8e4, "max", 9.5e4, "reference",
			"name", "raw-batch", "points", "threads", 1, "faults_per_s", 1.5e4, "min",
			1e4, "max", 2e4));
	return results;
}

Test(perf_results, the_report_is_balanced_escaped_and_self_contained)
{
	struct results *results = full_results();
	char *text;
	char *http;

	cr_assert_eq(html_write(results_json(results), path), 0);
	text = read_file();

	check_balance(text);
	cr_assert_not_null(strstr(text, "P7"));
	cr_assert_not_null(strstr(text, "with &lt;tag&gt;"));
	cr_assert_not_null(strstr(text, "a &lt; b &amp; c"));
	cr_assert_not_null(strstr(text, "<polyline"));
	cr_assert_not_null(strstr(text, "enable"));
	while ((http = strstr(text, "http"))) {
		cr_assert_eq(strncmp(http, "http://www.w3.org/2000/svg", 26), 0);
		text = http + 4;
	}
	results_free(results);
}

static size_t count_of(const char *text, const char *part)
{
	size_t count = 0;

	for (const char *at = strstr(text, part); at; at = strstr(at + 1, part))
		count++;
	return count;
}

/* The page of @results, which are freed. */
static const char *page_of(struct results *results)
{
	cr_assert_eq(html_write(results_json(results), path), 0);
	results_free(results);
	return read_file();
}

Test(perf_results, each_series_is_one_figure)
{
	const char *text = page_of(full_results());

	cr_assert_eq(count_of(text, "<figure"), 4u);
	cr_assert_eq(count_of(text, "data-name=\"n\""), 1u);
	cr_assert_eq(count_of(text, "data-name=\"tl\""), 1u);
	cr_assert_eq(count_of(text, "data-name=\"scale\""), 1u);
	cr_assert_eq(count_of(text, "data-name=\"rates\""), 1u);
}

Test(perf_results, a_curve_has_a_line_for_each_number_of_shards_and_one_of_the_reference)
{
	const char *text = strstr(page_of(full_results()), "data-name=\"scale\"");

	cr_assert_not_null(text);
	cr_assert_eq(count_of(text, "<polyline"), 3u);
	cr_assert_eq(count_of(text, "stroke-dasharray"), 1u);
	cr_assert_eq(count_of(text, ">1 shard<"), 1u);
	cr_assert_eq(count_of(text, ">2 shards<"), 1u);
	cr_assert_eq(count_of(text, ">raw-batch<"), 1u);
}

Test(perf_results, rates_are_the_median_of_the_rounds)
{
	struct results *results = results_new(json_object());
	json_t *row = row_of("P7", "kernel", 1);
	const char *text;

	(void)json_object_set_new(row, "values",
		json_pack("{s:[f,f,f], s:[f]}", "subject", 2.0, 90.0, 1.0, "reference", 1.0));
	results_add_row(results, row);
	text = strstr(page_of(results), "data-name=\"rates\"");

	cr_assert_not_null(text);
	cr_assert_eq(count_of(text, ">2 GB/s<"), 1u);
	cr_assert_eq(count_of(text, ">31 GB/s<"), 0u);
}

Test(perf_results, missed_targets_and_noise_are_marked_in_the_summary_and_in_the_row)
{
	struct results *results = results_new(json_object());
	json_t *row = row_of("P7", "kernel", 1);
	const char *text;

	(void)json_object_set_new(row, "target", json_string(">=2"));
	(void)json_object_set_new(row, "met", json_false());
	(void)json_object_set_new(row, "noisy", json_true());
	results_add_row(results, row);
	text = page_of(results);

	cr_assert_not_null(strstr(text, "<b>1</b>missed"));
	cr_assert_not_null(strstr(text, "<b>0</b>targets met"));
	cr_assert_not_null(strstr(text, "href=\"#row0\" class=\"bad unsure\""));
	cr_assert_not_null(strstr(text, "id=\"row0\" class=\"missed\""));
	cr_assert_not_null(strstr(text, "pill noisy"));
	cr_assert_not_null(strstr(text, "mark unsure"));
}

Test(perf_results, a_report_of_nothing_is_a_page)
{
	const char *text = page_of(results_new(json_object()));

	check_balance(text);
	cr_assert_eq(count_of(text, "<figure"), 0u);
	cr_assert_eq(count_of(text, "<table"), 0u);
}

Test(perf_results, a_report_that_cannot_be_written_is_an_error)
{
	struct results *results = full_results();

	cr_assert_lt(html_write(results_json(results), "/nowhere/report.html"), 0);
	results_free(results);
}

static void check_no_temporary(void)
{
	char temporary[sizeof(path) + 4];

	(void)snprintf(temporary, sizeof(temporary), "%s.new", path);
	cr_expect_lt(access(temporary, F_OK), 0, "%s was left", temporary);
}

Test(perf_results, what_cannot_take_its_place_is_removed)
{
	struct results *results = full_results();

	cr_assert_eq(mkdir(path, 0700), 0);

	cr_expect_lt(html_write(results_json(results), path), 0);
	check_no_temporary();
	cr_expect_lt(results_save(results, path), 0);
	check_no_temporary();

	cr_assert_eq(rmdir(path), 0);
	results_free(results);
}

/* As on a full disk: writes fail half way. */
Test(perf_results, half_a_file_is_removed_and_the_old_one_stays)
{
	struct results *results = full_results();
	struct rlimit limit;

	write_file("old");
	(void)signal(SIGXFSZ, SIG_IGN);
	cr_assert_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
	limit.rlim_cur = 512;
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);

	cr_expect_lt(html_write(results_json(results), path), 0);
	check_no_temporary();
	cr_expect_lt(results_save(results, path), 0);
	check_no_temporary();

	limit.rlim_cur = limit.rlim_max;
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	cr_assert_str_eq(read_file(), "old");
	results_free(results);
}
