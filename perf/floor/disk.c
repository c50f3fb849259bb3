/* SPDX-License-Identifier: Apache-2.0 */
#include "perf/floor/disk.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <liburing.h>

#include "perf/client/order.h"
#include "perf/client/random.h"
#include "queue/base/assert.h"
#include "queue/base/bits.h"
#include "queue/base/clock.h"
#include "queue/base/err.h"

/* How files are pre-written: what the disk takes fastest. */
#define FILL_DEPTH 4u

struct run {
	const struct floor_disk_job *job;
	struct io_uring ring;
	void *memory;	  /* mapped, larger than the buffers */
	uint8_t *buffers; /* one piece for each place, registered as one buffer */
	uint32_t *order;  /* of random pieces, else NULL */
	uint64_t begin_ns[FLOOR_DISK_DEPTH_MAX];
	uint32_t *latency_ns;
	uint64_t begun;
	uint64_t ended;
};

static uint64_t pieces_of_file(const struct floor_disk_job *job)
{
	return job->size_bytes / job->piece_bytes;
}

static int make_order(struct run *run)
{
	const struct floor_disk_job *job = run->job;

	if (job->kind != FLOOR_DISK_RANDOM_READ)
		return 0;
	run->order = malloc(job->pieces * sizeof(*run->order));
	if (!run->order)
		return -ENOMEM;
	return order_make(ORDER_UNIFORM, pieces_of_file(job), job->pieces, job->seed, run->order);
}

static size_t buffer_bytes(const struct floor_disk_job *job)
{
	return (size_t)job->depth * job->piece_bytes;
}

/* Whole chunks, and room to begin with one. */
static size_t memory_bytes(const struct floor_disk_job *job)
{
	return (divide_up(buffer_bytes(job), CHUNK_BYTES) + 1) * CHUNK_BYTES;
}

static int make_buffers(struct run *run)
{
	const struct floor_disk_job *job = run->job;
	uint64_t random = random_seed(job->seed);
	uint64_t *word;
	void *memory = mmap(NULL, memory_bytes(job), PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		return -errno;
	run->memory = memory;
	/* A host without huge pages says EINVAL: then there are none. */
	(void)madvise(
		memory, memory_bytes(job), job->has_huge_pages ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	run->buffers = (uint8_t *)memory + (CHUNK_BYTES - (uintptr_t)memory % CHUNK_BYTES);
	word = (uint64_t *)(void *)run->buffers;
	for (size_t i = 0; i < buffer_bytes(job) / sizeof(*word); i++)
		word[i] = random_next(&random);
	return 0;
}

static int make_ring(struct run *run)
{
	const struct iovec buffers = {
		.iov_base = run->buffers,
		.iov_len = buffer_bytes(run->job),
	};
	int result = io_uring_queue_init(run->job->depth, &run->ring,
		IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN);

	if (result < 0)
		return result;
	result = io_uring_register_buffers(&run->ring, &buffers, 1);
	if (result == 0)
		result = io_uring_register_files(&run->ring, &run->job->fd, 1);
	if (result < 0)
		io_uring_queue_exit(&run->ring);
	return result;
}

static void begin_piece(struct run *run, uint32_t place)
{
	const struct floor_disk_job *job = run->job;
	uint8_t *buffer = run->buffers + (size_t)place * job->piece_bytes;
	const uint64_t number =
		run->order ? run->order[run->begun] : run->begun % pieces_of_file(job);
	const uint64_t offset = number * job->piece_bytes;
	struct io_uring_sqe *sqe = io_uring_get_sqe(&run->ring);

	/* There is an entry for each place. */
	ASSERT(sqe);
	ASSERT(run->begun < job->pieces);
	if (job->kind == FLOOR_DISK_WRITE)
		io_uring_prep_write_fixed(sqe, 0, buffer, job->piece_bytes, offset, 0);
	else
		io_uring_prep_read_fixed(sqe, 0, buffer, job->piece_bytes, offset, 0);
	sqe->flags |= IOSQE_FIXED_FILE;
	io_uring_sqe_set_data64(sqe, place);
	run->begin_ns[place] = clock_ns();
	run->begun++;
	/*
	 * At once: in a batch, the disk would wait for the last of it. What is refused (no memory
	 * for it now) goes with the next call. A single one goes with the wait for it.
	 */
	if (job->depth > 1)
		(void)io_uring_submit(&run->ring);
}

/* The next piece takes the place of one that ended. */
static int end_piece(struct run *run, const struct io_uring_cqe *cqe, uint64_t now_ns)
{
	const uint32_t place = (uint32_t)io_uring_cqe_get_data64(cqe);

	ASSERT(place < run->job->depth);
	if (cqe->res < 0)
		return cqe->res;
	if ((uint32_t)cqe->res != run->job->piece_bytes)
		return -EIO;
	run->latency_ns[run->ended++] =
		(uint32_t)MIN(now_ns - run->begin_ns[place], (uint64_t)UINT32_MAX);
	if (run->begun < run->job->pieces)
		begin_piece(run, place);
	return 0;
}

static int reap(struct run *run)
{
	struct io_uring_cqe *cqe[FLOOR_DISK_DEPTH_MAX];
	const unsigned count = io_uring_peek_batch_cqe(&run->ring, cqe, run->job->depth);
	const uint64_t now_ns = clock_ns();
	int result = 0;

	for (unsigned i = 0; i < count && result == 0; i++)
		result = end_piece(run, cqe[i], now_ns);
	io_uring_cq_advance(&run->ring, count);
	return result;
}

static int run_pieces(struct run *run)
{
	int result = 0;

	for (uint32_t place = 0; place < MIN(run->job->depth, run->job->pieces); place++)
		begin_piece(run, place);
	while (run->ended < run->job->pieces && result == 0) {
		result = io_uring_submit_and_wait(&run->ring, 1);
		/* A signal: what was submitted goes on. */
		if (result >= 0 || result == -EINTR)
			result = reap(run);
	}
	return result;
}

static int run_pinned(struct run *run, uint64_t *ret_elapsed_ns)
{
	cpu_set_t before;
	uint64_t begin_ns;
	int result = floor_pin(run->job->cpu, &before);

	if (result < 0)
		return result;
	/* The ring belongs to the task that makes it, wherever that runs. */
	result = make_ring(run);
	if (result == 0) {
		begin_ns = clock_ns();
		result = run_pieces(run);
		*ret_elapsed_ns = clock_ns() - begin_ns;
		io_uring_queue_exit(&run->ring);
	}
	floor_unpin(&before);
	return result;
}

static int run_job(const struct floor_disk_job *job, struct floor_disk_result *ret_result)
{
	struct run run = {
		.job = job,
		.latency_ns = malloc(job->pieces * sizeof(*run.latency_ns)),
	};
	uint64_t elapsed_ns = 0;
	int result = run.latency_ns ? make_order(&run) : -ENOMEM;

	if (result == 0)
		result = make_buffers(&run);
	if (result == 0)
		result = run_pinned(&run, &elapsed_ns);
	free(run.order);
	if (run.memory)
		(void)munmap(run.memory, memory_bytes(job));
	if (result < 0) {
		free(run.latency_ns);
		return result;
	}
	ASSERT(run.ended == job->pieces);
	*ret_result = (struct floor_disk_result){
		.elapsed_ns = elapsed_ns,
		.bytes = job->pieces * job->piece_bytes,
		.samples = job->pieces,
		.latency_ns = run.latency_ns,
	};
	return 0;
}

/* A block device has no holes: lseek() does not know SEEK_HOLE of it, or gives its end. */
static int check_file(int fd, uint64_t size_bytes)
{
	const int flags = fcntl(fd, F_GETFL);
	const off_t end = lseek(fd, 0, SEEK_END);
	const off_t hole = lseek(fd, 0, SEEK_HOLE);

	if (flags < 0 || end < 0)
		return -errno;
	if (!(flags & O_DIRECT) || (uint64_t)end < size_bytes)
		return -EINVAL;
	return hole >= 0 && (uint64_t)hole < size_bytes ? -ENODATA : 0;
}

static void assert_job(const struct floor_disk_job *job)
{
	ASSERT(job->piece_bytes > 0);
	ASSERT(job->piece_bytes % PAGE_BYTES == 0);
	ASSERT(job->depth >= 1);
	ASSERT(job->depth <= FLOOR_DISK_DEPTH_MAX);
	ASSERT(job->pieces > 0);
	ASSERT(pieces_of_file(job) > 0);
	ASSERT(job->kind != FLOOR_DISK_RANDOM_READ || job->pieces <= pieces_of_file(job));
}

int floor_disk_fill(int fd, uint64_t size_bytes)
{
	struct floor_disk_result result;
	const struct floor_disk_job job = {
		.kind = FLOOR_DISK_WRITE,
		.fd = fd,
		.size_bytes = size_bytes,
		.piece_bytes = (uint32_t)CHUNK_BYTES,
		.depth = FILL_DEPTH,
		.has_huge_pages = true,
		.pieces = size_bytes / CHUNK_BYTES,
		.cpu = FLOOR_ANY_CPU,
	};
	int error;

	ASSERT(size_bytes % CHUNK_BYTES == 0);
	assert_job(&job);
	/* Few extents where the file system can; the writes do without as well. */
	if (fallocate(fd, 0, 0, (off_t)size_bytes) < 0 && errno != EOPNOTSUPP)
		return -errno;
	error = run_job(&job, &result);
	if (error < 0)
		return error;
	free(result.latency_ns);
	return errno_of(fsync(fd));
}

int floor_disk_open(const char *directory, uint64_t size_bytes, int *ret_fd)
{
	CLEANUP_FD int fd =
		errno_of(open(directory, O_TMPFILE | O_RDWR | O_DIRECT | O_CLOEXEC, 0600));
	int error;

	if (fd < 0)
		return fd == -EINVAL ? -EOPNOTSUPP : fd;
	error = floor_disk_fill(fd, size_bytes);
	if (error < 0)
		return error;
	*ret_fd = take_fd(&fd);
	return 0;
}

int floor_disk_run(const struct floor_disk_job *job, struct floor_disk_result *ret_result)
{
	const int error = check_file(job->fd, job->size_bytes);

	assert_job(job);
	return error < 0 ? error : run_job(job, ret_result);
}

double floor_disk_iops(const struct floor_disk_result *result)
{
	ASSERT(result->elapsed_ns > 0);
	return (double)result->samples * (double)NS_PER_S / (double)result->elapsed_ns;
}

double floor_disk_gb_per_s(const struct floor_disk_result *result)
{
	ASSERT(result->elapsed_ns > 0);
	return (double)result->bytes / (double)result->elapsed_ns;
}
