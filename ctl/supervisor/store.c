/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/supervisor/store.h"

#include <stdbool.h>
#include <string.h>

#include "queue/base/assert.h"
#include "queue/base/err.h"

static bool is_complete(const struct store_entry *entry)
{
	return entry->count == entry->total;
}

static struct store_entry *last_entry(struct store *store)
{
	ASSERT(store->entry_count > 0);
	return &store->entries[store->entry_count - 1];
}

static struct store_entry *begin(struct store *store, const char *name, uint32_t total)
{
	struct store_entry *entry;

	ASSERT(store->entry_count < STORE_ENTRIES_MAX);
	store->entry_count++;
	entry = last_entry(store);
	*entry = (struct store_entry){.first = store->fd_count, .total = total};
	memcpy(entry->name, name, strlen(name) + 1);
	return entry;
}

/* The entry that part @first of @name continues. */
static struct store_entry *due(
	struct store *store, const char *name, uint32_t first, uint32_t total)
{
	struct store_entry *entry = store->entry_count > 0 ? last_entry(store) : NULL;

	if (!entry || is_complete(entry) || strcmp(entry->name, name) != 0 ||
		entry->count != first || entry->total != total)
		return NULL;
	return entry;
}

int store_add(struct store *store, const char *name, uint32_t first, uint32_t total, const int *fds,
	uint32_t count)
{
	const size_t length = strnlen(name, HANDOVER_NAME_BYTES);
	struct store_entry *entry;

	if (length == 0 || length == HANDOVER_NAME_BYTES || count == 0 || count > total ||
		first > total - count)
		return -EINVAL;
	if (first == 0) {
		store_drop_incomplete(store);
		if (store->entry_count == STORE_ENTRIES_MAX ||
			total > STORE_FDS_MAX - store->fd_count)
			return -ENOSPC;
		entry = begin(store, name, total);
	} else {
		entry = due(store, name, first, total);
		if (!entry)
			return -EINVAL;
	}
	ASSERT(count <= STORE_FDS_MAX - store->fd_count);
	memcpy(store->fds + store->fd_count, fds, count * sizeof(*fds));
	store->fd_count += count;
	entry->count += count;
	return is_complete(entry) ? 1 : 0;
}

uint32_t store_count(const struct store *store)
{
	const uint32_t count = store->entry_count;

	return count > 0 && !is_complete(&store->entries[count - 1]) ? count - 1 : count;
}

const struct store_entry *store_find(const struct store *store, const char *name)
{
	for (uint32_t i = 0; i < store_count(store); i++) {
		if (strcmp(store->entries[i].name, name) == 0)
			return &store->entries[i];
	}
	return NULL;
}

const struct store_entry *store_find_below(const struct store *store, const char *name)
{
	for (uint32_t i = 0; i < store_count(store); i++) {
		if (handover_is_below(store->entries[i].name, name))
			return &store->entries[i];
	}
	return NULL;
}

void store_remove(struct store *store, const struct store_entry *entry)
{
	const uint32_t index = (uint32_t)(entry - store->entries);
	const uint32_t first = entry->first;
	const uint32_t count = entry->count;

	ASSERT(index < store->entry_count);
	ASSERT(first + count <= store->fd_count);
	for (uint32_t i = first; i < first + count; i++)
		close_fd(store->fds[i]);
	memmove(store->fds + first, store->fds + first + count,
		(store->fd_count - first - count) * sizeof(store->fds[0]));
	store->fd_count -= count;
	store->entry_count--;
	memmove(store->entries + index, store->entries + index + 1,
		(store->entry_count - index) * sizeof(store->entries[0]));
	for (uint32_t i = index; i < store->entry_count; i++)
		store->entries[i].first -= count;
}

void store_drop_incomplete(struct store *store)
{
	if (store_count(store) < store->entry_count)
		store_remove(store, last_entry(store));
	ASSERT(store_count(store) == store->entry_count);
}

uint32_t store_count_of_guests(const struct store *store)
{
	const size_t length = strlen(HANDOVER_DAEMON_PREFIX);
	uint32_t count = 0;

	for (uint32_t i = 0; i < store_count(store); i++)
		count += strncmp(store->entries[i].name, HANDOVER_DAEMON_PREFIX, length) != 0;
	return count;
}
