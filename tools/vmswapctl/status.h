/* SPDX-License-Identifier: Apache-2.0 */
/* What the daemon says about itself, a VM and its VMs, for people. */
#ifndef VMSWAP_TOOLS_VMSWAPCTL_STATUS_H
#define VMSWAP_TOOLS_VMSWAPCTL_STATUS_H

#include <jansson.h>
#include <stdint.h>

struct table;

/* The results of daemon.status and vm.status. */
void status_print_daemon(const json_t *daemon);
void status_print_vm(const json_t *vm);
/* The result of vm.list, to be freed. */
struct table *status_list_table(const json_t *list);

/* Members by name; 0 and "" where the daemon did not say. */
uint64_t status_number(const json_t *object, const char *key);
const char *status_text(const json_t *object, const char *key);

/* "1,2,3" of an array of pids, or of objects with a pid; to be freed. */
char *status_pids(const json_t *array);

#endif
