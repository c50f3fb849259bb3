/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a predecessor left, for fuzz_adopt: its parts as they would be found, of a state that makes
 * sense, and the memfds that each input changes them in. In a file of its own, for engine and ctl
 * both have a "command".
 */
#ifndef VMSWAP_TESTS_FUZZ_FOUND_H
#define VMSWAP_TESTS_FUZZ_FOUND_H

#include <stddef.h>
#include <stdint.h>

#include "queue/base/bits.h"

struct engine;
struct vm;

#define FOUND_GUEST_PAGES (CHUNK_PAGES + 24u)
#define FOUND_SHARDS	  2u

enum found_part {
	FOUND_SLOTS,
	FOUND_ENGINE,
	FOUND_WORDS,
	FOUND_DIGESTS,
	FOUND_CHUNKS,
	FOUND_VM,
	FOUND_KEY,
	FOUND_LEDGER,
	FOUND_PARTS,
};

struct found {
	int fd;
	size_t size_bytes;
	uint8_t *good;
};
extern struct found found[FOUND_PARTS];

/* A copy of what @fd holds. */
void found_keep(enum found_part part, int fd);
/* All but the ledger, of a VM whose memory is @guest_fd. */
void found_start(int guest_fd);
/* A successor's engine. 0 or -errno. */
int found_open(struct engine **ret_engine);
/* Its shards run. 0; or -errno, and the VM is gone. */
int found_resume(struct engine *engine, struct vm *vm);
/* The processes are there: whatever was found, the tables agree, and no slot is left at the end. */
void found_use(struct engine *engine, struct vm *vm);

#endif
