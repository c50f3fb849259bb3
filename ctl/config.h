/* SPDX-License-Identifier: Apache-2.0 */
/* The command line of vmswapd. */
#ifndef VMSWAP_CTL_CONFIG_H
#define VMSWAP_CTL_CONFIG_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "ctl/peer.h"
#include "engine/limits.h"
#include "io/filter.h"
#include "io/swapfile.h"
#include "queue/base/log.h"

struct problem;

#define CONFIG_SOCKET	"/run/vmswapd.sock"
#define CONFIG_SWAP_DIR "/var/lib/vmswapd"
/* Of the default socket; another SOCKET has SOCKET.state. */
#define CONFIG_STATE_DIR "/run/vmswapd"

enum config_action {
	CONFIG_RUN,
	CONFIG_HELP,
	CONFIG_VERSION,
	CONFIG_LAYOUT, /* for an upgrade, between vmswapd and vmswapd */
};

struct config {
	enum config_action action;
	uint32_t shard_count;
	uint32_t cpu_count; /* 0: shards are not pinned, else shard_count */
	int cpus[SHARDS_MAX];
	uint32_t poll_us;
	struct swapfile_config store; /* path: borrowed from argv */
	bool is_encrypted;	      /* what is stored */
	const char *socket_path;      /* as above */
	struct peer_policy policy;
	char state_dir[PATH_MAX];
	bool is_recover; /* of what a daemon left there that is dead */
	bool is_foreground;
	uint32_t disabled_features; /* bits of io/feature.h */
	enum filter_mode seccomp;   /* calls that no list has */
	bool has_host_view;	    /* no mount view of its own */
	bool is_debug;		    /* the methods debug.* are there */
	bool is_minimal; /* serve faults, bring memory back, no more: the supervisor's word */
	enum log_level log_level;
};

/* -EINVAL and the problem when the command line makes no sense. */
int config_parse(int argc, char **argv, struct config *ret_config, struct problem *problem);
/* "64", "64K", "1.5G" is not: digits and at most one of K, M, G, T, binary. -EINVAL, -ERANGE. */
int config_parse_size(const char *text, uint64_t *ret_bytes);
/* "0-3,8": up to @max CPU numbers in the order given. The count, or -EINVAL, -E2BIG. */
int config_parse_cpus(const char *text, int *ret_cpus, uint32_t max);

void config_usage(FILE *out);

#endif
