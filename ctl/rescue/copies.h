/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The copies of our userfaultfds that the processes of rescued VMs hold. Registered nowhere they do
 * no harm, but each is a descriptor of the VMM's, and the next daemon does not know them. They are
 * closed last of all, when no guest waits any more: for that calls are injected, and how long that
 * takes depends on the VMM. What cannot be closed stays.
 */
#ifndef VMSWAP_CTL_RESCUE_COPIES_H
#define VMSWAP_CTL_RESCUE_COPIES_H

#include <stdint.h>

struct ledger_fds;
struct ledger_process;

/* To be closed: those of @process. The descriptors of @fds stay open until we end. */
void copies_note(const struct ledger_process *process, const struct ledger_fds *fds);
/* Closes all that were noted. The injector has been started, or nothing is closed. */
void copies_close(void);

#endif
