/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/record.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/peer.h"
#include "ctl/procfs.h"
#include "queue/base/assert.h"
#include "queue/base/bits.h"
#include "queue/base/err.h"

struct record *record_new(const char *name)
{
	struct record *record = calloc(1, sizeof(*record));

	ASSERT(strlen(name) < VM_NAME_BYTES);
	if (!record)
		return NULL;
	(void)snprintf(record->name, sizeof(record->name), "%s", name);
	record->phase = RECORD_ATTACHING;
	record->state = STATE_READY;
	record->owner = PEER_NO_USER;
	return record;
}

void record_free(struct record *record)
{
	if (!record)
		return;
	ASSERT(!record->running);
	ASSERT(!record->next);
	for (uint32_t i = 0; i < record->process_count; i++)
		close_fd(record->process[i].pidfd);
	free(record);
}

static bool is_name_character(char c)
{
	return isalnum((unsigned char)c) || (c != '\0' && strchr("-._:+@", c));
}

bool record_name_is_valid(const char *name)
{
	size_t length = strlen(name);

	if (length == 0 || length >= VM_NAME_BYTES)
		return false;
	for (size_t i = 0; i < length; i++) {
		if (!is_name_character(name[i]))
			return false;
	}
	return true;
}

int record_default_name(pid_t pid, char *ret_name)
{
	struct procfs_stat stat;
	int rc = procfs_stat(pid, 0, &stat);

	if (rc < 0)
		return rc;
	for (char *c = stat.comm; *c; c++) {
		if (!is_name_character(*c))
			*c = '_';
	}
	(void)snprintf(ret_name, VM_NAME_BYTES, "%s-%d", stat.comm, (int)pid);
	ASSERT(record_name_is_valid(ret_name));
	return 0;
}

void record_add_process(struct record *record, struct process_info *info)
{
	ASSERT(record->process_count < PROCESSES_MAX);
	record->process[record->process_count++] = *info;
	info->pidfd = -1; /* ours now */
}

bool record_remove_process(struct record *record, uint32_t process)
{
	for (uint32_t i = 0; i < record->process_count; i++) {
		if (record->process[i].process != process)
			continue;
		close_fd(record->process[i].pidfd);
		record->process[i] = record->process[--record->process_count];
		return true;
	}
	return false;
}

struct process_info *record_find_pid(struct record *record, pid_t pid)
{
	for (uint32_t i = 0; i < record->process_count; i++) {
		if (record->process[i].pid == pid)
			return &record->process[i];
	}
	return NULL;
}

struct process_info *record_find_pidfd(struct record *record, int pidfd)
{
	ASSERT(pidfd >= 0);
	for (uint32_t i = 0; i < record->process_count; i++) {
		if (record->process[i].pidfd == pidfd)
			return &record->process[i];
	}
	return NULL;
}

static void take_mappers(struct record *record, const struct job_result *result)
{
	record->foreign_count = MIN(result->mapper_count, RECORD_FOREIGN_MAX);
	if (record->foreign_count > 0)
		memcpy(record->foreign, result->mappers,
			record->foreign_count * sizeof(record->foreign[0]));
}

static bool looks_for_mappers(enum command command)
{
	return command == COMMAND_ENABLE || command == COMMAND_TRIM || command == COMMAND_SWAP_OUT;
}

void record_take_result(struct record *record, struct job *job)
{
	const struct job_result *result = &job->result;

	record->zap = result->zap;
	record->has_transition = true;
	record->transition_command = job->command;
	record->transition_pages = job_pages(job);
	record->transition_ms = job_time_ms(job);
	if (looks_for_mappers(job->command))
		take_mappers(record, result);
	if (result->outcome == OUTCOME_DONE)
		record->failure[0] = '\0';
	else if (result->outcome != OUTCOME_ABORTED)
		(void)snprintf(
			record->failure, sizeof(record->failure), "%s", result->problem.text);
}
