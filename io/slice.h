/* SPDX-License-Identifier: Apache-2.0 */
/* How long the scheduler lets a thread run before it looks at the others. */
#ifndef VMSWAP_IO_SLICE_H
#define VMSWAP_IO_SLICE_H

/*
 * Gives the calling thread the shortest slices there are (0.1 ms; Linux 6.12, before that nothing
 * changes): woken by a fault it runs before threads with longer ones, and while it does bulk work
 * it does not keep the guest it has just served from the CPU for the 3 ms of an ordinary slice.
 */
void slice_shorten(void);

#endif
