/* SPDX-License-Identifier: Apache-2.0 */
/* VMs as JSON, as README.md describes it. Control thread. */
#ifndef VMSWAP_CTL_STATUS_H
#define VMSWAP_CTL_STATUS_H

#include <jansson.h>
#include <stdint.h>

#include "ctl/job.h"

struct record;

json_t *status_json(const struct record *record, uint32_t shard_count);
/* The entry of vm.list. */
json_t *status_brief_json(const struct record *record);
/* The answer of vm.attach. */
json_t *status_attached_json(const struct record *record);

json_t *status_pids_json(const struct record *record);
/* [{"pid","comm"}…] of @count mappers. */
json_t *status_mappers_json(const struct mapper *mappers, uint32_t count);
const char *status_zap_name(const struct record *record);

#endif
