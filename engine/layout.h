/* SPDX-License-Identifier: Apache-2.0 */
/* The version of everything that one worker leaves behind and the next one finds. */
#ifndef VMSWAP_ENGINE_LAYOUT_H
#define VMSWAP_ENGINE_LAYOUT_H

/*
 * Page tables, slot maps, records in the state directory, names of kept descriptors, the messages
 * of ctl/supervisor/handover.h: a change to any of them that an older or newer vmswapd would
 * misread adds one here. An upgrade between different numbers is refused.
 */
#define LAYOUT_VERSION 1u

#endif
