/* SPDX-License-Identifier: Apache-2.0 */
/* What runs now: one rewritten line where standard error is a terminal, else nothing. */
#ifndef VMSWAP_PERF_BENCH_PROGRESS_H
#define VMSWAP_PERF_BENCH_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

void progress_set_quiet(bool is_quiet);
/* Of @steps steps; 0: their number is not known. */
void progress_begin(uint32_t steps);
void progress_step(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Takes the line away. */
void progress_end(void);

#endif
