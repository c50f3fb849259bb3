/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the daemon sees of the file systems: a mount name space of its own, in which it can write
 * where it has to and nowhere else.
 */
#ifndef VMSWAP_CTL_SUPERVISOR_VIEW_H
#define VMSWAP_CTL_SUPERVISOR_VIEW_H

struct config;

/*
 * For this process and those it starts. What cannot be made is told and left as it is. -errno when
 * what came of it cannot be worked in: then there is nothing to do but end.
 */
int view_make(const struct config *config);

#endif
