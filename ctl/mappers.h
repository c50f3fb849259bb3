/* SPDX-License-Identifier: Apache-2.0 */
/* Processes that map a VM's memory and are not attached: every one is a way to lose a write. */
#ifndef VMSWAP_CTL_MAPPERS_H
#define VMSWAP_CTL_MAPPERS_H

#include <stdint.h>
#include <sys/types.h>

#include "ctl/area.h"
#include "ctl/maps.h"

struct attachment;
struct job_result;

/*
 * Those that map a file of @areas and are not among the @count @pids; malloc'ed, NULL when there is
 * none. -errno. Reads /proc of every process: 0.1 s on a large host.
 */
int mappers_foreign(const struct area_list *areas, const pid_t *pids, uint32_t count,
	struct mapper **ret_mappers, uint32_t *ret_count);

#define MAPPERS_TEXT_BYTES 300

/* "1234 (qemu-storage-da), 1240 (vhost-user-fs)", cut to the size. */
void mappers_text(const struct mapper *mappers, uint32_t count, char *ret_text, size_t size_bytes);

/*
 * 0 when every mapper is attached and maps the memory where it did; -EXDEV, reason "new-mapper",
 * and which in @result, or -errno and the problem there.
 */
int mappers_check(struct attachment *attachment, struct job_result *result);

#endif
