/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/adopt.h"
#include "engine/cipher.h"
#include "engine/command.h"
#include "engine/engine_priv.h"
#include "engine/layout.h"
#include "io/cut.h"
#include "io/slots.h"
#include "io/uffd.h"
#include "io/uring.h"
#include "queue/base/assert.h"
#include "queue/base/clock.h"
#include "queue/base/err.h"
#include "queue/base/probe.h"
#include "queue/cmdq.h"
#include "queue/ring.h"
#include "queue/wake.h"

/* A full lane is looked at again this soon. */
#define BACK_PRESSURE_MS 1

static int make_events(struct engine *engine)
{
	int error = cmdq_new(1, EVENTS_MAX, &engine->events);

	if (!error)
		error = ring_new(EVENTS_MAX, &engine->events_free);
	if (error)
		return error;
	engine->event = calloc(EVENTS_MAX, sizeof(*engine->event));
	if (!engine->event)
		return -ENOMEM;
	/* The first event makes the descriptor readable as well. */
	wake_prepare(cmdq_wake(engine->events, 0));
	for (uint32_t i = 0; i < EVENTS_MAX; i++)
		if (!ring_push_mpmc(engine->events_free, &engine->event[i]))
			UNREACHABLE();
	return 0;
}

static int make_shards(struct engine *engine)
{
	engine->shard = calloc(engine->shard_count, sizeof(*engine->shard));
	if (!engine->shard)
		return -ENOMEM;
	for (uint32_t i = 0; i < engine->shard_count; i++) {
		const int error = shard_init(
			&engine->shard[i], engine, i, engine->is_pinned ? engine->cpus[i] : -1);

		if (error)
			return error;
	}
	return 0;
}

static uint64_t slot_map_bytes(const struct engine *engine)
{
	return slots_map_bytes(engine->store.size_bytes / PAGE_BYTES);
}

static int open_new(struct engine *engine, const struct engine_config *config)
{
	struct engine_header *header;
	int error = digest_secret_make(&engine->secret);

	if (!error)
		error = swapfile_open(&config->store, &engine->store);
	if (!error)
		error = shared_open("vmswap-slots", slot_map_bytes(engine), &engine->slot_map);
	if (!error)
		error = shared_open("vmswap-engine", sizeof(*header), &engine->header);
	if (error)
		return error;
	header = engine->header.memory;
	*header = (struct engine_header){
		.magic = LAYOUT_ENGINE_MAGIC,
		.layout = LAYOUT_VERSION,
		.shard_count = engine->shard_count,
		.store_bytes = engine->store.size_bytes,
		.store_kind = engine->store.kind,
		.store_is_preallocated = engine->store.is_preallocated,
		.is_encrypted = engine->is_encrypted,
		.secret = engine->secret,
	};
	return 0;
}

/* Whatever is found: a store that could be. */
static bool describes_store(const struct engine_header *header)
{
	return header->store_bytes > 0 && header->store_bytes % CHUNK_BYTES == 0 &&
	       header->store_bytes / PAGE_BYTES < SLOT_NONE &&
	       header->store_kind <= SWAPFILE_DEVICE;
}

static int open_adopted(struct engine *engine, const int *parts)
{
	const struct engine_header *header;
	int error = shared_adopt(parts[ENGINE_HEADER], sizeof(*header), &engine->header);

	if (error)
		return error;
	header = engine->header.memory;
	if (header->magic != LAYOUT_ENGINE_MAGIC || header->layout != LAYOUT_VERSION ||
		header->shard_count != engine->shard_count)
		return -ESTALE;
	if (!describes_store(header))
		return -EBADMSG;
	const struct swapfile kept = {
		.fd = parts[ENGINE_STORE],
		.kind = (enum swapfile_kind)header->store_kind,
		.size_bytes = header->store_bytes,
		.is_preallocated = header->store_is_preallocated != 0,
	};

	engine->secret = header->secret;
	engine->is_encrypted = header->is_encrypted != 0;
	error = swapfile_adopt(&kept, &engine->store);
	if (!error)
		error = shared_adopt(
			parts[ENGINE_SLOT_MAP], slot_map_bytes(engine), &engine->slot_map);
	return error ? error : adopt_slots(engine);
}

static int make_parts(struct engine *engine, const struct engine_config *config)
{
	int error = cut_install();

	if (!error)
		error = uffd_features(&engine->features);
	if (!error)
		error = config->parts ? open_adopted(engine, config->parts)
				      : open_new(engine, config);
	if (!error)
		error = cmdq_new(engine->shard_count, CMDQ_CAPACITY, &engine->cmdq);
	if (!error)
		error = make_events(engine);
	if (!error && !config->parts)
		error = make_shards(engine);
	if (!error)
		error = replies_lend(&engine->replies, &engine->reply);
	return error;
}

static void destroy(struct engine *engine)
{
	for (uint32_t i = 0; engine->shard && i < engine->shard_count; i++)
		shard_destroy(&engine->shard[i]);
	free(engine->shard);
	free(engine->event);
	ring_free(engine->events_free);
	cmdq_free(engine->events);
	cmdq_free(engine->cmdq);
	free(engine->limbo);
	shared_close(&engine->slot_map);
	shared_close(&engine->header);
	swapfile_close(&engine->store);
	replies_take_back(&engine->replies, engine->reply);
	replies_destroy(&engine->replies);
	(void)pthread_mutex_destroy(&engine->space_lock);
	free(engine);
}

static int make(const struct engine_config *config, struct engine **ret_engine)
{
	struct engine *engine;
	int error;

	if (config->shard_count == 0 || config->shard_count > SHARDS_MAX)
		return -EINVAL;
	engine = calloc(1, sizeof(*engine));
	if (!engine)
		return -ENOMEM;
	engine->shard_count = config->shard_count;
	engine->is_encrypted = config->is_encrypted;
	engine->is_plain = config->is_plain;
	engine->children = config->children;
	engine->spin_ns = config->poll_us * NS_PER_US;
	engine->is_pinned = config->cpus != NULL;
	if (config->cpus)
		memcpy(engine->cpus, config->cpus, engine->shard_count * sizeof(engine->cpus[0]));
	engine->store.fd = -1;
	(void)pthread_mutex_init(&engine->space_lock, NULL);
	replies_init(&engine->replies, engine->shard_count);
	error = make_parts(engine, config);
	if (error) {
		destroy(engine);
		return error;
	}
	*ret_engine = engine;
	return 0;
}

static int begin_shards(struct engine *engine)
{
	int error = 0;

	for (uint32_t i = 0; !error && i < engine->shard_count; i++)
		error = shard_begin(&engine->shard[i]);
	return error;
}

int engine_new(const struct engine_config *config, struct engine **ret_engine)
{
	struct engine *engine;
	int error = make(config, &engine);

	if (error)
		return error;
	engine->is_stepped = true;
	if (!config->parts)
		error = begin_shards(engine);
	if (error) {
		destroy(engine);
		return error;
	}
	*ret_engine = engine;
	return 0;
}

static void step_all(struct engine *engine)
{
	for (uint32_t i = 0; i < engine->shard_count; i++)
		(void)shard_step(&engine->shard[i]);
}

/* Stops those of the first @count shards that have begun. */
static void stop_shards(struct engine *engine, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		struct command command = {
			.magic = COMMAND_MAGIC,
			.kind = COMMAND_STOP,
			.reply = engine->reply,
		};

		if (engine->shard[i].begin_error)
			continue;
		engine_call(engine, i, &command);
		(void)pthread_join(engine->shard[i].thread, NULL);
	}
}

/* All at the same time: what they begin with takes long where they adopt pages. */
static int start_shards(struct engine *engine)
{
	uint32_t started = 0;
	int error = 0;

	while (!error && started < engine->shard_count) {
		struct shard *shard = &engine->shard[started];

		/* @unfiltered clone3 */
		error = -pthread_create(&shard->thread, NULL, shard_run, shard);
		started += !error;
	}
	for (uint32_t i = 0; i < started; i++) {
		const int begin_error = shard_await_begin(&engine->shard[i]);

		error = error ? error : begin_error;
	}
	if (error)
		stop_shards(engine, started);
	engine->has_threads = !error;
	return error;
}

int engine_start(const struct engine_config *config, struct engine **ret_engine)
{
	struct engine *engine;
	int error = make(config, &engine);

	if (error)
		return error;
	if (!config->parts)
		error = start_shards(engine);
	if (error) {
		destroy(engine);
		return error;
	}
	*ret_engine = engine;
	return 0;
}

static void forget_limbo(struct engine *engine)
{
	free(engine->limbo);
	engine->limbo = NULL;
	engine->limbo_count = 0;
}

int engine_resume(struct engine *engine, struct vm *const *vms, uint32_t count)
{
	int error = make_shards(engine);

	engine->adopted = vms;
	engine->adopted_count = count;
	if (!error)
		error = engine->is_stepped ? begin_shards(engine) : start_shards(engine);
	engine->adopted_count = 0;
	if (engine->limbo_count == 0)
		forget_limbo(engine);
	return error;
}

/* What is in limbo of a group. */
static void give_back(struct engine *engine, uint32_t group, bool is_retired, struct cmdq *reply)
{
	const uint32_t first_slot = group * CHUNK_PAGES;
	struct command command = {
		.magic = COMMAND_MAGIC,
		.kind = COMMAND_SLOTS,
		.first_slot = first_slot,
		.bits = &engine->limbo[first_slot / 64],
		.is_retired = is_retired,
		.reply = reply,
	};

	engine_call(engine, group % engine->shard_count, &command);
}

bool engine_may_settle(const struct engine *engine)
{
	return engine->limbo_count == 0 || swapfile_is_quiet(&engine->store);
}

uint32_t engine_settle(struct engine *engine)
{
	const uint32_t count = engine->limbo_count;
	uint32_t slot = count > 0 ? adopt_next_limbo(engine, 0) : SLOT_NONE;
	struct cmdq *reply;
	bool is_retired;

	if (count == 0 || replies_lend(&engine->replies, &reply))
		return count;
	is_retired = swapfile_drain(&engine->store, (uint64_t)slot * PAGE_BYTES) != 0;
	PROBE(adopt, drained);
	while (slot != SLOT_NONE) {
		const uint32_t group = slot / CHUNK_PAGES;

		give_back(engine, group, is_retired, reply);
		slot = adopt_next_limbo(engine, (group + 1) * CHUNK_PAGES);
	}
	PROBE(adopt, settled);
	forget_limbo(engine);
	replies_take_back(&engine->replies, reply);
	return is_retired ? count : 0;
}

void engine_parts(const struct engine *engine, int ret_fds[ENGINE_PARTS])
{
	ret_fds[ENGINE_STORE] = engine->store.fd;
	ret_fds[ENGINE_SLOT_MAP] = engine->slot_map.fd;
	ret_fds[ENGINE_HEADER] = engine->header.fd;
}

void engine_stop(struct engine *engine)
{
	if (!engine)
		return;
	if (engine->has_threads)
		stop_shards(engine, engine->shard_count);
	destroy(engine);
}

uint32_t engine_shard_count(const struct engine *engine)
{
	return engine->shard_count;
}

uint32_t engine_features(const struct engine *engine)
{
	return engine->features;
}

int engine_io_refusal(const struct engine *engine)
{
	/* A successor has no shards before it resumes. */
	return engine->shard ? uring_refusal(engine->shard[0].ring) : 0;
}

bool engine_encrypts_fast(void)
{
	return cipher_is_fast();
}

bool engine_is_encrypted(const struct engine *engine)
{
	return engine->is_encrypted;
}

uint64_t engine_store_bytes(const struct engine *engine)
{
	return engine->store.size_bytes;
}

uint64_t engine_store_used_bytes(const struct engine *engine)
{
	uint64_t used = 0;

	for (uint32_t i = 0; i < engine->shard_count; i++)
		used += slots_used(engine->shard[i].slots);
	return used * PAGE_BYTES;
}

uint64_t engine_store_retired_bytes(const struct engine *engine)
{
	uint64_t retired = 0;

	for (uint32_t i = 0; i < engine->shard_count; i++)
		retired += slots_retired(engine->shard[i].slots);
	return retired * PAGE_BYTES;
}

void engine_push(struct engine *engine, uint32_t shard, struct command *command)
{
	const struct timespec pause = {.tv_nsec = BACK_PRESSURE_MS * 1000000};

	ASSERT(shard < engine->shard_count);
	/* Ends: the shard takes commands as long as it lives, and never waits for a control thread.
	 */
	while (!cmdq_push_mpmc(engine->cmdq, shard, command)) {
		if (engine->is_stepped)
			step_all(engine);
		else
			(void)nanosleep(&pause, NULL); /* @control clock_nanosleep */
	}
}

struct command *engine_pop(struct engine *engine, struct cmdq *reply, int timeout_ms)
{
	struct command *command;

	if (!engine->is_stepped)
		return cmdq_wait(reply, 0, timeout_ms);
	command = cmdq_pop_mpmc(reply, 0);
	if (command)
		return command;
	step_all(engine);
	return cmdq_pop_mpmc(reply, 0);
}

void engine_call(struct engine *engine, uint32_t shard, struct command *command)
{
	struct command *answer;

	engine_push(engine, shard, command);
	do {
		answer = engine_pop(engine, command->reply, -1);
	} while (!answer);
	ASSERT(answer == command);
}

static uint64_t release_one(struct engine *engine, uint32_t shard)
{
	struct command command = {
		.magic = COMMAND_MAGIC,
		.kind = COMMAND_SPACE,
		.reply = engine->reply,
	};

	engine_call(engine, shard, &command);
	ASSERT(command.outcome >= 0);
	return (uint64_t)command.outcome;
}

uint64_t engine_release_space(struct engine *engine, uint64_t max_bytes)
{
	uint64_t released = 0;
	uint64_t round = 1;

	if (engine->store.is_preallocated)
		return 0;
	(void)pthread_mutex_lock(&engine->space_lock);
	while (released < max_bytes && round > 0) {
		round = 0;
		for (uint32_t i = 0; i < engine->shard_count && released + round < max_bytes; i++)
			round += release_one(engine, i);
		released += round;
	}
	(void)pthread_mutex_unlock(&engine->space_lock);
	return released;
}

bool engine_next_event(struct engine *engine, struct engine_event *ret_event)
{
	struct wake *wake = cmdq_wake(engine->events, 0);
	struct engine_event *event;

	wake_done(wake);
	event = cmdq_pop_mpmc(engine->events, 0);
	if (!event) {
		/* From here on an event makes the descriptor readable; one may have come just
		 * before. */
		wake_prepare(wake);
		event = cmdq_pop_mpmc(engine->events, 0);
	}
	if (!event)
		return false;
	*ret_event = *event;
	if (!ring_push_mpmc(engine->events_free, event))
		UNREACHABLE();
	return true;
}

int engine_event_fd(const struct engine *engine)
{
	return cmdq_wake(engine->events, 0)->eventfd;
}
