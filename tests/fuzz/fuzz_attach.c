/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The params of vm.attach and vm.attach_self. Byte 0: bit 0 which of them, bits 1 to 3 the number
 * of descriptors that come along, bits 4 to 6 how the attach ends; the rest is the params' text.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "queue/base/assert.h"
#include "rig.h"

#define HEAD_BYTES 80

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *line;
	int head;

	if (size < 1)
		return 0;
	line = malloc(HEAD_BYTES + size + sizeof("}\n"));
	ASSERT(line != NULL);
	head = snprintf(line, HEAD_BYTES,
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"%s\",\"params\":",
		data[0] & 1 ? "vm.attach_self" : "vm.attach");
	memcpy(line + head, data + 1, size - 1);
	memcpy(line + head + size - 1, "}\n", 2);

	rig_begin();
	rig_say((const uint8_t *)line, (size_t)head + size + 1, data[0] >> 1 & 7u);
	rig_work(data[0] >> 4 & 7u);
	rig_end();
	free(line);
	return 0;
}
