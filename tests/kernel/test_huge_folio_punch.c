/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Why 2 MiB punches and SEEK_DATA after each: punching part of a huge folio that somebody holds a
 * reference on (a pipe here, an O_DIRECT write in real life) returns 0, zeroes in place, and the
 * page stays in the page cache. Without the reference it makes a hole, and a whole punch always
 * does.
 */
#include "huge_folio.h"

static void hold_page(const struct huge_folio *folio, int *pipes, uint32_t page)
{
	loff_t offset = (loff_t)(page * PAGE_BYTES);

	CHECK(pipe(pipes) == 0);
	CHECK(splice(folio->memfd, &offset, pipes[1], NULL, PAGE_BYTES, 0) > 0);
}

static void let_go(const int *pipes)
{
	CHECK(close(pipes[0]) == 0);
	CHECK(close(pipes[1]) == 0);
}

int main(void)
{
	const struct huge_folio folio = huge_folio_new();
	uint8_t byte = 0xff;
	int pipes[2];

	punch_pages(&folio, 4, 1);
	if (is_data(&folio, 4))
		skip("huge folios cannot be split here");
	memset(folio.memory, 'h', CHUNK_BYTES);
	CHECK(collapse(&folio) == 0);

	hold_page(&folio, pipes, 300);
	punch_pages(&folio, 8, 1);
	CHECK(is_data(&folio, 8));
	CHECK(pread(folio.memfd, &byte, 1, (off_t)(8 * PAGE_BYTES)) == 1);
	CHECK(byte == 0);
	let_go(pipes);
	punch_pages(&folio, 8, 1);
	CHECK(!is_data(&folio, 8));

	memset(folio.memory, 'h', CHUNK_BYTES);
	CHECK(collapse(&folio) == 0);
	hold_page(&folio, pipes, 300);
	punch_pages(&folio, 0, CHUNK_PAGES);
	CHECK(!is_data(&folio, 0));
	CHECK(!is_data(&folio, 300));
	let_go(pipes);
	return 0;
}
