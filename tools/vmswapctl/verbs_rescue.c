/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rescue: no worker answers, so this speaks with the supervisor, by a signal, and reads in its
 * state folder what became of that (ctl/rescue/report.h). The supervisor is found by the pid it has
 * written there; a process that only bears that number now does not block SIGUSR2, and is left
 * alone.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "ctl/client/rpc_client.h"
#include "ctl/config.h"
#include "ctl/rescue/rescue.h"
#include "ctl/supervisor/state_dir.h"
#include "queue/base/assert.h"
#include "queue/base/bits.h"
#include "queue/base/clock.h"
#include "queue/base/err.h"
#include "tools/vmswapctl/ask.h"
#include "tools/vmswapctl/status.h"
#include "tools/vmswapctl/table.h"
#include "tools/vmswapctl/units.h"

#define LOOK_MS 50
/* The supervisor answers a signal in milliseconds, and ends so soon after its last VM. */
#define ANSWER_S 10
#define END_MS	 10000

/* The state folder and the supervisor whose it is. */
struct rescue {
	int folder;
	int supervisor; /* pidfd */
	pid_t pid;
};

/* As set_default_state_dir() of ctl/config.c. */
static void name_folder(const struct invocation *invocation, char *ret_path, size_t size)
{
	const char *given = json_string_value(json_object_get(invocation->options, "state_dir"));
	const bool is_default = strcmp(invocation->socket, CONFIG_SOCKET) == 0;

	(void)snprintf(ret_path, size, "%s%s",
		given	     ? given
		: is_default ? CONFIG_STATE_DIR
			     : invocation->socket,
		given || is_default ? "" : ".state");
}

/* The first @size - 1 bytes of a file below @folder; -errno. */
static ssize_t read_text(int folder, const char *name, char *ret_text, size_t size)
{
	CLEANUP_FD int fd = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	const ssize_t length = fd < 0 ? -1 : read(fd, ret_text, size - 1);

	if (length < 0)
		return -errno;
	ret_text[length] = '\0';
	return length;
}

/* Whether the process waits for SIGUSR2 as a supervisor does, or would be killed by it. */
static bool blocks_signal(pid_t pid)
{
	char path[64];
	char text[4096];
	const char *line;

	(void)snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	if (read_text(AT_FDCWD, path, text, sizeof(text)) < 0)
		return false;
	line = strstr(text, "\nSigBlk:");
	return strncmp(text, "Name:\tvmswapd", strlen("Name:\tvmswapd")) == 0 && line &&
	       (strtoul(line + strlen("\nSigBlk:"), NULL, 16) >> (SIGUSR2 - 1) & 1) != 0;
}

static enum status find_supervisor(
	const struct invocation *invocation, const char *path, struct rescue *rescue)
{
	struct stat found;
	char text[32];

	rescue->folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (rescue->folder < 0 || fstat(rescue->folder, &found) < 0)
		return complain(invocation, STATUS_FAILED,
			"%s: %s. --state-dir names the folder that vmswapd was started with", path,
			strerror(errno));
	if ((found.st_uid != 0 && found.st_uid != geteuid()) ||
		(found.st_mode & (S_IWGRP | S_IWOTH)))
		return complain(invocation, STATUS_FAILED, "%s: others may write it", path);
	if (read_text(rescue->folder, STATE_DIR_SUPERVISOR, text, sizeof(text)) < 0)
		return complain(invocation, STATUS_FAILED, "%s/%s: %s. No supervisor is there",
			path, STATE_DIR_SUPERVISOR, strerror(errno));
	rescue->pid = (pid_t)strtol(text, NULL, 10);
	/* The descriptor first: what is looked at then is what gets the signal. */
	if (rescue->pid > 0)
		rescue->supervisor = (int)syscall(SYS_pidfd_open, rescue->pid, 0);
	if (rescue->supervisor < 0 || !blocks_signal(rescue->pid))
		return complain(invocation, STATUS_FAILED,
			"process %d of %s/%s is no supervisor that can rescue", (int)rescue->pid,
			path, STATE_DIR_SUPERVISOR);
	return STATUS_OK;
}

static uint32_t flags_of(const struct invocation *invocation)
{
	const json_t *options = invocation->options;

	return (json_is_true(json_object_get(options, "force")) ? RESCUE_FORCED : 0) |
	       (json_is_true(json_object_get(options, "poison_unreadable")) ? RESCUE_POISON : 0);
}

static enum status ask_supervisor(const struct invocation *invocation, const struct rescue *rescue)
{
	siginfo_t info = {0};

	info.si_signo = SIGUSR2;
	info.si_code = SI_QUEUE;
	info.si_pid = getpid();
	info.si_uid = getuid();
	info.si_value.sival_int = (int)flags_of(invocation);
	/* What is there afterwards is the answer. */
	(void)unlinkat(rescue->folder, STATE_DIR_RESCUE, 0);
	if (syscall(SYS_pidfd_send_signal, rescue->supervisor, SIGUSR2, &info, 0) < 0)
		return complain(invocation, STATUS_FAILED, "supervisor %d: %s", (int)rescue->pid,
			strerror(errno));
	return STATUS_OK;
}

static json_t *read_report(const struct rescue *rescue)
{
	const int fd = openat(rescue->folder, STATE_DIR_RESCUE, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	json_t *report;

	if (fd < 0)
		return NULL;
	report = json_loadfd(fd, JSON_REJECT_DUPLICATES, NULL);
	(void)close(fd);
	return report;
}

static bool has_ended(const struct rescue *rescue, int timeout_ms)
{
	struct pollfd entry = {.fd = rescue->supervisor, .events = POLLIN};

	return poll(&entry, 1, timeout_ms) > 0;
}

/* The report with its last word, or NULL: said on stderr. */
static json_t *await_report(const struct invocation *invocation, const struct rescue *rescue)
{
	const struct timespec pause = {.tv_nsec = LOOK_MS * (long)NS_PER_MS};
	const int timeout_ms = ask_timeout_ms(invocation);
	const uint64_t start_ns = clock_ns();

	for (;;) {
		/* In this order: what it had to say it said before its end. */
		const bool is_gone = has_ended(rescue, 0);
		json_t *report = read_report(rescue);
		const uint64_t passed_ns = clock_ns() - start_ns;

		if (report && strcmp(status_text(report, "state"), "running") != 0)
			return report;
		if (is_gone || (!report && passed_ns > ANSWER_S * NS_PER_S)) {
			(void)complain(invocation, STATUS_FAILED, "supervisor %d %s",
				(int)rescue->pid, is_gone ? "has died" : "does not answer");
			json_decref(report);
			return NULL;
		}
		json_decref(report);
		if (timeout_ms != ASK_FOR_EVER && passed_ns / NS_PER_MS > (uint64_t)timeout_ms) {
			(void)complain(invocation, STATUS_FAILED,
				"not within that time; the rescue goes on");
			return NULL;
		}
		(void)nanosleep(&pause, NULL);
	}
}

static void print_lost(const json_t *vm)
{
	const json_t *lost = json_object_get(vm, "lost");
	uint64_t named = 0;

	if (status_number(vm, "lost_pages") == 0)
		return;
	(void)printf(", %" PRIu64 " pages are lost:", status_number(vm, "lost_pages"));
	for (size_t i = 0; i < json_array_size(lost); i++) {
		const json_t *run = json_array_get(lost, i);
		const uint64_t first = status_number(run, "page");
		const uint64_t count = status_number(run, "pages");

		(void)printf(" %" PRIu64, first);
		if (count > 1)
			(void)printf("-%" PRIu64, first + count - 1);
		(void)printf(" (0x%" PRIx64 ")", status_number(run, "address"));
		named += count;
	}
	if (named < status_number(vm, "lost_pages"))
		(void)printf(" and more");
}

static void print_vm(const json_t *vm)
{
	const char *problem = status_text(vm, "problem");
	const char *state = status_text(vm, "state");
	CLEANUP_FREE char *name = strdup(status_text(vm, "vm"));
	char size[UNITS_BYTES];

	(void)printf("%s: %s, %s came back", name ? table_harmless(name) : "", state,
		units_size(size, status_number(vm, "pages") * PAGE_BYTES));
	print_lost(vm);
	(void)printf("%s%s\n", *problem ? ": " : "", problem);
}

static uint64_t lost_of(const json_t *vms)
{
	uint64_t lost = 0;

	for (size_t i = 0; i < json_array_size(vms); i++)
		lost += status_number(json_array_get(vms, i), "lost_pages");
	return lost;
}

static enum status tell(
	const struct invocation *invocation, const struct rescue *rescue, const json_t *report)
{
	const json_t *vms = json_object_get(report, "vms");
	const char *state = status_text(report, "state");

	if (invocation->is_json)
		ask_print_json(report);
	for (size_t i = 0; !invocation->is_json && i < json_array_size(vms); i++)
		print_vm(json_array_get(vms, i));
	if (strcmp(state, "refused") == 0)
		return complain(invocation, STATUS_FAILED,
			"%s: it brings memory back itself, see vmswapctl disable, detach and "
			"shutdown",
			status_text(report, "problem"));
	if (strcmp(state, "done") != 0)
		return complain(invocation, STATUS_FAILED,
			"%s. Nothing was let go of that guests need: run it again, or send SIGUSR1 "
			"to process %d, and see the daemon's log",
			status_text(report, "problem"), (int)rescue->pid);
	if (!has_ended(rescue, END_MS))
		return complain(invocation, STATUS_FAILED,
			"all memory is in RAM, but supervisor %d does not end", (int)rescue->pid);
	if (lost_of(vms) > 0)
		return complain(invocation, STATUS_LOST,
			"%" PRIu64 " pages are lost, touching one is an error in the guest. All "
			"else is in RAM, all VMs are let go, and the daemon has ended",
			lost_of(vms));
	if (!invocation->is_json)
		(void)printf("All memory is in RAM, all VMs are let go, and the daemon has "
			     "ended\n");
	return STATUS_OK;
}

enum status verb_rescue(struct invocation *invocation)
{
	struct rescue rescue = {.folder = -1, .supervisor = -1};
	char path[PATH_MAX];
	json_t *report = NULL;
	enum status status;

	name_folder(invocation, path, sizeof(path));
	status = find_supervisor(invocation, path, &rescue);
	if (status == STATUS_OK)
		status = ask_supervisor(invocation, &rescue);
	if (status == STATUS_OK) {
		report = await_report(invocation, &rescue);
		status = report ? tell(invocation, &rescue, report) : STATUS_FAILED;
	}
	if (report)
		(void)unlinkat(rescue.folder, STATE_DIR_RESCUE, 0);
	json_decref(report);
	close_fd(rescue.supervisor);
	close_fd(rescue.folder);
	return status;
}
