/* SPDX-License-Identifier: Apache-2.0 */
/* fio(1) as a second opinion on a floor of the disk. */
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "perf/floor/disk.h"
#include "queue/base/assert.h"
#include "queue/base/bits.h"
#include "queue/base/err.h"

/* What a shell answers when it finds no such program. */
#define EXIT_NOT_FOUND 127

static const char *fio_name(enum floor_disk_kind kind)
{
	switch (kind) {
	case FLOOR_DISK_RANDOM_READ: return "randread";
	case FLOOR_DISK_READ: return "read";
	case FLOOR_DISK_WRITE: return "write";
	}
	UNREACHABLE();
}

/* The file has no name but the one our descriptor gives it. Only numbers go to the shell. */
static void format_command(const struct floor_disk_job *job, char *ret_command, size_t size)
{
	char cpu[32] = "";
	const unsigned long long size_bytes = job->size_bytes;
	const unsigned long long io_bytes = job->pieces * job->piece_bytes;
	int length;

	if (job->cpu != FLOOR_ANY_CPU)
		(void)snprintf(cpu, sizeof(cpu), " --cpus_allowed=%d", job->cpu);
	length = snprintf(ret_command, size,
		"exec fio --name=floor --filename=/proc/%d/fd/%d --rw=%s --bs=%u --iodepth=%u"
		" --size=%llu --io_size=%llu%s --direct=1 --ioengine=io_uring --fixedbufs=1"
		" --registerfiles=1 --lat_percentiles=1 --clat_percentiles=0"
		" --percentile_list=50:99 --output-format=json 2>/dev/null",
		(int)getpid(), job->fd, fio_name(job->kind), job->piece_bytes, job->depth,
		size_bytes, io_bytes, cpu);
	ASSERT(length > 0);
	ASSERT((size_t)length < size);
}

/* {"jobs":[{"read":{"iops":…,"bw_bytes":…,"lat_ns":{"percentile":{"50.000000":…}}}}]} */
static int parse(json_t *answer, enum floor_disk_kind kind, struct floor_disk_fio *ret_fio)
{
	const char *direction = kind == FLOOR_DISK_WRITE ? "write" : "read";
	json_int_t bytes_per_s;
	json_int_t p50_ns;
	json_int_t p99_ns;
	double iops;

	if (json_unpack(answer, "{s:[{s:{s:F,s:I,s:{s:{s:I,s:I}}}}]}", "jobs", direction, "iops",
		    &iops, "bw_bytes", &bytes_per_s, "lat_ns", "percentile", "50.000000", &p50_ns,
		    "99.000000", &p99_ns) < 0)
		return -EPROTO;
	*ret_fio = (struct floor_disk_fio){
		.iops = iops,
		.gb_per_s = (double)bytes_per_s / 1e9,
		.p50_ns = (uint64_t)p50_ns,
		.p99_ns = (uint64_t)p99_ns,
	};
	return 0;
}

int floor_disk_fio_check(const struct floor_disk_job *job, struct floor_disk_fio *ret_fio)
{
	char command[512];
	json_t *answer;
	FILE *output;
	int status;
	int result;

	format_command(job, command, sizeof(command));
	output = popen(command, "re");
	if (!output)
		return -errno;
	answer = json_loadf(output, JSON_DISABLE_EOF_CHECK, NULL);
	status = pclose(output);
	if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_NOT_FOUND)
		result = -ENOENT;
	else if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		result = -EIO;
	else
		result = parse(answer, job->kind, ret_fio);
	json_decref(answer);
	return result;
}
