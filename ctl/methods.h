/* SPDX-License-Identifier: Apache-2.0 */
/* The methods of the control protocol; what they take and answer is in README.md. */
#ifndef VMSWAP_CTL_METHODS_H
#define VMSWAP_CTL_METHODS_H

#include "ctl/job.h"

struct call;
struct manager;
struct record;

/* Looks the method up and runs it; a server_handler with a manager as context. */
void methods_handle(void *context, struct call *call);

/* Answers a call that waited for @job of @record, which has ended. */
void methods_answer(struct call *call, const struct record *record, const struct job *job);

#endif
