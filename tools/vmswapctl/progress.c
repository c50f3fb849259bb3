/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/vmswapctl/progress.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "queue/base/assert.h"
#include "queue/base/bits.h"
#include "queue/base/err.h"
#include "tools/vmswapctl/status.h"
#include "tools/vmswapctl/table.h"
#include "tools/vmswapctl/units.h"

#define WIDTH_DEFAULT 80u
#define BAR_WIDTH_MAX 40u
#define BAR_WIDTH_MIN 8u

bool progress_is_possible(void)
{
	const char *terminal = getenv("TERM");

	return isatty(STDERR_FILENO) && terminal && strcmp(terminal, "dumb") != 0;
}

static size_t terminal_width(void)
{
	struct winsize size;

	if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_col == 0)
		return WIDTH_DEFAULT;
	return size.ws_col;
}

/* "[#####-----]", @width characters with its brackets. */
static void fill_bar(char *bar, size_t width, double fraction)
{
	ASSERT(width >= BAR_WIDTH_MIN && width <= BAR_WIDTH_MAX);
	size_t inner = width - 2;
	size_t full = (size_t)(fraction * (double)inner);

	ASSERT(full <= inner);
	bar[0] = '[';
	memset(bar + 1, '#', full);
	memset(bar + 1 + full, '-', inner - full);
	bar[width - 1] = ']';
	bar[width] = '\0';
}

/* What stands behind the bar: "42 %  1.2 GiB of 3.0 GiB  write  0:12"; to be freed. */
static char *describe(const json_t *job, double fraction)
{
	char moved[UNITS_BYTES];
	char total[UNITS_BYTES];
	char elapsed[UNITS_BYTES];
	char *text;

	if (asprintf(&text, "%3.0f %%  %s of %s  %s  %s", fraction * 100,
		    units_size(moved, status_number(job, "pages") * PAGE_BYTES),
		    units_size(total, status_number(job, "pages_total") * PAGE_BYTES),
		    units_clock(elapsed, status_number(job, "elapsed_ms") / 1000),
		    status_text(job, "phase")) < 0)
		return NULL;
	return table_harmless(text);
}

char *progress_line(const json_t *job, size_t width)
{
	ASSERT(job);
	uint64_t pages = status_number(job, "pages");
	uint64_t total = status_number(job, "pages_total");
	double fraction = total > 0 ? (double)MIN(pages, total) / (double)total : 0;
	CLEANUP_FREE char *text = describe(job, fraction);
	const char *operation = status_text(job, "operation");
	size_t used = strlen(operation) + (text ? strlen(text) : 0) + 2;
	char bar[BAR_WIDTH_MAX + 1] = "";
	char *line;

	if (width >= used + BAR_WIDTH_MIN + 1)
		fill_bar(bar, MIN(width - used - 1, BAR_WIDTH_MAX), fraction);
	if (asprintf(&line, "%s %s%s%s", operation, bar, *bar ? " " : "", text ? text : "") < 0)
		return NULL;
	if (strlen(line) > width)
		line[width] = '\0';
	ASSERT(strlen(line) <= width);
	return line;
}

void progress_draw(const json_t *job)
{
	/* One less: in the last column some terminals break the line. */
	CLEANUP_FREE char *line = progress_line(job, terminal_width() - 1);

	(void)fprintf(stderr, "\r\033[K%s", line ? line : "");
	(void)fflush(stderr);
}

void progress_clear(void)
{
	(void)fputs("\r\033[K", stderr);
	(void)fflush(stderr);
}
