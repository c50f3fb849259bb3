/* SPDX-License-Identifier: Apache-2.0 */
/* Every bound of the engine, with its reason. All of it is allocated at start or at attach. */
#ifndef VMSWAP_ENGINE_LIMITS_H
#define VMSWAP_ENGINE_LIMITS_H

#define SHARDS_MAX  64u
#define REGIONS_MAX 64u
/* Processes of one VM: a VMM and its vhost-user back-ends. */
#define PROCESSES_MAX 32u
#define VMS_MAX	      256u
/* Descriptors one shard serves: one a process of every VM, and a child. */
#define SERVED_MAX 256u

/* Fault reads in flight a shard: the depth at which one disk queue is saturated (fio QD64). */
#define FAULT_READS_MAX 64u
/* Pages one fault read may bring: 64 KiB, the knee of the fault-around curve. */
#define FAULT_READ_PAGES 16u
/*
 * Reads in flight a shard beyond which replays bring nothing: depth enough for nine tenths of the
 * disk's throughput, and half of the buffers are left to faults.
 */
#define REPLAY_READS_MAX 32u
/* Pages a replay is ahead of the guest, 2 MiB: all reads under way while neighbours are read. */
#define REPLAY_PAGES_MAX (REPLAY_READS_MAX * FAULT_READ_PAGES)
/*
 * Pages one staged fault of a long stream maps: half the time a page that 16 take, and the stall of
 * the page that faults stays below 40 us (performance-floors.md 1).
 */
#define STREAM_PAGES_MAX 64u
_Static_assert(STREAM_PAGES_MAX >= FAULT_READ_PAGES, "a stream may read what it may map");
/* Faults that wait for a retry, a shard. One more is woken, so that it comes again. */
#define PARKED_MAX 1024u
/* Chunks a shard works on at the same time: depth 4 of 2 MiB writes saturates the disk. */
#define TASKS_MAX 8u
/*
 * Bulk read buffers a shard: 2 MiB reads are what the disk likes best, and while some are copied in
 * others are under way. A fault's read waits behind one of them at most.
 */
#define BULK_READS_MAX	8u
#define BULK_READ_PAGES 512u
/* Pages a chunk task classifies, copies in or settles in one turn of the shard: about 10 us. */
#define STEP_PAGES 16u
/* Pages of one write, at most: submitting these takes about 30 us. */
#define WRITE_PAGES 128u
/*
 * Buffers a shard for pages that are encrypted before they are written, of WRITE_PAGES each: what
 * four chunks at the disk take.
 */
#define SEALS_MAX 16u
/*
 * Gathered writes, and punches, that one task has in flight: a chunk in scattered pieces takes
 * several rounds, so that the ring never overflows.
 */
#define TASK_RUNS_MAX 128u
/* Operations in flight a shard. */
#define SHARD_RING_DEPTH 2048u
_Static_assert(TASKS_MAX *TASK_RUNS_MAX + FAULT_READS_MAX + BULK_READS_MAX + 2 <= SHARD_RING_DEPTH,
	"every read, write and punch has its place in the ring");
/* Commands a lane of the command queue holds, and commands one dispatch keeps in flight a shard. */
#define CMDQ_CAPACITY	   256u
#define DISPATCH_IN_FLIGHT 16u
/* A read is tried again this often before its page is poisoned. */
#define READ_TRIES_MAX 3u
/*
 * Single pages of a chunk that a swap-in finds unreadable before it takes the disk for gone, and no
 * longer looks within a run for pages that are not.
 */
#define UNREADABLE_MAX 8u

#endif
