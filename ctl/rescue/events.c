/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/rescue/events.h"

#include <string.h>
#include <time.h>

#include "engine/engine.h"
#include "io/uffd.h"
#include "queue/base/log.h"

#define PAUSE_NS 1000000
/* A thread whose message was read comes to its next one in microseconds, or once it has a CPU. */
#define QUIET_ROUNDS	 20u
#define DRAIN_ROUNDS_MAX 10000u

static void keep_child(
	struct rescue_events *events, const struct process_spec *process, uint32_t shard, int uffd)
{
	const struct engine_child child = {process->tag, shard, events->next_child++};
	int rc = 0;

	if (events->children.keep)
		rc = events->children.keep(events->children.context, &child, uffd);
	if (rc < 0)
		log_warning("a child of process %d waits for as long as this rescue only: %s",
			process->pid, strerror(-rc));
}

/* True when there was something. */
static bool take(struct rescue_events *events, const struct process_spec *process, uint32_t shard)
{
	struct uffd_message messages[UFFD_BATCH_MAX];
	struct uffd_inbox inbox;
	const int got = uffd_read(process->uffds[shard], &inbox, messages, UFFD_BATCH_MAX);

	for (int i = 0; i < got; i++)
		if (messages[i].kind == UFFD_FORKED)
			keep_child(events, process, shard, messages[i].fd);
	return got > 0;
}

static void pause_a_moment(void)
{
	const struct timespec pause = {.tv_nsec = PAUSE_NS};

	(void)nanosleep(&pause, NULL); /* @unfiltered clock_nanosleep */
}

void rescue_events_take(
	struct rescue_events *events, const struct process_spec *process, uint32_t shard)
{
	if (!take(events, process, shard))
		pause_a_moment();
}

void rescue_events_drain(struct rescue_events *events, const struct process_spec *processes,
	uint32_t process_count, uint32_t shard_count)
{
	uint32_t quiet = 0;

	for (uint32_t round = 0; round < DRAIN_ROUNDS_MAX && quiet < QUIET_ROUNDS; round++) {
		bool is_busy = false;

		for (uint32_t i = 0; i < process_count * shard_count; i++)
			is_busy |= take(events, &processes[i / shard_count], i % shard_count);
		quiet = is_busy ? 0 : quiet + 1;
		if (!is_busy)
			pause_a_moment();
	}
}
