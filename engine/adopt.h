/* SPDX-License-Identifier: Apache-2.0 */
/* A predecessor's page table made true again: see adopt.c. Before any shard runs. */
#ifndef VMSWAP_ENGINE_ADOPT_H
#define VMSWAP_ENGINE_ADOPT_H

#include <stdint.h>

struct engine;
struct vm;

/* Ends every move of @vm that was half done. -EBADMSG: the table holds what no engine stored. */
int adopt_reconcile(struct vm *vm);
/*
 * Finds the slots in use that no page of @vms, which are all, has: engine->limbo. -EBADMSG: two
 * pages have one slot, or a page has one that is not in use.
 */
int adopt_slots(struct engine *engine, struct vm *const *vms, uint32_t count);

#endif
