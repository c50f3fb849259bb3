/* SPDX-License-Identifier: Apache-2.0 */
/* daemon.upgrade: another program is asked whether it fits, then the supervisor kills us for it. */
#include <errno.h>
#include <string.h>

#include "ctl/call.h"
#include "ctl/keeper.h"
#include "ctl/manager_priv.h"
#include "ctl/upgrade.h"
#include "queue/base/assert.h"
#include "queue/base/log.h"
#include "queue/base/probe.h"

static void refuse(struct call *call, const struct problem *problem)
{
	call_fail(call, CALL_FAILED,
		json_pack("{s:i, s:s}", "errno", -problem->error, "reason", problem->reason), "%s",
		problem->text);
}

void manager_begin_upgrade(struct manager *manager, struct call *call, const char *path)
{
	struct problem problem;
	struct keeper_info info;
	int rc;

	keeper_info(manager->keeper, &info);
	if (info.supervisor_pid == 0)
		rc = problem_set(&problem, -ENOTCONN, "no-supervisor",
			"this daemon has no supervisor that could replace it");
	else if (manager->upgrade || manager->is_ending)
		rc = problem_set(&problem, -EBUSY, "busy", "%s",
			manager->is_ending ? "the daemon ends" : "another upgrade is under way");
	else
		rc = upgrade_begin(path, &manager->upgrade, &problem);
	if (rc < 0) {
		refuse(call, &problem);
		return;
	}
	manager->upgrade_call = call;
	PROBE(upgrade, asked);
	rc = manager_watch(manager, upgrade_fd(manager->upgrade));
	if (rc < 0) {
		(void)problem_set(&problem, rc, "no-memory", "%s", strerror(-rc));
		manager_end_upgrade(manager, &problem);
	}
}

void manager_take_upgrade(struct manager *manager)
{
	struct problem problem;
	int rc = upgrade_step(manager->upgrade, &problem);

	if (rc == 0)
		return;
	if (rc > 0) {
		log_info("the supervisor replaces this process by another program");
		PROBE(upgrade, judged);
		rc = keeper_upgrade(manager->keeper, upgrade_program(manager->upgrade));
		if (rc == 0) { /* we are being killed: the end of its connection is the answer */
			manager_unwatch(manager, upgrade_fd(manager->upgrade));
			return;
		}
		(void)problem_set(&problem, rc, "no-supervisor",
			"the supervisor does not replace this process: %s", strerror(-rc));
	}
	manager_end_upgrade(manager, &problem);
}

void manager_end_upgrade(struct manager *manager, const struct problem *problem)
{
	struct call *call = manager->upgrade_call;

	if (!manager->upgrade)
		return;
	ASSERT(call != NULL);
	manager_unwatch(manager, upgrade_fd(manager->upgrade));
	upgrade_free(manager->upgrade);
	manager->upgrade = NULL;
	manager->upgrade_call = NULL;
	refuse(call, problem);
}
