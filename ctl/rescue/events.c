/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/rescue/events.h"

#include <string.h>
#include <time.h>

#include "engine/engine.h"
#include "io/uffd.h"
#include "queue/base/log.h"

#define PAUSE_NS 1000000

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

void rescue_events_take(
	struct rescue_events *events, const struct process_spec *process, uint32_t shard)
{
	const struct timespec pause = {.tv_nsec = PAUSE_NS};
	struct uffd_message messages[UFFD_BATCH_MAX];
	struct uffd_inbox inbox;
	const int got = uffd_read(process->uffds[shard], &inbox, messages, UFFD_BATCH_MAX);

	if (got <= 0)
		(void)nanosleep(&pause, NULL); /* @unfiltered clock_nanosleep */
	for (int i = 0; i < got; i++)
		if (messages[i].kind == UFFD_FORKED)
			keep_child(events, process, shard, messages[i].fd);
}
