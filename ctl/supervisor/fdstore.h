/* SPDX-License-Identifier: Apache-2.0 */
/*
 * systemd's file descriptor store as the second home of what the supervisor holds: one descriptor a
 * message, by the name NAME@PLACE.TOTAL with what systemd does not allow in names as %XX. Without
 * NOTIFY_SOCKET nothing happens. A systemd that does not answer costs 100 ms an entry.
 */
#ifndef VMSWAP_CTL_SUPERVISOR_FDSTORE_H
#define VMSWAP_CTL_SUPERVISOR_FDSTORE_H

struct store;
struct store_entry;

/* At the start: what systemd kept of an earlier supervisor moves into @store. Allocates. */
void fdstore_take(struct store *store);
/* Sends the descriptors of a complete entry. */
void fdstore_push(const struct store *store, const struct store_entry *entry);
void fdstore_remove(const struct store_entry *entry);

#endif
