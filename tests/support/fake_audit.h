/* SPDX-License-Identifier: Apache-2.0 */
/* The model of the fake world, for tests that judge pages without touching them. */
#ifndef VMSWAP_TESTS_FAKE_AUDIT_H
#define VMSWAP_TESTS_FAKE_AUDIT_H

#include <stdbool.h>
#include <stdint.h>

/* Whether a guest may see @content (PAGE_BYTES) there; NULL: zeros. */
bool fake_is_right(int memfd, uint64_t page, const uint8_t *content);
/* Mapped by a process. */
bool fake_is_mapped(int memfd, uint64_t page);
/* Of the page cache, PAGE_BYTES. */
const uint8_t *fake_page_content(int memfd, uint64_t page);

#endif
