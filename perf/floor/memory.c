/* SPDX-License-Identifier: Apache-2.0 */
#include "perf/floor/memory.h"

#include <string.h>
#include <sys/mman.h>

#include <immintrin.h>

#include "engine/content.h"
#include "perf/client/random.h"
#include "queue/base/assert.h"
#include "queue/base/bits.h"
#include "queue/base/clock.h"
#include "queue/base/err.h"

/* Sums are stored here, so that no pass is left out for want of a use. */
static volatile uint64_t sink;

struct buffers {
	uint8_t *source;
	uint8_t *target; /* of the copy, else NULL */
	uint64_t size_bytes;
	struct digest_secret secret;
};

static int map_buffer(uint64_t size_bytes, uint8_t **ret_buffer)
{
	void *memory = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	if (memory == MAP_FAILED)
		return -errno;
	*ret_buffer = memory;
	return 0;
}

/* Eight sums, so that no load waits for the one before. */
__attribute__((target("avx2"))) static uint64_t read_avx2(const uint8_t *buffer, uint64_t size)
{
	const __m256i *vector = (const void *)buffer;
	__m256i sum[8] = {0};
	__m256i all = {0};

	for (uint64_t i = 0; i < size / sizeof(*vector); i += ARRAY_SIZE(sum))
		for (uint64_t j = 0; j < ARRAY_SIZE(sum); j++)
			sum[j] = _mm256_xor_si256(sum[j], _mm256_load_si256(&vector[i + j]));
	for (uint64_t j = 0; j < ARRAY_SIZE(sum); j++)
		all = _mm256_xor_si256(all, sum[j]);
	return (uint64_t)_mm256_extract_epi64(all, 0);
}

static uint64_t read_words(const uint8_t *buffer, uint64_t size)
{
	const uint64_t *word = (const void *)buffer;
	uint64_t sum[8] = {0};

	for (uint64_t i = 0; i < size / sizeof(*word); i += ARRAY_SIZE(sum))
		for (uint64_t j = 0; j < ARRAY_SIZE(sum); j++)
			sum[j] ^= word[i + j];
	for (uint64_t j = 1; j < ARRAY_SIZE(sum); j++)
		sum[0] ^= sum[j];
	return sum[0];
}

static void pass_read(struct buffers *buffers)
{
	sink = __builtin_cpu_supports("avx2") ? read_avx2(buffers->source, buffers->size_bytes)
					      : read_words(buffers->source, buffers->size_bytes);
}

static void pass_copy(struct buffers *buffers)
{
	for (uint64_t offset = 0; offset < buffers->size_bytes; offset += CHUNK_BYTES)
		memcpy(buffers->target + offset, buffers->source + offset, CHUNK_BYTES);
	sink = buffers->target[0];
}

static void pass_zero_scan(struct buffers *buffers)
{
	uint64_t zero_pages = 0;

	for (uint64_t offset = 0; offset < buffers->size_bytes; offset += PAGE_BYTES)
		zero_pages += content_is_zero(buffers->source + offset);
	ASSERT(zero_pages == buffers->size_bytes / PAGE_BYTES);
	sink = zero_pages;
}

static void pass_digest(struct buffers *buffers)
{
	uint64_t sum = 0;

	for (uint64_t offset = 0; offset < buffers->size_bytes; offset += PAGE_BYTES)
		sum ^= content_digest(&buffers->secret, buffers->source + offset);
	sink = sum;
}

static void fill(const struct buffers *buffers)
{
	uint64_t *word = (void *)buffers->source;
	uint64_t random = random_seed(0);

	for (uint64_t i = 0; i < buffers->size_bytes / sizeof(*word); i++)
		word[i] = random_next(&random);
}

static int run_passes(const struct floor_memory_job *job, struct buffers *buffers,
	void (*pass)(struct buffers *), struct floor_memory_result *ret_result)
{
	cpu_set_t before;
	uint64_t begin_ns;
	const int error = floor_pin(job->cpu, &before);

	if (error < 0)
		return error;
	begin_ns = clock_ns();
	for (uint32_t i = 0; i < job->passes; i++)
		pass(buffers);
	*ret_result = (struct floor_memory_result){
		.elapsed_ns = clock_ns() - begin_ns,
		.bytes = job->size_bytes * job->passes,
	};
	floor_unpin(&before);
	return 0;
}

static int run_job(const struct floor_memory_job *job, void (*pass)(struct buffers *),
	struct floor_memory_result *ret_result)
{
	struct buffers buffers = {.size_bytes = job->size_bytes};
	int error;

	ASSERT(job->size_bytes > 0);
	ASSERT(job->size_bytes % CHUNK_BYTES == 0);
	ASSERT(job->passes > 0);
	error = digest_secret_make(&buffers.secret);
	if (error == 0)
		error = map_buffer(job->size_bytes, &buffers.source);
	if (error == 0 && pass == pass_copy)
		error = map_buffer(job->size_bytes, &buffers.target);
	if (error == 0 && pass != pass_zero_scan)
		fill(&buffers);
	if (error == 0)
		error = run_passes(job, &buffers, pass, ret_result);
	if (buffers.source)
		(void)munmap(buffers.source, job->size_bytes);
	if (buffers.target)
		(void)munmap(buffers.target, job->size_bytes);
	return error;
}

int floor_memory_read(const struct floor_memory_job *job, struct floor_memory_result *ret_result)
{
	return run_job(job, pass_read, ret_result);
}

int floor_memory_copy(const struct floor_memory_job *job, struct floor_memory_result *ret_result)
{
	return run_job(job, pass_copy, ret_result);
}

int floor_memory_zero_scan(
	const struct floor_memory_job *job, struct floor_memory_result *ret_result)
{
	return run_job(job, pass_zero_scan, ret_result);
}

int floor_memory_digest(const struct floor_memory_job *job, struct floor_memory_result *ret_result)
{
	return run_job(job, pass_digest, ret_result);
}

double floor_memory_gb_per_s(const struct floor_memory_result *result)
{
	ASSERT(result->elapsed_ns > 0);
	return (double)result->bytes / (double)result->elapsed_ns;
}
