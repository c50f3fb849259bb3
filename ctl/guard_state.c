/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/guard_state.h"

#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ctl/procfs.h"
#include "ctl/state_files.h"
#include "engine/layout.h"
#include "queue/base/err.h"

/* "vmswapg" */
#define MAGIC	    0x0067706177736d76ull
#define END_WAIT_MS 1000

static uint64_t size_of(uint32_t shard_count)
{
	return sizeof(struct guard_state) + shard_count * sizeof(struct child_board);
}

int guard_state_make(uint32_t shard_count, struct shared *ret_memory)
{
	struct guard_state *state;
	const int rc = shared_open("vmswap-children", size_of(shard_count), ret_memory);

	if (rc < 0)
		return rc;
	state = ret_memory->memory;
	state->magic = MAGIC;
	state->layout = LAYOUT_VERSION;
	state->shard_count = shard_count;
	return 0;
}

/* Of this version, and as long as it says. */
static int map_state(int fd, struct shared *ret_memory)
{
	struct guard_state state;

	/* @unfiltered pread64 */
	if (pread(fd, &state, sizeof(state), 0) != (ssize_t)sizeof(state) || state.magic != MAGIC)
		return -EBADMSG;
	if (state.layout != LAYOUT_VERSION)
		return -ESTALE;
	if (state.shard_count == 0 || state.shard_count > SHARDS_MAX)
		return -EBADMSG;
	return shared_adopt(fd, size_of(state.shard_count), ret_memory);
}

int guard_state_find(const struct state_files *files, struct guard_found *ret_found)
{
	CLEANUP_FD int fd = state_files_find_children(files);
	struct guard_found found = {.pidfd = -1};
	const struct guard_state *state;
	int rc = fd < 0 ? fd : map_state(fd, &found.memory);

	if (rc < 0)
		return rc;
	state = found.memory.memory;
	found.pidfd = procfs_open_process(state->pid, state->start_time);
	if (found.pidfd < 0) {
		shared_close(&found.memory);
		return -ENOENT;
	}
	*ret_found = found;
	return 0;
}

bool guard_state_next(const struct guard_found *found, uint32_t *place,
	struct engine_child *ret_child, int *ret_number)
{
	const struct guard_state *state = found->memory.memory;

	for (; *place < state->shard_count * SERVED_MAX; (*place)++) {
		const uint32_t shard = *place / SERVED_MAX;
		const struct child_record *record =
			&state->board[shard].served[*place % SERVED_MAX];
		const uint64_t tag = atomic_load_explicit(&record->tag, memory_order_acquire);

		if (tag == 0)
			continue;
		*ret_child = (struct engine_child){tag, shard, record->number};
		*ret_number = record->uffd;
		(*place)++;
		return true;
	}
	return false;
}

int guard_state_fetch(const struct guard_found *found, int number)
{
	/* @unfiltered pidfd_getfd */
	return (int)errno_of(syscall(SYS_pidfd_getfd, found->pidfd, number, 0));
}

void guard_state_end(const struct guard_found *found)
{
	struct pollfd end = {.fd = found->pidfd, .events = POLLIN};

	/* @unfiltered pidfd_send_signal */
	if (syscall(SYS_pidfd_send_signal, found->pidfd, SIGKILL, NULL, 0) == 0)
		(void)poll(&end, 1, END_WAIT_MS); /* @control poll */
}

void guard_state_close(struct guard_found *found)
{
	shared_close(&found->memory);
	close_fd(take_fd(&found->pidfd));
}
