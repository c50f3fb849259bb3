/* SPDX-License-Identifier: Apache-2.0 */
/* Operations for debugging: the faults of a VM are recorded and written to a file. */
#ifndef VMSWAP_CTL_DEBUG_H
#define VMSWAP_CTL_DEBUG_H

struct attachment;
struct job;

/* Reasons of problems that are about the VM's state. */
#define DEBUG_IS_RECORDED     "is-recorded"
#define DEBUG_IS_NOT_RECORDED "is-not-recorded"

/* Worker of the VM; both may block. 0, or -errno with job->result.problem. */
int debug_record_start(struct attachment *attachment, struct job *job);
/* The recording goes on when the file cannot be created, and is lost when it cannot be written. */
int debug_record_stop(struct attachment *attachment, struct job *job);

#endif
