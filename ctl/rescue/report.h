/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a rescue has done so far and how it ended, for vmswapctl: one JSON object in the state
 * folder's STATE_DIR_RESCUE, there at once or not at all. The format is in ctl/README.md.
 */
#ifndef VMSWAP_CTL_RESCUE_REPORT_H
#define VMSWAP_CTL_RESCUE_REPORT_H

#include <jansson.h>
#include <stdint.h>
#include <sys/types.h>

struct rescue_result;

struct report;

/* NULL: no memory. @state_dir: borrowed. */
struct report *report_new(const char *state_dir);
void report_free(struct report *report);

/* The VM that is brought back from now on; @pages are to come in. */
void report_begin_vm(struct report *report, const char *name, uint64_t pages);
/* How far it came. Written when the last time was a while ago. */
void report_progress(struct report *report, const struct rescue_result *result);
/* "rescued", "held" or "gone", and why it is held, or NULL. */
void report_end_vm(struct report *report, const char *state, const char *problem);
/* "done" or "failed": the last word. */
void report_end(struct report *report, const char *state, const char *problem);

#endif
