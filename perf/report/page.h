/* SPDX-License-Identifier: Apache-2.0 */
/* The HTML page around the report, and text in it. */
#ifndef VMSWAP_PERF_REPORT_PAGE_H
#define VMSWAP_PERF_REPORT_PAGE_H

#include <jansson.h>
#include <stdio.h>

/* Up to the body, with the style of all that is drawn; nothing is fetched from elsewhere. */
void page_begin(FILE *file);
/* @text with what HTML and XML give a meaning escaped; NULL: nothing. */
void page_text(FILE *file, const char *text);
/* As page_text(), of a member of @object; nothing when it is no text. */
void page_member(FILE *file, const json_t *object, const char *key);
void page_end(FILE *file);

#endif
