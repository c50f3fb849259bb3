/* SPDX-License-Identifier: Apache-2.0 */
/* What vmswap-run asks of the daemon. */
#ifndef VMSWAP_CTL_RUN_DAEMON_H
#define VMSWAP_CTL_RUN_DAEMON_H

#include <stdint.h>
#include <sys/types.h>

struct child;
struct rpc_client;

struct daemon_request {
	const char *name;   /* of the VM, or NULL: the daemon's choice */
	uint32_t wait_ms;   /* for the guest memory to appear */
	uint64_t min_bytes; /* smallest mapping that counts as guest memory */
};

/* Connects, and learns how many userfaultfds it wants. -errno after a message on stderr. */
int daemon_open(const char *socket, struct rpc_client **ret_client, uint32_t *ret_shards);
/*
 * Hands the child over, in the background: the daemon answers when the guest memory is there, and
 * what it answers goes to stderr when it is a refusal. Takes @client and the descriptors of @child.
 */
int daemon_attach(
	struct rpc_client *client, const struct child *child, const struct daemon_request *request);

#endif
