/* SPDX-License-Identifier: Apache-2.0 */
/* Where runs of chunks lie: in which region, stripe and shard, at which address of a process. */
#ifndef VMSWAP_ENGINE_PIECE_H
#define VMSWAP_ENGINE_PIECE_H

#include <stdint.h>

struct vm;
struct vm_process;

/* A run of one region inside one stripe: one registration, one zap. */
struct piece {
	uint32_t region;
	uint32_t shard;
	uint32_t first_chunk;
	uint32_t chunk_count;
};

/* From @chunk to the end of its stripe or region. */
struct piece piece_at(const struct vm *vm, uint32_t chunk);
/* Bytes of @count chunks of one region; the last chunk may be short. */
uint64_t piece_bytes(const struct vm *vm, uint32_t first, uint32_t count);
/* Where chunk @first lies in @process; 0: its region is not mapped there. */
uint64_t piece_address(const struct vm *vm, const struct vm_process *process, uint32_t first);

#endif
