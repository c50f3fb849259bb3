/* SPDX-License-Identifier: Apache-2.0 */
/* Where a syscall instruction lies in another process. */
#ifndef VMSWAP_CTL_SYSCALL_INSN_H
#define VMSWAP_CTL_SYSCALL_INSN_H

#include <stdint.h>
#include <sys/types.h>

struct problem;
struct user_regs_struct;

/* @registers: of one of its threads, stopped. -ENOEXEC: there is none. */
int syscall_insn_find(pid_t pid, const struct user_regs_struct *registers, uint64_t *ret_address,
	struct problem *problem);

#endif
