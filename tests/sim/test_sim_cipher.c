/* SPDX-License-Identifier: Apache-2.0 */
/* What the disk gets to hold when VMs are encrypted. */
#include <criterion/criterion.h>
#include <string.h>

#include "tests/sim/sim.h"

#define PAGES 200u

static struct sim sim;
static uint8_t plain[PAGES][PAGE_BYTES];

static void open_out(bool is_encrypted)
{
	struct sim_config config = sim_defaults(3);

	config.threads = 0;
	config.pages[0] = CHUNK_PAGES;
	config.is_encrypted = is_encrypted;
	sim_open(&config, &sim);
	sim_write(&sim, PAGES);
	for (uint32_t i = 0; i < PAGES; i++)
		memcpy(plain[i], vm_alias(sim.vm, i), PAGE_BYTES);
	(void)sim_out(&sim);
	cr_assert_eq(sim_pages(&sim).state[PAGE_SWAPPED], PAGES);
}

/* Pages of which a block of the plain text stands where it stood. */
static uint32_t count_plain(void)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < PAGES; i++) {
		const uint8_t *stored = fake_slot(sim_slot(&sim, i));
		bool is_plain = false;

		for (uint32_t at = 0; at < PAGE_BYTES; at += 16)
			is_plain |= memcmp(stored + at, plain[i] + at, 16) == 0;
		count += is_plain;
	}
	return count;
}

Test(sim_cipher, without_encryption_the_disk_holds_the_content)
{
	open_out(false);
	cr_assert_eq(count_plain(), PAGES);
	sim_close(&sim);
}

Test(sim_cipher, with_encryption_it_holds_none_of_it_and_everything_comes_back)
{
	open_out(true);
	cr_assert_eq(count_plain(), 0);

	for (uint64_t page = 0; page < PAGES; page += 3)
		cr_assert(sim_touch(&sim, 0, page, page % 2 == 0));
	sim_close(&sim);
}

Test(sim_cipher, a_slot_that_went_bad_costs_its_page_alone)
{
	open_out(true);
	fake_rot(sim_slot(&sim, 33));

	for (uint64_t page = 30; page < 40; page++)
		cr_assert_eq(sim_touch(&sim, 0, page, false), page != 33);

	cr_assert_eq(fake_poisoned(), 1);
	sim_close(&sim);
}

/* More writes than there are buffers: every second page is in the way of long runs. */
Test(sim_cipher, writes_wait_for_their_turn_at_the_buffers)
{
	struct sim_config config = sim_defaults(4);

	config.threads = 3;
	config.pages[0] = 12 * CHUNK_PAGES;
	config.is_encrypted = true;
	config.world.delay = 60;
	sim_open(&config, &sim);
	for (uint32_t cycle = 0; cycle < 4; cycle++) {
		sim_write(&sim, 12 * CHUNK_PAGES);
		(void)sim_out(&sim);
	}

	cr_assert_eq(sim.engine->shard[0].seals.free_count, SEALS_MAX);
	sim_read_all(&sim);
	sim_close(&sim);
}
