/* SPDX-License-Identifier: Apache-2.0 */
/* One run of vmswap-bench: what was asked for, and what has come of it so far. */
#ifndef VMSWAP_PERF_BENCH_BENCH_H
#define VMSWAP_PERF_BENCH_BENCH_H

#include <stdbool.h>
#include <stdint.h>

#include "perf/bench/options.h"

struct contestant_setup;
struct results;
struct row;

struct bench {
	struct options options;
	struct results *results;
	uint32_t rows;	   /* added */
	uint32_t skipped;  /* what the host lacks */
	uint32_t failures; /* what should have worked; wrong pages among it */
};

/* Adds a row to the results, unless --only leaves it out, and prints it. */
void bench_add(struct bench *bench, const struct row *row);
/* Whether --only wants rows of this id. */
bool bench_wants(const struct bench *bench, const char *id);
/* Tells why something was not run: the host lacks it, or it failed. */
void bench_skip(struct bench *bench, const char *what, const char *why);
void bench_fail(struct bench *bench, const char *what, const char *why);

/* A setup with this run's directory and daemon, and a client of @size_bytes. */
void bench_setup(
	const struct bench *bench, uint64_t size_bytes, struct contestant_setup *ret_setup);
/* As --quick and --full say, the first by default. */
uint64_t bench_size(const struct bench *bench, uint64_t quick_bytes, uint64_t full_bytes);

/* The sub-commands, perf/command/NAME.c; each adds rows and returns when it has. */
void command_fault(struct bench *bench);
void command_disk_fault(struct bench *bench);
void command_scale(struct bench *bench);
void command_enable(struct bench *bench);
void command_trim(struct bench *bench);
void command_swap_out(struct bench *bench);
void command_swap_in(struct bench *bench);
void command_encrypt(struct bench *bench);
void command_mixed(struct bench *bench);
void command_queue(struct bench *bench);
void command_memory(struct bench *bench);

#endif
