/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/run/daemon.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include <jansson.h>

#include "ctl/client/rpc_client.h"
#include "ctl/run/child.h"
#include "queue/base/assert.h"
#include "queue/base/err.h"

#define STATUS_TIMEOUT_MS 5000
/* What the daemon may need beyond the wait for memory: an attach takes milliseconds. */
#define ATTACH_GRACE_MS 30000u

static int complain(const char *what, const char *why, int error)
{
	(void)fprintf(stderr, "vmswap-run: %s: %s\n", what, why);
	return error;
}

/* "error"."message" of a response, or NULL when it is a result. */
static const char *error_of(const json_t *response)
{
	const json_t *error = json_object_get(response, "error");
	const char *message = json_string_value(json_object_get(error, "message"));

	if (error && !message)
		return "the daemon gives no reason";
	return message;
}

static int read_shards(const json_t *response, uint32_t *ret_shards)
{
	const json_t *result = json_object_get(response, "result");
	json_int_t shards = json_integer_value(json_object_get(result, "shards"));

	if (error_of(response))
		return complain("daemon.status", error_of(response), -EPROTO);
	if (shards < 1 || shards > SHARDS_MAX)
		return complain("daemon.status", "no valid number of shards", -EPROTO);
	*ret_shards = (uint32_t)shards;
	return 0;
}

int daemon_open(const char *socket, struct rpc_client **ret_client, uint32_t *ret_shards)
{
	struct rpc_client *client;
	json_t *response;
	int error = rpc_client_open(socket, &client);

	if (error == -ENOENT || error == -ECONNREFUSED)
		return complain(socket,
			"no vmswapd is running there (start it, or name its --socket)", error);
	if (error)
		return complain(socket, strerror(-error), error);
	error = rpc_client_call(
		client, "daemon.status", NULL, NULL, 0, STATUS_TIMEOUT_MS, &response);
	if (error) {
		(void)complain(socket, strerror(-error), error);
	} else {
		error = read_shards(response, ret_shards);
		json_decref(response);
	}
	if (error)
		rpc_client_close(client);
	else
		*ret_client = client;
	return error;
}

/* The call that runs in the background; freed by its thread. */
struct attach {
	struct rpc_client *client;
	json_t *params;
	int timeout_ms;
	uint32_t fd_count;
	int fds[SHARDS_MAX];
};

static void attach_free(struct attach *attach)
{
	for (uint32_t i = 0; i < attach->fd_count; i++)
		close_fd(attach->fds[i]);
	rpc_client_close(attach->client);
	json_decref(attach->params);
	free(attach);
}

static void *attach_main(void *context)
{
	struct attach *attach = context;
	json_t *response;
	int error = rpc_client_call(attach->client, "vm.attach", json_incref(attach->params),
		attach->fds, attach->fd_count, attach->timeout_ms, &response);

	if (error) {
		(void)complain("the VM runs, but is not attached", strerror(-error), error);
	} else {
		if (error_of(response))
			(void)complain("the VM runs, but is not attached", error_of(response), 0);
		json_decref(response);
	}
	attach_free(attach);
	return NULL;
}

static json_t *params_of(const struct child *child, const struct daemon_request *request)
{
	return json_pack("{s:[i], s:b, s:I, s:I, s:s*}", "pids", (int)child->pid, "prepared", 1,
		"wait_memory_ms", (json_int_t)request->wait_ms, "min_size",
		(json_int_t)request->min_bytes, "name", request->name);
}

int daemon_attach(
	struct rpc_client *client, const struct child *child, const struct daemon_request *request)
{
	struct attach *attach = calloc(1, sizeof(*attach));
	pthread_t thread;
	int error;

	ASSERT(child->fd_count > 0);
	if (!attach)
		return complain("attach", "no memory", -ENOMEM);
	attach->client = client;
	attach->params = params_of(child, request);
	attach->timeout_ms = (int)(request->wait_ms + ATTACH_GRACE_MS);
	attach->fd_count = child->fd_count;
	memcpy(attach->fds, child->fds, sizeof(attach->fds));
	error = attach->params ? -pthread_create(&thread, NULL, attach_main, attach) : -ENOMEM;
	if (error) {
		attach_free(attach);
		return complain("attach", strerror(-error), error);
	}
	(void)pthread_detach(thread);
	return 0;
}
