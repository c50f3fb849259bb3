/* SPDX-License-Identifier: Apache-2.0 */
#include "perf/command/herd.h"

#include <stdio.h>
#include <stdlib.h>

#include "perf/bench/bench.h"
#include "perf/bench/row.h"
#include "perf/client/order.h"
#include "perf/contestant/daemon.h"
#include "queue/base/assert.h"
#include "queue/base/bits.h"
#include "queue/base/clock.h"
#include "queue/base/err.h"

/* Calls of which the median is taken. */
#define STATUS_CALLS 101u

static void name_of(uint32_t index, char *ret_name, size_t size)
{
	(void)snprintf(ret_name, size, "vm%u", index);
}

static int fail(struct herd *herd, int error, const char *why)
{
	(void)snprintf(herd->why, sizeof(herd->why), "%s", why);
	return error;
}

static int daemon_failed(struct herd *herd, int error)
{
	return fail(herd, error, herd->daemon ? daemon_why(herd->daemon) : "no memory");
}

static int add_client(struct herd *herd, const struct client_config *config)
{
	const uint64_t size_bytes = config->pages * PAGE_BYTES;
	char name[16];
	int error = client_start(config, &herd->client[herd->count]);

	if (error < 0)
		return fail(herd, error, "a client could not be started: memory?");
	name_of(herd->count, name, sizeof(name));
	error = daemon_attach(
		herd->daemon, client_pid(herd->client[herd->count++]), name, size_bytes);
	return error < 0 ? daemon_failed(herd, error) : 0;
}

int herd_open(struct herd *herd, const struct bench *bench, uint32_t count, uint32_t shards,
	const struct client_config *config)
{
	const struct daemon_config daemon = {
		.path = bench->options.daemon,
		.directory = bench->options.directory,
		.shards = shards,
		.is_encrypted = bench->options.is_encrypted,
	};
	int error;

	ASSERT(count <= HERD_MAX);
	*herd = (struct herd){0};
	error = daemon_start(&daemon, &herd->daemon);
	if (error < 0)
		return daemon_failed(herd, error);
	while (herd->count < count && error == 0)
		error = add_client(herd, config);
	return error;
}

void herd_close(struct herd *herd)
{
	/* The clients first: their memory need not come back. */
	for (uint32_t i = 0; i < HERD_MAX; i++)
		client_stop(herd->client[i]);
	daemon_stop(herd->daemon);
	*herd = (struct herd){0};
}

int herd_run(struct herd *herd, const char *method, uint64_t *ret_ns, uint64_t *ret_bytes)
{
	const uint64_t begin_ns = clock_ns();
	json_int_t job[HERD_MAX];
	uint64_t bytes = 0;
	int error = 0;

	for (uint32_t i = 0; i < herd->count && error == 0; i++) {
		char name[16];

		name_of(i, name, sizeof(name));
		error = daemon_job_begin(herd->daemon, method, name, &job[i]);
	}
	for (uint32_t i = 0; i < herd->count && error == 0; i++) {
		struct daemon_job done;

		error = daemon_job_end(herd->daemon, job[i], &done);
		if (error == 0)
			bytes += done.bytes;
	}
	if (error < 0)
		return daemon_failed(herd, error);
	*ret_ns = clock_ns() - begin_ns;
	*ret_bytes = bytes;
	return 0;
}

int herd_dirty(struct herd *herd)
{
	for (uint32_t i = 0; i < herd->count; i++) {
		const int error = client_dirty(herd->client[i]);

		if (error < 0)
			return fail(herd, error, "a client ended");
	}
	return 0;
}

static int begin_all(struct herd *herd, uint32_t threads, uint64_t count, const uint32_t *order)
{
	int error = 0;

	for (uint32_t i = 0; i < herd->count && error == 0; i++)
		error = client_touch_begin(
			herd->client[i], &(struct touch){
						 .order = order,
						 .count = count,
						 .threads = MAX(threads / herd->count, 1u),
						 .cpu = CLIENT_ANY_CPU,
						 .is_write = true,
					 });
	return error;
}

int herd_touch(struct herd *herd, uint32_t threads, uint64_t count, uint64_t seed, double *ret_rate)
{
	CLEANUP_FREE uint32_t *order = malloc(count * sizeof(*order));
	const uint64_t pages = client_pages(herd->client[0]);
	struct touch_result result;
	uint64_t touches = 0;
	uint64_t elapsed_ns = 1;
	int error = order ? order_make(ORDER_UNIFORM, pages, count, seed, order) : -ENOMEM;

	if (error == 0)
		error = begin_all(herd, threads, count, order);
	for (uint32_t i = 0; i < herd->count && error == 0; i++) {
		error = client_touch_end(herd->client[i], &result);
		if (error == 0 && result.bad_pages > 0)
			error = -EBADMSG;
		touches += result.touches;
		elapsed_ns = MAX(elapsed_ns, result.elapsed_ns);
	}
	if (error < 0)
		return fail(herd, error, error == -EBADMSG ? "pages were WRONG" : "a client ended");
	*ret_rate = (double)touches * (double)NS_PER_S / (double)elapsed_ns;
	return 0;
}

int herd_status(struct herd *herd, double *ret_us)
{
	uint32_t ns[STATUS_CALLS];

	for (uint32_t i = 0; i < STATUS_CALLS; i++) {
		const uint64_t begin_ns = clock_ns();
		const int error = daemon_call(
			herd->daemon, "vm.status", json_pack("{s:s}", "vm", "vm0"), NULL);

		if (error < 0)
			return daemon_failed(herd, error);
		ns[i] = (uint32_t)(clock_ns() - begin_ns);
	}
	percentiles_prepare(ns, STATUS_CALLS);
	*ret_us = percentile_of(ns, STATUS_CALLS, 0.5) / 1000;
	return 0;
}

int herd_number(struct herd *herd, const char *key, uint64_t *ret_number)
{
	json_t *result = NULL;
	const int error =
		daemon_call(herd->daemon, "vm.status", json_pack("{s:s}", "vm", "vm0"), &result);

	if (error < 0)
		return daemon_failed(herd, error);
	*ret_number = (uint64_t)json_integer_value(json_object_get(result, key));
	json_decref(result);
	return 0;
}
