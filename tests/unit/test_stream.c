/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>

#include "engine/stream.h"
#include "engine/vm.h"

static struct vm_shard mine;

/* A fault on @page that brings what its stream wants: the window. */
static uint32_t fault(uint64_t page)
{
	struct stream *stream = stream_hit(&mine, page);
	const uint32_t window = stream->window;

	stream_advance(stream, page + window);
	return window;
}

Test(stream, a_first_fault_brings_one_page)
{
	cr_assert_eq(fault(100), 1);
}

Test(stream, a_scan_doubles_its_window_up_to_the_bound)
{
	uint64_t page = 100;
	uint32_t expected = 1;

	for (uint32_t i = 0; i < 8; i++) {
		const uint32_t window = fault(page);

		cr_assert_eq(window, expected);
		page += window;
		expected = MIN(2 * expected, STREAM_PAGES_MAX);
	}
}

Test(stream, a_plain_vm_brings_one_page_a_fault)
{
	mine.is_plain = true;
	for (uint64_t page = 100; page < 108; page++)
		cr_assert_eq(fault(page), 1);
}

Test(stream, faults_that_do_not_follow_each_other_stay_single)
{
	for (uint64_t i = 0; i < 1000; i++)
		cr_assert_eq(fault(i * 37 % 10007 * 2), 1);
}

Test(stream, streams_that_take_turns_are_kept_apart)
{
	uint64_t page[STREAMS_MAX];

	for (uint32_t i = 0; i < STREAMS_MAX; i++)
		page[i] = 10000 * (i + 1);
	for (uint32_t round = 0; round < 6; round++)
		for (uint32_t i = 0; i < STREAMS_MAX; i++)
			page[i] += fault(page[i]);

	for (uint32_t i = 0; i < STREAMS_MAX; i++)
		cr_assert_eq(fault(page[i]), STREAM_PAGES_MAX);
}

Test(stream, the_stream_longest_unused_makes_room)
{
	for (uint64_t i = 0; i < STREAMS_MAX; i++)
		(void)fault(10000 * (i + 1));
	cr_assert_eq(fault(10001), 2);

	(void)fault(900000);

	cr_assert_eq(fault(10003), 4);
	cr_assert_eq(fault(20001), 1);
}

Test(stream, the_clock_may_wrap)
{
	mine.stream_clock = UINT32_MAX - 9; /* wraps after the second fault below */
	for (uint64_t i = 0; i < STREAMS_MAX; i++)
		(void)fault(10000 * (i + 1));

	cr_assert_eq(fault(10001), 2);
	(void)fault(900000);
	cr_assert_eq(fault(10003), 4);
}
