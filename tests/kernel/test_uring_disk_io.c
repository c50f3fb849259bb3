/* SPDX-License-Identifier: Apache-2.0 */
/*
 * O_DIRECT through the ring: a gathered write straight from the guest's alias and reads into
 * registered buffers bring the same bytes back; a timeout is no error; a ring closed with a poll
 * armed and reads in flight comes to an end.
 */
#include "kernel_test.h"
#include "kernel_uring.h"

#include "io/swapfile.h"

#define PAGES 64u

static void await_results(struct uring *ring, uint32_t count, int32_t expected)
{
	struct uring_done done;
	uint32_t got = 0;

	for (int i = 0; i < TEST_TIMEOUT_MS / 100 && got < count; i++) {
		CHECK(uring_wait(ring, 100000) == 0);
		for (; uring_reap(ring, &done, 1) == 1; got++)
			CHECK(done.result == expected);
	}
	CHECK(got == count);
}

static uint8_t *map_buffers(void)
{
	uint8_t *buffers = mmap(NULL, PAGES * PAGE_BYTES, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	CHECK(buffers != MAP_FAILED);
	return buffers;
}

/* The guest's pages, last first, as one write. */
static void write_reversed(struct uring *ring, const struct machine *machine, int fd)
{
	struct iovec vector[PAGES];

	for (uint32_t i = 0; i < PAGES; i++)
		vector[i] = (struct iovec){
			.iov_base = machine->alias + (PAGES - 1 - i) * PAGE_BYTES,
			.iov_len = PAGE_BYTES,
		};
	uring_writev(ring, 1, fd, vector, PAGES, 0);
	await_results(ring, 1, (int32_t)(PAGES * PAGE_BYTES));
}

static void read_pages(struct uring *ring, int fd, uint8_t *buffers)
{
	for (uint32_t i = 0; i < PAGES; i++)
		uring_read_fixed(ring, i, fd, buffers + i * PAGE_BYTES, PAGE_BYTES, i * PAGE_BYTES,
			i < PAGES / 2 ? 0 : 1);
}

static void check_content(const uint8_t *buffers)
{
	for (uint32_t i = 0; i < PAGES; i++) {
		CHECK(buffers[i * PAGE_BYTES] == content_of(PAGES - 1 - i));
		CHECK(buffers[(i + 1) * PAGE_BYTES - 1] == content_of(PAGES - 1 - i));
	}
}

int main(int argc, char **argv)
{
	const struct swapfile_config config = {
		.kind = SWAPFILE_UNNAMED,
		.path = "/var/tmp",
		.limit_bytes = MIB * 2,
	};
	const struct machine machine = machine_new(PAGES, 0);
	uint8_t *buffers = map_buffers();
	const struct iovec halves[] = {
		{buffers, PAGES / 2 * PAGE_BYTES},
		{buffers + PAGES / 2 * PAGE_BYTES, PAGES / 2 * PAGE_BYTES},
	};
	struct swapfile store;
	struct uring *ring = ring_open(PAGES, argc, argv);

	if (swapfile_open(&config, &store) < 0)
		skip("/var/tmp has no O_DIRECT");
	CHECK(uring_enable(ring) == 0);
	CHECK(uring_register_buffers(ring, halves, 2) == 0);
	CHECK(uring_wait(ring, 1000) == 0);

	write_reversed(ring, &machine, store.fd);
	read_pages(ring, store.fd, buffers);
	await_results(ring, PAGES, (int32_t)PAGE_BYTES);
	check_content(buffers);

	uring_poll(ring, 1, machine.uffd);
	read_pages(ring, store.fd, buffers);
	CHECK(uring_submit(ring) == 0);
	uring_close(ring);
	check_content(buffers);
	swapfile_close(&store);
	return 0;
}
