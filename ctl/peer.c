/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/peer.h"

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "ctl/procfs.h"
#include "queue/base/assert.h"
#include "queue/base/err.h"

#ifndef SO_PEERPIDFD /* Linux 6.5 */
#define SO_PEERPIDFD 77
#endif

/* NGROUPS_MAX of the kernel. */
#define GROUPS_MAX	 65536u
#define ALL_CAPABILITIES UINT64_MAX

static const enum right all_rights = RIGHT_ANY | RIGHT_READ | RIGHT_SELF | RIGHT_ADMIN;

/* Supplementary groups; the primary one is in SO_PEERCRED. */
static bool has_group(int fd, gid_t group)
{
	CLEANUP_FREE gid_t *groups = calloc(GROUPS_MAX, sizeof(*groups));
	socklen_t size = GROUPS_MAX * sizeof(*groups);

	/* @control getsockopt */
	if (!groups || getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &size) < 0)
		return false;
	for (size_t i = 0; i < size / sizeof(*groups); i++) {
		if (groups[i] == group)
			return true;
	}
	return false;
}

static uint32_t rights_of(int fd, const struct ucred *cred, const struct peer_policy *policy)
{
	uint32_t rights = 0;

	if (cred->uid == 0 || cred->uid == geteuid()) /* @control geteuid */
		return all_rights;
	if (policy->group != PEER_NO_GROUP &&
		(cred->gid == policy->group || has_group(fd, policy->group)))
		rights |= RIGHT_ANY | RIGHT_READ;
	if (policy->allow_self_attach)
		rights |= RIGHT_ANY | RIGHT_SELF;
	return rights;
}

static bool has_ended(int pidfd)
{
	struct pollfd ended = {.fd = pidfd, .events = POLLIN};

	return poll(&ended, 1, 0) != 0; /* @control poll */
}

/*
 * Everybody has all capabilities in a user namespace of his own: only those of ours count. The
 * pidfd says that the pid was not given to another process before /proc was read. Where the kernel
 * has no such pidfd, or does not show the process, root is taken for root and nobody else is.
 */
static uint64_t capabilities_of(int fd, const struct ucred *cred)
{
	struct procfs_status status;
	CLEANUP_FD int pidfd = -1;
	socklen_t size = sizeof(pidfd);

	/* @control getsockopt */
	if (cred->pid <= 0 || getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &size) < 0)
		return cred->uid == 0 ? ALL_CAPABILITIES : 0;
	if (procfs_status(cred->pid, 0, &status) < 0 || !procfs_shares_user_ns(cred->pid))
		return 0;
	return has_ended(pidfd) ? 0 : status.capabilities;
}

int peer_read(int fd, const struct peer_policy *policy, struct peer *ret_peer)
{
	ASSERT(fd >= 0);
	ASSERT(policy != NULL);
	struct ucred cred;
	socklen_t size = sizeof(cred);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &size) < 0) /* @control getsockopt */
		return -errno;
	*ret_peer = (struct peer){
		.pid = cred.pid,
		.uid = cred.uid,
		.gid = cred.gid,
		.rights = rights_of(fd, &cred, policy),
	};
	if (ret_peer->rights != 0)
		ret_peer->capabilities = capabilities_of(fd, &cred);
	return 0;
}

bool peer_may(const struct peer *peer, enum right right)
{
	ASSERT(right != 0);
	return (peer->rights & (uint32_t)right) != 0;
}

const char *peer_role(const struct peer *peer)
{
	if (peer_may(peer, RIGHT_ADMIN))
		return "admin";
	if (peer_may(peer, RIGHT_READ))
		return "reader";
	return peer_may(peer, RIGHT_SELF) ? "owner" : "stranger";
}

mode_t peer_socket_mode(const struct peer_policy *policy)
{
	if (policy->allow_self_attach)
		return 0666;
	return policy->group == PEER_NO_GROUP ? 0600 : 0660;
}
