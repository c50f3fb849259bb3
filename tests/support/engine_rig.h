/* SPDX-License-Identifier: Apache-2.0 */
/* An engine, a guest and a VM of it, put together as control does it, for tests on the real kernel.
 */
#ifndef VMSWAP_TESTS_ENGINE_RIG_H
#define VMSWAP_TESTS_ENGINE_RIG_H

#include <stdio.h>
#include <stdlib.h>

#include "engine/engine.h"
#include "tests/support/test_guest.h"
#include "tests/support/check.h"

struct rig_config {
	uint32_t shards;
	uint32_t dwell_ms;
	uint64_t store_bytes; /* 0: twice the guest */
	bool trusts_clean;    /* no digest check of pages marked clean */
	bool uses_digests;    /* no marks handed to settle */
	bool trusts_discard;
	struct test_guest_config guest;
};

struct rig {
	struct engine *engine;
	struct vm *vm;
	struct test_guest guest;
	uint32_t process;
	bool uses_digests;
};

void rig_start(const struct rig_config *config, struct rig *ret_rig);
/* stage, zap, scan, settle, in pieces of 32 chunks. Returns the pages staged. */
uint64_t rig_enable(struct rig *rig);
void rig_dispatch(struct rig *rig, enum chunk_op op, struct dispatch_result *ret_result);
/* Everything back and unregistered. */
void rig_disable(struct rig *rig);
struct vm_stats rig_stats(const struct rig *rig);
/* Disables, detaches, verifies every page in the guest: exits 1 when one is bad. */
void rig_stop(struct rig *rig);
/* The same when the guest's process is dead already, or its pages need not be right. */
void rig_abandon(struct rig *rig);

#endif
