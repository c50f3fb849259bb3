/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest memory is a shared, writable mapping of shmem: a memfd, a file in /dev/shm or another
 * tmpfs, SysV memory, or MAP_SHARED | MAP_ANONYMOUS (/dev/zero). Names of the first kinds are the
 * kernel's own; any other file is asked for its file system through map_files.
 *
 * smaps walks page tables (about 15 ns a mapped page, with the mmap lock of the target held for
 * reading), maps does not. So smaps is read once at attach, and by the scan for mappers only of
 * processes whose maps show one of the files.
 */
#include "ctl/maps.h"

#include <string.h>
#include <sys/vfs.h>

#include <linux/capability.h>
#include <linux/magic.h>

#include "ctl/maps_text.h"
#include "ctl/procfs.h"
#include "queue/base/assert.h"
#include "queue/base/bits.h"
#include "queue/base/err.h"

static bool starts_with(const char *text, const char *start)
{
	return strncmp(text, start, strlen(start)) == 0;
}

/* A file with a path: a tmpfs anywhere counts, a disk file does not. */
static bool is_on_tmpfs(pid_t pid, const struct maps_entry *entry)
{
	char path[PROCFS_PATH_BYTES];
	struct statfs system;

	(void)snprintf(
		path, sizeof(path), "/proc/%d/map_files/%lx-%lx", pid, entry->start, entry->end);
	return statfs(path, &system) == 0 && system.f_type == TMPFS_MAGIC; /* @control statfs */
}

static bool is_shared_memory(pid_t pid, const struct maps_entry *entry)
{
	if (!entry->is_shared || !entry->is_writable || entry->is_hugetlb || entry->is_device)
		return false;
	return starts_with(entry->name, "/memfd:") || starts_with(entry->name, "/dev/shm/") ||
	       starts_with(entry->name, "/dev/zero") || starts_with(entry->name, "/SYSV") ||
	       is_on_tmpfs(pid, entry);
}

static bool continues(const struct mapping *mapping, const struct maps_entry *entry)
{
	return mapping->end == entry->start && mapping->device == entry->device &&
	       mapping->inode == entry->inode &&
	       mapping->file_offset + (mapping->end - mapping->start) == entry->file_offset;
}

static int append(struct mapping_list *list, const struct maps_entry *entry)
{
	struct mapping *item = reallocarray(list->item, list->count + 1u, sizeof(*item));

	if (!item)
		return -ENOMEM;
	list->item = item;
	item += list->count;
	*item = (struct mapping){
		.start = entry->start,
		.end = entry->end,
		.file_offset = entry->file_offset,
		.device = entry->device,
		.inode = entry->inode,
		.is_locked = entry->is_locked,
		.is_registered = entry->is_registered,
	};
	static_assert(sizeof(item->name) == sizeof(entry->name), "names are copied whole");
	memcpy(item->name, entry->name, sizeof(item->name));
	list->count++;
	return 0;
}

/* maps is sorted by address, so a mapping can only continue the last one. */
static int take_shared(struct mapping_list *list, const struct maps_entry *entry)
{
	struct mapping *last = list->count > 0 ? &list->item[list->count - 1] : NULL;

	if (!last || !continues(last, entry))
		return append(list, entry);
	last->end = entry->end;
	last->is_locked |= entry->is_locked;
	last->is_registered |= entry->is_registered;
	return 0;
}

static uint64_t size_of(const struct mapping *mapping)
{
	ASSERT(mapping->end > mapping->start);
	return mapping->end - mapping->start;
}

/* Only mappings of at least @min_bytes stay. */
static void keep_large(struct mapping_list *list, uint64_t min_bytes)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < list->count; i++) {
		uint64_t size = size_of(&list->item[i]);

		list->largest_shared_bytes = MAX(list->largest_shared_bytes, size);
		if (size >= min_bytes)
			list->item[kept++] = list->item[i];
	}
	list->count = kept;
}

/* A run of private writable memory: VMMs split theirs with madvise(2). */
struct private_run {
	uint64_t start, end;
};

static void note_other(
	struct mapping_list *list, struct private_run *run, const struct maps_entry *entry)
{
	uint64_t size = entry->end - entry->start;

	if (entry->is_hugetlb)
		list->largest_hugetlb_bytes = MAX(list->largest_hugetlb_bytes, size);
	if (entry->is_shared || !entry->is_writable || entry->is_hugetlb)
		return;
	if (run->end != entry->start)
		run->start = entry->start;
	run->end = entry->end;
	list->largest_private_bytes = MAX(list->largest_private_bytes, run->end - run->start);
}

static int collect(pid_t pid, FILE *file, struct mapping_list *list)
{
	struct maps_text text;
	struct maps_entry entry;
	struct private_run run = {0};
	int error = 0;

	maps_text_init(&text, file);
	while (!error && maps_text_next(&text, &entry)) {
		if (is_shared_memory(pid, &entry))
			error = take_shared(list, &entry);
		else
			note_other(list, &run, &entry);
	}
	return error ? error : ferror(file) ? -ESRCH : 0;
}

static int open_maps(pid_t pid, const char *name, FILE **ret_file)
{
	char path[PROCFS_PATH_BYTES];

	ASSERT(pid > 0);
	(void)snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	return procfs_open_text(path, ret_file);
}

int maps_read(pid_t pid, uint64_t min_bytes, struct mapping_list *ret_list)
{
	struct mapping_list list = {0};
	CLEANUP_FILE FILE *file = NULL;
	int error = open_maps(pid, "smaps", &file);

	if (error)
		return error;
	error = collect(pid, file, &list);
	if (error) {
		maps_free(&list);
		return error;
	}
	keep_large(&list, min_bytes);
	*ret_list = list;
	return 0;
}

void maps_free(struct mapping_list *list)
{
	free(list->item);
	*list = (struct mapping_list){0};
}

/* The scan over all processes. */
struct scan {
	const struct mapping_list *files;
	struct mapper *mappers;
	uint32_t count;
};

static bool is_wanted(const struct mapping_list *files, const struct maps_entry *entry)
{
	for (uint32_t i = 0; i < files->count; i++)
		if (files->item[i].inode == entry->inode && files->item[i].device == entry->device)
			return true;
	return false;
}

/* 1: @pid maps one of the files, 0: none; -errno. */
static int maps_a_file(const struct mapping_list *files, pid_t pid)
{
	CLEANUP_FILE FILE *file = NULL;
	int error = open_maps(pid, "maps", &file);
	char line[512];
	struct maps_entry entry;

	if (error)
		return error;
	while (fgets(line, sizeof(line), file))
		if (maps_text_says_shared(line) && maps_text_parse(line, &entry) &&
			is_wanted(files, &entry))
			return 1;
	return 0;
}

/* Looks closer at a process that maps one of the files. 1: it still does. */
static int examine(const struct mapping_list *files, pid_t pid, struct mapper *ret_mapper)
{
	struct mapper mapper = {.pid = pid, .all_registered = true};
	CLEANUP_FILE FILE *file = NULL;
	struct procfs_stat stat;
	struct maps_text text;
	struct maps_entry entry;
	int found = 0;
	int error = procfs_stat(pid, 0, &stat);

	if (!error)
		error = open_maps(pid, "smaps", &file);
	if (error)
		return error;
	memcpy(mapper.comm, stat.comm, sizeof(mapper.comm));
	maps_text_init(&text, file);
	while (maps_text_next(&text, &entry)) {
		if (!entry.is_shared || !is_wanted(files, &entry))
			continue;
		found = 1;
		if (entry.is_registered || !mapper.all_registered)
			continue;
		mapper.all_registered = false;
		mapper.unregistered_address = entry.start;
	}
	if (found)
		*ret_mapper = mapper;
	return found;
}

/*
 * A process that may not be read. Without CAP_SYS_PTRACE that may be any user's, and the scan would
 * be worth nothing. With it, only what a security module or an outer namespace guards (an init,
 * say) is left, and what even we are kept out of does not share memory with a VMM of ours.
 */
static int pass_over(int error)
{
	struct procfs_status own;

	if (error != -EACCES && error != -EPERM)
		return error;
	if (procfs_status(getpid(), gettid(), &own) < 0)
		return error;
	return (own.capabilities >> CAP_SYS_PTRACE) & 1 ? 0 : error;
}

static int visit_process(void *context, int pid)
{
	struct scan *scan = context;
	struct mapper mapper;
	struct mapper *mappers;
	int found;

	if (pid == getpid())
		return 0;
	found = maps_a_file(scan->files, pid);
	if (found == 1)
		found = examine(scan->files, pid, &mapper);
	if (found <= 0)
		return found == -ESRCH ? 0 : pass_over(found);
	mappers = reallocarray(scan->mappers, scan->count + 1u, sizeof(*mappers));
	if (!mappers)
		return -ENOMEM;
	scan->mappers = mappers;
	mappers[scan->count++] = mapper;
	return 0;
}

int maps_find_mappers(
	const struct mapping_list *list, struct mapper **ret_mappers, uint32_t *ret_count)
{
	struct scan scan = {.files = list};
	int error;

	ASSERT(list->count == 0 || list->item);
	error = procfs_each("/proc", visit_process, &scan);
	if (error) {
		free(scan.mappers);
		return error;
	}
	*ret_mappers = scan.mappers;
	*ret_count = scan.count;
	return 0;
}
