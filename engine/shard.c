/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/shard.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/adopt.h"
#include "engine/command.h"
#include "engine/engine_priv.h"
#include "engine/fault.h"
#include "engine/served.h"
#include "io/filter.h"
#include "io/slice.h"
#include "io/slots.h"
#include "io/token.h"
#include "io/uring.h"
#include "queue/base/assert.h"
#include "queue/base/clock.h"
#include "queue/base/err.h"
#include "queue/base/probe.h"
#include "queue/cmdq.h"
#include "queue/ring.h"
#include "queue/wake.h"

/* Completions taken at once. */
#define REAP_MAX 64u
/* Commands begun a turn. */
#define COMMANDS_MAX 4u
/*
 * While a fault read is in flight the shard spins this long rather than sleep: a wake-up costs as
 * much as the read itself (performance-floors.md 2: 0.76–0.90 of the latency with, 1.10–1.13
 * without).
 */
#define READ_SPIN_NS (100 * NS_PER_US)

/* While it spins a shard makes a whole turn this often. */
#define SPIN_STEP_NS (25 * NS_PER_US)
/* A yield that found nobody else takes well below one microsecond. */
#define YIELD_LONG_NS (3 * NS_PER_US)
/* Idle moments without spinning, at most, after the CPU was found contended. */
#define SPIN_BACKOFF_MAX 64u

_Thread_local const struct shard *shard_current;

void shard_assert_owner(const struct shard *shard)
{
	ASSERT(shard == shard_current);
}

int shard_init(struct shard *shard, struct engine *engine, uint32_t id, int cpu)
{
	int error;

	*shard = (struct shard){
		.engine = engine,
		.id = id,
		.cpu = cpu,
		.spin_ns = engine->spin_ns,
		.store_fd = engine->store.fd,
		.cmdq = engine->cmdq,
	};
	(void)sem_init(&shard->has_begun, 0, 0);
	shard->served = calloc(SERVED_MAX, sizeof(*shard->served));
	shard->tasks = calloc(TASK_PLACES, sizeof(*shard->tasks));
	if (!engine->children.boards)
		shard->own_board = calloc(1, sizeof(*shard->own_board));
	shard->board = engine->children.boards ? &engine->children.boards[id] : shard->own_board;
	if (!shard->served || !shard->tasks || !shard->board)
		return -ENOMEM;
	error = slots_new(engine->slot_map.memory, engine->store.size_bytes / PAGE_BYTES, id,
		engine->shard_count, &shard->slots);
	if (!error)
		error = uring_open(SHARD_RING_DEPTH, &shard->ring);
	return error;
}

void shard_destroy(struct shard *shard)
{
	uring_close(shard->ring);
	slots_free(shard->slots);
	fills_destroy(&shard->fills);
	seals_destroy(&shard->seals);
	free(shard->own_board);
	free(shard->tasks);
	free(shard->served);
	*shard = (struct shard){0};
}

void shard_post(struct shard *shard, const struct engine_event *event)
{
	struct engine *engine = shard->engine;
	struct engine_event *item = ring_pop_mpmc(engine->events_free);

	shard_assert_owner(shard);
	if (!item) {
		stats_add(shard_stats(shard, event->vm), STAT_lost_events, 1);
		return;
	}
	*item = *event;
	/* There are EVENTS_MAX items and as many places: a free item has a place. */
	if (!cmdq_push_mpmc(engine->events, 0, item))
		UNREACHABLE();
}

void shard_answer(struct shard *shard, struct command *command)
{
	shard_assert_owner(shard);
	ASSERT(command->magic == COMMAND_MAGIC);
	/* The sender's lane holds every command it has under way. */
	if (!cmdq_push_mpmc(command->reply, 0, command))
		UNREACHABLE();
}

void shard_drop_slot(struct shard *shard, struct vm *vm, uint64_t page, enum page_state state)
{
	const page_word word = page_load(&vm->table, page);

	shard_assert_owner(shard);
	ASSERT(page_has_slot(word));
	ASSERT(page_state_of(word) != PAGE_WRITING);
	page_move(&vm->table, shard_stats(shard, vm), page, page_plain(state));
	PROBE(slot, dropped);
	slots_put(shard->slots, page_slot_of(word));
}

static void begin_space(struct shard *shard, struct command *command)
{
	const uint32_t slot = slots_take_dirty_group(shard->slots);

	ASSERT(!shard->space_command);
	if (slot == SLOT_NONE) {
		command->outcome = 0;
		shard_answer(shard, command);
		return;
	}
	shard->space_command = command;
	shard->space_slot = slot;
	uring_discard(shard->ring, token_make(TOKEN_SPACE, 0, 0), shard->store_fd,
		(uint64_t)slot * PAGE_BYTES, CHUNK_BYTES);
}

static void space_done(struct shard *shard)
{
	struct command *command = shard->space_command;

	ASSERT(command != NULL);
	slots_group_clean(shard->slots, shard->space_slot);
	shard->space_command = NULL;
	command->outcome = CHUNK_BYTES;
	shard_answer(shard, command);
}

static void handle_done(struct shard *shard, const struct uring_done *done)
{
	const uint32_t index = token_index(done->token);

	switch ((enum token_kind)token_kind(done->token)) {
	case TOKEN_WAKE:
		wake_drain(cmdq_wake(shard->cmdq, shard->id));
		if (!(done->flags & URING_MORE))
			uring_poll(shard->ring, done->token,
				cmdq_wake(shard->cmdq, shard->id)->eventfd);
		break;
	case TOKEN_UFFD:
		served_poll_done(shard, index, done->result, (done->flags & URING_MORE) != 0);
		break;
	case TOKEN_FILL: fill_read_done(shard, index, done->result); break;
	case TOKEN_WRITE:
		task_write_done(shard, index, token_tag(done->token), done->result);
		break;
	case TOKEN_PUNCH: task_punch_done(shard, index, done->result); break;
	case TOKEN_SPACE: space_done(shard); break;
	case TOKEN_UNPOLL: served_unpoll_done(shard, index, done->result); break;
	default: UNREACHABLE();
	}
}

static bool reap(struct shard *shard)
{
	struct uring_done done[REAP_MAX];
	const uint32_t count = uring_reap(shard->ring, done, REAP_MAX);

	for (uint32_t i = 0; i < count; i++)
		handle_done(shard, &done[i]);
	return count > 0;
}

static bool read_messages(struct shard *shard)
{
	bool is_busy = false;

	for (uint32_t i = 0; i < shard->served_end; i++)
		if (shard->served[i].vm && shard->served[i].is_readable)
			is_busy |= fault_read_messages(shard, &shard->served[i]);
	return is_busy;
}

/* Slots that no page has; a whole group of them takes some 10 us. */
static void take_slots(struct shard *shard, const struct command *command)
{
	for (uint32_t i = 0; i < CHUNK_PAGES; i++) {
		if (!bit_get(command->bits, i))
			continue;
		if (command->is_retired)
			slots_retire(shard->slots, command->first_slot + i);
		else
			slots_put(shard->slots, command->first_slot + i);
	}
}

static void take_command(struct shard *shard, struct command *command)
{
	ASSERT(command->magic == COMMAND_MAGIC);
	switch (command->kind) {
	case COMMAND_CHUNK: task_begin(shard, command); return;
	case COMMAND_SERVE: command->outcome = served_add(shard, command); break;
	case COMMAND_SERVE_CHILD: command->outcome = served_adopt_child(shard, command); break;
	case COMMAND_UNSERVE: served_leave(shard, command); return;
	case COMMAND_FORGET_CHILDREN: served_forget_children(shard, command->vm); break;
	case COMMAND_RECORD: shard_of_vm(shard, command->vm)->recorder = command->recorder; break;
	case COMMAND_SPACE: begin_space(shard, command); return;
	case COMMAND_SLOTS: take_slots(shard, command); break;
	case COMMAND_STOP:
		shard->stop_command = command;
		shard->is_stopping = true;
		return;
	}
	shard_answer(shard, command);
}

static void put_off(struct shard *shard, struct command *command)
{
	command->next = NULL;
	if (shard->waiting)
		shard->waiting_last->next = command;
	else
		shard->waiting = command;
	shard->waiting_last = command;
}

/* The longest-waiting operation that has room now. */
static bool take_waiting(struct shard *shard)
{
	struct command *command = shard->waiting;

	if (!command || !task_has_room(shard))
		return false;
	shard->waiting = command->next;
	take_command(shard, command);
	return true;
}

/*
 * What works on for long waits for room, and in the order it came. Everything else goes past it: a
 * disk that takes half a minute for the pages of one VM must not keep the next from being attached,
 * staged or let go.
 */
static bool take_new(struct shard *shard)
{
	struct command *command = cmdq_pop_mpmc(shard->cmdq, shard->id);

	if (!command)
		return false;
	if (task_is_long(command) && (shard->waiting || !task_has_room(shard)))
		put_off(shard, command);
	else
		take_command(shard, command);
	return true;
}

static bool take_commands(struct shard *shard)
{
	uint32_t taken = 0;

	while (taken < COMMANDS_MAX && (take_waiting(shard) || take_new(shard)))
		taken++;
	return taken > 0;
}

int shard_begin(struct shard *shard)
{
	struct wake *wake = cmdq_wake(shard->cmdq, shard->id);
	int error;

	shard_current = shard;
	error = adopt_pages(shard);
	if (!error)
		error = fills_init(&shard->fills);
	if (!error && shard->engine->is_encrypted)
		error = seals_init(&shard->seals);
	if (!error)
		error = uring_enable(shard->ring);
	if (!error)
		error = fills_register(shard);
	if (error)
		return error;
	uring_poll(shard->ring, token_make(TOKEN_WAKE, 0, 0), wake->eventfd);
	return uring_submit(shard->ring);
}

bool shard_step(struct shard *shard)
{
	bool is_busy;

	shard_current = shard;
	shard->step_ns = clock_ns();
	is_busy = read_messages(shard);
	is_busy |= shard->parked.count > 0 && park_retry(shard);
	/* One call for what the last turn prepared and what the messages asked for. */
	(void)uring_submit(shard->ring);
	is_busy |= reap(shard);
	is_busy |= shard->fills.copying > 0 && fill_copy_step(shard);
	is_busy |= shard->has_replays && fault_read_ahead(shard);
	is_busy |= take_commands(shard);
	is_busy |= shard->tasks_active > 0 && task_step_next(shard);
	is_busy |= served_finish(shard);
	return is_busy;
}

/* Reads the descriptors that had a message since @since_ns, without asking first. */
static bool read_recent(struct shard *shard, uint64_t since_ns)
{
	bool is_busy = false;

	for (uint32_t i = 0; i < shard->served_end; i++) {
		struct served *served = &shard->served[i];

		if (served->vm && !served->leaving && served->message_ns > since_ns)
			is_busy |= fault_read_messages(shard, served);
	}
	return is_busy;
}

/*
 * Whether somebody else wants this CPU: a yield then takes as long as the other runs. Spinning
 * would keep it from the very threads whose faults we wait for, so the shard sleeps at once this
 * time, and for twice as many idle moments as the last time it was so. Not while a read of a fault
 * is under way: who waits for that does not want the CPU.
 */
static bool is_contended(struct shard *shard, uint64_t now_ns)
{
	(void)sched_yield(); /* @shard sched_yield */
	if (clock_ns() - now_ns < YIELD_LONG_NS || shard->fills.reading > 0)
		return false;
	shard->spin_backoff = MIN(MAX(2 * shard->spin_backoff, 1u), SPIN_BACKOFF_MAX);
	shard->spin_skips = shard->spin_backoff;
	return true;
}

/*
 * One look around of a shard that has nothing to do but expects more soon. Reading what was busy a
 * moment ago spares the detour through the ring, which is looked at when something is under way
 * there, and every SPIN_STEP_NS for the rest.
 */
static bool look_around(struct shard *shard, uint64_t now_ns, uint64_t window_ns)
{
	const bool has_more = shard->fills.reading > 0 || shard->tasks_active > 0 ||
			      shard->parked.count > 0 || shard->fills.copying > 0;

	if (read_recent(shard, now_ns - window_ns))
		return true;
	if (has_more || now_ns - shard->step_ns > SPIN_STEP_NS ||
		cmdq_count(shard->cmdq, shard->id) > 0)
		return shard_step(shard);
	return false;
}

/*
 * Spins until there was something to do (true), or nothing for @spin_ns, or the CPU is wanted. A
 * wake-up costs as much as a fault (performance-floors.md 1 and 2).
 */
static bool spin(struct shard *shard, uint64_t busy_ns, uint64_t spin_ns)
{
	if (spin_ns > 0 && shard->spin_skips > 0 && shard->fills.reading == 0) {
		shard->spin_skips--;
		return false;
	}
	for (uint64_t now_ns = clock_ns(); now_ns - busy_ns < spin_ns; now_ns = clock_ns()) {
		if (look_around(shard, now_ns, spin_ns)) {
			shard->spin_backoff = 0;
			return true;
		}
		if (is_contended(shard, now_ns))
			return false;
	}
	return false;
}

static void sleep_until_work(struct shard *shard)
{
	const bool has_retries = shard->parked.count > 0 || shard->fills.copying > 0;
	struct wake *wake = cmdq_wake(shard->cmdq, shard->id);

	wake_prepare(wake);
	/* Those put off wait for room: a completion makes it, and wakes us. */
	if (cmdq_count(shard->cmdq, shard->id) == 0)
		(void)uring_wait(shard->ring, has_retries ? PARK_RETRY_US : URING_FOREVER);
	wake_leave(wake);
}

static void pin(const struct shard *shard)
{
	char name[16];
	cpu_set_t cpus;

	(void)snprintf(name, sizeof(name), "shard-%u", shard->id);
	(void)pthread_setname_np(pthread_self(), name); /* @unfiltered prctl */
	if (shard->cpu < 0)
		return;
	CPU_ZERO(&cpus);
	CPU_SET((unsigned)shard->cpu, &cpus);
	/* @unfiltered sched_setaffinity */
	(void)pthread_setaffinity_np(pthread_self(), sizeof(cpus), &cpus);
}

void *shard_run(void *argument)
{
	struct shard *shard = argument;
	uint64_t busy_ns = clock_ns();

	pin(shard);
	slice_shorten();
	shard->begin_error = shard_begin(shard);
	if (shard->begin_error == 0)
		shard->begin_error = filter_install(FILTER_SHARD);
	(void)sem_post(&shard->has_begun);
	if (shard->begin_error)
		return NULL;
	while (!shard->is_stopping) {
		const uint64_t spin_ns = shard->fills.reading > 0
						 ? MAX(shard->spin_ns, READ_SPIN_NS)
						 : shard->spin_ns;

		if (shard_step(shard)) {
			busy_ns = clock_ns();
			/* The guest that was just served goes before more bulk work. */
			if (shard->tasks_active > 0)
				(void)sched_yield(); /* @shard sched_yield */
		} else if (spin(shard, busy_ns, spin_ns)) {
			busy_ns = clock_ns();
		} else {
			sleep_until_work(shard);
		}
	}
	shard->stop_command->outcome = 0;
	shard_answer(shard, shard->stop_command);
	return NULL;
}

int shard_await_begin(struct shard *shard)
{
	while (sem_wait(&shard->has_begun) < 0)
		ASSERT(errno == EINTR);
	if (shard->begin_error)
		(void)pthread_join(shard->thread, NULL);
	return shard->begin_error;
}
