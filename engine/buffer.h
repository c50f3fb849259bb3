/* SPDX-License-Identifier: Apache-2.0 */
/* Memory for disk operations. */
#ifndef VMSWAP_ENGINE_BUFFER_H
#define VMSWAP_ENGINE_BUFFER_H

#include <stdint.h>

/*
 * @size_bytes (whole chunks) on a chunk boundary, locked, by huge pages where the host gives them:
 * a disk operation is then one segment, not one a page, and large ones are nearly twice as fast.
 * NULL: no memory. Set-up threads.
 */
uint8_t *buffer_map(uint64_t size_bytes);
/* NULL is fine. */
void buffer_unmap(uint8_t *buffer, uint64_t size_bytes);

#endif
