/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/keeper.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "queue/base/assert.h"
#include "queue/base/bits.h"
#include "queue/base/clock.h"
#include "queue/base/err.h"
#include "queue/base/log.h"

/* Answers to requests that were given up, at most so many before ours. */
#define LATE_ANSWERS_MAX 64

struct kept {
	char name[HANDOVER_NAME_BYTES];
	uint32_t count; /* 0: it was closed */
	int *fds;
};

struct keeper {
	pthread_mutex_t lock; /* of all below: one request at a time */
	int socket;
	bool is_lost; /* the supervisor is gone */
	uint64_t serial;
	struct keeper_info info;
	struct kept *kept; /* by a predecessor */
	uint32_t kept_count;
};

/* An answer and the descriptors beside it, which are the caller's. */
struct answer {
	struct handover_message message;
	uint32_t count;
	int fds[HANDOVER_FDS_MAX];
};

static int lose(struct keeper *keeper, int error)
{
	if (error == -EAGAIN)
		error = -ETIMEDOUT;
	if (error != -ETIMEDOUT && !keeper->is_lost) {
		keeper->is_lost = true;
		keeper->info.supervisor_pid = 0;
		log_error("the supervisor is gone (%s): guests are served on, but nobody will "
			  "replace this process when it dies",
			strerror(-error));
	}
	return error;
}

static int receive(struct keeper *keeper, struct answer *ret_answer)
{
	for (int i = 0; i < LATE_ANSWERS_MAX; i++) {
		const int rc = handover_receive(
			keeper->socket, &ret_answer->message, ret_answer->fds, &ret_answer->count);

		if (rc == -EINTR)
			continue;
		if (rc < 0)
			return lose(keeper, rc);
		if (ret_answer->message.kind == HANDOVER_ANSWER &&
			ret_answer->message.serial == keeper->serial)
			return ret_answer->message.result;
		close_fds(ret_answer->fds, ret_answer->count);
	}
	return -ETIMEDOUT;
}

/* Under the lock. On 0 what came beside the answer is the caller's. */
static int ask(struct keeper *keeper, struct handover_message *request, const int *fds,
	uint32_t count, struct answer *ret_answer)
{
	int rc;

	if (keeper->is_lost)
		return -ENOTCONN;
	request->magic = HANDOVER_MAGIC;
	request->serial = ++keeper->serial;
	rc = handover_send(keeper->socket, request, fds, count);
	if (rc < 0)
		return lose(keeper, rc);
	rc = receive(keeper, ret_answer);
	ASSERT(rc <= 0);
	return rc;
}

/* For requests whose answer is a result only. */
static int tell(
	struct keeper *keeper, struct handover_message *request, const int *fds, uint32_t count)
{
	struct answer answer;
	const int rc = ask(keeper, request, fds, count, &answer);

	if (rc == 0)
		close_fds(answer.fds, answer.count);
	return rc;
}

static int set_name(struct handover_message *message, const char *name)
{
	const size_t length = strlen(name);

	if (length == 0 || length >= sizeof(message->name))
		return -EINVAL;
	memcpy(message->name, name, length + 1);
	return 0;
}

/* All of entry @index, over as many messages as it takes. */
static int fetch(struct keeper *keeper, uint32_t index)
{
	struct kept *kept = &keeper->kept[index];
	struct answer answer;

	do {
		struct handover_message request = {
			.kind = HANDOVER_FETCH, .entry = index, .first = kept->count};
		const int rc = ask(keeper, &request, NULL, 0, &answer);

		if (rc < 0)
			return rc;
		const uint32_t total = answer.message.total;

		if (!kept->fds) {
			memcpy(kept->name, answer.message.name, sizeof(kept->name));
			kept->fds = calloc(MAX(total, 1u), sizeof(*kept->fds));
		}
		if (!kept->fds || answer.count == 0 || answer.count > total - kept->count) {
			close_fds(answer.fds, answer.count);
			return kept->fds ? -EBADMSG : -ENOMEM;
		}
		memcpy(kept->fds + kept->count, answer.fds, answer.count * sizeof(int));
		kept->count += answer.count;
	} while (kept->count < answer.message.total);
	return 0;
}

static int fetch_all(struct keeper *keeper)
{
	struct handover_message request = {.kind = HANDOVER_HELLO};
	struct answer answer;
	int rc = ask(keeper, &request, NULL, 0, &answer);

	if (rc < 0)
		return rc;
	close_fds(answer.fds, answer.count);
	keeper->info = (struct keeper_info){.supervisor_pid = answer.message.supervisor_pid,
		.restarts = answer.message.restarts,
		.upgrade = (enum handover_upgrade)answer.message.upgrade};
	keeper->kept = calloc(MAX(answer.message.entry, 1u), sizeof(*keeper->kept));
	if (!keeper->kept)
		return -ENOMEM;
	while (rc == 0 && keeper->kept_count < answer.message.entry)
		rc = fetch(keeper, keeper->kept_count++);
	return rc;
}

int keeper_inherited_socket(void)
{
	const char *text = getenv(HANDOVER_ENVIRONMENT);
	const int fd = text ? (int)strtol(text, NULL, 10) : -1;

	(void)unsetenv(HANDOVER_ENVIRONMENT);
	if (fd <= STDERR_FILENO || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
		return -1;
	return fd;
}

int keeper_socket(const struct keeper *keeper)
{
	return keeper ? keeper->socket : -1;
}

enum handover_mode keeper_inherited_mode(void)
{
	const char *text = getenv(HANDOVER_MODE_ENVIRONMENT);
	const unsigned long mode = text ? strtoul(text, NULL, 10) : HANDOVER_NORMAL;

	(void)unsetenv(HANDOVER_MODE_ENVIRONMENT);
	return mode < HANDOVER_MODES ? (enum handover_mode)mode : HANDOVER_NORMAL;
}

int keeper_open(int socket_fd, struct keeper **ret_keeper)
{
	const struct timeval wait = {.tv_sec = KEEPER_WAIT_MS / 1000};
	struct keeper *keeper;
	int rc;

	if (socket_fd < 0) {
		*ret_keeper = NULL;
		return 0;
	}
	keeper = calloc(1, sizeof(*keeper));
	if (!keeper) {
		(void)close(socket_fd);
		return -ENOMEM;
	}
	(void)pthread_mutex_init(&keeper->lock, NULL);
	keeper->socket = socket_fd;
	/* @unfiltered setsockopt */
	if (setsockopt(socket_fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)) < 0 ||
		/* @unfiltered setsockopt */
		setsockopt(socket_fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait)) < 0)
		rc = -errno;
	else
		rc = fetch_all(keeper);
	if (rc < 0) {
		keeper_close(keeper);
		return rc;
	}
	*ret_keeper = keeper;
	return 0;
}

static void drop(struct kept *kept)
{
	close_fds(kept->fds, kept->count);
	kept->count = 0;
}

void keeper_close(struct keeper *keeper)
{
	if (!keeper)
		return;
	for (uint32_t i = 0; i < keeper->kept_count; i++) {
		drop(&keeper->kept[i]);
		free(keeper->kept[i].fds);
	}
	free(keeper->kept);
	(void)close(keeper->socket);
	(void)pthread_mutex_destroy(&keeper->lock);
	free(keeper);
}

static struct kept *find(struct keeper *keeper, const char *name)
{
	for (uint32_t i = 0; i < keeper->kept_count; i++) {
		struct kept *kept = &keeper->kept[i];

		if (kept->count > 0 && strcmp(kept->name, name) == 0)
			return kept;
	}
	return NULL;
}

static void drop_lent(struct keeper *keeper, const char *name)
{
	struct kept *kept = find(keeper, name);

	if (kept)
		drop(kept);
}

static int store(struct keeper *keeper, const char *name, const int *fds, uint32_t count)
{
	int rc = 0;

	for (uint32_t first = 0; rc == 0 && first < count; first += HANDOVER_FDS_MAX) {
		struct handover_message request = {
			.kind = HANDOVER_STORE, .first = first, .total = count};

		rc = set_name(&request, name);
		if (rc == 0)
			rc = tell(keeper, &request, fds + first,
				MIN(count - first, HANDOVER_FDS_MAX));
	}
	return rc;
}

int keeper_store(struct keeper *keeper, const char *name, const int *fds, uint32_t count)
{
	int rc;

	if (!keeper)
		return 0;
	if (count == 0)
		return -EINVAL;
	(void)pthread_mutex_lock(&keeper->lock);
	rc = store(keeper, name, fds, count);
	if (keeper->is_lost)
		rc = 0;
	if (rc == 0)
		drop_lent(keeper, name);
	(void)pthread_mutex_unlock(&keeper->lock);
	return rc;
}

void keeper_forget(struct keeper *keeper, const char *name)
{
	struct handover_message request = {.kind = HANDOVER_FORGET};

	if (!keeper)
		return;
	(void)pthread_mutex_lock(&keeper->lock);
	drop_lent(keeper, name);
	if (set_name(&request, name) == 0)
		(void)tell(keeper, &request, NULL, 0);
	(void)pthread_mutex_unlock(&keeper->lock);
}

void keeper_forget_below(struct keeper *keeper, const char *name)
{
	struct handover_message request = {.kind = HANDOVER_FORGET_BELOW};

	if (!keeper)
		return;
	(void)pthread_mutex_lock(&keeper->lock);
	for (uint32_t i = 0; i < keeper->kept_count; i++)
		if (handover_is_below(keeper->kept[i].name, name))
			drop(&keeper->kept[i]);
	if (set_name(&request, name) == 0)
		(void)tell(keeper, &request, NULL, 0);
	(void)pthread_mutex_unlock(&keeper->lock);
}

/* The socket is constant, and a message goes whole or not at all: no lock. */
static int post(const struct keeper *keeper, enum handover_kind kind, const char *name,
	const int *fds, uint32_t count)
{
	struct handover_message request = {.magic = HANDOVER_MAGIC, .kind = kind, .total = count};
	const int rc = set_name(&request, name);

	/* @shard sendmsg */
	return rc < 0 ? rc : handover_post(keeper->socket, &request, fds, count);
}

int keeper_post_store(const struct keeper *keeper, const char *name, int fd)
{
	return post(keeper, HANDOVER_STORE, name, &fd, 1);
}

int keeper_post_forget(const struct keeper *keeper, const char *name)
{
	return post(keeper, HANDOVER_FORGET, name, NULL, 0);
}

bool keeper_next_below(struct keeper *keeper, const char *name, uint32_t *index,
	char ret_name[KEEPER_NAME_BYTES], int *ret_fd)
{
	bool is_found = false;

	if (!keeper)
		return false;
	(void)pthread_mutex_lock(&keeper->lock);
	for (; !is_found && *index < keeper->kept_count; (*index)++) {
		const struct kept *kept = &keeper->kept[*index];

		if (kept->count == 0 || !handover_is_below(kept->name, name))
			continue;
		memcpy(ret_name, kept->name, KEEPER_NAME_BYTES);
		*ret_fd = kept->fds[0];
		is_found = true;
	}
	(void)pthread_mutex_unlock(&keeper->lock);
	return is_found;
}

uint32_t keeper_find(struct keeper *keeper, const char *name, int *ret_fds, uint32_t max)
{
	const struct kept *kept;
	uint32_t count = 0;

	if (!keeper)
		return 0;
	(void)pthread_mutex_lock(&keeper->lock);
	kept = find(keeper, name);
	if (kept) {
		count = kept->count;
		memcpy(ret_fds, kept->fds, MIN(count, max) * sizeof(*ret_fds));
	}
	(void)pthread_mutex_unlock(&keeper->lock);
	return count;
}

void keeper_release(struct keeper *keeper)
{
	if (!keeper)
		return;
	(void)pthread_mutex_lock(&keeper->lock);
	for (uint32_t i = 0; i < keeper->kept_count; i++)
		drop(&keeper->kept[i]);
	(void)pthread_mutex_unlock(&keeper->lock);
}

static int tell_locked(struct keeper *keeper, enum handover_kind kind, const int *fd)
{
	struct handover_message request = {.kind = kind};
	int rc;

	if (!keeper)
		return 0;
	(void)pthread_mutex_lock(&keeper->lock);
	rc = tell(keeper, &request, fd, fd ? 1 : 0);
	(void)pthread_mutex_unlock(&keeper->lock);
	return rc;
}

int keeper_ready(struct keeper *keeper)
{
	return tell_locked(keeper, HANDOVER_READY, NULL);
}

void keeper_bye(struct keeper *keeper)
{
	(void)tell_locked(keeper, HANDOVER_BYE, NULL);
}

int keeper_upgrade(struct keeper *keeper, int program_fd)
{
	return keeper ? tell_locked(keeper, HANDOVER_UPGRADE, &program_fd) : -ENOTCONN;
}

void keeper_info(struct keeper *keeper, struct keeper_info *ret_info)
{
	*ret_info = (struct keeper_info){0};
	if (!keeper)
		return;
	(void)pthread_mutex_lock(&keeper->lock);
	*ret_info = keeper->info;
	(void)pthread_mutex_unlock(&keeper->lock);
}
