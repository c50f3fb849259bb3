/* SPDX-License-Identifier: Apache-2.0 */
/*
 * top: looks at all VMs again and again. On a terminal that can move its cursor it redraws the
 * screen with ncurses; elsewhere (a pipe, TERM=dumb) it prints one block a look.
 */
#include <math.h>
#include <ncurses.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <term.h>
#include <time.h>
#include <unistd.h>

#include "queue/base/assert.h"
#include "queue/base/bits.h"
#include "queue/base/clock.h"
#include "queue/base/err.h"
#include "tools/vmswapctl/ask.h"
#include "tools/vmswapctl/table.h"
#include "tools/vmswapctl/top_view.h"

#define DELAY_MS_DEFAULT 1000
#define DELAY_MS_MIN	 50
/* Rows of the screen above the VMs. */
#define HEADER_ROWS 2

struct top {
	struct invocation *invocation;
	uint32_t delay_ms;
	json_int_t looks_left; /* 0: no end */
	struct top_look before;
	struct top_look now;
	uint32_t first_row; /* scrolled to */
};

/* How one look is shown; false when the user wants to leave. Waits for the next one. */
typedef bool show(struct top *top);

static void print_line(char *line)
{
	(void)puts(line ? table_harmless(line) : "");
	free(line);
}

static bool show_plain(struct top *top)
{
	struct table *table = top_table(&top->before, &top->now);

	print_line(top_summary(&top->now));
	table_print(table);
	table_free(table);
	(void)fflush(stdout);
	if (top->looks_left != 1) {
		struct timespec delay = {top->delay_ms / 1000, top->delay_ms % 1000 * 1000000L};

		(void)puts("");
		(void)nanosleep(&delay, NULL);
	}
	return true;
}

/* One screen line, cut at the right edge. */
static void draw_line(int row, const char *text)
{
	if (row >= LINES)
		return;
	(void)move(row, 0);
	/* Cut, not wrapped: addnstr() counts bytes, so that wide names lose some room. */
	(void)addnstr(text, COLS - 1);
}

static void draw(const struct top *top)
{
	ASSERT(top->now.statuses);
	struct table *table = top_table(&top->before, &top->now);
	CLEANUP_FREE char *summary = top_summary(&top->now);
	CLEANUP_FREE char *titles = table_row(table, 0);
	int y = HEADER_ROWS;

	(void)erase();
	draw_line(0, summary ? table_harmless(summary) : "");
	(void)attron(A_REVERSE);
	draw_line(1, titles);
	(void)attroff(A_REVERSE);
	for (uint32_t row = top->first_row + 1; row < table_row_count(table) && y < LINES; row++) {
		CLEANUP_FREE char *line = table_row(table, row);

		draw_line(y++, line);
	}
	table_free(table);
	(void)refresh();
}

/* False: leave. */
static bool obey(struct top *top, int key)
{
	uint32_t vm_count = (uint32_t)json_object_size(top->now.statuses);

	switch (key) {
	case 'q':
	case 'Q':
	case 3: /* ^C, should the terminal not make a signal of it */ return false;
	case KEY_DOWN:
		if (top->first_row + 1 < vm_count)
			top->first_row++;
		break;
	case KEY_UP:
		if (top->first_row > 0)
			top->first_row--;
		break;
	default: break;
	}
	return true;
}

static bool show_screen(struct top *top)
{
	uint64_t next_ns = clock_ns() + top->delay_ms * NS_PER_MS;
	uint64_t now_ns;

	draw(top);
	while ((now_ns = clock_ns()) < next_ns) {
		int key;

		timeout((int)((next_ns - now_ns) / NS_PER_MS) + 1);
		key = getch();
		if (key == ERR)
			break;
		if (!obey(top, key))
			return false;
		draw(top);
	}
	return true;
}

static enum status look_again(struct top *top)
{
	struct top_look look;
	enum status status = top_look_take(top->invocation, &look);

	if (status != STATUS_OK)
		return status;
	top_look_done(&top->before);
	top->before = top->now;
	top->now = look;
	return STATUS_OK;
}

/* Shows the look that was taken, then takes and shows others. */
static enum status run(struct top *top, show *show_look)
{
	enum status status = STATUS_OK;

	while (status == STATUS_OK) {
		if (!show_look(top))
			break;
		if (top->looks_left > 0 && --top->looks_left == 0)
			break;
		status = look_again(top);
	}
	return status;
}

/* Does the terminal know how to move its cursor? newterm() would take one that does not. */
static bool can_draw(void)
{
	bool can_move;
	int error;

	if (!isatty(STDOUT_FILENO) || !isatty(STDIN_FILENO))
		return false;
	if (setupterm(NULL, STDOUT_FILENO, &error) != OK)
		return false;
	can_move = tigetstr("cup") != NULL;
	(void)del_curterm(cur_term);
	return can_move;
}

static enum status run_on_screen(struct top *top)
{
	SCREEN *screen = newterm(NULL, stdout, stdin);
	struct held_complaint held = {0};
	enum status status;

	if (!screen)
		return run(top, show_plain);
	(void)cbreak();
	(void)noecho();
	(void)curs_set(0);
	(void)keypad(stdscr, TRUE);
	top->invocation->held = &held;
	status = run(top, show_screen);
	top->invocation->held = NULL;
	(void)endwin();
	delscreen(screen);
	return status == STATUS_OK ? status : complain(top->invocation, status, "%s", held.text);
}

static uint32_t delay_of(const struct invocation *invocation)
{
	const json_t *delay = json_object_get(invocation->options, "delay");

	if (!delay)
		return DELAY_MS_DEFAULT;
	return (uint32_t)fmin(fmax(json_real_value(delay) * 1000, DELAY_MS_MIN), INT32_MAX);
}

enum status verb_top(struct invocation *invocation)
{
	ASSERT(invocation);
	struct top top = {
		.invocation = invocation,
		.delay_ms = delay_of(invocation),
		.looks_left = json_integer_value(json_object_get(invocation->options, "count")),
	};
	enum status status;

	/* The first look before the screen is taken, so that what goes wrong can be read. */
	status = look_again(&top);
	if (status == STATUS_OK)
		status = can_draw() ? run_on_screen(&top) : run(&top, show_plain);
	top_look_done(&top.before);
	top_look_done(&top.now);
	return status;
}
