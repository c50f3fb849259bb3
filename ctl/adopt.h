/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A new worker takes over the VMs of the one that died. Their faults are served before anybody can
 * ask for anything: first adopt_open(), then the engine runs and adopt_resume(), then the manager.
 * Start-up only.
 */
#ifndef VMSWAP_CTL_ADOPT_H
#define VMSWAP_CTL_ADOPT_H

#include <stdint.h>

#include "engine/limits.h"

struct attachment;
struct engine;
struct keeper;

struct adopted {
	struct attachment *attachment[VMS_MAX];
	uint32_t count;
};

/* Every VM that is kept, with its tables made true again. @engine: a predecessor's. -errno. */
int adopt_open(struct keeper *keeper, struct engine *engine, struct adopted *ret_adopted);
/* Starts the shards and serves every process that lives. -errno: what is kept stays kept. */
int adopt_resume(struct engine *engine, struct adopted *adopted);

#endif
