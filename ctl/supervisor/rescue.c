/* SPDX-License-Identifier: Apache-2.0 */
/* SIGUSR2: the program is started for a rescue (ctl/rescue), while nothing else is. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>

#include "ctl/config.h"
#include "ctl/notify.h"
#include "ctl/rescue/rescue.h"
#include "ctl/supervisor/state_dir.h"
#include "ctl/supervisor/supervisor_priv.h"
#include "queue/base/assert.h"
#include "queue/base/log.h"

/* For vmswapctl, in place of a report that there is not. @problem has no quotes. */
static void report(const struct supervisor *supervisor, const char *state, const char *problem)
{
	char text[256];
	int rc;

	(void)snprintf(text, sizeof(text), "{\"state\":\"%s\",\"problem\":\"%s\"}", state, problem);
	rc = state_dir_write(supervisor->config->state_dir, STATE_DIR_RESCUE, text);
	log_error("rescue: %s", problem);
	if (rc < 0)
		log_error("no %s: %s", STATE_DIR_RESCUE, strerror(-rc));
}

void supervisor_begin_rescue(struct supervisor *supervisor, const struct signalfd_siginfo *info)
{
	const uint32_t flags =
		info->ssi_code == SI_QUEUE ? (uint32_t)info->ssi_int & RESCUE_FLAGS : 0;
	int rc;

	static_assert(HANDOVER_RESCUE + RESCUE_FLAGS == HANDOVER_RESCUE_LAST, "all flags fit");

	if (supervisor->is_rescuing)
		return; /* whoever asks looks at the same report */
	if (!supervisor->is_waiting) {
		report(supervisor, "refused", "a worker serves the VMs");
		return;
	}
	rc = supervisor_launch(supervisor, (enum handover_mode)(HANDOVER_RESCUE + flags));
	if (rc < 0) {
		report(supervisor, "failed", strerror(-rc));
		return;
	}
	supervisor->is_waiting = false;
	supervisor->is_rescuing = true;
	(void)notify_send("STATUS=rescue: the memory of all VMs is brought back");
}

void supervisor_end_rescue(struct supervisor *supervisor, int status)
{
	ASSERT(supervisor->is_rescuing);
	supervisor->is_rescuing = false;
	supervisor->is_waiting = true;
	(void)notify_send("STATUS=a rescue ended: VMs are held and wait for an operator");
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		report(supervisor, "failed", "the rescue died; everything stays held");
}
