/* SPDX-License-Identifier: Apache-2.0 */
/* vmswapctl: the command line of vmswapd. Everything it knows about its verbs is in one table. */
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/client/rpc_client.h"
#include "ctl/config.h"
#include "queue/base/assert.h"
#include "tools/vmswapctl/ask.h"
#include "tools/vmswapctl/options.h"
#include "tools/vmswapctl/verb.h"

/* An answer that needs no work comes at once; later means that the daemon hangs. */
#define QUICK_S 30

static const struct option_spec attach_options[] = {
	{"--name", OPTION_TEXT, "name", "NAME", "Name of the VM (COMM-PID)"},
	{"--all-mappers", OPTION_FLAG, "all_mappers", NULL,
		"Attach every process that maps the memory"},
	{"--allow-locked", OPTION_FLAG, "allow_locked", NULL, "Attach locked memory, too"},
	{"--min-size", OPTION_SIZE, "min_size", "SIZE",
		"Smaller mappings are not guest memory (64M)"},
	{"--dwell", OPTION_DWELL, "dwell", "S|auto",
		"Seconds a page stays in RAM between its zap and its drop"},
	{"--zap", OPTION_ZAP, "zap", "inject|pageout|auto",
		"How page-table entries are taken away"},
	{"--trust-discard", OPTION_FLAG, "trust_discard", NULL,
		"What the VMM discards is never read again"},
	{"--no-verify-clean", OPTION_NEGATION, "verify_clean", NULL,
		"Do not check clean pages before they are dropped"},
	{0},
};

#define WAIT_OPTION                                                                                \
	{                                                                                          \
		"--wait", OPTION_FLAG, "wait", NULL, "Return when it has ended; 1 if it failed"    \
	}

static const struct option_spec operation_options[] = {WAIT_OPTION, {0}};

static const struct option_spec scrub_options[] = {
	{"--wait", OPTION_FLAG, "wait", NULL, "Return when it has ended; 1 if a page is bad"},
	{"--rate", OPTION_SIZE, "rate_bytes", "SIZE", "Read no more than this a second (64M)"},
	{0},
};

static const struct option_spec disable_options[] = {
	WAIT_OPTION,
	{"--slow-cleanup", OPTION_FLAG, "slow_cleanup", NULL,
		"Shrink the swap file gently, not at once"},
	{"--poison-unreadable", OPTION_FLAG, "poison_unreadable", NULL,
		"Give up what the disk does not give: an error in the guest"},
	{0},
};

static const struct option_spec events_options[] = {
	{"--follow", OPTION_FLAG, "follow", NULL, "Go on after the first event"},
	{0},
};

static const struct option_spec record_options[] = {
	{"--capacity", OPTION_COUNT, "capacity", "N",
		"Faults that fit (as many as the VM has pages)"},
	{0},
};

static const struct option_spec top_options[] = {
	{"--delay", OPTION_SECONDS, "delay", "S", "Seconds between two looks (1)"},
	{"--count", OPTION_COUNT, "count", "N", "Leave after N looks"},
	{0},
};

static const struct option_spec shutdown_options[] = {
	{"--force", OPTION_FLAG, "force", NULL,
		"Do not ask first whether the memory fits into RAM"},
	{0},
};

static const struct option_spec rescue_options[] = {
	{"--force", OPTION_FLAG, "force", NULL,
		"Do not ask first whether the memory fits into RAM"},
	{"--poison-unreadable", OPTION_FLAG, "poison_unreadable", NULL,
		"Give up what the disk does not give: an error in the guest"},
	{"--state-dir", OPTION_TEXT, "state_dir", "DIR",
		"That of vmswapd (" CONFIG_STATE_DIR ", or SOCKET.state)"},
	{0},
};

const struct verb verbs[] = {
	{"attach", verb_attach, "PID[,PID...]", 1, 1, 0, attach_options,
		"Take over the memory of a running VMM"},
	{"add", verb_add, "VM PID", 2, 2, 0, NULL, "Let another process that maps it join a VM"},
	{"remove", verb_remove, "VM PID", 2, 2, 0, NULL, "Let a process leave a VM"},
	{"detach", verb_detach, "VM", 1, 1, 0, NULL, "Bring all memory back and let the VM go"},
	{"list", verb_list, "", 0, 0, QUICK_S, NULL, "All VMs, and where their memory is"},
	{"status", verb_status, "[VM]", 0, 1, QUICK_S, NULL, "All about a VM, or about the daemon"},
	{"enable", verb_operation, "VM", 1, 1, QUICK_S, operation_options,
		"Stage the memory: still in RAM, every touch noticed"},
	{"trim", verb_operation, "VM", 1, 1, QUICK_S, operation_options,
		"Drop staged pages that are zero or clean"},
	{"swap-out", verb_operation, "VM", 1, 1, QUICK_S, operation_options,
		"Write staged pages to the swap store and drop them"},
	{"disable", verb_operation, "VM", 1, 1, QUICK_S, disable_options,
		"Bring all memory back into RAM"},
	{"scrub", verb_operation, "VM", 1, 1, QUICK_S, scrub_options,
		"Check all that is in the swap store"},
	{"wait", verb_wait, "VM STATE", 2, 2, 0, NULL, "Wait until a VM is in a state"},
	{"jobs", verb_jobs, "", 0, 0, QUICK_S, NULL, "Running jobs, and the last that ended"},
	{"cancel", verb_cancel, "JOB", 1, 1, QUICK_S, NULL, "Stop a job"},
	{"events", verb_events, "", 0, 0, 0, events_options, "Print the next event"},
	{"top", verb_top, "", 0, 0, QUICK_S, top_options, "Watch all VMs; q leaves"},
	{"record-start", verb_record_start, "VM", 1, 1, QUICK_S, record_options,
		"Record the faults of a VM; needs vmswapd --debug"},
	{"record-stop", verb_record_stop, "VM FILE", 2, 2, 0, NULL,
		"End that, and let the daemon write a new FILE"},
	{"daemon", verb_status, "", 0, 0, QUICK_S, NULL, "All about the daemon"},
	{"upgrade", verb_upgrade, "[PATH]", 0, 1, QUICK_S, NULL,
		"Replace the running vmswapd by the one at PATH"},
	{"shutdown", verb_shutdown, "", 0, 0, 0, shutdown_options,
		"Bring all memory back and end the daemon"},
	{"rescue", verb_rescue, "", 0, 0, 0, rescue_options,
		"Bring all memory back when no worker stays alive"},
	{"ping", verb_ping, "", 0, 0, QUICK_S, NULL, "Is the daemon there?"},
	{"help", verb_help, "[VERB]", 0, 1, QUICK_S, NULL, "Print this, or help for a verb"},
	{"version", verb_version, "", 0, 0, QUICK_S, NULL, "Print the version of this program"},
	{0},
};

const struct verb *verb_find(const char *name)
{
	ASSERT(name);
	for (const struct verb *verb = verbs; verb->name; verb++)
		if (strcmp(verb->name, name) == 0)
			return verb;
	return NULL;
}

static void print_options(const struct option_spec *specs)
{
	for (const struct option_spec *spec = specs; spec && spec->name; spec++) {
		char usage[64];

		(void)snprintf(usage, sizeof(usage), "%s%s%s", spec->name, spec->value ? " " : "",
			spec->value ? spec->value : "");
		(void)printf("  %-26s %s\n", usage, spec->sentence);
	}
}

static void print_verb_help(const struct verb *verb)
{
	(void)printf("usage: vmswapctl [GLOBAL OPTION...] %s%s%s%s\n\n%s.\n", verb->name,
		*verb->arguments ? " " : "", verb->arguments, verb->options ? " [OPTION...]" : "",
		verb->sentence);
	if (verb->options) {
		(void)printf("\noptions\n");
		print_options(verb->options);
	}
	(void)printf("\nglobal options\n");
	print_options(options_global);
}

static void print_help(void)
{
	(void)printf("usage: vmswapctl [GLOBAL OPTION...] VERB [ARGUMENT...]\n\nverbs\n");
	for (const struct verb *verb = verbs; verb->name; verb++) {
		char usage[64];

		(void)snprintf(usage, sizeof(usage), "%s %s", verb->name, verb->arguments);
		(void)printf("  %-26s %s\n", usage, verb->sentence);
	}
	(void)printf("\nglobal options\n");
	print_options(options_global);
	(void)printf("\nOptions of a verb: vmswapctl help VERB\n"
		     "Exit codes: 0 done, 1 failed, 2 the command line makes no sense,\n"
		     "            3 done, but pages are lost (rescue)\n");
}

enum status verb_help(struct invocation *invocation)
{
	const struct verb *verb;

	if (invocation->argument_count == 0) {
		print_help();
		return STATUS_OK;
	}
	verb = verb_find(invocation->arguments[0]);
	if (!verb)
		return complain(
			invocation, STATUS_MISUSE, "unknown verb %s", invocation->arguments[0]);
	print_verb_help(verb);
	return STATUS_OK;
}

enum status verb_version(struct invocation *invocation)
{
	(void)invocation;
	(void)printf("vmswapctl %s\n", VMSWAP_VERSION);
	return STATUS_OK;
}

static enum status run(struct invocation *invocation)
{
	if (invocation->wants_version)
		return verb_version(invocation);
	if (invocation->wants_help && invocation->verb && invocation->verb->run != verb_help) {
		print_verb_help(invocation->verb);
		return STATUS_OK;
	}
	if (invocation->wants_help)
		return verb_help(invocation);
	return invocation->verb->run(invocation);
}

int main(int argc, char **argv)
{
	struct invocation invocation;
	enum status status;

	(void)setlocale(LC_CTYPE, "");
	status = options_parse(argc, argv, &invocation);
	if (status == STATUS_OK)
		status = run(&invocation);
	rpc_client_close(invocation.client);
	json_decref(invocation.options);
	free(invocation.socket);
	if (fflush(stdout) != 0 && status == STATUS_OK) {
		perror("vmswapctl: writing the output");
		status = STATUS_FAILED;
	}
	return (int)status;
}
