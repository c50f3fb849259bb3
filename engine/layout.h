/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one worker leaves in shared memory and the next one finds. LAYOUT_VERSION changes with
 * anything that an older or newer vmswapd would misread: a word, a digest, a summary, the slot
 * map, a header, the ledger of VMs, names of kept descriptors, the messages of
 * ctl/supervisor/handover.h. A successor refuses another's layout, and so does an upgrade.
 */
#ifndef VMSWAP_ENGINE_LAYOUT_H
#define VMSWAP_ENGINE_LAYOUT_H

#include <stdatomic.h>
#include <stdint.h>

#include "engine/content.h"
#include "engine/copy_record.h"
#include "engine/limits.h"

#define LAYOUT_VERSION	    7u
#define LAYOUT_ENGINE_MAGIC 0x31656e6967766d76u
#define LAYOUT_VM_MAGIC	    0x31656c6261766d76u

struct engine_header {
	uint64_t magic;
	uint32_t layout;
	uint32_t shard_count;
	uint64_t store_bytes;
	uint32_t store_kind; /* enum swapfile_kind */
	uint32_t store_is_preallocated;
	uint32_t is_encrypted; /* what the store holds; the keys are parts of the VMs */
	uint32_t unused;
	struct digest_secret secret;
};
_Static_assert(sizeof(struct engine_header) == 40 + DIGEST_SECRET_BYTES, "no padding");

struct vm_header {
	uint64_t magic;
	uint32_t layout;
	uint32_t shard_count;
	uint64_t page_count; /* of the table */
	uint32_t stripe_chunks;
	/*
	 * Stored before the first range is registered, taken back after the last one is not: while
	 * it stands, a page may be out, and every range has to be registered.
	 */
	_Atomic uint32_t is_registered;
	uint64_t unused[4];
	struct copy_record copying[SHARDS_MAX];
};
_Static_assert(sizeof(struct vm_header) == 64 + SHARDS_MAX * 64, "no padding");

#endif
