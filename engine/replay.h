/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pages that came back in one order often come back in that order again, however random it is. So
 * the order of disk faults is recorded as links in the page table (page.h), and followed when the
 * faults follow it: the pages to come are read ahead, at depth.
 *
 *   link        A ──► F ──► C ──► X ──► B ──► K ──► D ──► M          the last order of faults
 *   a replay          seen ......... brought ..... tail   next      where a fault is expected
 *
 * A fault on `next`, or one that waits for a page being brought, moves `seen` up. No more pages
 * are brought beyond it than were confirmed before it, so at least half of all pages brought along
 * a replay are wanted, and nothing is brought before two faults in a row came as foretold: an order
 * that does not repeat costs nothing. A replay that is given up without having reached `next` has
 * misled: the link after `seen` goes.
 *
 * Recording: a fault is linked to the page before it. What was brought without a fault keeps its
 * links; while a replay is under way faults beside it are not woven into it, so that a stray touch
 * does not make its page look hot in all replays to come.
 *
 * Bounds: REPLAY_PAGES_MAX beyond `seen`, REPLAY_READS_MAX reads in flight. A chain never leaves
 * the stripes of its shard, as both ends of a link were served by it; one that leads round in
 * circles finds its pages in RAM.
 */
#ifndef VMSWAP_ENGINE_REPLAY_H
#define VMSWAP_ENGINE_REPLAY_H

#include <stdbool.h>
#include <stdint.h>

struct page_table;
struct shard;

/* Chains followed at the same time, a shard: vCPUs that run their own ways. */
#define REPLAYS_MAX 8u
#define REPLAY_NONE UINT64_MAX

struct replay {
	uint32_t id; /* never the same twice; 0: unused */
	uint32_t age;
	uint32_t brought;   /* pages up to tail since the replay began; may wrap, as confirmed */
	uint32_t confirmed; /* pages up to seen */
	uint64_t seen;	    /* the last page known to be touched */
	uint64_t tail;	    /* the last page brought */
	uint64_t next;	    /* the page after it that is swapped; REPLAY_NONE: the chain ends */
};

/* Of one VM and shard. A zeroed struct is fine. Owner thread only, as all calls are. */
struct replays {
	struct replay replay[REPLAYS_MAX];
	uint32_t clock;
	uint32_t last; /* index of the replay used last */
};

/* Neighbours on a chain that one read brings. */
struct replay_run {
	uint64_t page;
	uint32_t count;
	uint32_t id; /* of the replay */
	uint32_t at; /* its `brought` once the first page is */
};

/*
 * A disk fault on @page brings @count pages from it on, which are not SWAPPED any more: records the
 * order and finds the replay. True when it may go on.
 */
bool replay_fault(struct replays *replays, struct page_table *table, uint64_t page, uint32_t count);
/* A fault waits for @page, which was number @at of replay @id. True when it may go on. */
bool replay_seen(struct replays *replays, uint32_t id, uint32_t at, uint64_t page);
/* The run to be read next, of any replay. False when there is none. */
bool replay_next(
	struct replays *replays, const struct page_table *table, struct replay_run *ret_run);
/* Its read was started: its pages are not SWAPPED any more. */
void replay_brought(
	struct replays *replays, const struct page_table *table, const struct replay_run *run);
/* It cannot be read: the chain ends before it. */
void replay_cut(struct replays *replays, const struct replay_run *run);

#endif
