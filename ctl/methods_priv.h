/* SPDX-License-Identifier: Apache-2.0 */
/* The handlers behind the table in methods.c: each answers its call, now or through a waiter. */
#ifndef VMSWAP_CTL_METHODS_PRIV_H
#define VMSWAP_CTL_METHODS_PRIV_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "ctl/state.h"

struct call;
struct job;
struct manager;
struct record;
struct waiter;

void methods_daemon_ping(struct manager *manager, struct call *call);
void methods_daemon_status(struct manager *manager, struct call *call);
void methods_daemon_upgrade(struct manager *manager, struct call *call);
void methods_daemon_shutdown(struct manager *manager, struct call *call);
void methods_job_list(struct manager *manager, struct call *call);
void methods_job_cancel(struct manager *manager, struct call *call);
void methods_job_wait(struct manager *manager, struct call *call);
void methods_events_subscribe(struct manager *manager, struct call *call);
void methods_vm_list(struct manager *manager, struct call *call);
void methods_vm_status(struct manager *manager, struct call *call);
void methods_vm_enable(struct manager *manager, struct call *call);
void methods_vm_trim(struct manager *manager, struct call *call);
void methods_vm_swap_out(struct manager *manager, struct call *call);
void methods_vm_disable(struct manager *manager, struct call *call);
void methods_vm_add(struct manager *manager, struct call *call);
void methods_vm_remove(struct manager *manager, struct call *call);
void methods_vm_detach(struct manager *manager, struct call *call);
void methods_vm_scrub(struct manager *manager, struct call *call);
void methods_vm_wait(struct manager *manager, struct call *call);
void methods_attach(struct manager *manager, struct call *call);
void methods_attach_self(struct manager *manager, struct call *call);
void methods_debug_record_start(struct manager *manager, struct call *call);
void methods_debug_record_stop(struct manager *manager, struct call *call);

/* False with the call answered. */
bool methods_add_waiter(struct manager *manager, const struct waiter *waiter);
/* Of a timeout that may be left out: negative, or beyond the clock, is never. */
uint64_t methods_deadline(json_int_t timeout_ms);
/* The VM of that name, or NULL with the call answered. */
struct record *methods_find_vm(struct manager *manager, struct call *call, const char *name);
/* NULL with the call answered. */
struct job *methods_new_job(
	struct manager *manager, struct record *record, struct call *call, enum command command);
/* The call is answered when @job has ended. */
void methods_wait_for_command(
	struct manager *manager, struct call *call, const struct job *job, json_int_t timeout_ms);
/* Data of CALL_ILLEGAL_STATE. */
json_t *methods_state_json(const struct record *record, const struct call *call);

#endif
