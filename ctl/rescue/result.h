/* SPDX-License-Identifier: Apache-2.0 */
/* What became of the pages of a VM in a rescue. */
#ifndef VMSWAP_CTL_RESCUE_RESULT_H
#define VMSWAP_CTL_RESCUE_RESULT_H

#include <stdint.h>

/* Runs of lost pages that are named. */
#define RESCUE_LOST_MAX 32u

/* Pages that follow each other, in a process as well. */
struct rescue_run {
	uint64_t page;
	uint64_t count;
	uint64_t address; /* in the first process that maps them; 0: none does */
};

struct rescue_result {
	uint64_t pages;	       /* came in */
	uint64_t lost_pages;   /* not what was written, or given up: errors in the guest */
	uint64_t unread_pages; /* the store does not give them: they stay out */
	uint64_t left_pages;   /* no memory for them: they stay out */
	int error;	       /* the last one of those that stay out */
	uint32_t lost_count;   /* of the first runs of lost pages */
	struct rescue_run lost[RESCUE_LOST_MAX];
};

/* One more page is lost; in ascending order. @address as in struct rescue_run. */
void rescue_result_lose(struct rescue_result *result, uint64_t page, uint64_t address);

#endif
