/* SPDX-License-Identifier: Apache-2.0 */
/* A predecessor's page table made true again: see adopt.c. Before any shard runs. */
#ifndef VMSWAP_ENGINE_ADOPT_H
#define VMSWAP_ENGINE_ADOPT_H

#include <stdint.h>

struct engine;
struct shard;

/*
 * Finds the slots in use and puts them in limbo, from which adopt_pages() takes those that pages
 * have. What is left there may still be written by the predecessor. -EBADMSG: the map is none.
 * Set-up threads.
 */
int adopt_slots(struct engine *engine);
/*
 * Of every VM in engine->adopted the pages of @shard: ends their moves that were half done, counts
 * them and takes their slots out of limbo. -EBADMSG: a table holds what no engine stored, or a page
 * has a slot that is not in use, another page's, or another shard's. Owner thread, which may block:
 * it does not serve yet.
 */
int adopt_pages(const struct shard *shard);
/* The first slot in limbo at or after @from, or SLOT_NONE. */
uint32_t adopt_next_limbo(const struct engine *engine, uint32_t from);

#endif
