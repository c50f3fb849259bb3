/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control protocol: the input is what a client sends, in pieces. 0x1e, which JSON never holds,
 * begins a piece; of the byte behind it the low three bits are the number of descriptors that
 * travel with the piece, the next three what rig_work() does before.
 */
#include <string.h>

#include "fuzz.h"
#include "rig.h"

#define SEPARATOR 0x1e

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *const end = data + size;
	uint32_t fd_count = 0;

	rig_begin();
	while (data < end) {
		const uint8_t *next = memchr(data, SEPARATOR, (size_t)(end - data));

		next = next ? next : end;
		rig_say(data, (size_t)(next - data), fd_count);
		if (end - next < 2)
			break;
		fd_count = next[1] & 7u;
		rig_work(next[1] >> 3 & 7u);
		data = next + 2;
	}
	rig_end();
	return 0;
}
