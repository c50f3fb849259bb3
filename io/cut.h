/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading guest memory that its VMM may truncate at any moment: a touch of the alias behind the end
 * of the file raises SIGBUS, in us. Between cut_watch() and cut_is_hit() it does not: the signal's
 * handler puts an empty page there, the access goes on, and what it saw is worth nothing, which
 * cut_is_hit() says after it has put the file's page back.
 *
 * So the file is never read or changed wrongly: what is discarded after a hit was never stored, and
 * what is written to the empty page goes with it.
 */
#ifndef VMSWAP_IO_CUT_H
#define VMSWAP_IO_CUT_H

#include <stdbool.h>
#include <stdint.h>

/* The process's handler of SIGBUS; a signal that nobody watches for kills as ever. Set-up. */
int cut_install(void);

/* The calling thread is about to touch the page of an alias that begins at @page. One at a time. */
void cut_watch(const uint8_t *page);
/*
 * It is done. True: there was no page, and what was read is nothing. @memfd, @offset: what the
 * alias maps there.
 */
bool cut_is_hit(int memfd, uint64_t offset);

#endif
