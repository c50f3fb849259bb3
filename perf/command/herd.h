/* SPDX-License-Identifier: Apache-2.0 */
/* Several VMs on one daemon. Errors are -errno with a sentence in ->why. */
#ifndef VMSWAP_PERF_COMMAND_HERD_H
#define VMSWAP_PERF_COMMAND_HERD_H

#include <stdint.h>

#include "perf/client/client.h"

#define HERD_MAX 16u

struct bench;
struct daemon;

struct herd {
	struct daemon *daemon;
	uint32_t count;
	struct client *client[HERD_MAX];
	char why[256];
};

/* @count clients as @config says, attached as vm0…; @shards. Close also after an error. */
int herd_open(struct herd *herd, const struct bench *bench, uint32_t count, uint32_t shards,
	const struct client_config *config);
void herd_close(struct herd *herd);
/* @method of every VM at the same time; @ret_ns: until the last has ended, @ret_bytes in all. */
int herd_run(struct herd *herd, const char *method, uint64_t *ret_ns, uint64_t *ret_bytes);
/* Every page of every client dirty and in RAM. */
int herd_dirty(struct herd *herd);
/*
 * @threads in all touch @count random pages of each client; touches a second of all together.
 */
int herd_touch(
	struct herd *herd, uint32_t threads, uint64_t count, uint64_t seed, double *ret_rate);
/* Median time of vm.status, us. */
int herd_status(struct herd *herd, double *ret_us);
/* A number of VM 0's vm.status. */
int herd_number(struct herd *herd, const char *key, uint64_t *ret_number);

#endif
