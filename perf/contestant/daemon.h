/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A vmswapd under test: the real program, started, driven over its control socket as vmswapctl does
 * it, and stopped. Errors are -errno, with a sentence in daemon_why().
 */
#ifndef VMSWAP_PERF_CONTESTANT_DAEMON_H
#define VMSWAP_PERF_CONTESTANT_DAEMON_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct daemon_config {
	const char *path;      /* of vmswapd */
	const char *directory; /* of its swap file */
	uint32_t shards;
	const int *cpus;    /* of the shards */
	uint32_t cpu_count; /* 0: not pinned */
	bool is_encrypted;  /* what it stores */
	uint64_t
		limit_bytes; /* of the swap file, which is preallocated; 0: the daemon's defaults */
};

/* What one job did. */
struct daemon_job {
	uint64_t pages;
	uint64_t left_pages;
	uint64_t bytes;	     /* written or read */
	uint64_t elapsed_ns; /* from the request to the answer that it has ended */
};

struct daemon;

/* @ret_daemon is there, for daemon_why() and daemon_stop(), whenever memory sufficed. */
int daemon_start(const struct daemon_config *config, struct daemon **ret_daemon);
/* Orderly, then by force. NULL is fine. */
void daemon_stop(struct daemon *daemon);
const char *daemon_why(const struct daemon *daemon);
pid_t daemon_pid(const struct daemon *daemon);

/* One call; @params are stolen. @ret_result (may be NULL): its "result", a new reference. */
int daemon_call(struct daemon *daemon, const char *method, json_t *params, json_t **ret_result);
/* Attaches @pid as @vm; shared mappings of @min_bytes or more are its memory. No dwell. */
int daemon_attach(struct daemon *daemon, pid_t pid, const char *vm, uint64_t min_bytes);
/* Begins "vm.enable", "vm.trim", "vm.swap_out" or "vm.disable". */
int daemon_job_begin(
	struct daemon *daemon, const char *method, const char *vm, json_int_t *ret_job);
/* Waits for it; a job that did not end well is an error. */
int daemon_job_end(struct daemon *daemon, json_int_t job, struct daemon_job *ret_job);
/* Begin and end. */
int daemon_run(
	struct daemon *daemon, const char *method, const char *vm, struct daemon_job *ret_job);

/* CPU time of the shard threads so far. */
uint64_t daemon_shards_cpu_ns(const struct daemon *daemon);
/* Resident set of the daemon. */
uint64_t daemon_resident_bytes(const struct daemon *daemon);

#endif
