/* SPDX-License-Identifier: Apache-2.0 */
/* What the worker asks for. It is trusted with guests, but not to be sane: it may be dying. */
#include <string.h>
#include <unistd.h>

#include "ctl/supervisor/fdstore.h"
#include "ctl/supervisor/supervisor_priv.h"
#include "queue/base/assert.h"
#include "queue/base/bits.h"
#include "queue/base/err.h"
#include "queue/base/log.h"
#include "queue/base/probe.h"

struct request {
	struct handover_message message;
	uint32_t fd_count;
	int fds[HANDOVER_FDS_MAX];
};

static void drop_fds(struct request *request)
{
	close_fds(request->fds, request->fd_count);
	request->fd_count = 0;
}

/* The second home follows the first. */
static void forget(struct supervisor *supervisor, const struct store_entry *entry)
{
	fdstore_remove(entry);
	store_remove(&supervisor->store, entry);
}

static int store(struct supervisor *supervisor, struct request *request)
{
	const struct handover_message *message = &request->message;
	struct store *store = &supervisor->store;
	const int rc = store_add(store, message->name, message->first, message->total, request->fds,
		request->fd_count);
	const struct store_entry *older;

	if (rc < 0)
		return rc;
	request->fd_count = 0; /* the store's now */
	if (rc == 0)
		return 0;
	older = store_find(store, message->name);
	ASSERT(older != NULL);
	if (older != &store->entries[store->entry_count - 1])
		forget(supervisor, older);
	PROBE(supervisor, stored);
	fdstore_push(store, &store->entries[store->entry_count - 1]);
	return 0;
}

static int forget_name(struct supervisor *supervisor, const char *name)
{
	const struct store_entry *entry = store_find(&supervisor->store, name);

	if (!entry)
		return -ENOENT;
	forget(supervisor, entry);
	PROBE(supervisor, forgot);
	return 0;
}

static void forget_below(struct supervisor *supervisor, const char *name)
{
	const struct store_entry *entry;

	while ((entry = store_find_below(&supervisor->store, name)) != NULL)
		forget(supervisor, entry);
}

static int upgrade(struct supervisor *supervisor, struct request *request)
{
	if (request->fd_count != 1)
		return -EINVAL;
	if (supervisor->candidate >= 0 || supervisor->previous >= 0)
		return -EBUSY;
	supervisor->candidate = take_fd(&request->fds[0]);
	PROBE(supervisor, candidate);
	request->fd_count = 0;
	return 0;
}

static void describe(const struct supervisor *supervisor, struct handover_message *answer)
{
	answer->supervisor_pid = (int32_t)getpid();
	answer->restarts = supervisor->restarts;
	answer->upgrade = supervisor->upgrade;
	answer->entry = store_count(&supervisor->store);
}

/* Where the descriptors are that go with the answer, and how many. */
static int fetch(const struct supervisor *supervisor, const struct handover_message *request,
	struct handover_message *answer, const int **ret_fds, uint32_t *ret_count)
{
	const struct store *store = &supervisor->store;
	const struct store_entry *entry;

	if (request->entry >= store_count(store))
		return -ENOENT;
	entry = &store->entries[request->entry];
	if (request->first >= entry->count)
		return -EINVAL;
	memcpy(answer->name, entry->name, sizeof(answer->name));
	answer->first = request->first;
	answer->total = entry->total;
	*ret_fds = store->fds + entry->first + request->first;
	*ret_count = MIN(entry->count - request->first, HANDOVER_FDS_MAX);
	return 0;
}

static void answer(struct supervisor *supervisor, struct request *request)
{
	const struct handover_message *asked = &request->message;
	struct handover_message answer = {
		.magic = HANDOVER_MAGIC, .kind = HANDOVER_ANSWER, .serial = asked->serial};
	const int *fds = NULL;
	uint32_t count = 0;
	int rc;

	switch ((enum handover_kind)asked->kind) {
	case HANDOVER_HELLO: describe(supervisor, &answer); break;
	case HANDOVER_FETCH: answer.result = fetch(supervisor, asked, &answer, &fds, &count); break;
	case HANDOVER_STORE: answer.result = store(supervisor, request); break;
	case HANDOVER_FORGET: answer.result = forget_name(supervisor, asked->name); break;
	case HANDOVER_FORGET_BELOW: forget_below(supervisor, asked->name); break;
	case HANDOVER_READY: supervisor_worker_is_ready(supervisor); break;
	case HANDOVER_UPGRADE: answer.result = upgrade(supervisor, request); break;
	case HANDOVER_BYE: supervisor->worker.said_bye = true; break;
	case HANDOVER_ANSWER: answer.result = -EINVAL; break;
	}
	drop_fds(request);
	if (asked->serial == 0) {
		if (answer.result < 0)
			log_warning("%s: %s", asked->name, strerror(-answer.result));
		return;
	}
	/* The socket does not wait: a worker that asks without reading goes without an answer. */
	rc = handover_send(supervisor->worker.socket, &answer, fds, count);
	if (rc < 0)
		log_debug("an answer to the worker was lost: %s", strerror(-rc));
}

void supervisor_serve(struct supervisor *supervisor)
{
	static struct request request; /* no need to have this on the stack */
	const int rc = handover_receive(
		supervisor->worker.socket, &request.message, request.fds, &request.fd_count);

	if (rc == -EAGAIN || rc == -EINTR)
		return;
	if (rc == -EBADMSG) {
		log_debug("the worker sent a message that makes no sense; it was dropped");
		return;
	}
	if (rc < 0) {
		close_fd(take_fd(&supervisor->worker.socket));
		return;
	}
	answer(supervisor, &request);
	if (supervisor->candidate >= 0)
		supervisor_kill_worker(supervisor);
}
