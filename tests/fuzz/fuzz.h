/* SPDX-License-Identifier: Apache-2.0 */
/* What libFuzzer calls with each input; 0 keeps it in the corpus when it reached new code. */
#ifndef VMSWAP_TESTS_FUZZ_FUZZ_H
#define VMSWAP_TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
