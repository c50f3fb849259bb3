/* SPDX-License-Identifier: Apache-2.0 */
#include "perf/bench/host.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <time.h>

#include "queue/base/bits.h"
#include "queue/base/clock.h"
#include "queue/base/err.h"

/* A kernel thread's parent (kthreadd). */
#define KTHREADD 2
/* Processes looked at; more than that are counted as foreign. */
#define PROCESSES_MAX 8192u

struct process {
	int pid;
	int parent;
	uint64_t ticks; /* own, threads, and children that were waited for */
};

/* The first line of a small file without its end; "" when there is none. */
static void read_line(const char *path, char *ret_line, size_t size)
{
	CLEANUP_FILE FILE *file = fopen(path, "re");

	ret_line[0] = '\0';
	if (file && fgets(ret_line, (int)size, file))
		ret_line[strcspn(ret_line, "\n")] = '\0';
}

static json_t *line_of(const char *path)
{
	char line[256];

	read_line(path, line, sizeof(line));
	return json_string(line);
}

/* The value behind "@key … :" in /proc/cpuinfo or /proc/meminfo. */
static void find_value(const char *path, const char *key, char *ret_value, size_t size)
{
	CLEANUP_FILE FILE *file = fopen(path, "re");
	char line[512];

	ret_value[0] = '\0';
	while (file && fgets(line, sizeof(line), file)) {
		const char *colon = strchr(line, ':');

		if (!colon || strncmp(line, key, strlen(key)) != 0)
			continue;
		line[strcspn(line, "\n")] = '\0';
		(void)snprintf(ret_value, size, "%s", colon + 1 + strspn(colon + 1, " \t"));
		return;
	}
}

/* {"device","scheduler","rotational"} of the disk below @directory. */
static json_t *describe_disk(const char *directory)
{
	struct stat status;
	char path[128];
	char link[256];
	ssize_t length;
	const char *name;
	json_t *disk = json_object();

	if (stat(directory, &status) < 0)
		return disk;
	(void)snprintf(path, sizeof(path), "/sys/dev/block/%u:%u", major(status.st_dev),
		minor(status.st_dev));
	length = readlink(path, link, sizeof(link) - 1);
	link[MAX(length, 0)] = '\0';
	name = strrchr(link, '/');
	(void)json_object_set_new(disk, "device", json_string(name ? name + 1 : "unknown"));
	(void)snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/queue/scheduler",
		major(status.st_dev), minor(status.st_dev));
	(void)json_object_set_new(disk, "scheduler", line_of(path));
	(void)snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/queue/rotational",
		major(status.st_dev), minor(status.st_dev));
	(void)json_object_set_new(disk, "rotational", line_of(path));
	return disk;
}

json_t *host_describe(const char *directory)
{
	struct utsname kernel;
	char cpu[256];
	char memory[64];
	char flags[4096];
	char date[32];
	const time_t now = time(NULL);

	(void)uname(&kernel);
	find_value("/proc/cpuinfo", "model name", cpu, sizeof(cpu));
	find_value("/proc/cpuinfo", "flags", flags, sizeof(flags));
	find_value("/proc/meminfo", "MemTotal", memory, sizeof(memory));
	(void)strftime(date, sizeof(date), "%Y-%m-%d %H:%M", localtime(&now));
	return json_pack("{s:s, s:i, s:b, s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:s}", "cpu", cpu,
		"cpus", (int)sysconf(_SC_NPROCESSORS_ONLN), "is_virtual",
		strstr(flags, "hypervisor") != NULL, "memory", memory, "kernel", kernel.release,
		"directory", directory, "disk", describe_disk(directory), "shmem_huge_pages",
		line_of("/sys/kernel/mm/transparent_hugepage/shmem_enabled"), "swappiness",
		line_of("/proc/sys/vm/swappiness"), "page_cluster",
		line_of("/proc/sys/vm/page-cluster"), "date", date);
}

/* Ticks that all CPUs were not idle. */
static uint64_t busy_ticks(void)
{
	unsigned long long ticks[8] = {0};
	CLEANUP_FILE FILE *file = fopen("/proc/stat", "re");

	/* user nice system idle iowait irq softirq steal */
	if (!file ||
		fscanf(file, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &ticks[0], &ticks[1],
			&ticks[2], &ticks[3], &ticks[4], &ticks[5], &ticks[6], &ticks[7]) != 8)
		return 0;
	return ticks[0] + ticks[1] + ticks[2] + ticks[5] + ticks[6] + ticks[7];
}

static bool read_process(const char *name, struct process *ret_process)
{
	char path[64];
	char line[1024];
	const char *rest;
	unsigned long long ticks[4];

	(void)snprintf(path, sizeof(path), "/proc/%.16s/stat", name);
	read_line(path, line, sizeof(line));
	/* The name, in parentheses, may hold anything. */
	rest = strrchr(line, ')');
	ret_process->pid = atoi(name);
	if (!rest ||
		sscanf(rest, ") %*c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu %llu %llu",
			&ret_process->parent, &ticks[0], &ticks[1], &ticks[2], &ticks[3]) != 5)
		return false;
	ret_process->ticks = ticks[0] + ticks[1] + ticks[2] + ticks[3];
	return true;
}

static uint32_t read_processes(struct process *ret_processes)
{
	CLEANUP_DIR DIR *folder = opendir("/proc");
	uint32_t count = 0;

	for (const struct dirent *entry = folder ? readdir(folder) : NULL;
		entry && count < PROCESSES_MAX; entry = readdir(folder))
		if (isdigit((unsigned char)entry->d_name[0]))
			count += read_process(entry->d_name, &ret_processes[count]);
	return count;
}

static const struct process *find_process(const struct process *list, uint32_t count, int pid)
{
	for (uint32_t i = 0; i < count; i++)
		if (list[i].pid == pid)
			return &list[i];
	return NULL;
}

/* A descendant of ours, ourselves, or a kernel thread. */
static bool is_ours(const struct process *list, uint32_t count, const struct process *process)
{
	const int self = getpid();

	for (uint32_t depth = 0; process && depth < count; depth++) {
		if (process->pid == self || process->pid == KTHREADD)
			return true;
		process = find_process(list, count, process->parent);
	}
	return false;
}

static uint64_t our_ticks(void)
{
	CLEANUP_FREE struct process *list = calloc(PROCESSES_MAX, sizeof(*list));
	const uint32_t count = list ? read_processes(list) : 0;
	uint64_t sum = 0;

	for (uint32_t i = 0; i < count; i++)
		if (is_ours(list, count, &list[i]))
			sum += list[i].ticks;
	return sum;
}

void host_load_begin(struct host_load *load)
{
	load->begin_ns = clock_ns();
	load->busy = busy_ticks();
	load->ours = our_ticks();
}

double host_load_foreign(const struct host_load *load)
{
	const double seconds = (double)(clock_ns() - load->begin_ns) / (double)NS_PER_S;
	const uint64_t busy = busy_ticks() - load->busy;
	const uint64_t ours = our_ticks() - load->ours;
	const double ticks = busy > ours ? (double)(busy - ours) : 0;

	return ticks / (double)sysconf(_SC_CLK_TCK) / seconds;
}
