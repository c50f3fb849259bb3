/* SPDX-License-Identifier: Apache-2.0 */
/* Starts a worker. */
#ifndef VMSWAP_CTL_SUPERVISOR_LAUNCH_H
#define VMSWAP_CTL_SUPERVISOR_LAUNCH_H

#include <sys/types.h>

#include "ctl/supervisor/handover.h"

/* Once, before the first launch(): the only step that allocates. */
void launch_prepare(void);
/*
 * A child for @mode that executes @program (an O_PATH descriptor) with @argv and one end of a
 * socket pair as its only descriptor besides the standard ones. Its pid, a pidfd, and our end,
 * which does not block; or -errno.
 */
pid_t launch(int program, char **argv, enum handover_mode mode, int *ret_pidfd, int *ret_socket);

#endif
