/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Taking staged pages of one chunk out of RAM.
 *
 *   CLASSIFY  each staged page: zero, clean (its slot holds it), or to be written. Content is read
 *             through the alias; nobody maps the page, and the dwell has outlasted any DMA
 *   WRITE     slots are taken in runs, pages become WRITING, one gathered write a run. With
 *             encryption the run goes through a buffer, which is filled in steps
 *   WRITING   as writes end, pages that are still WRITING to the same slot become clean
 *   PUNCH     zero and clean pages that are still staged become PUNCHING (the slot is the truth
 *             from here on: rule 7), and their runs are punched. No write is in flight on the
 *             chunk, so no reference of ours makes a huge folio keep its pages (rule 6)
 *   PUNCHING  as punches end the page cache is asked what it still holds. What is still there is
 *             punched again, then declared stuck: its slot stays the truth
 *
 * A page that is touched on the way leaves the chain by itself: every step looks at the state
 * again. A failed write costs the slots of its run, never a page.
 */
#include <errno.h>
#include <string.h>

#include "engine/cipher.h"
#include "engine/command.h"
#include "engine/engine_priv.h"
#include "engine/seal.h"
#include "engine/shard.h"
#include "engine/task.h"
#include "io/guest.h"
#include "io/slots.h"
#include "io/token.h"
#include "io/uring.h"
#include "queue/base/assert.h"
#include "queue/base/clock.h"
#include "queue/base/probe.h"

/* A page whose punch is refused this often is stuck. */
#define PUNCH_TRIES_MAX 2u

static page_word word_of(const struct task *task, uint32_t i)
{
	return page_load(&task->vm->table, task->first_page + i);
}

static void move(struct shard *shard, struct task *task, uint32_t i, page_word to)
{
	page_move(&task->vm->table, shard_stats(shard, task->vm), task->first_page + i, to);
}

bool evict_begin(struct shard *shard, struct task *task)
{
	const struct chunk_summary *chunk = page_chunk(&task->vm->table, task->first_page);
	const uint64_t settled = atomic_load_explicit(&chunk->settled_ns, memory_order_relaxed);
	const uint64_t dwell_ms = atomic_load_explicit(&task->vm->dwell_ms, memory_order_relaxed);
	struct dispatch_result *result = &task->command->result;

	shard_assert_owner(shard);
	if (chunk_is_zapped(chunk)) {
		result->left_pages = atomic_load_explicit(&chunk->staged, memory_order_relaxed);
		return false;
	}
	if (clock_ns() < settled + dwell_ms * NS_PER_MS) {
		result->next_ready_ns = settled + dwell_ms * NS_PER_MS;
		result->left_pages = atomic_load_explicit(&chunk->staged, memory_order_relaxed);
		return false;
	}
	return true;
}

/* Told once a chunk and round: the pages stay, and the VMM knows what it did. */
static void report_cut(struct shard *shard, struct task *task, uint32_t i)
{
	if (task->command->result.error == -ESTALE)
		return;
	task->command->result.error = -ESTALE;
	shard_post(shard, &(struct engine_event){
				  .kind = ENGINE_MEMORY_TRUNCATED,
				  .vm = task->vm,
				  .page = task->first_page + i,
				  .error = -ESTALE,
			  });
}

/* The digest, where it is wanted and the page not zero, is the task's. False when the page is gone
 * from the file. */
static bool look(
	struct shard *shard, struct task *task, uint32_t i, bool wants_digest, bool *ret_is_zero)
{
	const uint64_t page = task->first_page + i;
	const uint8_t *content = vm_watch(task->vm, page);
	const bool is_zero = content_is_zero(content);

	if (wants_digest && !is_zero)
		task->digest[i] = content_digest(&shard->engine->secret, content);
	if (vm_is_cut(task->vm, page)) {
		report_cut(shard, task, i);
		return false;
	}
	*ret_is_zero = is_zero;
	return true;
}

/* Pages whose slot is trusted by mark are not even looked at when @verify is off. */
static enum verdict classify(struct shard *shard, struct task *task, uint32_t i)
{
	struct vm *vm = task->vm;
	const uint64_t page = task->first_page + i;
	const page_word word = page_load(&vm->table, page);
	/* A trim drops, besides zeros, only what a slot holds: the digest of the rest is no use. */
	const bool wants_digest = page_has_slot(word) || task->command->op != CHUNK_TRIM;
	bool is_zero;

	if (page_state_of(word) != PAGE_STAGED)
		return VERDICT_KEEP;
	/* A mark speaks for the one process it was made in. */
	if (page_is_clean(word) && !vm->verify_clean &&
		atomic_load_explicit(&vm->has_marks, memory_order_relaxed))
		return VERDICT_CLEAN;
	task->has_read_alias = true;
	if (!look(shard, task, i, wants_digest, &is_zero))
		return VERDICT_KEEP;
	if (is_zero)
		return VERDICT_ZERO;
	if (!wants_digest)
		return VERDICT_KEEP;
	if (page_has_slot(word)) {
		if (task->digest[i] == page_digest(&vm->table, page)) {
			move(shard, task, i,
				page_with_slot(PAGE_STAGED, page_slot_of(word), PAGE_CLEAN));
			return VERDICT_CLEAN;
		}
		if (page_is_clean(word))
			stats_add(shard_stats(shard, vm), STAT_false_clean_pages, 1);
		shard_drop_slot(shard, vm, page, PAGE_STAGED);
	}
	return task->command->op == CHUNK_OUT ? VERDICT_WRITE : VERDICT_KEEP;
}

static void begin_punching(struct task *task)
{
	task->phase = TASK_PUNCH;
	task->cursor = 0;
}

static void begin_writing(struct task *task)
{
	task->phase = TASK_WRITE;
	task->cursor = 0;
	task->next_run = 0;
}

static void step_classify(struct shard *shard, struct task *task)
{
	const uint32_t end = MIN(task->cursor + STEP_PAGES, task->pages);

	for (; task->cursor < end; task->cursor++)
		task->verdict[task->cursor] = (uint8_t)classify(shard, task, task->cursor);
	if (task->cursor < task->pages)
		return;
	if (task->command->op == CHUNK_OUT)
		begin_writing(task);
	else
		begin_punching(task);
}

static bool wants_write(const struct task *task, uint32_t i)
{
	const page_word word = word_of(task, i);

	/* Clean: it was written in an earlier round. */
	return task->verdict[i] == VERDICT_WRITE && page_state_of(word) == PAGE_STAGED &&
	       !page_is_clean(word);
}

static uint32_t count_writes(const struct task *task, uint32_t from)
{
	uint32_t count = 0;

	for (uint32_t i = from; i < task->pages; i++)
		count += wants_write(task, i);
	return count;
}

/* Makes the next page that wants to be written element @element of a run, with @slot. */
static void gather(struct shard *shard, struct task *task, uint32_t element, uint32_t slot)
{
	const uint32_t i = task->cursor++;
	const uint64_t page = task->first_page + i;

	page_set_digest(&task->vm->table, page, task->digest[i]);
	task->slot[i] = slot;
	task->vector_page[element] = (uint16_t)i;
	move(shard, task, i, page_with_slot(PAGE_WRITING, slot, 0));
}

/* Where the pages of elements [@run, @end) lie; neighbours are one piece. Returns the pieces. */
static uint32_t fill_vector(struct task *task, uint32_t run, uint32_t end)
{
	uint32_t count = 0;

	for (uint32_t element = run; element < end; element++) {
		const uint32_t i = task->vector_page[element];

		if (element > run && i == task->vector_page[element - 1] + 1u)
			task->vector[run + count - 1].iov_len += PAGE_BYTES;
		else
			task->vector[run + count++] = (struct iovec){
				.iov_base = vm_alias(task->vm, task->first_page + i),
				.iov_len = PAGE_BYTES,
			};
	}
	return count;
}

/* The next @count pages that want to be written are a run, in the slots from @slot on. */
static void gather_run(struct shard *shard, struct task *task, uint32_t slot, uint32_t count)
{
	const uint32_t run = task->next_run;

	task->run_pages[run] = (uint16_t)count;
	for (uint32_t i = 0; i < count; i++) {
		while (!wants_write(task, task->cursor))
			task->cursor++;
		gather(shard, task, run + i, slot + i);
	}
}

/* One run of slots, one gathered write of the first @pieces of its vector. */
static void submit_write(struct shard *shard, struct task *task, uint32_t pieces)
{
	const uint32_t index = (uint32_t)(task - shard->tasks);
	const uint32_t run = task->next_run;
	const uint64_t slot = task->slot[task->vector_page[run]];

	uring_writev(shard->ring, token_make(TOKEN_WRITE, run, index), shard->store_fd,
		&task->vector[run], pieces, slot * PAGE_BYTES);
	task->next_run += task->run_pages[run];
	task->in_flight++;
}

/*
 * A page that was touched meanwhile is not what its digest says any more, and its slot is given
 * back when the write ends: the buffer keeps what it held, which was encrypted too.
 */
static void seal_page(struct shard *shard, struct task *task, uint32_t i, uint8_t *sealed)
{
	const struct cipher_place place = {
		.page = task->first_page + i,
		.slot = task->slot[i],
		.digest = task->digest[i],
	};
	const page_word word = word_of(task, i);

	if (page_state_of(word) != PAGE_WRITING || page_slot_of(word) != place.slot)
		return;
	cipher_encrypt_page(shard_of_vm(shard, task->vm)->cipher, &place,
		vm_watch(task->vm, place.page), sealed);
	/* Then the buffer holds nothing, and the end of the write finds that out as well. */
	if (vm_is_cut(task->vm, place.page))
		report_cut(shard, task, i);
}

/* A step of the run at next_run, and its write after the last one. */
static void step_seal(struct shard *shard, struct task *task)
{
	const uint32_t run = task->next_run;
	const uint32_t pages = task->run_pages[run];
	const uint32_t end = MIN(task->sealed + STEP_PAGES, pages);
	uint8_t *buffer = seal_buffer(&shard->seals, task->run_seal[run]);

	for (; task->sealed < end; task->sealed++)
		seal_page(shard, task, task->vector_page[run + task->sealed],
			buffer + task->sealed * PAGE_BYTES);
	if (task->sealed < pages)
		return;
	PROBE(swap_out, sealed);
	task->is_sealing = false;
	task->vector[run] = (struct iovec){.iov_base = buffer, .iov_len = pages * PAGE_BYTES};
	submit_write(shard, task, 1);
}

static void begin_run(struct shard *shard, struct task *task, uint32_t slot, uint32_t count)
{
	const uint32_t run = task->next_run;

	gather_run(shard, task, slot, count);
	PROBE(swap_out, writing);
	if (!shard_of_vm(shard, task->vm)->cipher) {
		submit_write(shard, task, fill_vector(task, run, run + count));
		return;
	}
	task->run_seal[run] = seal_take(&shard->seals);
	task->sealed = 0;
	task->is_sealing = true;
}

/* All buffers are on their way to the disk: the end of a write gives one back. */
static bool must_wait_for_seal(const struct shard *shard, const struct task *task)
{
	return task->vm->shard[shard->id].cipher && seals_are_out(&shard->seals);
}

/*
 * One write: submitting a large one takes as long as several faults. The phase ends when nothing
 * ahead of the cursor wants to be written any more, or too many are in flight; what is left, and
 * what was staged again behind it, is written when these have ended. False when it must wait.
 */
static bool step_write(struct shard *shard, struct task *task)
{
	const uint32_t wanted = MIN(count_writes(task, task->cursor), WRITE_PAGES);
	const bool may_write =
		wanted > 0 && task->in_flight < TASK_RUNS_MAX && !task->command->result.error;
	uint32_t slot = 0;
	uint32_t got;

	if (may_write && must_wait_for_seal(shard, task))
		return false;
	got = may_write ? slots_take(shard->slots, wanted, &slot) : 0;
	if (got > 0) {
		begin_run(shard, task, slot, got);
		return true;
	}
	if (may_write)
		task->command->result.error = -ENOSPC;
	if (task->in_flight > 0)
		task->phase = TASK_WRITING;
	else
		begin_punching(task);
	return true;
}

/*
 * The guest may have discarded the page since it was classified, and the disk may then have got
 * zeros for it. The page was not zero then and can only have become zero since (a touch would have
 * moved it), so if it is not zero now, what was written is its content.
 * The same for a page that was cut off with the end of the file.
 */
static bool was_discarded(const struct task *task, uint32_t i)
{
	const uint64_t page = task->first_page + i;
	const bool is_zero = content_is_zero(vm_watch(task->vm, page));

	return vm_is_cut(task->vm, page) || is_zero;
}

/*
 * Not the fault of a place on the disk: no space, a quota, no memory for the request, or what was
 * cut off the guest's memory (EFAULT). The next try may do better, there as anywhere.
 */
static bool may_heal(int error)
{
	return error == -ENOSPC || error == -EDQUOT || error == -ENOMEM || error == -EFAULT;
}

/* Whether the page still is what was written is told by state and slot. */
static void page_written(struct shard *shard, struct task *task, uint32_t i, int error)
{
	const page_word word = word_of(task, i);
	const uint32_t slot = task->slot[i];
	const bool is_same = page_state_of(word) == PAGE_WRITING && page_slot_of(word) == slot;

	if (is_same && !error && !was_discarded(task, i)) {
		move(shard, task, i, page_with_slot(PAGE_STAGED, slot, PAGE_CLEAN));
		return;
	}
	if (is_same)
		move(shard, task, i, page_plain(PAGE_STAGED));
	/* Not tried again in this round. */
	task->verdict[i] = VERDICT_KEEP;
	if (error && !may_heal(error))
		slots_retire(shard->slots, slot);
	else
		slots_put(shard->slots, slot);
}

static int write_error(int32_t result, uint32_t pages)
{
	if (result < 0)
		return result;
	/* O_DIRECT writes stop short where the file system has no more space. */
	return result == (int32_t)(pages * PAGE_BYTES) ? 0 : -ENOSPC;
}

static void report_write_error(struct shard *shard, struct task *task, uint32_t i, int error)
{
	task->command->result.error = error;
	stats_add(shard_stats(shard, task->vm), STAT_io_errors, 1);
	shard_post(shard, &(struct engine_event){
				  .kind = ENGINE_WRITE_ERROR,
				  .vm = task->vm,
				  .page = task->first_page + i,
				  .error = error,
			  });
}

void task_write_done(struct shard *shard, uint32_t index, uint32_t run, int32_t result)
{
	struct task *task = &shard->tasks[index];
	const uint32_t pages = task->run_pages[run];
	const int error = write_error(result, pages);

	shard_assert_owner(shard);
	ASSERT(task->phase == TASK_WRITE || task->phase == TASK_WRITING);
	ASSERT(task->in_flight > 0);
	if (shard_of_vm(shard, task->vm)->cipher)
		seal_put(&shard->seals, task->run_seal[run]);
	if (error == -EFAULT) {
		report_cut(shard, task, task->vector_page[run]);
	} else if (error) {
		report_write_error(shard, task, task->vector_page[run], error);
	} else {
		task->command->result.bytes += (uint64_t)result;
		stats_add(shard_stats(shard, task->vm), STAT_written_bytes, (uint64_t)result);
	}
	PROBE(swap_out, written);
	for (uint32_t element = run; element < run + pages; element++)
		page_written(shard, task, task->vector_page[element], error);
	PROBE(swap_out, clean);
	if (--task->in_flight > 0 || task->phase == TASK_WRITE)
		return;
	/* After an error the rest stays in RAM: such a disk is not asked again in this round. */
	if (!task->command->result.error && count_writes(task, 0) > 0)
		begin_writing(task);
	else
		begin_punching(task);
}

/* A page leaves RAM: its slot, or zero, is the truth from this store on. */
static bool begin_punch(struct shard *shard, struct task *task, uint32_t i)
{
	struct stats_block *stats = shard_stats(shard, task->vm);
	struct dispatch_result *result = &task->command->result;
	const page_word word = word_of(task, i);

	if (page_state_of(word) != PAGE_STAGED)
		return false;
	if (task->verdict[i] == VERDICT_ZERO) {
		if (page_has_slot(word))
			shard_drop_slot(shard, task->vm, task->first_page + i, PAGE_STAGED);
		move(shard, task, i, page_plain(PAGE_PUNCHING));
		result->zero_pages++;
		stats_add(stats, STAT_trimmed_zero_pages, 1);
		return true;
	}
	if (task->verdict[i] == VERDICT_KEEP || !page_is_clean(word))
		return false;
	move(shard, task, i, page_with_slot(PAGE_PUNCHING, page_slot_of(word), 0));
	if (task->verdict[i] == VERDICT_CLEAN) {
		result->clean_pages++;
		stats_add(stats, STAT_trimmed_clean_pages, 1);
	}
	return true;
}

/* The run of PUNCHING pages in [@from, cursor); false when there is none. */
static bool next_run(const struct task *task, uint32_t from, uint32_t *ret_first, uint32_t *ret_end)
{
	while (from < task->cursor && page_state_of(word_of(task, from)) != PAGE_PUNCHING)
		from++;
	*ret_first = from;
	while (from < task->cursor && page_state_of(word_of(task, from)) == PAGE_PUNCHING)
		from++;
	*ret_end = from;
	return *ret_first < *ret_end;
}

/*
 * The ring's puncher does them one after the other, which is all the inode's lock allows. What the
 * alias maps goes first, at once: taking it out of our page table page by page doubles a punch.
 */
static void submit_punches(struct shard *shard, struct task *task)
{
	const uint64_t token = token_make(TOKEN_PUNCH, 0, (uint32_t)(task - shard->tasks));
	const int memfd = vm_region_of_chunk(task->vm, task->command->chunk)->memfd;
	uint32_t first;
	uint32_t end;
	bool is_more = next_run(task, task->punch_first, &first, &end);

	ASSERT(is_more);
	task->phase = TASK_PUNCHING;
	if (task->has_read_alias)
		guest_alias_drop(vm_alias(task->vm, task->first_page), task->pages * PAGE_BYTES);
	task->has_read_alias = false;
	while (is_more) {
		const uint64_t offset = vm_file_offset(task->vm, task->first_page + first);
		const uint64_t size = (end - first) * PAGE_BYTES;

		task->in_flight++;
		is_more = next_run(task, end, &first, &end);
		uring_punch(shard->ring, token, memfd, offset, size);
	}
	ASSERT(task->in_flight <= TASK_RUNS_MAX);
}

static void finish(struct task *task)
{
	const struct chunk_summary *chunk = page_chunk(&task->vm->table, task->first_page);
	struct dispatch_result *result = &task->command->result;

	if (task->command->op == CHUNK_OUT)
		result->left_pages = atomic_load_explicit(&chunk->staged, memory_order_relaxed);
	/* What was read but not punched is still in our page table, and would make zaps dearer. */
	if (task->has_read_alias)
		guest_alias_drop(vm_alias(task->vm, task->first_page), task->pages * PAGE_BYTES);
	task->phase = TASK_DONE;
}

/* Pages from the cursor on, up to TASK_RUNS_MAX runs of them. */
static void step_punch(struct shard *shard, struct task *task)
{
	uint32_t count = 0;
	uint32_t runs = 0;
	bool is_in_run = false;

	ASSERT(task->in_flight == 0);
	task->punch_first = task->cursor;
	task->punch_tries = 0;
	for (; task->cursor < task->pages; task->cursor++) {
		if (!is_in_run && runs == TASK_RUNS_MAX)
			break;
		if (begin_punch(shard, task, task->cursor)) {
			runs += !is_in_run;
			is_in_run = true;
			count++;
		} else {
			is_in_run = false;
		}
	}
	PROBE(swap_out, punching);
	task->command->result.pages += count;
	if (count > 0)
		submit_punches(shard, task);
	else
		finish(task);
}

static void end_punch(struct shard *shard, struct task *task, uint32_t i, bool is_held)
{
	const page_word word = word_of(task, i);

	if (is_held)
		stats_add(shard_stats(shard, task->vm), STAT_stuck_pages, 1);
	if (page_has_slot(word))
		move(shard, task, i,
			page_with_slot(PAGE_SWAPPED, page_slot_of(word), is_held ? PAGE_STUCK : 0));
	else
		move(shard, task, i, page_plain(PAGE_EMPTY));
}

static void punches_ended(struct shard *shard, struct task *task)
{
	const bool is_last = ++task->punch_tries >= PUNCH_TRIES_MAX;
	uint64_t held[BITMAP_WORDS(CHUNK_PAGES)];
	bool is_again = false;

	/* When it cannot be told, held is the safe answer: the slot is the truth either way. */
	if (guest_cached(vm_alias(task->vm, task->first_page), task->pages, held))
		memset(held, 0xff, sizeof(held));
	PROBE(swap_out, punched);
	for (uint32_t i = task->punch_first; i < task->cursor; i++) {
		if (page_state_of(word_of(task, i)) != PAGE_PUNCHING)
			continue;
		if (bit_get(held, i) && !is_last)
			is_again = true;
		else
			end_punch(shard, task, i, bit_get(held, i));
	}
	PROBE(swap_out, out);
	if (is_again)
		submit_punches(shard, task);
	else
		task->phase = TASK_PUNCH;
}

void task_punch_done(struct shard *shard, uint32_t index, int32_t result)
{
	struct task *task = &shard->tasks[index];

	shard_assert_owner(shard);
	ASSERT(task->phase == TASK_PUNCHING);
	ASSERT(task->in_flight > 0);
	/* What the page cache still holds says what is to be done. */
	if (result < 0)
		stats_add(shard_stats(shard, task->vm), STAT_io_errors, 1);
	if (--task->in_flight == 0)
		punches_ended(shard, task);
}

bool evict_step(struct shard *shard, struct task *task)
{
	shard_assert_owner(shard);
	if (task->phase == TASK_CLASSIFY)
		step_classify(shard, task);
	else if (task->phase == TASK_WRITE && task->is_sealing)
		step_seal(shard, task);
	else if (task->phase == TASK_WRITE)
		return step_write(shard, task);
	else
		step_punch(shard, task);
	return true;
}
