/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The helper thread of libvmswap: the daemon asks over a socket, it unmaps. It refuses what is not
 * within the regions that were handed over.
 */
#ifndef VMSWAP_CTL_CLIENT_VMSWAP_ZAP_H
#define VMSWAP_CTL_CLIENT_VMSWAP_ZAP_H

#include <stdbool.h>
#include <stdint.h>

/* One message of the SOCK_SEQPACKET channel each. */
struct zap_request {
	uint64_t id;
	uint64_t address;
	uint64_t size_bytes;
};

struct zap_reply {
	uint64_t id;
	int64_t result; /* 0 or -errno */
};

struct zap_range {
	uint64_t address;
	uint64_t size_bytes;
};

struct zap_thread;

/* Serves @channel, which it then owns. -errno. */
int zap_thread_start(int channel, const struct zap_range *ranges, uint32_t range_count,
	struct zap_thread **ret_thread);
/* Ends the thread and closes the channel. NULL is fine. */
void zap_thread_stop(struct zap_thread *thread);
/* False when the daemon has closed its end. */
bool zap_thread_is_connected(const struct zap_thread *thread);

#endif
