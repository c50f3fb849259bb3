/* SPDX-License-Identifier: Apache-2.0 */
/*
 * upgrade: the daemon's process is killed and replaced while this verb waits. What answers at the
 * socket afterwards says how that went.
 */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ctl/client/rpc_client.h"
#include "queue/base/assert.h"
#include "queue/base/clock.h"
#include "queue/base/err.h"
#include "tools/vmswapctl/ask.h"

/* A new program has 10 s to come up, and the old one that comes back instead as well. */
#define SUCCESSOR_S 30
#define LOOK_MS	    20

static json_int_t number_of(const json_t *status, const char *key)
{
	return json_integer_value(json_object_get(status, key));
}

static void disconnect(struct invocation *invocation)
{
	rpc_client_close(invocation->client);
	invocation->client = NULL;
}

/* daemon.status over a new connection, or NULL: nobody answers yet. Says nothing. */
static json_t *look(struct invocation *invocation)
{
	json_t *response = NULL;
	json_t *result = NULL;

	disconnect(invocation);
	if (rpc_client_open(invocation->socket, &invocation->client) < 0)
		return NULL;
	if (rpc_client_call(invocation->client, "daemon.status", NULL, NULL, 0, SUCCESSOR_S * 1000,
		    &response) == 0) {
		result = json_incref(json_object_get(response, "result"));
		json_decref(response);
	}
	return result;
}

/* The status of another worker than @pid; NULL when none comes in time. */
static json_t *await_successor(struct invocation *invocation, json_int_t pid)
{
	const uint64_t deadline_ns = clock_ns() + SUCCESSOR_S * NS_PER_S;
	const struct timespec pause = {.tv_nsec = LOOK_MS * (long)NS_PER_MS};

	while (clock_ns() < deadline_ns) {
		json_t *status = look(invocation);

		if (status && number_of(status, "worker_pid") != pid)
			return status;
		json_decref(status);
		(void)nanosleep(&pause, NULL);
	}
	return NULL;
}

/* STATUS_FAILED when the daemon refuses; that it goes away in the middle is what is asked for. */
static enum status request(struct invocation *invocation, const char *path)
{
	json_t *response;
	enum status status;
	const int error = rpc_client_call(invocation->client, "daemon.upgrade",
		json_pack("{s:s*}", "path", path), NULL, 0, ask_timeout_ms(invocation), &response);

	if (error == -ECONNRESET || error == -EPIPE)
		return STATUS_OK;
	if (error < 0)
		return complain(invocation, STATUS_FAILED, "%s", strerror(-error));
	status = ask_complain(invocation, response);
	json_decref(response);
	return status;
}

static enum status report(struct invocation *invocation, const json_t *status)
{
	const char *outcome = json_string_value(json_object_get(status, "upgrade"));
	const char *version = json_string_value(json_object_get(status, "version"));

	if (invocation->is_json)
		ask_print_json(status);
	if (!outcome || strcmp(outcome, "done") != 0)
		return complain(invocation, STATUS_FAILED,
			"the new program did not come up; vmswapd %s is back, its log says why",
			version ? version : "");
	if (!invocation->is_json)
		(void)printf("vmswapd %s serves now, worker %lld\n", version ? version : "",
			(long long)number_of(status, "worker_pid"));
	return STATUS_OK;
}

enum status verb_upgrade(struct invocation *invocation)
{
	char path[PATH_MAX];
	const char *given = invocation->argument_count > 0 ? invocation->arguments[0] : NULL;
	json_t *before;
	json_t *after;
	json_int_t pid;
	enum status status;

	if (given && !realpath(given, path))
		return complain(invocation, STATUS_FAILED, "%s: %s", given, strerror(errno));
	status = ask(invocation, "daemon.status", NULL, &before);
	if (status != STATUS_OK)
		return status;
	pid = number_of(before, "worker_pid");
	json_decref(before);
	status = request(invocation, given ? path : NULL);
	if (status != STATUS_OK)
		return status;
	after = await_successor(invocation, pid);
	if (!after)
		return complain(invocation, STATUS_FAILED,
			"the daemon was killed for the upgrade and nobody answers since: see its "
			"log");
	status = report(invocation, after);
	json_decref(after);
	return status;
}
