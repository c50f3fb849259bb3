/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/adopt.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/attach.h"
#include "ctl/children.h"
#include "engine/engine.h"
#include "engine/spans.h"
#include "engine/successor.h"
#include "queue/base/assert.h"
#include "queue/base/err.h"
#include "queue/base/log.h"
#include "queue/base/probe.h"

static int adopt_vm(
	struct engine *engine, const struct ledger_found *found, struct attachment *ret_attachment)
{
	const struct ledger_vm *kept = ledger_vm(&found->entry);
	struct region_spec regions[REGIONS_MAX];
	const struct vm_config config = {
		.regions = regions,
		.region_count = kept->areas.count,
		.dwell_ms = kept->dwell_ms,
		.trust_discard = kept->trust_discard,
		.verify_clean = kept->verify_clean,
		.parts = found->parts,
	};

	ledger_regions(found, regions);
	ret_attachment->engine = engine;
	ret_attachment->areas = kept->areas;
	ret_attachment->options = kept->options;
	ret_attachment->zap = kept->zap;
	ret_attachment->dwell_ms = kept->dwell_ms;
	ret_attachment->ledger = found->entry;
	return vm_new(engine, &config, &ret_attachment->vm);
}

int adopt_open(struct keeper *keeper, struct engine *engine, struct adopted *ret_adopted)
{
	struct adopted adopted = {.count = 0};

	for (uint32_t number = 0; number < VMS_MAX; number++) {
		struct attachment *attachment;
		struct ledger_found found;
		int rc = ledger_find_vm(keeper, number, &found);

		if (rc == -ENOENT)
			continue;
		if (rc < 0) {
			log_error(
				"what is kept of VM %u cannot be used: %s", number, strerror(-rc));
			return rc;
		}
		attachment = calloc(1, sizeof(*attachment));
		rc = attachment ? adopt_vm(engine, &found, attachment) : -ENOMEM;
		if (rc < 0) {
			log_error("%s cannot be taken over: %s", ledger_vm(&found.entry)->name,
				strerror(-rc));
			return rc;
		}
		adopted.attachment[adopted.count++] = attachment;
		PROBE(adopt, tables);
	}
	*ret_adopted = adopted;
	return 0;
}

/* A member as attach left it. */
static void describe(const struct ledger_process *kept, struct member *member)
{
	memset(member, 0, sizeof(*member));
	member->target.pid = kept->pid;
	member->target.start_time = kept->start_time;
	member->target.uid = kept->uid;
	memcpy(member->target.comm, kept->comm, sizeof(member->target.comm));
	memcpy(member->address, kept->address, sizeof(member->address));
	memcpy(member->remote, kept->remote, sizeof(member->remote));
	member->remote_count = kept->remote_count;
	member->stopped_us = kept->stopped_us;
	member->target.uffd = -1;
}

/* What it moved or unmapped, for its predecessor or for nobody: the ledger does not follow that. */
static void find_runs(
	const struct member *member, const struct area_list *areas, struct process_spec *spec)
{
	static struct process_run runs[SPANS_MAX]; /* of the process that is adopted */
	const int rc = member_find_runs(member, areas, runs, &spec->run_count);

	if (rc > 0)
		spec->runs = runs;
	if (rc < 0)
		log_error("where process %d (%s) has its memory cannot be told: %s",
			(int)member->target.pid, member->target.comm, strerror(-rc));
}

static int adopt_process(struct attachment *attachment, uint32_t place)
{
	const struct ledger_vm *kept = ledger_vm(&attachment->ledger);
	struct member *member = &attachment->member[attachment->member_count];
	const uint32_t shards = engine_shard_count(attachment->engine);
	struct ledger_fds fds;
	struct process_spec spec = {
		.pid = kept->process[place].pid,
		.address = member->address,
		.uffds = fds.uffds,
		.tag = children_tag(attachment->ledger.number, place, kept->process[place].pid),
	};
	int rc;

	describe(&kept->process[place], member);
	member->place = place;
	member->is_kept = true;
	/* Of each, or of none: whoever wrote anything else was dying of it. */
	if (member->remote_count != 0 && member->remote_count != shards)
		return -EBADMSG;
	rc = ledger_find_process(&attachment->ledger, place, shards, &fds);
	if (rc < 0)
		return rc;
	member->target.pidfd = fds.pidfd;
	member->channel = fds.channel;
	spec.pidfd = member->target.pidfd;
	rc = member_hold(member, fds.uffds);
	if (rc < 0) {
		close_fds(fds.uffds, shards);
		member_close(member);
		return rc;
	}
	find_runs(member, &attachment->areas, &spec);
	rc = vm_process_adopt(attachment->vm, &spec, &member->process);
	if (rc < 0) {
		member_close(member);
		return rc;
	}
	member->is_joined = true;
	attachment->member_count++;
	PROBE(adopt, process);
	return 0;
}

/* Also of processes that have died: the manager is told of their end as of any other. */
static int adopt_processes(struct attachment *attachment)
{
	const struct ledger_vm *kept = ledger_vm(&attachment->ledger);
	int rc = 0;

	for (uint32_t place = 0; rc == 0 && place < PROCESSES_MAX; place++)
		if (kept->process[place].is_used)
			rc = adopt_process(attachment, place);
	if (rc == 0)
		rc = vm_resume(attachment->vm);
	if (rc == 0)
		children_adopt(attachment);
	return rc;
}

int adopt_resume(struct engine *engine, struct adopted *adopted)
{
	struct vm *vms[VMS_MAX];
	int rc;

	for (uint32_t i = 0; i < adopted->count; i++)
		vms[i] = adopted->attachment[i]->vm;
	rc = engine_resume(engine, vms, adopted->count);
	PROBE(adopt, shards);
	if (rc < 0)
		log_error("the shards cannot go on with what is kept: %s", strerror(-rc));
	for (uint32_t i = 0; rc == 0 && i < adopted->count; i++) {
		rc = adopt_processes(adopted->attachment[i]);
		if (rc < 0)
			log_error("the processes of %s cannot be served: %s",
				ledger_vm(&adopted->attachment[i]->ledger)->name, strerror(-rc));
	}
	return rc;
}
