/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/vmswapctl/table.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "queue/base/assert.h"
#include "queue/base/bits.h"
#include "queue/base/err.h"

#define GAP "  "

struct table {
	uint32_t column_count;
	uint32_t cell_count; /* rows of column_count each; the first row is the titles */
	uint32_t capacity;
	char **cells;
	bool is_right[TABLE_COLUMNS_MAX];
	size_t width[TABLE_COLUMNS_MAX]; /* in characters */
};

/* For a tool there is no life without memory. */
static void *must(void *pointer)
{
	if (!pointer) {
		(void)fputs("vmswapctl: out of memory\n", stderr);
		exit(EXIT_FAILURE);
	}
	return pointer;
}

/* Characters, not bytes: those that continue one in UTF-8 do not count. */
static size_t characters(const char *text)
{
	size_t count = 0;

	for (; *text; text++)
		count += ((unsigned char)*text & 0xc0) != 0x80;
	return count;
}

char *table_harmless(char *text)
{
	ASSERT(text);
	for (char *byte = text; *byte; byte++) {
		unsigned char value = (unsigned char)*byte;
		/* U+0080 to U+009f are control characters, too: 0xc2 0x80… */
		bool is_c1 = value == 0xc2 && (unsigned char)byte[1] >= 0x80 &&
			     (unsigned char)byte[1] <= 0x9f;

		if (is_c1)
			byte[1] = '?';
		if (value < 0x20 || value == 0x7f || is_c1)
			*byte = '?';
	}
	return text;
}

/* Steals @text. */
static void put(struct table *table, char *text)
{
	ASSERT(text && table->column_count > 0);
	uint32_t column = table->cell_count % table->column_count;

	if (table->cell_count == table->capacity) {
		table->capacity = 2 * table->capacity + TABLE_COLUMNS_MAX;
		table->cells = must(realloc(table->cells, table->capacity * sizeof(*table->cells)));
	}
	table->cells[table->cell_count++] = table_harmless(text);
	table->width[column] = MAX(table->width[column], characters(text));
}

struct table *table_new(const char *titles)
{
	ASSERT(titles && *titles);
	struct table *table = must(calloc(1, sizeof(*table)));
	char *copy = must(strdup(titles));
	char *rest = copy;
	char *title;

	table->column_count = 1;
	for (const char *byte = titles; *byte; byte++)
		table->column_count += *byte == '|';
	ASSERT(table->column_count <= TABLE_COLUMNS_MAX);
	for (uint32_t column = 0; (title = strsep(&rest, "|")); column++) {
		size_t length = strlen(title);

		table->is_right[column] = length > 0 && title[length - 1] == '>';
		if (table->is_right[column])
			title[length - 1] = '\0';
		put(table, must(strdup(title)));
	}
	free(copy);
	ASSERT(table->cell_count == table->column_count);
	return table;
}

void table_free(struct table *table)
{
	if (!table)
		return;
	for (uint32_t i = 0; i < table->cell_count; i++)
		free(table->cells[i]);
	free(table->cells);
	free(table);
}

void table_add(struct table *table, const char *format, ...)
{
	ASSERT(table && format);
	va_list arguments;
	char *text = NULL;

	va_start(arguments, format);
	if (vasprintf(&text, format, arguments) < 0)
		text = NULL;
	va_end(arguments);
	put(table, must(text));
}

uint32_t table_row_count(const struct table *table)
{
	ASSERT(table->cell_count % table->column_count == 0);
	return table->cell_count / table->column_count;
}

char *table_row(const struct table *table, uint32_t row)
{
	ASSERT(row < table_row_count(table));
	char *line = NULL;
	size_t size = 0;
	FILE *stream = must(open_memstream(&line, &size));

	for (uint32_t i = 0; i < table->column_count; i++) {
		const char *cell = table->cells[row * table->column_count + i];
		int padding = (int)(table->width[i] - characters(cell));
		bool is_last = i + 1 == table->column_count;

		if (table->is_right[i])
			(void)fprintf(stream, "%*s%s", padding, "", cell);
		else
			(void)fprintf(stream, "%s%*s", cell, is_last ? 0 : padding, "");
		(void)fputs(is_last ? "" : GAP, stream);
	}
	(void)fclose(stream);
	return must(line);
}

void table_print(const struct table *table)
{
	for (uint32_t row = 0; row < table_row_count(table); row++) {
		CLEANUP_FREE char *line = table_row(table, row);

		(void)puts(line);
	}
}
