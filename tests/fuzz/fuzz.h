/* SPDX-License-Identifier: Apache-2.0 */
/* What libFuzzer calls with each input; 0 keeps it in the corpus when it reached new code. */
#ifndef VMSWAP_TESTS_FUZZ_FUZZ_H
#define VMSWAP_TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>

#include "queue/base/assert.h"
#include "queue/base/err.h"

/* What an input leaves open shows as a difference. */
static inline uint32_t fuzz_count_descriptors(void)
{
	CLEANUP_DIR DIR *directory = opendir("/proc/self/fd");
	uint32_t count = 0;

	ASSERT(directory != NULL);
	while (readdir(directory))
		count++;
	return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
