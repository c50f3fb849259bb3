/* SPDX-License-Identifier: Apache-2.0 */
/* What top shows: a look at all VMs, and the lines made of two looks. */
#ifndef VMSWAP_TOOLS_VMSWAPCTL_TOP_VIEW_H
#define VMSWAP_TOOLS_VMSWAPCTL_TOP_VIEW_H

#include <stdint.h>

#include "tools/vmswapctl/verb.h"

/* One look. */
struct top_look {
	uint64_t time_ns;
	json_t *daemon;	  /* daemon.status; NULL: no look yet */
	json_t *statuses; /* vm.status by name of the VM */
};

enum status top_look_take(struct invocation *invocation, struct top_look *ret_look);
void top_look_done(struct top_look *look);

struct table;

/* One line about all; to be freed. */
char *top_summary(const struct top_look *look);
/* One row a VM, with rates since @before (which may be empty). To be freed. */
struct table *top_table(const struct top_look *before, const struct top_look *look);

#endif
