/* SPDX-License-Identifier: Apache-2.0 */
/*
 * userfaultfd: the calls of one descriptor, as values. Every descriptor is O_NONBLOCK (a blocking
 * one breaks poll and io_uring). The calls act on the address space the descriptor was made in,
 * whoever holds it; source buffers are the caller's.
 *
 * Resolving calls return 0, or -errno after @ret_done bytes (a multiple of the page size, written
 * always). The error is that of the first page not done, also where the kernel's own answer for a
 * partial result is EAGAIN whatever stopped it: -EAGAIN  an event of this descriptor is unread, or
 * page tables went away under a zap: park, retry -EEXIST  the first page not done is already there
 *   -EFAULT  CONTINUE met a hole in the page cache
 *   -ENOENT  the range is not registered any more;  -ESRCH  the process is gone
 *   -ENOSPC / -ENOMEM  no memory for the page
 * No call here blocks on I/O; all may be called from a shard thread by the owner of the descriptor.
 */
#ifndef VMSWAP_IO_UFFD_H
#define VMSWAP_IO_UFFD_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>

#include "queue/base/bits.h"

/* Features, bit values of our own; see uffd_features(). */
enum uffd_feature {
	UFFD_WP = 1u << 0,	      /* write protection on shmem, CONTINUE included (6.4) */
	UFFD_WP_ASYNC_MARK = 1u << 1, /* the kernel clears the mark on a write by itself (6.7) */
	UFFD_CAN_POISON = 1u << 2,    /* UFFDIO_POISON (6.6) */
	UFFD_EVENTS = 1u << 3,	      /* UNMAP, REMAP and FORK are reported */
	UFFD_EVENT_DISCARD = 1u << 4, /* REMOVE is reported: --trust-discard only */
};

enum uffd_kind {
	UFFD_FAULT_MISSING,
	UFFD_FAULT_MINOR,
	UFFD_FAULT_WP,
	UFFD_REMOVED,  /* [address, end) was given to MADV_REMOVE or MADV_DONTNEED */
	UFFD_UNMAPPED, /* [address, end) is unmapped */
	UFFD_MOVED,    /* [address, end) is now at moved_to */
	UFFD_FORKED,   /* the child's descriptor is fd, owned by the reader */
	UFFD_OTHER,    /* an event this version does not know */
};

struct uffd_message {
	enum uffd_kind kind;
	bool is_write; /* faults */
	int fd;	       /* UFFD_FORKED, else -1 */
	uint64_t address;
	uint64_t end;	   /* events */
	uint64_t moved_to; /* UFFD_MOVED */
};

#define UFFD_BATCH_MAX 64

/* A userfaultfd of the calling process, O_CLOEXEC | O_NONBLOCK, by /dev/userfaultfd or the call.
 * -errno. */
int uffd_open(void);
/*
 * Asks the running kernel, on a descriptor of our own: bits of enum uffd_feature, without those
 * that are masked (feature.h). -errno; -EOPNOTSUPP when it lacks MISSING or MINOR on shmem.
 */
int uffd_features(uint32_t *ret_features);
/*
 * The handshake, once a descriptor: MISSING and MINOR on shmem are required, @features must be a
 * subset of uffd_features(). -EINVAL: handshake already done or features unknown.
 */
int uffd_handshake(int fd, uint32_t features);

/* MISSING | MINOR, and WP with @with_wp. -EBUSY: another userfaultfd is there; -EOPNOTSUPP. */
int uffd_register(int fd, uint64_t address, uint64_t size_bytes, bool with_wp);
/* Wakes everyone who waits in the range. */
int uffd_unregister(int fd, uint64_t address, uint64_t size_bytes);

/*
 * Where messages are read to, as the kernel writes them. In shared memory, whoever sees the reader
 * die sees what it has read.
 */
struct uffd_inbox {
	uint64_t message[UFFD_BATCH_MAX][4];
};

/* Up to @max (≤ UFFD_BATCH_MAX) messages; 0 when none is there. -errno. */
int uffd_read(int fd, struct uffd_inbox *inbox, struct uffd_message *ret_messages, uint32_t max);
/* Of each fork in it the child's descriptor, or -1: UFFD_BATCH_MAX at most. How many there are. */
uint32_t uffd_inbox_children(const struct uffd_inbox *inbox, int *ret_fds);
/* From now on -1 for message @index, which is a fork. */
void uffd_inbox_forget_child(struct uffd_inbox *inbox, uint32_t index);

/*
 * One call as the kernel sees it. What it has done is written there before it ends, also when the
 * caller is killed meanwhile: in shared memory others find it.
 */
struct uffd_call {
	uint64_t word[5];
};

void uffd_call_clear(struct uffd_call *call);
/* Bytes from its address on. */
uint64_t uffd_call_done(const struct uffd_call *call);
/*
 * @source is page aligned. @with_wp arms the write mark on the new pages. Wakes. One call: -EAGAIN
 * after a part, whatever is in the way; uffd_call_done() says how far it came.
 */
int uffd_copy(int fd, struct uffd_call *call, uint64_t address, const void *source,
	uint64_t size_bytes, bool with_wp);
/* Maps what is in the page cache, one page. Wakes. */
int uffd_continue_page(int fd, struct uffd_call *call, uint64_t address, bool with_wp);
/* Maps what is in the page cache. Wakes. */
int uffd_continue(int fd, uint64_t address, uint64_t size_bytes, bool with_wp, uint64_t *ret_done);
int uffd_zero(int fd, uint64_t address, uint64_t size_bytes, uint64_t *ret_done);
/* The range raises SIGBUS (a machine check in a guest) when touched. Wakes. */
int uffd_poison(int fd, uint64_t address, uint64_t size_bytes, uint64_t *ret_done);
/* Removes write marks in the range. Wakes. */
int uffd_unprotect(int fd, uint64_t address, uint64_t size_bytes);
int uffd_wake(int fd, uint64_t address, uint64_t size_bytes);

/* The lowest address a call accepts (vm.mmap_min_addr's default); no guest memory lies there. */
#define UFFD_PROBE_ADDRESS 65536

/* The address space has gone that it was made in: the process has ended, or runs another program.
 */
static inline bool uffd_is_orphan(int fd)
{
	uint64_t done;

	/* -ENOENT from the living, as nothing is registered there; -ESRCH from the dead. */
	return uffd_zero(fd, UFFD_PROBE_ADDRESS, PAGE_BYTES, &done) == -ESRCH;
}

#endif
