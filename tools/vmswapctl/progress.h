/* SPDX-License-Identifier: Apache-2.0 */
/* The progress of a job as one line that is drawn again and again. */
#ifndef VMSWAP_TOOLS_VMSWAPCTL_PROGRESS_H
#define VMSWAP_TOOLS_VMSWAPCTL_PROGRESS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* Is stderr a terminal that can draw a line again? */
bool progress_is_possible(void);
/* The line of @job, at most @width characters; to be freed. */
char *progress_line(const json_t *job, size_t width);
/* Draws it on stderr. */
void progress_draw(const json_t *job);
/* Removes it. */
void progress_clear(void);

#endif
