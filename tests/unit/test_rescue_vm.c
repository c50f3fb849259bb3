/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tables of a VM as a death may leave them, made by hand over real memory and real
 * userfaultfds; this process is the monitor. Memory is not touched before the rescue is over: that
 * would wait for ever.
 */
#include "ctl/rescue/rescue_vm.h"

#include <criterion/criterion.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ctl/rescue/events.h"
#include "ctl/rescue/result.h"
#include "engine/cipher.h"
#include "engine/content.h"
#include "engine/layout.h"
#include "engine/page_table.h"
#include "engine/successor.h"
#include "io/uffd.h"
#include "queue/base/err.h"

#define SHARDS	2u
#define REGIONS 2u
/* The first region ends in the middle of its second chunk. */
#define FIRST_PAGES  (CHUNK_PAGES + 100)
#define SECOND_FIRST (2 * CHUNK_PAGES)
#define SECOND_PAGES 8u
#define TABLE_PAGES  (3 * CHUNK_PAGES)
#define FILE_PAGES   (FIRST_PAGES + SECOND_PAGES)
#define STORE_SLOTS  64u
#define GARBAGE	     0xeeu

static struct {
	int memfd;
	int store;
	uint8_t *memory; /* of the memfd, where nothing is registered */
	uint8_t *guest;
	int uffds[SHARDS];
	struct shared engine_header, header, key;
	struct page_table table;
	struct cipher *cipher;
	uint64_t address[REGIONS];
	struct process_spec process;
	struct region_spec regions[REGIONS];
	int engine_parts[ENGINE_PARTS];
	int vm_parts[VM_PARTS];
	struct rescue_events events;
	struct rescue_vm_config config;
	struct rescue_result result;
	uint32_t more_features; /* of the userfaultfds */
	struct engine_child kept[SHARDS];
	uint32_t kept_count;
} rig;

/* Where the page lies in the file. */
static uint64_t place_of(uint64_t page)
{
	return page < SECOND_FIRST ? page : page - SECOND_FIRST + FIRST_PAGES;
}

static void fill(uint8_t *buffer, uint64_t page)
{
	for (uint32_t i = 0; i < PAGE_BYTES; i++)
		buffer[i] = (uint8_t)(page * 31 + i * 7 + 1);
}

static void set_word(uint64_t page, page_word word)
{
	cr_assert(page_word_is_valid(word));
	atomic_store(&rig.table.words[page], word);
}

/* The page is in @slot of the store; its word is @state. */
static void put_out(uint64_t page, enum page_state state, uint32_t slot, uint32_t flags)
{
	static _Alignas(PAGE_BYTES) uint8_t buffer[PAGE_BYTES];
	const struct engine_header *engine = rig.engine_header.memory;
	struct cipher_place place = {.page = page, .slot = slot};

	fill(buffer, page);
	place.digest = content_digest(&engine->secret, buffer);
	page_set_digest(&rig.table, page, place.digest);
	if (rig.cipher)
		cipher_encrypt_page(rig.cipher, &place, buffer, buffer);
	cr_assert_eq(pwrite(rig.store, buffer, PAGE_BYTES, (off_t)(slot * PAGE_BYTES)),
		(ssize_t)PAGE_BYTES);
	set_word(page, page_with_slot(state, slot, flags));
}

/* The dead were copying @pages from @page on, and the kernel has done @done of them. */
static void record_copies(uint64_t page, uint64_t pages, uint64_t done)
{
	struct vm_header *header = rig.header.memory;
	struct copy_record *record = &header->copying[page / CHUNK_PAGES % SHARDS];

	copy_record_begin(record, page, pages);
	record->call.word[4] = done * PAGE_BYTES;
}

static void cache(uint64_t page, uint8_t byte)
{
	memset(rig.memory + place_of(page) * PAGE_BYTES, byte, PAGE_BYTES);
}

static void make_memory(void)
{
	const size_t size = FILE_PAGES * PAGE_BYTES;

	rig.memfd = memfd_create("guest", MFD_CLOEXEC);
	rig.store = memfd_create("store", MFD_CLOEXEC);
	cr_assert_eq(ftruncate(rig.memfd, (off_t)size), 0);
	cr_assert_eq(ftruncate(rig.store, (off_t)(STORE_SLOTS * PAGE_BYTES)), 0);
	rig.memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, rig.memfd, 0);
	rig.guest = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, rig.memfd, 0);
	cr_assert_neq(rig.memory, MAP_FAILED);
	cr_assert_neq(rig.guest, MAP_FAILED);
	rig.address[0] = (uintptr_t)rig.guest;
	rig.address[1] = (uintptr_t)rig.guest + FIRST_PAGES * PAGE_BYTES;
	rig.regions[0] = (struct region_spec){rig.memfd, 0, FIRST_PAGES * PAGE_BYTES};
	rig.regions[1] = (struct region_spec){
		rig.memfd, FIRST_PAGES * PAGE_BYTES, SECOND_PAGES * PAGE_BYTES};
}

/* Chunks 0 and 2 are the first shard's, chunk 1 the second's. */
static void make_registrations(void)
{
	uint32_t features = 0;

	if (uffd_features(&features) < 0 || !(features & UFFD_CAN_POISON))
		cr_skip_test("no userfaultfd, or none that poisons (Linux 6.6)");
	for (uint32_t i = 0; i < SHARDS; i++) {
		rig.uffds[i] = uffd_open();
		cr_assert_eq(uffd_handshake(rig.uffds[i], UFFD_CAN_POISON | rig.more_features), 0);
	}
	cr_assert_eq(uffd_register(rig.uffds[0], rig.address[0], CHUNK_BYTES, false), 0);
	cr_assert_eq(uffd_register(rig.uffds[1], rig.address[0] + CHUNK_BYTES,
			     (FIRST_PAGES - CHUNK_PAGES) * PAGE_BYTES, false),
		0);
	cr_assert_eq(
		uffd_register(rig.uffds[0], rig.address[1], SECOND_PAGES * PAGE_BYTES, false), 0);
	rig.process = (struct process_spec){
		.pid = (int)getpid(), .address = rig.address, .uffds = rig.uffds};
}

static void make_tables(bool is_encrypted)
{
	struct engine_header *engine;

	cr_assert_eq(shared_open("engine", sizeof(*engine), &rig.engine_header), 0);
	cr_assert_eq(shared_open("vm", sizeof(struct vm_header), &rig.header), 0);
	cr_assert_eq(page_table_open(TABLE_PAGES, &rig.table), 0);
	cr_assert_eq(cipher_key_make(&rig.key), 0);
	if (is_encrypted)
		cr_assert_eq(cipher_new(rig.key.memory, &rig.cipher), 0);
	engine = rig.engine_header.memory;
	*engine = (struct engine_header){.magic = LAYOUT_ENGINE_MAGIC,
		.layout = LAYOUT_VERSION,
		.shard_count = SHARDS,
		.store_bytes = STORE_SLOTS * PAGE_BYTES,
		.is_encrypted = is_encrypted};
	cr_assert_eq(digest_secret_make(&engine->secret), 0);
	*(struct vm_header *)rig.header.memory = (struct vm_header){.magic = LAYOUT_VM_MAGIC,
		.layout = LAYOUT_VERSION,
		.shard_count = SHARDS,
		.page_count = TABLE_PAGES,
		.stripe_chunks = 1,
		.is_registered = true};
	rig.engine_parts[ENGINE_STORE] = rig.store;
	rig.engine_parts[ENGINE_HEADER] = rig.engine_header.fd;
	rig.vm_parts[VM_WORDS] = rig.table.words_memory.fd;
	rig.vm_parts[VM_DIGESTS] = rig.table.digests_memory.fd;
	rig.vm_parts[VM_CHUNKS] = rig.table.chunks_memory.fd;
	rig.vm_parts[VM_HEADER] = rig.header.fd;
	rig.vm_parts[VM_KEY] = rig.key.fd;
}

static void make(bool is_encrypted)
{
	make_memory();
	make_registrations();
	make_tables(is_encrypted);
	rig.config = (struct rescue_vm_config){.engine_parts = rig.engine_parts,
		.vm_parts = rig.vm_parts,
		.shard_count = SHARDS,
		.regions = rig.regions,
		.region_count = REGIONS,
		.processes = &rig.process,
		.process_count = 1,
		.events = &rig.events};
}

/* All chunks, then the end: what rescue_vm_release() says. */
static int rescue(void)
{
	struct rescue_vm *vm = NULL;
	int rc;

	cr_assert_eq(rescue_vm_open(&rig.config, &vm), 0);
	for (uint32_t chunk = 0; rescue_vm_next_chunk(vm, chunk, &chunk) == 0; chunk++)
		rescue_vm_chunk(vm, chunk, &rig.result);
	rc = rescue_vm_release(vm);
	rescue_vm_close(vm);
	return rc;
}

static enum page_state state_of(uint64_t page)
{
	return page_state_of(page_load(&rig.table, page));
}

/* What the monitor sees; false: an error instead of content. */
static bool see(uint64_t page, uint8_t *ret_content)
{
	const struct iovec local = {ret_content, PAGE_BYTES};
	const struct iovec remote = {rig.guest + place_of(page) * PAGE_BYTES, PAGE_BYTES};

	return process_vm_readv(getpid(), &local, 1, &remote, 1, 0) == (ssize_t)PAGE_BYTES;
}

static void expect_content(uint64_t page)
{
	uint8_t seen[PAGE_BYTES];
	uint8_t right[PAGE_BYTES];

	fill(right, page);
	cr_expect(see(page, seen), "page %lu", page);
	cr_expect_eq(memcmp(seen, right, PAGE_BYTES), 0, "page %lu", page);
}

static void expect_bytes(uint64_t page, uint8_t byte)
{
	uint8_t seen[PAGE_BYTES];

	cr_expect(see(page, seen), "page %lu", page);
	cr_expect_eq(seen[0], byte, "page %lu", page);
	cr_expect_eq(memcmp(seen, seen + 1, PAGE_BYTES - 1), 0, "page %lu", page);
}

static void expect_error(uint64_t page)
{
	uint8_t seen[PAGE_BYTES];

	cr_expect_not(see(page, seen), "page %lu", page);
	cr_expect_eq(state_of(page), PAGE_POISONED, "page %lu", page);
}

static void bring_back_swapped(bool is_encrypted)
{
	const uint64_t pages[] = {0, 1, 2, 7, CHUNK_PAGES - 1, CHUNK_PAGES, FIRST_PAGES - 1,
		SECOND_FIRST, SECOND_FIRST + SECOND_PAGES - 1};

	make(is_encrypted);
	for (uint32_t i = 0; i < ARRAY_SIZE(pages); i++)
		put_out(pages[i], PAGE_SWAPPED, i < 3 ? 10 + i : 40 - i, 0);

	cr_assert_eq(rescue(), 0);

	cr_expect_eq(rig.result.pages, ARRAY_SIZE(pages));
	cr_expect_eq(rig.result.lost_pages + rig.result.unread_pages + rig.result.left_pages, 0);
	for (uint32_t i = 0; i < ARRAY_SIZE(pages); i++)
		expect_content(pages[i]);
	expect_bytes(3, 0);
	cr_expect_eq(((struct vm_header *)rig.header.memory)->is_registered, 0);
}

Test(rescue_vm, what_is_out_comes_back_in_each_region, .timeout = 20)
{
	bring_back_swapped(false);
}

Test(rescue_vm, what_is_out_and_encrypted_comes_back_and_its_key_is_wiped, .timeout = 20)
{
	static const uint8_t none[CIPHER_KEY_BYTES];

	bring_back_swapped(true);
	cr_expect_eq(memcmp(rig.key.memory, none, sizeof(none)), 0);
}

Test(rescue_vm, a_slot_is_the_truth_whatever_the_page_cache_has, .timeout = 20)
{
	make(false);
	put_out(0, PAGE_SWAPPED, 1, PAGE_STUCK);
	put_out(1, PAGE_SWAPPED, 2, 0);
	put_out(2, PAGE_READING, 3, PAGE_STUCK);
	put_out(3, PAGE_PUNCHING, 4, 0);
	put_out(4, PAGE_READING, 5, 0);
	for (uint64_t page = 0; page < 5; page++)
		cache(page, GARBAGE);
	put_out(5, PAGE_READING, 6, 0);
	put_out(6, PAGE_READING, 7, 0);
	put_out(7, PAGE_PUNCHING, 8, 0);

	cr_assert_eq(rescue(), 0);

	for (uint64_t page = 0; page < 8; page++)
		expect_content(page);
	cr_expect_eq(rig.result.pages, 8);
}

Test(rescue_vm, what_the_guest_may_have_changed_since_is_left_alone, .timeout = 20)
{
	make(false);
	put_out(0, PAGE_READING, 1, 0); /* was copied in, and then written */
	record_copies(0, 1, 1);
	put_out(1, PAGE_WRITING, 2, 0);
	put_out(2, PAGE_RESIDENT, 3, 0);
	put_out(3, PAGE_STAGED, 4, PAGE_CLEAN);
	set_word(4, page_plain(PAGE_STAGED));
	for (uint64_t page = 0; page < 5; page++)
		cache(page, (uint8_t)(page + 1));
	set_word(5, page_plain(PAGE_PUNCHING));

	cr_assert_eq(rescue(), 0);

	for (uint64_t page = 0; page < 5; page++)
		expect_bytes(page, (uint8_t)(page + 1));
	expect_bytes(5, 0);
	cr_expect_eq(rig.result.pages, 0);
}

Test(rescue_vm, what_was_copied_in_and_given_back_stays_so, .timeout = 20)
{
	const uint64_t last = FIRST_PAGES - 1; /* of the other shard */

	make(false);
	for (uint64_t page = 0; page < 4; page++)
		put_out(page, PAGE_READING, (uint32_t)page + 1, 0);
	put_out(last, PAGE_READING, 5, 0);
	record_copies(1, 3, 2);

	cr_assert_eq(rescue(), 0);

	expect_content(0);
	expect_bytes(1, 0);
	expect_bytes(2, 0);
	expect_content(3);
	expect_content(last);
	cr_expect_eq(rig.result.pages, 3);
}

static int keep_child(void *context, const struct engine_child *child, int uffd)
{
	(void)context;
	cr_assert_geq(uffd, 0);
	cr_assert_lt(rig.kept_count, SHARDS);
	rig.kept[rig.kept_count++] = *child;
	return 0;
}

/* Until its event is read the monitor waits; the C library's fork() would hold malloc()'s locks. */
static void *fork_a_child(void *argument)
{
	pid_t *ret_pid = argument;

	*ret_pid = (pid_t)syscall(SYS_fork);
	if (*ret_pid == 0) {
		(void)pause();
		_exit(0);
	}
	return NULL;
}

Test(rescue_vm, children_that_are_forked_meanwhile_are_kept, .timeout = 20)
{
	struct pollfd event = {.events = POLLIN};
	pthread_t monitor;
	pid_t child;

	rig.more_features = UFFD_EVENTS;
	make(false);
	rig.process.tag = 77;
	rig.events = (struct rescue_events){.children = {.keep = keep_child}, .next_child = 5};
	put_out(0, PAGE_SWAPPED, 1, 0);
	put_out(CHUNK_PAGES, PAGE_SWAPPED, 2, 0);
	event.fd = rig.uffds[0];
	cr_assert_eq(pthread_create(&monitor, NULL, fork_a_child, &child), 0);
	cr_assert_eq(poll(&event, 1, 10000), 1);

	cr_assert_eq(rescue(), 0);

	cr_assert_eq(pthread_join(monitor, NULL), 0);
	cr_assert_eq(kill(child, SIGKILL), 0);
	cr_assert_eq(waitpid(child, NULL, 0), child);
	expect_content(0);
	expect_content(CHUNK_PAGES);
	cr_expect_eq(rig.kept_count, SHARDS);
	for (uint32_t i = 0; i < SHARDS; i++) {
		cr_expect_eq(rig.kept[i].tag, 77);
		cr_expect_eq(rig.kept[i].number, 5 + i);
	}
	cr_expect_neq(rig.kept[0].shard, rig.kept[1].shard);
}

Test(rescue_vm, a_damaged_slot_costs_its_page_only, .timeout = 20)
{
	make(false);
	for (uint64_t page = 0; page < 4; page++)
		put_out(page, PAGE_SWAPPED, (uint32_t)page, 0);
	put_out(5, PAGE_POISONED, 9, 0);
	cr_assert_eq(pwrite(rig.store, "?", 1, 2 * PAGE_BYTES + 5), 1);

	cr_assert_eq(rescue(), 0);

	expect_error(2);
	expect_error(5);
	expect_content(1);
	expect_content(3);
	cr_expect_eq(rig.result.lost_pages, 1);
	cr_expect_eq(rig.result.lost_count, 1);
	cr_expect_eq(rig.result.lost[0].page, 2);
	cr_expect_eq(rig.result.lost[0].count, 1);
	cr_expect_eq(rig.result.lost[0].address, rig.address[0] + 2 * PAGE_BYTES);
}

Test(rescue_vm, what_cannot_be_read_keeps_the_vm_held_until_it_can, .timeout = 20)
{
	make(false);
	for (uint64_t page = 0; page < 4; page++)
		put_out(page, PAGE_SWAPPED, STORE_SLOTS - 4 + (uint32_t)page, 0);
	cr_assert_eq(ftruncate(rig.store, (STORE_SLOTS - 2) * PAGE_BYTES), 0);

	cr_expect_eq(rescue(), -EBUSY);

	cr_expect_eq(rig.result.pages, 2);
	cr_expect_eq(rig.result.unread_pages, 2);
	cr_expect_eq(rig.result.error, -EIO);
	cr_expect_eq(state_of(2), PAGE_SWAPPED);
	cr_expect_eq(((struct vm_header *)rig.header.memory)->is_registered, 1);

	put_out(2, PAGE_SWAPPED, STORE_SLOTS - 2, 0);
	put_out(3, PAGE_SWAPPED, STORE_SLOTS - 1, 0);
	cr_expect_eq(rescue(), 0);
	for (uint64_t page = 0; page < 4; page++)
		expect_content(page);
}

Test(rescue_vm, what_cannot_be_read_is_lost_when_it_is_given_up, .timeout = 20)
{
	make(false);
	rig.config.poisons_unread = true;
	for (uint64_t page = 0; page < 4; page++)
		put_out(page, PAGE_SWAPPED, STORE_SLOTS - 4 + (uint32_t)page, 0);
	put_out(FIRST_PAGES - 1, PAGE_SWAPPED, STORE_SLOTS - 1, PAGE_STUCK);
	cache(FIRST_PAGES - 1, GARBAGE);
	put_out(SECOND_FIRST, PAGE_SWAPPED, STORE_SLOTS - 2, 0);
	put_out(SECOND_FIRST + 1, PAGE_SWAPPED, 0, 0);
	cr_assert_eq(ftruncate(rig.store, (STORE_SLOTS - 2) * PAGE_BYTES), 0);

	cr_expect_eq(rescue(), 0);

	cr_expect_eq(rig.result.pages, 3);
	cr_expect_eq(rig.result.lost_pages, 4);
	cr_expect_eq(rig.result.unread_pages, 0);
	expect_content(0);
	expect_content(1);
	expect_error(2);
	expect_error(3);
	expect_error(FIRST_PAGES - 1);
	expect_error(SECOND_FIRST);
	expect_content(SECOND_FIRST + 1);
	cr_assert_eq(rig.result.lost_count, 3);
	cr_expect_eq(rig.result.lost[0].page, 2);
	cr_expect_eq(rig.result.lost[0].count, 2);
	cr_expect_eq(rig.result.lost[1].page, FIRST_PAGES - 1);
	cr_expect_eq(rig.result.lost[2].address, rig.address[1]);
}

Test(rescue_vm, of_many_lost_pages_the_first_runs_are_named)
{
	struct rescue_result result = {0};

	for (uint64_t i = 0; i <= RESCUE_LOST_MAX; i++) {
		rescue_result_lose(&result, 10 * i, PAGE_BYTES * 10 * (i + 1));
		rescue_result_lose(&result, 10 * i + 1, PAGE_BYTES * (10 * (i + 1) + 1));
		/* The next page, in another mapping. */
		rescue_result_lose(&result, 10 * i + 2, 0);
	}

	cr_expect_eq(result.lost_pages, 3 * (RESCUE_LOST_MAX + 1));
	cr_expect_eq(result.lost_count, RESCUE_LOST_MAX);
	cr_expect_eq(result.lost[0].count, 2);
	cr_expect_eq(result.lost[1].count, 1);
	cr_expect_eq(result.lost[1].address, 0);
	cr_expect_eq(result.lost[RESCUE_LOST_MAX - 2].page, 10 * (RESCUE_LOST_MAX / 2 - 1));
}

Test(rescue_vm, a_page_that_nobody_maps_goes_into_the_file, .timeout = 20)
{
	uint8_t right[PAGE_BYTES];

	make(false);
	put_out(SECOND_FIRST, PAGE_SWAPPED, 1, 0);
	rig.address[1] = 0;

	cr_assert_eq(rescue(), 0);

	fill(right, SECOND_FIRST);
	cr_expect_eq(memcmp(rig.memory + FIRST_PAGES * PAGE_BYTES, right, PAGE_BYTES), 0);
}

Test(rescue_vm, a_page_that_the_monitor_cut_off_is_nobodys, .timeout = 20)
{
	make(false);
	put_out(0, PAGE_SWAPPED, 1, 0);
	put_out(SECOND_FIRST + SECOND_PAGES - 1, PAGE_SWAPPED, 2, 0);
	cr_assert_eq(ftruncate(rig.memfd, (FILE_PAGES - 1) * PAGE_BYTES), 0);

	cr_assert_eq(rescue(), 0);

	expect_content(0);
	cr_expect_eq(lseek(rig.memfd, 0, SEEK_END), (off_t)((FILE_PAGES - 1) * PAGE_BYTES));
}

Test(rescue_vm, tables_that_make_no_sense_are_refused)
{
	struct rescue_vm *vm = NULL;

	make(false);
	atomic_store(&rig.table.words[3], 0xf);
	cr_expect_eq(rescue_vm_open(&rig.config, &vm), -EBADMSG);
	atomic_store(&rig.table.words[3], 0);
	rig.config.region_count = 0;
	cr_expect_eq(rescue_vm_open(&rig.config, &vm), -EBADMSG);
	rig.config.region_count = 1;
	cr_expect_eq(rescue_vm_open(&rig.config, &vm), -ESTALE);
	rig.config.region_count = REGIONS;
	rig.config.shard_count = SHARDS + 1;
	cr_expect_eq(rescue_vm_open(&rig.config, &vm), -ESTALE);
	cr_expect_null(vm);
}
