/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recognising sequential faults. A fault on the page that a stream expects next doubles the
 * stream's window; any other fault begins a new stream with a window of one page, in place of the
 * one longest unused. So random faults bring one page (bringing neighbours would make cold pages
 * look hot), and a scan brings STREAM_PAGES_MAX with each fault after six; of pages that have to be
 * read no more than FAULT_READ_PAGES.
 */
#ifndef VMSWAP_ENGINE_STREAM_H
#define VMSWAP_ENGINE_STREAM_H

#include <stdint.h>

struct stream;
struct vm_shard;

/* The stream of a fault on @page; its window says how many pages are wanted. Owner thread. */
struct stream *stream_hit(struct vm_shard *mine, uint64_t page);
/* The fault brought the pages up to @next_page. Owner thread. */
void stream_advance(struct stream *stream, uint64_t next_page);

#endif
