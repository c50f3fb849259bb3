/* SPDX-License-Identifier: Apache-2.0 */
/* Text in an HTML page. */
#ifndef VMSWAP_PERF_REPORT_PAGE_H
#define VMSWAP_PERF_REPORT_PAGE_H

#include <stdio.h>

/* @text with what HTML and XML give a meaning escaped; NULL: nothing. */
static inline void page_text(FILE *file, const char *text)
{
	for (; text && *text; text++) {
		switch (*text) {
		case '<': (void)fputs("&lt;", file); break;
		case '>': (void)fputs("&gt;", file); break;
		case '&': (void)fputs("&amp;", file); break;
		case '"': (void)fputs("&quot;", file); break;
		default: (void)fputc(*text, file);
		}
	}
}

#endif
