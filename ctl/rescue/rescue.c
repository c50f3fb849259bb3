/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/rescue/rescue.h"

#include <inttypes.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "ctl/children.h"
#include "ctl/config.h"
#include "ctl/confine.h"
#include "ctl/injector.h"
#include "ctl/keeper.h"
#include "ctl/ledger.h"
#include "ctl/problem.h"
#include "ctl/rescue/copies.h"
#include "ctl/rescue/events.h"
#include "ctl/rescue/report.h"
#include "ctl/rescue/rescue_vm.h"
#include "ctl/rescue/result.h"
#include "ctl/room.h"
#include "ctl/self.h"
#include "ctl/state_files.h"
#include "engine/successor.h"
#include "io/feature.h"
#include "io/uffd.h"
#include "queue/base/assert.h"
#include "queue/base/err.h"
#include "queue/base/log.h"

/* One run, over all VMs. */
struct rescue {
	const struct config *config;
	struct keeper *keeper;
	struct report *report;
	uint32_t flags;
	int engine_parts[ENGINE_PARTS];
	uint32_t held; /* VMs */
};

/* The processes of a VM that live, as their addresses and descriptors lie in the ledger. */
struct living {
	const struct ledger_process *kept[PROCESSES_MAX];
	struct process_spec process[PROCESSES_MAX];
	struct ledger_fds fds[PROCESSES_MAX];
	uint32_t count;
};

static bool is_alive(int pidfd)
{
	struct pollfd entry = {.fd = pidfd, .events = POLLIN};

	return poll(&entry, 1, 0) == 0; /* @unfiltered poll */
}

/* Descriptors that it opens stay open until we end. */
static int find_living(
	const struct rescue *rescue, const struct ledger_entry *entry, struct living *living)
{
	const struct ledger_vm *kept = ledger_vm(entry);

	living->count = 0;
	for (uint32_t place = 0; place < PROCESSES_MAX; place++) {
		struct ledger_fds *fds = &living->fds[living->count];
		int rc;

		if (!kept->process[place].is_used)
			continue;
		rc = ledger_find_process(entry, place, rescue->config->shard_count, fds);
		if (rc < 0)
			return rc;
		if (!is_alive(fds->pidfd))
			continue;
		living->kept[living->count] = &kept->process[place];
		living->process[living->count++] = (struct process_spec){
			.pid = kept->process[place].pid,
			.tag = children_tag(entry->number, place, kept->process[place].pid),
			.pidfd = fds->pidfd,
			.address = kept->process[place].address,
			.uffds = fds->uffds,
		};
	}
	return 0;
}

static int open_vm(const struct rescue *rescue, const struct ledger_found *found,
	const struct living *living, struct rescue_vm **ret_vm)
{
	const struct area_list *areas = &ledger_vm(&found->entry)->areas;
	static struct region_spec regions[REGIONS_MAX]; /* of the VM that is open */
	static struct rescue_events events;
	const struct rescue_vm_config config = {
		.engine_parts = rescue->engine_parts,
		.vm_parts = found->parts,
		.shard_count = rescue->config->shard_count,
		.regions = regions,
		.region_count = areas->count,
		.processes = living->process,
		.process_count = living->count,
		.events = &events,
		.poisons_unread = (rescue->flags & RESCUE_POISON) != 0,
	};

	ledger_regions(found, regions);
	events = (struct rescue_events){
		.children = children_home(rescue->keeper),
		.next_child = children_next_number(&found->entry),
	};
	return rescue_vm_open(&config, ret_vm);
}

/* Brings in all that can be. */
static void bring_in(struct rescue *rescue, struct rescue_vm *vm, struct rescue_result *result)
{
	for (uint32_t chunk = 0; rescue_vm_next_chunk(vm, chunk, &chunk) == 0; chunk++) {
		rescue_vm_chunk(vm, chunk, result);
		report_progress(rescue->report, result);
	}
}

static int refuse_poison(struct problem *problem)
{
	return problem_set(problem, -EOPNOTSUPP, "no-poison",
		"pages are lost, and this kernel cannot tell the guest so: they would read as "
		"zeros");
}

static int explain_release(int rc, const struct rescue_result *result, struct problem *problem)
{
	if (rc == -EOPNOTSUPP)
		return refuse_poison(problem);
	return problem_set(problem, rc, "pages-out",
		"%" PRIu64 " pages cannot be read from the store and %" PRIu64
		" find no memory: %s; run rescue again, or SIGUSR1 to the supervisor%s",
		result->unread_pages, result->left_pages, strerror(-result->error),
		result->unread_pages > 0 ? "; rescue --poison-unreadable gives up the former" : "");
}

static bool can_poison(void)
{
	uint32_t features = 0;

	return uffd_features(&features) == 0 && (features & UFFD_CAN_POISON);
}

static int rescue_pages(struct rescue *rescue, struct rescue_vm *vm, pid_t pid,
	struct rescue_result *result, struct problem *problem)
{
	const uint64_t bytes = rescue_vm_pages_out(vm) * PAGE_BYTES;
	const bool is_forced = (rescue->flags & RESCUE_FORCED) != 0;
	int rc = is_forced ? 0 : room_check(pid, bytes, problem);

	/* What is given up is not asked for again: not before it is sure that the guest is told. */
	if (rc == 0 && (rescue->flags & RESCUE_POISON) && !can_poison())
		rc = refuse_poison(problem);
	if (rc < 0)
		return rc;
	bring_in(rescue, vm, result);
	rc = rescue_vm_release(vm);
	return rc < 0 ? explain_release(rc, result, problem) : 0;
}

/* 0: the VM is let go, or gone. */
static int rescue_one(struct rescue *rescue, const struct ledger_found *found,
	struct rescue_result *result, const char **ret_state, struct problem *problem)
{
	static struct living living; /* large */
	struct rescue_vm *vm = NULL;
	int rc = find_living(rescue, &found->entry, &living);

	if (rc == 0 && living.count == 0) {
		*ret_state = "gone";
		report_begin_vm(rescue->report, ledger_vm(&found->entry)->name, 0);
		return 0;
	}
	if (rc == 0)
		rc = open_vm(rescue, found, &living, &vm);
	report_begin_vm(rescue->report, ledger_vm(&found->entry)->name,
		rc == 0 ? rescue_vm_pages_out(vm) : 0);
	if (rc < 0)
		return problem_set(problem, rc, "tables", "what is kept of it cannot be used: %s",
			strerror(-rc));
	ASSERT(vm != NULL);
	*ret_state = "rescued";
	rc = rescue_pages(rescue, vm, living.process[0].pid, result, problem);
	for (uint32_t i = 0; rc == 0 && i < living.count; i++)
		copies_note(living.kept[i], &living.fds[i]);
	report_progress(rescue->report, result);
	rescue_vm_close(vm);
	return rc;
}

static void log_lost(const char *name, const struct rescue_result *result)
{
	for (uint32_t i = 0; i < result->lost_count; i++) {
		const struct rescue_run *run = &result->lost[i];

		log_error("%s: %" PRIu64 " pages from %" PRIu64 " on (0x%" PRIx64
			  ") are lost: touching one is a machine check",
			name, run->count, run->page, run->address);
	}
}

static void rescue_found(struct rescue *rescue, struct ledger_found *found)
{
	const char *name = ledger_vm(&found->entry)->name;
	struct rescue_result result = {0};
	struct problem problem;
	const char *state = "held";
	const int rc = rescue_one(rescue, found, &result, &state, &problem);

	log_lost(name, &result);
	if (rc < 0) {
		rescue->held++;
		log_error("%s stays held: %s", name, problem.text);
		report_end_vm(rescue->report, "held", problem.text);
		return;
	}
	log_info("%s is %s: %" PRIu64 " pages came back, %" PRIu64 " are lost", name, state,
		result.pages, result.lost_pages);
	report_end_vm(rescue->report, state, NULL);
	ledger_give(&found->entry);
}

static void rescue_all(struct rescue *rescue)
{
	for (uint32_t number = 0; number < VMS_MAX; number++) {
		static struct ledger_found found; /* large */
		char name[32];
		const int rc = ledger_find_vm(rescue->keeper, number, &found);

		if (rc == 0) {
			rescue_found(rescue, &found);
			continue;
		}
		if (rc == -ENOENT)
			continue;
		(void)snprintf(name, sizeof(name), "number %u", number);
		rescue->held++;
		log_error("what is kept of VM %s cannot be used: %s", name, strerror(-rc));
		report_begin_vm(rescue->report, name, 0);
		report_end_vm(rescue->report, "held", strerror(-rc));
	}
}

/* First of all, as in a worker; nothing but copies_close() depends on it. */
static void start_injector(void)
{
	struct problem problem;

	if (injector_start(&problem) < 0)
		log_warning("%s: VMMs keep their copies of our userfaultfds", problem.text);
}

/* Not before: a CPU that it takes to lock its memory would be the guests'. */
static void await_injector(void)
{
	struct problem problem;

	if (injector_await(&problem) < 0)
		log_warning("%s: VMMs keep their copies of our userfaultfds", problem.text);
}

static int prepare(struct rescue *rescue, int supervisor_fd)
{
	static struct state_files files;
	int rc;

	self_harden();
	start_injector();
	self_raise_files(SELF_WORKER_FILES);
	self_stay_in_memory();
	/* Names in the state directory and keys go with the VMs that are let go. */
	if (state_files_open_as_worker(rescue->config->state_dir, &files) == 0)
		ledger_set_files(&files);
	rc = keeper_open(supervisor_fd, &rescue->keeper);
	if (rc == 0)
		rc = confine_process();
	if (rc == 0)
		rc = confine_worker();
	if (rc < 0)
		log_error("rescue cannot begin: %s", strerror(-rc));
	return rc;
}

int rescue_run(const struct config *config, int supervisor_fd, uint32_t flags)
{
	static struct rescue rescue;
	int rc;

	rescue.config = config;
	rescue.flags = flags;
	rescue.report = report_new(config->state_dir);
	feature_disable(config->disabled_features);
	if (!rescue.report)
		return EXIT_FAILURE;
	rc = prepare(&rescue, supervisor_fd);
	if (rc < 0) {
		report_end(rescue.report, "failed", strerror(-rc));
		return EXIT_SUCCESS;
	}
	if (!ledger_find_engine(rescue.keeper, rescue.engine_parts)) {
		report_end(rescue.report, "failed", "the supervisor does not hold the store");
		return EXIT_SUCCESS;
	}
	log_info("rescue: bringing the memory of all VMs back");
	rescue_all(&rescue);
	await_injector();
	copies_close();
	injector_stop();
	if (rescue.held > 0) {
		report_end(rescue.report, "failed", "some VMs stay held");
		return EXIT_SUCCESS;
	}
	/* Nobody answers there any more, and nobody shall wait. */
	(void)unlink(config->socket_path); /* @unfiltered unlink */
	report_end(rescue.report, "done", NULL);
	keeper_bye(rescue.keeper);
	log_info("rescue: all VMs are let go, the daemon ends");
	return EXIT_SUCCESS;
}
