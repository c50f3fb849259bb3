/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libvmswap: for VMMs that hand their guest memory to vmswapd themselves, instead of being attached
 * by pid. No ptrace is needed, and no privilege but that to make a userfaultfd that also serves
 * accesses by the kernel (CAP_SYS_PTRACE, access to /dev/userfaultfd, or
 * vm.unprivileged_userfaultfd=1) and to reach the daemon's socket.
 *
 *   struct vmswap_region memory = {.memfd = fd, .size_bytes = size, .address = address};
 *   struct vmswap_config config = {.name = "guest7", .regions = &memory, .region_count = 1};
 *   struct vmswap_error error;
 *   struct vmswap *vmswap;
 *
 *   if (vmswap_attach(&config, &vmswap, &error) < 0)
 *           fprintf(stderr, "no swapping: %s\n", error.text);
 *
 * What is asked of the VMM while it is attached:
 *  - guest memory stays mapped where it is, MAP_SHARED; every other process that maps it has to be
 *    attached too (`vmswapctl add`);
 *  - it does not fork() with guest memory mapped (use MADV_DONTFORK), nor write to the memfd with
 *    write(2); devices that hold long-term pins (vfio) cannot be used;
 *  - the descriptors the library opened stay open: they keep a missing page from reading as zeros
 * when the daemon dies. Accesses to pages that are out then wait for a new daemon.
 *
 * Threads: each function may be called by any thread, one at a time for one object; it blocks for
 * as long as the daemon needs, which for vmswap_detach() is until all memory is back. No function
 * is safe in a signal handler. The library starts one thread, with all signals blocked, which
 * unmaps ranges when the daemon asks (their content stays in the memfd). It never touches guest
 * memory.
 */
#ifndef VMSWAP_H
#define VMSWAP_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Regions of one VM. */
#define VMSWAP_REGIONS_MAX 64
#define VMSWAP_ERROR_BYTES 512

struct vmswap; /* opaque */

/* A run of guest memory: a part of a memfd, mapped MAP_SHARED. All page aligned. */
struct vmswap_region {
	int memfd; /* stays the caller's; may be closed after vmswap_attach() */
	uint64_t file_offset;
	uint64_t size_bytes;
	void *address;
};

/* Zero what you do not set. */
struct vmswap_config {
	const char *socket; /* NULL: /run/vmswapd.sock */
	const char *name;   /* of the VM; NULL: the daemon makes COMM-PID */
	const struct vmswap_region *regions;
	uint32_t region_count; /* 1…VMSWAP_REGIONS_MAX */
};

struct vmswap_error {
	int code;		       /* -errno, as returned */
	char text[VMSWAP_ERROR_BYTES]; /* a sentence for the operator */
};

/*
 * Hands the memory to the daemon. On success the VM is `ready` there and can be steered with
 * vmswapctl. On error nothing has changed in this process. 0, or: -EINVAL              regions that
 * overlap, are unaligned, empty or too many -ENOENT -ECONNREFUSED  no daemon at the socket -EPERM
 * -EACCES       no userfaultfd, or not let in by the daemon -EBUSY               another
 * userfaultfd is on the memory, or it is attached already -EREMOTEIO           the daemon refused;
 * the text says why -ETIMEDOUT -ECONNRESET -ENOMEM -EMFILE …
 * @ret_error may be NULL; it is filled on error only.
 */
int vmswap_attach(const struct vmswap_config *config, struct vmswap **ret_vmswap,
	struct vmswap_error *ret_error);

/*
 * Brings all memory back, gives the faults back to the kernel and frees @vmswap. When the daemon or
 * an operator has detached the VM already, only frees. On error @vmswap stays valid and the memory
 * served: -ENOTCONN  the daemon is gone with memory still out; call again once a new one runs
 *   -EREMOTEIO the daemon could not; the text says why
 */
int vmswap_detach(struct vmswap *vmswap, struct vmswap_error *ret_error);

/* The VM's name in the daemon. Valid until vmswap_detach(). */
const char *vmswap_name(const struct vmswap *vmswap);

/* 1: the daemon serves the memory; 0: it was detached from there, or the daemon is gone. */
int vmswap_is_attached(const struct vmswap *vmswap);

#ifdef __cplusplus
}
#endif

#endif
