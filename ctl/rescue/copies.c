/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/rescue/copies.h"

#include <stdlib.h>
#include <string.h>

#include "ctl/inject.h"
#include "ctl/ledger.h"
#include "ctl/problem.h"
#include "ctl/remote.h"
#include "ctl/target.h"
#include "queue/base/assert.h"
#include "queue/base/log.h"

/* One thread: a list of its own. */
struct copies {
	struct copies *next;
	struct target target; /* borrows its descriptors */
	uint32_t count;
	int ours[SHARDS_MAX];
	int theirs[SHARDS_MAX];
};

static struct copies *noted;

void copies_note(const struct ledger_process *process, const struct ledger_fds *fds)
{
	struct copies *copies;

	ASSERT(process->remote_count <= SHARDS_MAX);
	if (process->remote_count == 0)
		return;
	copies = calloc(1, sizeof(*copies));
	if (!copies)
		return;
	copies->target =
		(struct target){.pid = process->pid, .pidfd = fds->pidfd, .uffd = fds->uffds[0]};
	memcpy(copies->target.comm, process->comm, sizeof(process->comm));
	copies->count = process->remote_count;
	memcpy(copies->ours, fds->uffds, sizeof(copies->ours));
	memcpy(copies->theirs, process->remote, sizeof(copies->theirs));
	copies->next = noted;
	noted = copies;
}

/* A number may lead to something else by now. */
static uint32_t keep_true(struct copies *copies)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < copies->count; i++)
		if (remote_is_copy(copies->target.pid, copies->theirs[i], copies->ours[i]))
			copies->theirs[kept++] = copies->theirs[i];
	return kept;
}

static void close_of(struct copies *copies)
{
	const struct target *target = &copies->target;
	struct injection *injection = NULL;
	struct problem problem;
	uint32_t count;
	int rc;

	if (!target_is_alive(target))
		return;
	rc = inject_begin(target, &injection, &problem);
	if (rc < 0) {
		log_warning("process %d (%s) keeps %u userfaultfds open, which do nothing: %s",
			(int)target->pid, target->comm, copies->count, problem.text);
		return;
	}
	count = keep_true(copies);
	inject_close(injection, copies->theirs, count);
	(void)inject_end(injection);
	log_info("process %d (%s): %u of our descriptors are closed there", (int)target->pid,
		target->comm, count);
}

void copies_close(void)
{
	while (noted) {
		struct copies *copies = noted;

		noted = copies->next;
		close_of(copies);
		free(copies);
	}
}
