/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The only program in the test guest: /init of its initramfs, static. Loads the modules it was
 * packed with, fills part of memory with a pattern, then for ever rewrites and verifies it, reads
 * the disk past the page cache if there is one, and gives memory back and takes it again. Says so
 * on the console:
 *
 *     READY pages=N threads=N
 *     OK round=N ms=N pages=N [disk=N]     each round
 *     FULL round=N ms=N pages=N            all pages verified, on request ("v" on the console)
 *     BAD page=N …                         content is wrong
 *
 * or, as a database (database.h), queries it each time "q" comes on the console:
 *
 *     READY rows=N index_pages=N
 *     QUERIED lookups=N changes=N scans=N log_bytes=N ms=N
 *
 * The kernel command line steers it: vmswap.mib=N memory to fill (64), vmswap.hot=PERCENT of it
 * that each round rewrites (100), vmswap.churn=MIB taken, written, verified and given back each
 * round (0), vmswap.pause_ms=N between rounds (10); vmswap.database=MIB of rows make it a database
 * (0), of vmswap.queries=N each time (20000).
 *
 * The generation each page must have is kept beside the memory, in the same guest: a guest whose
 * pages all went back in time together would not notice, but its kernel and this program's rounds
 * would.
 */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/syscall.h>
#include <termios.h>
#include <unistd.h>

#include "queue/base/bits.h"
#include "queue/base/clock.h"
#include "tests/support/guest_init/database.h"
#include "tools/vmswap-guest/pattern.h"

#define THREADS_MAX 8u
#define LINE_BYTES  256
/* One read of the disk. */
#define DISK_READ_BYTES (1 * MIB)
#define DISK_READS	4u /* a round */
/* Content of the disk: this generation of the pattern, page by page. Made by tests/support. */
#define DISK_GENERATION 7u

struct settings {
	uint64_t fill_mib, hot_percent, churn_mib, pause_ms, database_mib, queries;
};

/* A thread's part of memory. */
struct part {
	pthread_t thread;
	uint64_t first, end; /* pages */
	uint64_t hot_end;
	bool must_rewrite;
};

static struct settings settings = {
	.fill_mib = 64,
	.hot_percent = 100,
	.pause_ms = 10,
	.queries = 20000,
};
static uint64_t *memory;
static uint32_t *generations;
static struct part parts[THREADS_MAX];
static uint32_t part_count;
static atomic_bool is_bad;

__attribute__((format(printf, 1, 2))) static void say(const char *format, ...)
{
	char line[LINE_BYTES];
	va_list arguments;
	int length;

	va_start(arguments, format);
	length = vsnprintf(line, sizeof(line) - 1, format, arguments);
	va_end(arguments);
	length = MIN(length, LINE_BYTES - 2);
	line[length] = '\n';
	if (write(STDOUT_FILENO, line, (size_t)length + 1) < 0)
		return;
}

/* The machine ends, so that whoever watches the console sees why. */
_Noreturn static void give_up(const char *what)
{
	say("FAILED %s", what);
	sync();
	(void)reboot(RB_POWER_OFF);
	for (;;)
		(void)pause();
}

static void say_bad(const char *where, uint64_t page, const struct mismatch *mismatch)
{
	atomic_store(&is_bad, true);
	say("BAD page=%llu in=%s word=%u expected=%#llx found=%#llx found_page=%llu "
	    "found_generation=%llu",
		(unsigned long long)page, where, mismatch->word,
		(unsigned long long)mismatch->expected, (unsigned long long)mismatch->found,
		(unsigned long long)mismatch->found_page,
		(unsigned long long)mismatch->found_generation);
}

static void load_module(const char *name)
{
	char path[LINE_BYTES];
	int fd;

	(void)snprintf(path, sizeof(path), "/modules/%s", name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || syscall(SYS_finit_module, fd, "", 0) < 0)
		say("cannot load %s", name);
	if (fd >= 0)
		(void)close(fd);
}

/* /modules/order names the modules, one a line, in the order they need each other. */
static void load_modules(void)
{
	FILE *order = fopen("/modules/order", "re");
	char name[LINE_BYTES / 2];

	while (order && fgets(name, sizeof(name), order)) {
		name[strcspn(name, "\n")] = '\0';
		load_module(name);
	}
	if (order)
		(void)fclose(order);
}

static void set_up_console(void)
{
	struct termios mode;

	if (mount("dev", "/dev", "devtmpfs", 0, "") < 0)
		give_up("no /dev");
	if (tcgetattr(STDIN_FILENO, &mode) == 0) {
		mode.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
		(void)tcsetattr(STDIN_FILENO, TCSANOW, &mode);
	}
	(void)mkdir("/proc", S_IRWXU);
	if (mount("proc", "/proc", "proc", 0, "") < 0)
		give_up("no /proc");
}

static void take_setting(const char *word)
{
	const struct {
		const char *name;
		uint64_t *value;
	} names[] = {{"vmswap.mib=", &settings.fill_mib}, {"vmswap.hot=", &settings.hot_percent},
		{"vmswap.churn=", &settings.churn_mib}, {"vmswap.pause_ms=", &settings.pause_ms},
		{"vmswap.database=", &settings.database_mib},
		{"vmswap.queries=", &settings.queries}};

	for (uint32_t i = 0; i < ARRAY_SIZE(names); i++) {
		const size_t length = strlen(names[i].name);

		if (strncmp(word, names[i].name, length) == 0)
			*names[i].value = strtoull(word + length, NULL, 10);
	}
}

static void read_settings(void)
{
	char line[4096];
	FILE *file = fopen("/proc/cmdline", "re");
	char *word, *rest = line;

	if (!file)
		give_up("no command line");
	if (!fgets(line, sizeof(line), file))
		give_up("no command line");
	(void)fclose(file);
	while ((word = strtok_r(rest, " \n", &rest)))
		take_setting(word);
	if (settings.fill_mib == 0 || settings.hot_percent > 100 || settings.queries == 0)
		give_up("bad settings");
}

static uint64_t *page_at(uint64_t page)
{
	return memory + page * PATTERN_WORDS;
}

static void rewrite(uint64_t page)
{
	generations[page]++;
	pattern_fill(page_at(page), page, generations[page]);
}

static void verify(uint64_t page)
{
	struct mismatch mismatch;

	if (!pattern_check(page_at(page), page, generations[page], &mismatch))
		say_bad("memory", page, &mismatch);
}

static void *part_run(void *argument)
{
	struct part *part = argument;

	for (uint64_t page = part->first; page < part->end; page++) {
		if (part->must_rewrite && page >= part->hot_end)
			break;
		verify(page);
		if (part->must_rewrite)
			rewrite(page);
	}
	return NULL;
}

/* All parts at the same time. Returns the milliseconds it took. */
static uint64_t run_parts(bool must_rewrite)
{
	const uint64_t begin_ns = clock_ns();

	for (uint32_t i = 0; i < part_count; i++) {
		parts[i].must_rewrite = must_rewrite;
		if (pthread_create(&parts[i].thread, NULL, part_run, &parts[i]) != 0)
			give_up("no thread");
	}
	for (uint32_t i = 0; i < part_count; i++)
		(void)pthread_join(parts[i].thread, NULL);
	return (clock_ns() - begin_ns) / NS_PER_MS;
}

static void *map(size_t size)
{
	void *start = mmap(NULL, size, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (start == MAP_FAILED)
		give_up("no memory");
	return start;
}

static uint64_t fill(void)
{
	const uint64_t pages = settings.fill_mib * MIB / PAGE_BYTES;
	const long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	uint64_t next = 0;

	memory = map(pages * PAGE_BYTES);
	generations = map(pages * sizeof(*generations));
	for (uint64_t page = 0; page < pages; page++)
		rewrite(page);
	part_count = (uint32_t)MIN(MAX(cpus, 1), (long)THREADS_MAX);
	for (uint32_t i = 0; i < part_count; i++) {
		struct part *part = &parts[i];

		part->first = next;
		part->end = pages * (i + 1) / part_count;
		part->hot_end =
			part->first + (part->end - part->first) * settings.hot_percent / 100;
		next = part->end;
	}
	return pages;
}

/* Takes memory, uses it, gives it back: what free page reporting and a balloon feed on. */
static void churn(uint64_t round)
{
	const uint64_t pages = settings.churn_mib * MIB / PAGE_BYTES;
	struct mismatch mismatch;
	uint64_t *start;

	if (pages == 0)
		return;
	start = map(pages * PAGE_BYTES);
	for (uint64_t page = 0; page < pages; page++) {
		/* Memory from the kernel is zero: a reported page may not come back with old
		 * content. */
		if (!pattern_check_zero(start + page * PATTERN_WORDS, &mismatch))
			say_bad("new", page, &mismatch);
		pattern_fill(start + page * PATTERN_WORDS, page, round);
	}
	for (uint64_t page = 0; page < pages; page++)
		if (!pattern_check(start + page * PATTERN_WORDS, page, round, &mismatch))
			say_bad("churn", page, &mismatch);
	(void)munmap(start, pages * PAGE_BYTES);
}

/* Size of the disk, 0: there is none. */
static uint64_t open_disk(int *ret_fd)
{
	const int fd = open("/dev/vda", O_RDONLY | O_DIRECT | O_CLOEXEC);
	off_t size;

	if (fd < 0)
		return 0;
	size = lseek(fd, 0, SEEK_END);
	*ret_fd = fd;
	return size > 0 ? (uint64_t)size : 0;
}

static void read_disk_once(int fd, uint64_t size, uint64_t *buffer, uint64_t *random)
{
	const uint64_t page = random_next(random) % ((size - DISK_READ_BYTES) / PAGE_BYTES + 1);
	struct mismatch mismatch;

	if (pread(fd, buffer, DISK_READ_BYTES, (off_t)(page * PAGE_BYTES)) !=
		(ssize_t)DISK_READ_BYTES) {
		atomic_store(&is_bad, true);
		say("BAD disk read at page %llu", (unsigned long long)page);
		return;
	}
	for (uint64_t i = 0; i < DISK_READ_BYTES / PAGE_BYTES; i++)
		if (!pattern_check(
			    buffer + i * PATTERN_WORDS, page + i, DISK_GENERATION, &mismatch))
			say_bad("disk", page + i, &mismatch);
}

/* Returns the reads done. */
static uint64_t read_disk(void)
{
	static uint64_t *buffer;
	static uint64_t size, random = 1;
	static int fd = -1;

	if (fd < 0) {
		size = open_disk(&fd);
		buffer = map(DISK_READ_BYTES);
	}
	if (size < DISK_READ_BYTES)
		return 0;
	for (uint32_t i = 0; i < DISK_READS; i++)
		read_disk_once(fd, size, buffer, &random);
	return DISK_READS;
}

/* True when @wanted is typed within the time, -1: waits for ever. */
static bool is_typed(char wanted, int timeout_ms)
{
	struct pollfd console = {.fd = STDIN_FILENO, .events = POLLIN};
	char key = '\0';

	if (poll(&console, 1, timeout_ms) <= 0)
		return false;
	return read(STDIN_FILENO, &key, 1) == 1 && key == wanted;
}

static void run_round(uint64_t round, uint64_t pages)
{
	const uint64_t hot_pages = pages * settings.hot_percent / 100;
	const uint64_t begin_ns = clock_ns();
	uint64_t reads;

	(void)run_parts(true);
	churn(round);
	reads = read_disk();
	if (!atomic_load(&is_bad))
		say("OK round=%llu ms=%llu pages=%llu disk=%llu", (unsigned long long)round,
			(unsigned long long)((clock_ns() - begin_ns) / NS_PER_MS),
			(unsigned long long)hot_pages, (unsigned long long)reads);
}

static void verify_all(uint64_t round, uint64_t pages)
{
	const uint64_t time_ms = run_parts(false);

	if (!atomic_load(&is_bad))
		say("FULL round=%llu ms=%llu pages=%llu", (unsigned long long)round,
			(unsigned long long)time_ms, (unsigned long long)pages);
}

_Noreturn static void run_database(void)
{
	struct database *database;

	if (database_open(settings.database_mib, settings.queries, &database))
		give_up("no memory for the database");
	say("READY rows=%llu index_pages=%llu", (unsigned long long)database_rows(database),
		(unsigned long long)database_index_pages(database));
	for (;;) {
		struct database_work work;
		uint64_t begin_ns;

		if (!is_typed('q', -1))
			continue;
		begin_ns = clock_ns();
		database_query(database, &work);
		if (work.bad_rows > 0)
			say("BAD rows=%llu", (unsigned long long)work.bad_rows);
		say("QUERIED lookups=%llu changes=%llu scans=%llu log_bytes=%llu ms=%llu",
			(unsigned long long)work.lookups, (unsigned long long)work.changes,
			(unsigned long long)work.scans, (unsigned long long)work.log_bytes,
			(unsigned long long)((clock_ns() - begin_ns) / NS_PER_MS));
	}
}

int main(void)
{
	uint64_t pages;

	set_up_console();
	load_modules();
	read_settings();
	if (settings.database_mib > 0)
		run_database();
	pages = fill();
	say("READY pages=%llu threads=%u", (unsigned long long)pages, part_count);
	for (uint64_t round = 1;; round++) {
		run_round(round, pages);
		if (is_typed('v', (int)settings.pause_ms))
			verify_all(round, pages);
	}
}
