/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who is at the other end of a connection, as the kernel knows it, and what it may do.
 *
 *   role     who                                                   rights
 *   admin    root and the user of the daemon                       all
 *   reader   members of --group                                    any, read
 *   owner    anybody, with --allow-self-attach (readers have it    any, self
 *            as well then)
 *
 * Credentials are those of the moment of connect(2), as SO_PEERCRED gives them: who passes a
 * connection on passes its rights on.
 */
#ifndef VMSWAP_CTL_PEER_H
#define VMSWAP_CTL_PEER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define PEER_NO_GROUP ((gid_t)-1)
#define PEER_NO_USER  ((uid_t)-1)

/* What a method needs; a peer has a set of them. 0 is none, so that none can be forgotten. */
enum right {
	RIGHT_ANY = 1,	/* whoever is let in at all */
	RIGHT_READ = 2, /* looks, changes nothing */
	RIGHT_SELF = 4, /* changes what is of the caller's own processes; the method sees to that */
	RIGHT_ADMIN = 8, /* everything else */
};

struct peer_policy {
	gid_t group; /* its members are readers; or PEER_NO_GROUP */
	bool allow_self_attach;
};

struct peer {
	pid_t pid; /* 0: in a pid namespace that we do not see */
	uid_t uid;
	gid_t gid;
	uint32_t rights;       /* a set of enum right; 0: not let in */
	uint64_t capabilities; /* effective, in our user namespace */
};

/* Of a connected Unix socket. 0 or -errno. */
int peer_read(int fd, const struct peer_policy *policy, struct peer *ret_peer);
bool peer_may(const struct peer *peer, enum right right);
const char *peer_role(const struct peer *peer);
/* Of the socket's file: who may not enter by any role may not connect either. */
mode_t peer_socket_mode(const struct peer_policy *policy);

#endif
