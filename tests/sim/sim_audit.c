/* SPDX-License-Identifier: Apache-2.0 */
/* What every page would give to whoever touches it. */
#include <string.h>

#include "engine/cipher.h"
#include "engine/content.h"
#include "tests/sim/sim.h"
#include "tests/support/fake_audit.h"

/* A page, and where the world has it. */
struct subject {
	const struct sim *sim;
	uint64_t page;
	page_word word;
	int memfd;
	uint64_t index; /* in the memfd */
};

static void expect(const struct subject *subject, bool is_right, const char *what)
{
	if (!is_right)
		fake_fail("LOSS: page %lu, %s, slot %u: %s", subject->page,
			page_state_name(page_state_of(subject->word)), page_slot_of(subject->word),
			what);
}

static void audit_cache(const struct subject *subject)
{
	const bool is_present = fake_is_present(subject->memfd, subject->index);

	expect(subject,
		fake_is_right(subject->memfd, subject->index,
			is_present ? fake_page_content(subject->memfd, subject->index) : NULL),
		is_present ? "the page cache holds something else"
			   : "the page cache holds nothing");
}

static void audit_slot(const struct subject *subject)
{
	const struct vm *vm = subject->sim->vm;
	const struct cipher_place place = {
		.page = subject->page,
		.slot = page_slot_of(subject->word),
		.digest = page_digest(&vm->table, subject->page),
	};
	uint8_t content[PAGE_BYTES];

	if (fake_slot_is_lost(place.slot))
		return;
	memcpy(content, fake_slot(place.slot), PAGE_BYTES);
	if (vm->engine->is_encrypted)
		cipher_decrypt_page(vm->shard[0].cipher, &place, content);
	expect(subject, content_digest(&vm->engine->secret, content) == place.digest,
		"the slot does not have that digest");
	expect(subject, fake_is_right(subject->memfd, subject->index, content),
		"the slot holds something else");
}

static void audit_page(const struct subject *subject)
{
	switch (page_state_of(subject->word)) {
	case PAGE_EMPTY:
	case PAGE_RESIDENT: audit_cache(subject); break;
	case PAGE_READING: audit_slot(subject); break; /* a read that a fault has begun since */
	case PAGE_SWAPPED:
		expect(subject, !fake_is_mapped(subject->memfd, subject->index), "it is mapped");
		audit_slot(subject);
		break;
	case PAGE_POISONED: break; /* sim_check_tables() asks whether that had to be */
	case PAGE_STAGED:
	case PAGE_WRITING:
	case PAGE_PUNCHING:
	case PAGE_STATES: expect(subject, false, "no successor leaves it so"); break;
	}
}

void sim_audit(const struct sim *sim)
{
	const struct vm *vm = sim->vm;

	for (uint32_t i = 0; i < vm->region_count; i++) {
		const struct region *region = &vm->region[i];

		for (uint64_t index = 0; index < region->size_bytes / PAGE_BYTES; index++) {
			const uint64_t page = (uint64_t)region->first_chunk * CHUNK_PAGES + index;
			const struct subject subject = {
				.sim = sim,
				.page = page,
				.word = page_load(&vm->table, page),
				.memfd = sim->memfd[i],
				.index = index,
			};

			audit_page(&subject);
		}
	}
}
