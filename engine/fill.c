/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/fill.h"

#include <errno.h>
#include <string.h>

#include "engine/cipher.h"
#include "engine/copy_record.h"
#include "engine/engine_priv.h"
#include "engine/recorder.h"
#include "engine/resolve.h"
#include "engine/served.h"
#include "engine/shard.h"
#include "io/guest.h"
#include "io/token.h"
#include "io/uffd.h"
#include "io/uring.h"
#include "queue/base/assert.h"
#include "queue/base/clock.h"
#include "queue/base/err.h"
#include "queue/base/probe.h"

/* Reads under way up to which one more is submitted by itself. */
#define READS_AT_ONCE 2u
/* Pages read ahead that are copied in one turn, about 50 us: faults come in between. */
#define REPLAY_COPY_PAGES (2 * FAULT_READ_PAGES)

static void submit_read(struct shard *shard, struct fill *fill)
{
	uring_read_fixed(shard->ring, token_make(TOKEN_FILL, 0, fill_index(&shard->fills, fill)),
		shard->store_fd, fill->buffer, fill->count * (uint32_t)PAGE_BYTES,
		(uint64_t)fill->first_slot * PAGE_BYTES, 0);
	fill->phase = FILL_READING;
	shard->fills.reading++;
	/*
	 * At once: a disk with nothing to do is dearer than a call to the kernel for each read. One
	 * that has something to do gets the reads of all messages that came together in one call.
	 */
	if (fill->kind == FILL_FAULT && shard->fills.reading <= READS_AT_ONCE)
		(void)uring_submit(shard->ring);
}

static void begin(struct shard *shard, struct fill *fill, struct served *served, uint64_t page,
	uint32_t count)
{
	struct vm *vm = served->vm;

	ASSERT(count > 0);
	fill->vm = vm;
	fill->served = served;
	fill->first_page = page;
	fill->count = count;
	fill->next = 0;
	fill->tries = 0;
	fill->first_slot = page_slot_of(page_load(&vm->table, fill->first_page));
	for (uint32_t i = 0; i < fill->count; i++) {
		const page_word word = page_load(&vm->table, fill->first_page + i);

		ASSERT(page_slot_of(word) == fill->first_slot + i);
		page_move(&vm->table, shard_stats(shard, vm), fill->first_page + i,
			page_with_slot(PAGE_READING, page_slot_of(word), word & PAGE_STUCK));
	}
	PROBE(swap_in, reading);
	fill->served->fills++;
	submit_read(shard, fill);
}

bool fill_begin_fault(struct shard *shard, struct served *served, uint64_t page, uint32_t count,
	bool is_write, uint64_t read_ns)
{
	struct fill *fill = fills_take(&shard->fills, true);

	shard_assert_owner(shard);
	ASSERT(count <= FAULT_READ_PAGES);
	if (!fill)
		return false;
	fill->kind = FILL_FAULT;
	shard->fills.faults++;
	fill->is_write = is_write;
	fill->task = NULL;
	fill->read_ns = read_ns;
	fill->replay = 0;
	begin(shard, fill, served, page, count);
	stats_add(shard_stats(shard, fill->vm), STAT_readahead_pages, count - 1);
	return true;
}

bool fill_begin_replay(struct shard *shard, struct served *served, const struct replay_run *run)
{
	struct fill *fill;

	shard_assert_owner(shard);
	ASSERT(run->id != 0);
	ASSERT(run->count <= FAULT_READ_PAGES);
	if (FAULT_READS_MAX - shard->fills.fault_free >= REPLAY_READS_MAX)
		return false;
	fill = fills_take(&shard->fills, true);
	fill->kind = FILL_REPLAY;
	fill->is_write = false;
	fill->task = NULL;
	fill->replay = run->id;
	fill->replay_at = run->at;
	begin(shard, fill, served, run->page, run->count);
	stats_add(shard_stats(shard, fill->vm), STAT_replay_pages, run->count);
	return true;
}

/* The fill that brings @page, which is READING; NULL: a bulk one. */
static struct fill *find(struct fills *fills, const struct vm *vm, uint64_t page)
{
	for (uint32_t i = 0; i < FAULT_READS_MAX; i++) {
		struct fill *fill = &fills->fill[i];

		if (fill->phase != FILL_FREE && fill->vm == vm &&
			page >= fill->first_page + fill->next &&
			page < fill->first_page + fill->count)
			return fill;
	}
	return NULL;
}

bool fill_claim(struct shard *shard, const struct fault *fault, struct replay_run *ret_run)
{
	struct fill *fill = find(&shard->fills, fault->served->vm, fault->page);
	uint32_t i;

	shard_assert_owner(shard);
	if (!fill || fill->replay == 0)
		return false;
	if (fill->kind == FILL_REPLAY) {
		fill->kind = FILL_FAULT;
		fill->read_ns = fault->read_ns;
		shard->fills.faults++;
	}
	i = (uint32_t)(fault->page - fill->first_page);
	*ret_run = (struct replay_run){
		.page = fault->page,
		.count = 1,
		.id = fill->replay,
		.at = fill->replay_at + i,
	};
	return true;
}

bool fill_begin_bulk(struct shard *shard, struct task *task, struct served *served, uint64_t page,
	uint32_t count)
{
	struct fill *fill = fills_take(&shard->fills, false);

	shard_assert_owner(shard);
	ASSERT(count <= BULK_READ_PAGES);
	if (!fill)
		return false;
	fill->kind = FILL_BULK;
	fill->is_write = false;
	fill->task = task;
	fill->replay = 0;
	begin(shard, fill, served, page, count);
	return true;
}

struct fill *fill_begin_scrub(struct shard *shard, struct task *task, uint64_t page, uint32_t count)
{
	struct fill *fill = fills_take(&shard->fills, false);

	shard_assert_owner(shard);
	ASSERT(count > 0 && count <= BULK_READ_PAGES);
	if (!fill)
		return NULL;
	*fill = (struct fill){
		.kind = FILL_SCRUB,
		.vm = task->vm,
		.task = task,
		.first_page = page,
		.count = count,
		.first_slot = page_slot_of(page_load(&task->vm->table, page)),
		.buffer = fill->buffer,
	};
	submit_read(shard, fill);
	return fill;
}

void fill_end_scrub(struct shard *shard, struct fill *fill)
{
	ASSERT(fill->phase == FILL_READ);
	fills_put(&shard->fills, fill);
}

static void scrub_is_read(struct shard *shard, struct fill *fill, int32_t result)
{
	fill->phase = FILL_READ;
	if (result == (int32_t)(fill->count * PAGE_BYTES)) {
		stats_add(shard_stats(shard, fill->vm), STAT_read_bytes, (uint64_t)result);
		return;
	}
	fill->error = result < 0 ? result : -EIO;
	stats_add(shard_stats(shard, fill->vm), STAT_io_errors, 1);
}

static void end(struct shard *shard, struct fill *fill, int error)
{
	ASSERT(fill->served->fills > 0);
	fill->served->fills--;
	if (fill->phase == FILL_COPYING)
		shard->fills.copying--;
	if (fill->task)
		swapin_fill_done(fill->task, fill->next, error);
	/* Its buffer may go to the next of the replay. */
	if (fill->replay != 0)
		shard_want_replay(shard, fill->served);
	fills_put(&shard->fills, fill);
}

/* Pages from @from on go back to SWAPPED; who waits for them faults again. */
static void return_pages(struct shard *shard, struct fill *fill, uint32_t from)
{
	struct vm *vm = fill->vm;

	for (uint32_t i = from; i < fill->count; i++) {
		const page_word word = page_load(&vm->table, fill->first_page + i);

		page_move(&vm->table, shard_stats(shard, vm), fill->first_page + i,
			page_with_slot(PAGE_SWAPPED, page_slot_of(word), word & PAGE_STUCK));
	}
	PROBE(swap_in, returned);
	if (from < fill->count)
		resolve_wake_others(shard, vm, NULL, fill->first_page + from, fill->count - from);
	fill->count = from;
}

static void post(
	struct shard *shard, const struct fill *fill, enum engine_event_kind kind, int error)
{
	shard_post(shard, &(struct engine_event){
				  .kind = kind,
				  .vm = fill->vm,
				  .process = fill->served->process,
				  .page = fill->first_page,
				  .error = error,
			  });
}

static void lose_page(struct shard *shard, struct fill *fill, int error)
{
	struct vm *vm = fill->vm;
	const page_word word = page_load(&vm->table, fill->first_page);

	ASSERT(fill->count == 1);
	page_move(&vm->table, shard_stats(shard, vm), fill->first_page,
		page_with_slot(PAGE_POISONED, page_slot_of(word), 0));
	PROBE(swap_in, lost);
	stats_add(shard_stats(shard, vm), STAT_poisoned_pages, 1);
	resolve_poison(shard, vm, fill->first_page);
	post(shard, fill, ENGINE_PAGE_POISONED, error);
	end(shard, fill, -EIO);
}

/* Nobody waits for these pages, and a disk may come back: they stay out. */
static void leave_out(struct shard *shard, struct fill *fill, int error)
{
	if (fill->task)
		swapin_leave(fill->task, fill->first_page, fill->count);
	return_pages(shard, fill, 0);
	end(shard, fill, error);
}

/*
 * One bad page must not cost its neighbours: the first page alone is read again. Not what was read
 * ahead along a replay: whichever page a fault waits for then asks for itself.
 */
static bool may_split(const struct fill *fill)
{
	if (fill->count == 1 || fill->replay != 0)
		return false;
	return !fill->task || swapin_may_split(fill->task);
}

/* What a fault waits for, what the disk gave and is wrong, and what the operator gives up. */
static bool may_lose(const struct fill *fill, int error)
{
	if (fill->count > 1 || fill->kind == FILL_REPLAY)
		return false;
	return !fill->task || error == -EBADMSG || swapin_may_poison(fill->task);
}

static void read_failed(struct shard *shard, struct fill *fill, int error)
{
	stats_add(shard_stats(shard, fill->vm), STAT_io_errors, 1);
	if (may_split(fill)) {
		return_pages(shard, fill, 1);
		submit_read(shard, fill);
	} else if (fill->count == 1 && ++fill->tries < READ_TRIES_MAX) {
		post(shard, fill, ENGINE_READ_ERROR, error);
		submit_read(shard, fill);
	} else if (may_lose(fill, error)) {
		lose_page(shard, fill, error);
	} else {
		leave_out(shard, fill, error);
	}
}

bool fill_open_page(const struct shard *shard, const struct fill *fill, uint32_t i)
{
	struct cipher *cipher = fill->vm->shard[shard->id].cipher;
	uint8_t *content = fill->buffer + i * PAGE_BYTES;
	const struct cipher_place place = {
		.page = fill->first_page + i,
		.slot = fill->first_slot + i,
		.digest = page_digest(&fill->vm->table, fill->first_page + i),
	};

	ASSERT(i < fill->count);
	if (cipher)
		cipher_decrypt_page(cipher, &place, content);
	return content_digest(&shard->engine->secret, content) == place.digest;
}

/* Decrypts and checks up to @pages. */
static void open_step(struct shard *shard, struct fill *fill, uint32_t pages)
{
	const uint32_t end = fill->opened + MIN(pages, fill->count - fill->opened);
	bool is_right = true;

	for (; fill->opened < end && is_right; fill->opened++)
		is_right = fill_open_page(shard, fill, fill->opened);
	if (is_right && fill->opened < fill->count)
		return;
	shard->fills.opening--;
	if (is_right) {
		fill->phase = FILL_COPYING;
		PROBE(swap_in, opened);
		return;
	}
	shard->fills.copying--;
	read_failed(shard, fill, -EBADMSG);
}

static void begin_opening(struct shard *shard, struct fill *fill)
{
	fill->phase = FILL_OPENING;
	fill->opened = 0;
	shard->fills.copying++;
	shard->fills.opening++;
	if (fill->kind == FILL_FAULT)
		open_step(shard, fill, UINT32_MAX);
}

/* A step of the fills of @kind that are to be opened, @pages in all. */
static bool open_each(struct shard *shard, enum fill_kind kind, uint32_t pages)
{
	bool is_busy = false;

	for (uint32_t i = 0; i < FILLS_MAX && shard->fills.opening > 0 && pages > 0; i++) {
		struct fill *fill = &shard->fills.fill[i];
		const uint32_t step = MIN(pages, fill->count - fill->opened);

		if (fill->phase != FILL_OPENING || fill->kind != kind)
			continue;
		open_step(shard, fill, step);
		is_busy = true;
		pages -= step;
	}
	return is_busy;
}

void fill_read_done(struct shard *shard, uint32_t index, int32_t result)
{
	struct fill *fill = &shard->fills.fill[index];

	shard_assert_owner(shard);
	ASSERT(index < FILLS_MAX);
	ASSERT(fill->phase == FILL_READING);
	shard->fills.reading--;
	if (fill->kind == FILL_SCRUB) {
		scrub_is_read(shard, fill, result);
		return;
	}
	if (result != (int32_t)(fill->count * PAGE_BYTES)) {
		read_failed(shard, fill, result < 0 ? result : -EIO);
		return;
	}
	PROBE(swap_in, read);
	stats_add(shard_stats(shard, fill->vm), STAT_read_bytes, (uint64_t)result);
	begin_opening(shard, fill);
}

/* The page is in RAM now, with its slot if that still holds the content. */
static void page_is_in(struct shard *shard, struct fill *fill, uint32_t i, bool keeps_slot)
{
	struct vm *vm = fill->vm;
	const uint64_t page = fill->first_page + i;
	const page_word word = page_load(&vm->table, page);

	ASSERT(page_state_of(word) == PAGE_READING);
	if (keeps_slot)
		page_move(&vm->table, shard_stats(shard, vm), page,
			page_with_slot(PAGE_RESIDENT, page_slot_of(word), 0));
	else
		shard_drop_slot(shard, vm, page, PAGE_RESIDENT);
}

static void mark_page(struct shard *shard, const struct fill *fill, uint64_t page, uint32_t flag)
{
	const page_word word = page_load(&fill->vm->table, page);

	page_move(&fill->vm->table, shard_stats(shard, fill->vm), page,
		page_with_slot(PAGE_READING, page_slot_of(word), flag));
}

/* The next page, through the alias: no process may map it. */
static void put_in_file(struct shard *shard, const struct fill *fill)
{
	const uint64_t page = fill->first_page + fill->next;
	uint8_t *alias;

	/* For a successor, too: the page must not be used, it may be half of what it should be. */
	mark_page(shard, fill, page, PAGE_STUCK);
	PROBE(swap_in, refilling);
	alias = vm_watch(fill->vm, page);
	memcpy(alias, fill->buffer + fill->next * PAGE_BYTES, PAGE_BYTES);
	(void)vm_is_cut(fill->vm, page); /* what is resolved next meets the same end of the file */
	guest_alias_drop(alias, PAGE_BYTES);
	PROBE(swap_in, refilled);
}

/*
 * The page cache holds a page that is not the content (a punch that was refused, memory the VMM
 * allocated there, zeros that a process saw that is not attached). No attached process maps it
 * while the page is READING, so it may be overwritten in place. False: the kernel wants a retry.
 */
static bool refill(struct shard *shard, struct fill *fill, bool with_mark, bool keeps_slot)
{
	const uint64_t page = fill->first_page + fill->next;
	struct copy_record *record = vm_copy_record(fill->vm, shard->id);
	uint32_t pages = 1;
	uint64_t address;
	int error = -ENOENT;
	bool is_later;

	put_in_file(shard, fill);
	copy_record_begin(record, page, 1);
	if (resolve_address(fill->served, page, &pages, &address))
		error = uffd_continue_page(fill->served->uffd, &record->call, address, with_mark);
	is_later = error == -EAGAIN || error == -ENOMEM || error == -ENOSPC;
	if (error == -EFAULT) {
		mark_page(shard, fill, page, 0); /* the VMM has given it back: it can be copied */
	} else if (!is_later) {
		if (error == -EEXIST)
			resolve_wake(fill->served, page, 1);
		stats_add(shard_stats(shard, fill->vm), STAT_refilled_pages, 1);
		page_is_in(shard, fill, fill->next++, keeps_slot && error == 0);
	}
	copy_record_end(record);
	return !is_later;
}

static void finish(struct shard *shard, struct fill *fill)
{
	struct stats_block *stats = shard_stats(shard, fill->vm);
	struct recorder *recorder = shard_of_vm(shard, fill->vm)->recorder;

	PROBE(swap_in, resident);
	resolve_wake_others(shard, fill->vm, fill->served, fill->first_page, fill->next);
	if (fill->kind == FILL_FAULT) {
		/* Who has its page faults again soon, and a look costs less than to be told. */
		fill->served->is_readable = !fill->served->leaving;
		stats_add(stats, STAT_faults_file, 1);
		histogram_add(&stats->latency[LATENCY_FILE], clock_ns() - fill->read_ns);
		if (recorder)
			recorder_add(recorder, LATENCY_FILE, fill->first_page, fill->is_write,
				fill->read_ns);
	}
	end(shard, fill, 0);
}

/*
 * The process, its mapping or the page (EFAULT) is gone: the rest waits for another reader. -EXDEV:
 * another process maps it.
 */
static void give_up(struct shard *shard, struct fill *fill, int error)
{
	fill->served->is_dead |= error == -ESRCH;
	return_pages(shard, fill, fill->next);
	if (fill->next > 0)
		resolve_wake_others(shard, fill->vm, fill->served, fill->first_page, fill->next);
	/* A mapping that is gone without a message yet: who asks again finds what came of it. */
	end(shard, fill, error == -ESRCH || error == -EXDEV ? 0 : -ESRCH);
}

/*
 * The next page is where @fill's process maps nothing (any more). What no process maps goes into
 * the file, as after a disable: whoever maps it later finds it there.
 */
static void bring_to_nobody(struct shard *shard, struct fill *fill)
{
	if (fill->kind != FILL_BULK) {
		give_up(shard, fill, -ENOENT);
	} else if (served_of_page(shard, fill->vm, fill->first_page + fill->next)) {
		give_up(shard, fill, -EXDEV);
	} else {
		put_in_file(shard, fill);
		page_is_in(shard, fill, fill->next++, false);
		if (fill->next == fill->count)
			finish(shard, fill);
	}
}

/* One step of copies. True unless the kernel wants a retry. */
static bool copy_step(struct shard *shard, struct fill *fill)
{
	const bool is_written = fill->is_write && fill->next == 0;
	const bool marks = atomic_load_explicit(&fill->vm->has_marks, memory_order_relaxed);
	const bool with_mark = marks && !is_written;
	struct copy_record *record = vm_copy_record(fill->vm, shard->id);
	uint32_t pages = is_written ? 1 : MIN(FAULT_READ_PAGES, fill->count - fill->next);
	uint64_t address;
	uint64_t done;
	int error;

	if (!resolve_address(fill->served, fill->first_page + fill->next, &pages, &address)) {
		bring_to_nobody(shard, fill);
		return true;
	}
	copy_record_begin(record, fill->first_page + fill->next, pages);
	PROBE(swap_in, copying);
	error = uffd_copy(fill->served->uffd, &record->call, address,
		fill->buffer + fill->next * PAGE_BYTES, pages * PAGE_BYTES, with_mark);
	done = uffd_call_done(&record->call);
	PROBE(swap_in, copied);
	for (uint64_t i = 0; i < done / PAGE_BYTES; i++)
		page_is_in(shard, fill, fill->next++, !is_written);
	copy_record_end(record);
	if (error == -EEXIST && !refill(shard, fill, with_mark, !is_written))
		return false;
	if (error == -ESRCH || error == -ENOENT || error == -EINVAL || error == -EFAULT) {
		give_up(shard, fill, error);
		return true;
	}
	if (fill->next == fill->count) {
		finish(shard, fill);
		return true;
	}
	return error == 0 || error == -EEXIST || done > 0;
}

/* A step of the fills of @kind, until @pages are copied. */
static bool copy_each(struct shard *shard, enum fill_kind kind, uint32_t pages)
{
	bool is_busy = false;

	for (uint32_t i = 0; i < FILLS_MAX && shard->fills.copying > 0 && pages > 0; i++) {
		struct fill *fill = &shard->fills.fill[i];
		const uint32_t step = MIN(FAULT_READ_PAGES, fill->count - fill->next);

		if (fill->phase != FILL_COPYING || fill->kind != kind || !copy_step(shard, fill))
			continue;
		is_busy = true;
		pages -= MIN(step, pages);
	}
	return is_busy;
}

bool fill_copy_step(struct shard *shard)
{
	bool is_busy = false;

	shard_assert_owner(shard);
	if (shard->fills.opening > 0) {
		is_busy |= open_each(shard, FILL_FAULT, UINT32_MAX);
		is_busy |= open_each(shard, FILL_REPLAY, REPLAY_COPY_PAGES);
		is_busy |= open_each(shard, FILL_BULK, STEP_PAGES);
	}
	if (shard->fills.faults > 0)
		is_busy |= copy_each(shard, FILL_FAULT, UINT32_MAX);
	is_busy |= copy_each(shard, FILL_REPLAY, REPLAY_COPY_PAGES);
	is_busy |= copy_each(shard, FILL_BULK, UINT32_MAX);
	return is_busy;
}
