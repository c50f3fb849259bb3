/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Why MISSING stays while pages are out: MADV_COLLAPSE (khugepaged's work) fills holes with zeros,
 * unless the range is registered MISSING, then it says EBUSY. And what WP costs: with it COLLAPSE
 * refuses (EINVAL), with MISSING and MINOR alone it works.
 */
#include "huge_folio.h"

int main(void)
{
	const struct huge_folio folio = huge_folio_new();
	const uint64_t address = (uintptr_t)folio.memory;
	const int uffd = uffd_open();

	need_features(UFFD_WP);
	CHECK(uffd_handshake(uffd, UFFD_WP) == 0);
	CHECK(uffd_register(uffd, address, CHUNK_BYTES, false) == 0);
	CHECK(collapse(&folio) == 0);
	punch_pages(&folio, 40, 8);

	CHECK(collapse(&folio) == -EBUSY);
	CHECK(!is_data(&folio, 40));
	CHECK(uffd_register(uffd, address, CHUNK_BYTES, true) == 0);
	CHECK(collapse(&folio) < 0);
	CHECK(!is_data(&folio, 40));
	CHECK(uffd_unregister(uffd, address, CHUNK_BYTES) == 0);
	CHECK(collapse(&folio) == 0);
	CHECK(is_data(&folio, 40));
	return 0;
}
