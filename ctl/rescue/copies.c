/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/rescue/copies.h"

#include <stdlib.h>
#include <string.h>

#include "ctl/inject.h"
#include "ctl/ledger.h"
#include "ctl/problem.h"
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

static void close_of(const struct copies *copies)
{
	const struct target *target = &copies->target;
	struct problem problem;
	int closed;

	if (!target_is_alive(target))
		return;
	closed = inject_close_copies(target, copies->theirs, copies->ours, copies->count, &problem);
	if (closed < 0)
		log_warning("process %d (%s) keeps %u userfaultfds open, which do nothing: %s",
			(int)target->pid, target->comm, copies->count, problem.text);
	else
		log_info("process %d (%s): %d of our descriptors are closed there",
			(int)target->pid, target->comm, closed);
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
