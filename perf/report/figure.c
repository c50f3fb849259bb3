/* SPDX-License-Identifier: Apache-2.0 */
#include "perf/report/figure.h"

#include "perf/report/page.h"
#include "queue/base/bits.h"

double figure_number(const json_t *object, const char *key)
{
	return json_number_value(json_object_get(object, key));
}

void figure_begin(FILE *file, const char *name, const char *title, const char *note, int height)
{
	(void)fputs("<figure data-name=\"", file);
	page_text(file, name);
	(void)fputs("\"><figcaption>", file);
	page_text(file, title);
	if (note) {
		(void)fputs(" <small>", file);
		page_text(file, note);
		(void)fputs("</small>", file);
	}
	(void)fprintf(file,
		"</figcaption><svg xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" "
		"viewBox=\"0 0 %d %d\" aria-label=\"",
		FIGURE_WIDTH, height);
	page_text(file, title);
	(void)fputs("\">\n", file);
}

const char *figure_colour(size_t index)
{
	static const char *const classes[] = {"k0", "k1", "k2", "k3", "k4", "k5", "k6", "k7"};

	return classes[index % ARRAY_SIZE(classes)];
}

void figure_legend(FILE *file, size_t index, double x, double y, const char *name)
{
	(void)fprintf(file,
		"<rect class=\"%s\" x=\"%.1f\" y=\"%.1f\" width=\"12\" height=\"12\" "
		"fill=\"currentColor\"/><text x=\"%.1f\" y=\"%.1f\">",
		figure_colour(index), x, y - 11, x + 18, y);
	page_text(file, name);
	(void)fputs("</text>\n", file);
}

void figure_end(FILE *file)
{
	(void)fputs("</svg></figure>\n", file);
}
