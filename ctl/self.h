/* SPDX-License-Identifier: Apache-2.0 */
/* What the worker and the supervisor both do to themselves at their start. */
#ifndef VMSWAP_CTL_SELF_H
#define VMSWAP_CTL_SELF_H

#include <stdint.h>

/* Guest memory passes through here: no core, no debugger, no file that others can read. */
void self_harden(void);
/* Of a worker, or of what runs in its place: 32 processes on 64 shards, many VMs. */
#define SELF_WORKER_FILES 1048576u
/* As many open files, or as many as are allowed. */
void self_raise_files(uint32_t count);
/*
 * Locks what is mapped and will be mapped, once it is touched; says so when that fails. Neither is
 * reclaimed for the sake of what only we can free. Inherited by threads that start later.
 */
void self_stay_in_memory(void);
/* The last one to be killed when memory is short: nobody else can free what we hold. */
void self_spare_from_oom(void);
/* Standard input, output and errors go nowhere from now on. */
void self_leave_terminal(void);

#endif
