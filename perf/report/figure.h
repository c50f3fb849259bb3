/* SPDX-License-Identifier: Apache-2.0 */
/* What all figures of the report share: their frame on the page, colours and legends. */
#ifndef VMSWAP_PERF_REPORT_FIGURE_H
#define VMSWAP_PERF_REPORT_FIGURE_H

#include <jansson.h>
#include <stddef.h>
#include <stdio.h>

/* In units of the picture, which the page scales. */
#define FIGURE_WIDTH 960

/* A number of @object, 0 when it is none. */
double figure_number(const json_t *object, const char *key);

/* @name tells figures apart for programs; @note says how to read it, and may be NULL. */
void figure_begin(FILE *file, const char *name, const char *title, const char *note, int height);
/* The class of the page's style for the colour of a series. */
const char *figure_colour(size_t index);
/* A square in the colour of @index and a name, left at @x on the line at @y. */
void figure_legend(FILE *file, size_t index, double x, double y, const char *name);
void figure_end(FILE *file);

#endif
