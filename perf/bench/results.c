/* SPDX-License-Identifier: Apache-2.0 */
#include "perf/bench/results.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "queue/base/err.h"

#define VERSION 1

struct results {
	json_t *document;
};

static struct results *wrap(json_t *document)
{
	struct results *results = malloc(sizeof(*results));

	if (!results || !document) {
		json_decref(document);
		free(results);
		return NULL;
	}
	results->document = document;
	return results;
}

struct results *results_new(json_t *host)
{
	return wrap(json_pack("{s:i, s:o, s:[], s:[], s:[]}", "version", VERSION, "host", host,
		"rows", "series", "skipped"));
}

static const char *find_fault(const json_t *document)
{
	if (!json_is_object(document))
		return "not an object";
	if (json_integer_value(json_object_get(document, "version")) != VERSION)
		return "written by another version of vmswap-bench";
	if (!json_is_object(json_object_get(document, "host")) ||
		!json_is_array(json_object_get(document, "rows")) ||
		!json_is_array(json_object_get(document, "series")) ||
		!json_is_array(json_object_get(document, "skipped")))
		return "not a result of vmswap-bench";
	return NULL;
}

struct results *results_load(const char *path, char *ret_why, size_t size)
{
	json_error_t error;
	json_t *document = json_load_file(path, 0, &error);
	const char *fault;

	if (!document) {
		(void)snprintf(ret_why, size, "line %d: %s", error.line, error.text);
		return NULL;
	}
	fault = find_fault(document);
	if (fault) {
		(void)snprintf(ret_why, size, "%s", fault);
		json_decref(document);
		return NULL;
	}
	return wrap(document);
}

int results_save(const struct results *results, const char *path)
{
	CLEANUP_FREE char *temporary = NULL;
	int error;

	if (asprintf(&temporary, "%s.new", path) < 0) {
		temporary = NULL;
		return -ENOMEM;
	}
	errno = 0;
	if (json_dump_file(results->document, temporary, JSON_INDENT(1) | JSON_REAL_PRECISION(6)) <
		0)
		error = errno != 0 ? -errno : -EIO;
	else
		error = errno_of(rename(temporary, path));
	if (error < 0)
		(void)unlink(temporary);
	return error;
}

void results_free(struct results *results)
{
	if (!results)
		return;
	json_decref(results->document);
	free(results);
}

static int is_same(const json_t *first, const json_t *second, const char *key)
{
	const json_t *a = json_object_get(first, key);
	const json_t *b = json_object_get(second, key);

	return json_equal(a, b) || (json_is_null(a) && json_is_null(b));
}

/* Appends @item, or puts it in the place of one that agrees with it in all @keys. */
static void replace(json_t *array, json_t *item, const char *const *keys)
{
	for (size_t i = 0; i < json_array_size(array); i++) {
		const json_t *old = json_array_get(array, i);
		int is_other = 0;

		for (size_t k = 0; keys[k]; k++)
			is_other |= !is_same(old, item, keys[k]);
		if (is_other)
			continue;
		(void)json_array_set_new(array, i, item);
		return;
	}
	(void)json_array_append_new(array, item);
}

void results_add_row(struct results *results, json_t *row)
{
	static const char *const keys[] = {"id", "part", "placement", "reference", NULL};

	replace(json_object_get(results->document, "rows"), row, keys);
}

void results_add_series(struct results *results, json_t *series)
{
	static const char *const keys[] = {"name", NULL};

	replace(json_object_get(results->document, "series"), series, keys);
}

void results_add_skipped(struct results *results, const char *what, const char *why)
{
	static const char *const keys[] = {"what", NULL};

	replace(json_object_get(results->document, "skipped"),
		json_pack("{s:s, s:s}", "what", what, "why", why), keys);
}

const json_t *results_json(const struct results *results)
{
	return results->document;
}
