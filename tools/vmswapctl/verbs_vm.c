/* SPDX-License-Identifier: Apache-2.0 */
/* Verbs about VMs: attach, add, remove, detach, list, status, wait. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "queue/base/assert.h"
#include "queue/base/bits.h"
#include "queue/base/err.h"
#include "tools/vmswapctl/ask.h"
#include "tools/vmswapctl/status.h"
#include "tools/vmswapctl/table.h"
#include "tools/vmswapctl/units.h"

/* A daemon that answers a timeout of its own gets this much longer, so that its words are heard. */
#define GRACE_MS 5000

static enum status bad_pid(const struct invocation *invocation, const char *text)
{
	return complain(invocation, STATUS_MISUSE, "'%s' is not a pid", text);
}

/* Takes @text apart; the first word that is no pid, NULL when all are. */
static const char *add_pids(json_t *pids, char *text)
{
	char *word;

	while ((word = strsep(&text, ","))) {
		uint64_t pid;

		if (!units_parse_count(word, &pid) ||
			json_array_append_new(pids, json_integer((json_int_t)pid)))
			return word;
	}
	return NULL;
}

/* "12,34"; NULL, with the user told, when it is none. Takes the argument apart. */
static json_t *read_pids(const struct invocation *invocation)
{
	json_t *pids = json_array();
	const char *wrong = add_pids(pids, invocation->arguments[0]);

	if (!wrong)
		return pids;
	(void)bad_pid(invocation, wrong);
	json_decref(pids);
	return NULL;
}

static void print_attached(const json_t *result)
{
	CLEANUP_FREE char *pids = status_pids(json_object_get(result, "pids"));
	char size[UNITS_BYTES];
	char metadata[UNITS_BYTES];
	char metadata_max[UNITS_BYTES];
	char stopped[UNITS_BYTES];
	char name[256];

	(void)snprintf(name, sizeof(name), "%s", status_text(result, "vm"));
	(void)printf("%s attached: pids %s, %s in %" PRIu64 " regions\n", table_harmless(name),
		pids ? pids : "", units_size(size, status_number(result, "pages") * PAGE_BYTES),
		status_number(result, "regions"));
	(void)printf("stopped for %s, zap %s, dwell %" PRIu64
		     " ms, page tables %s (%s when all is out)\n",
		units_time_us(stopped, (double)status_number(result, "stopped_us")),
		status_text(result, "zap"), status_number(result, "dwell_ms"),
		units_size(metadata, status_number(result, "metadata_bytes")),
		units_size(metadata_max, status_number(result, "metadata_max_bytes")));
}

enum status verb_attach(struct invocation *invocation)
{
	json_t *pids = read_pids(invocation);
	json_t *params;
	json_t *result;
	enum status status;

	if (!pids)
		return STATUS_MISUSE;
	/* The options of the verb carry the names of the params. */
	params = json_copy(invocation->options);
	(void)json_object_set_new(params, "pids", pids);
	status = ask(invocation, "vm.attach", params, &result);
	if (status != STATUS_OK)
		return status;
	if (invocation->is_json)
		ask_print_json(result);
	else
		print_attached(result);
	json_decref(result);
	return STATUS_OK;
}

/* Asks for something that has no result but success; then says @done. */
static enum status command(
	struct invocation *invocation, const char *method, json_t *params, const char *done)
{
	json_t *result;
	enum status status = ask(invocation, method, params, &result);

	if (status != STATUS_OK)
		return status;
	if (invocation->is_json)
		ask_print_json(result);
	else
		(void)printf("%s %s\n", table_harmless(invocation->arguments[0]), done);
	json_decref(result);
	return STATUS_OK;
}

static enum status change_processes(
	struct invocation *invocation, const char *method, const char *done)
{
	const char *text = invocation->arguments[1];
	uint64_t pid;

	if (!units_parse_count(text, &pid))
		return bad_pid(invocation, text);
	return command(invocation, method,
		json_pack("{s:s, s:I}", "vm", invocation->arguments[0], "pid", (json_int_t)pid),
		done);
}

enum status verb_add(struct invocation *invocation)
{
	return change_processes(invocation, "vm.add", "has another process");
}

enum status verb_remove(struct invocation *invocation)
{
	return change_processes(invocation, "vm.remove", "has one process less");
}

/* The user's timeout becomes the daemon's, so that the daemon's own words say what is left. */
static void pass_timeout(struct invocation *invocation, json_t *params)
{
	int timeout_ms = ask_timeout_ms(invocation);

	if (timeout_ms == ASK_FOR_EVER)
		return;
	(void)json_object_set_new(params, "timeout_ms", json_integer(timeout_ms));
	invocation->timeout_s += GRACE_MS / 1000.0;
}

enum status verb_detach(struct invocation *invocation)
{
	json_t *params = json_pack("{s:s}", "vm", invocation->arguments[0]);

	pass_timeout(invocation, params);
	return command(invocation, "vm.detach", params, "is detached; its memory is in RAM");
}

enum status verb_list(struct invocation *invocation)
{
	json_t *result;
	struct table *table;
	enum status status = ask(invocation, "vm.list", NULL, &result);

	if (status != STATUS_OK)
		return status;
	if (invocation->is_json) {
		ask_print_json(result);
	} else {
		table = status_list_table(result);
		table_print(table);
		table_free(table);
	}
	json_decref(result);
	return STATUS_OK;
}

static enum status show_vm(struct invocation *invocation)
{
	json_t *params = json_pack("{s:s}", "vm", invocation->arguments[0]);
	json_t *result;
	enum status status = ask(invocation, "vm.status", params, &result);

	if (status != STATUS_OK)
		return status;
	if (invocation->is_json)
		ask_print_json(result);
	else
		status_print_vm(result);
	json_decref(result);
	return STATUS_OK;
}

enum status verb_status(struct invocation *invocation)
{
	json_t *result;
	enum status status;

	if (invocation->argument_count > 0)
		return show_vm(invocation);
	status = ask(invocation, "daemon.status", NULL, &result);
	if (status != STATUS_OK)
		return status;
	if (invocation->is_json)
		ask_print_json(result);
	else
		status_print_daemon(result);
	json_decref(result);
	return STATUS_OK;
}

static bool is_state(const char *text)
{
	static const char *const names[] = {"ready", "pending", "trim-in-progress",
		"swap-out-in-progress", "active", "swap-in-in-progress", "failed"};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (strcmp(text, names[i]) == 0)
			return true;
	return false;
}

enum status verb_wait(struct invocation *invocation)
{
	const char *state = invocation->arguments[1];
	json_t *params;
	json_t *result;
	enum status status;

	if (!is_state(state))
		return complain(invocation, STATUS_MISUSE,
			"%s is no state: ready, pending, trim-in-progress, swap-out-in-progress, "
			"active, swap-in-in-progress, failed",
			state);
	params = json_pack("{s:s, s:s}", "vm", invocation->arguments[0], "state", state);
	pass_timeout(invocation, params);
	status = ask(invocation, "vm.wait", params, &result);
	if (status != STATUS_OK)
		return status;
	if (invocation->is_json)
		ask_print_json(result);
	json_decref(result);
	return STATUS_OK;
}
