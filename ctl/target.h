/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A process that is to be attached: what it maps, whether it may be attached, its descriptors.
 * Everything that makes us refuse is found here, before anything in the target is changed.
 */
#ifndef VMSWAP_CTL_TARGET_H
#define VMSWAP_CTL_TARGET_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "ctl/maps.h"

struct problem;

struct target_options {
	uint64_t min_bytes; /* smallest mapping that counts as guest memory */
	bool allow_locked;
};

struct target {
	pid_t pid;
	int pidfd;
	int uffd;	     /* ours, of its address space; -1: none yet */
	uint64_t start_time; /* field 22 of /proc/PID/stat: a pid that is used again differs */
	uid_t uid;
	char comm[16];
	struct mapping_list memory;
};

/*
 * Opens the process and refuses with a problem: gone, own process, no shared guest memory (with the
 * QEMU/libvirt option that makes it shared), too small, hugetlbfs, locked, pinned (VmPin, vfio), a
 * userfaultfd already there, ptrace forbidden (Yama scope, capability), seccomp that cannot be
 * suspended. Nothing in the target changes.
 */
int target_open(pid_t pid, const struct target_options *options, struct target *ret_target,
	struct problem *problem);
void target_close(struct target *target);
/*
 * The same process as when it was opened, and alive; once it has a userfaultfd, with the same
 * address space as well: it runs no other program.
 */
bool target_is_alive(const struct target *target);

/* A descriptor of the file behind a mapping: /proc/PID/map_files, else pidfd_getfd. fd or -errno.
 */
int target_open_memory(const struct target *target, const struct mapping *mapping);
/* The same of one of @mappings that maps that file. -ENOENT: none does. */
int target_open_file(const struct target *target, const struct mapping_list *mappings, dev_t device,
	ino_t inode);
/* The same through a descriptor that it holds: it need not map the file. */
int target_open_unmapped(const struct target *target, dev_t device, ino_t inode);
/* True when a descriptor with O_DIRECT or an io_uring is open there: DMA into guest memory is
 * possible. */
bool target_may_do_dma(const struct target *target);

#endif
