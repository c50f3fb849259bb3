/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/supervisor/fdstore.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctl/notify.h"
#include "ctl/supervisor/store.h"
#include "queue/base/bits.h"
#include "queue/base/err.h"
#include "queue/base/log.h"

/* sd_listen_fds(3) */
#define LISTEN_FDS_START 3
/* Three bytes for each of a name's, and two numbers; systemd allows 255. */
#define FDNAME_BYTES (3 * HANDOVER_NAME_BYTES + 24)

/* One descriptor that came back. */
struct taken {
	char name[HANDOVER_NAME_BYTES];
	uint32_t place;
	uint32_t total;
	int fd;
};

static void encode(const struct store_entry *entry, uint32_t place, char *ret_text)
{
	size_t length = 0;

	for (const char *c = entry->name; *c; c++) {
		const bool is_plain = isalnum((unsigned char)*c) || strchr("._/-", *c);

		length += (size_t)snprintf(ret_text + length, FDNAME_BYTES - length,
			is_plain ? "%c" : "%%%02X", (unsigned char)*c);
	}
	(void)snprintf(ret_text + length, FDNAME_BYTES - length, "@%u.%u", place, entry->total);
}

void fdstore_push(const struct store *store, const struct store_entry *entry)
{
	char name[FDNAME_BYTES];
	char state[FDNAME_BYTES + 40];

	for (uint32_t i = 0; i < entry->total; i++) {
		int rc;

		encode(entry, i, name);
		/* No polling: to systemd a userfaultfd looks as if it had failed. */
		(void)snprintf(state, sizeof(state), "FDSTORE=1\nFDPOLL=0\nFDNAME=%s", name);
		rc = notify_send_fd(state, store->fds[entry->first + i]);
		if (rc < 0) {
			log_warning("systemd does not take %s: %s", name, strerror(-rc));
			return;
		}
	}
}

void fdstore_remove(const struct store_entry *entry)
{
	char name[FDNAME_BYTES];
	char state[FDNAME_BYTES + 40];

	for (uint32_t i = 0; i < entry->total; i++) {
		encode(entry, i, name);
		(void)snprintf(state, sizeof(state), "FDSTOREREMOVE=1\nFDNAME=%s", name);
		if (notify_send(state) < 0)
			return;
	}
}

/* One letter of a name at *@text, which moves behind it; 0 at the end, -1: not one of ours. */
static int decode_letter(const char **text)
{
	const char *c = *text;
	char digits[3] = "";

	if (*c == '@' || *c == '\0')
		return *c == '@' ? 0 : -1;
	if (*c != '%') {
		(*text)++;
		return (unsigned char)*c;
	}
	if (!isxdigit((unsigned char)c[1]) || !isxdigit((unsigned char)c[2]))
		return -1;
	memcpy(digits, c + 1, 2);
	*text += 3;
	return (int)strtoul(digits, NULL, 16);
}

/* @lead and a number at *@text, which moves behind it. */
static bool decode_number(const char **text, char lead, uint32_t *ret_number)
{
	char *end;
	unsigned long number;

	if ((*text)[0] != lead || !isdigit((unsigned char)(*text)[1]))
		return false;
	number = strtoul(*text + 1, &end, 10);
	*text = end;
	*ret_number = (uint32_t)number;
	return number <= STORE_FDS_MAX;
}

static bool decode(const char *text, struct taken *ret_taken)
{
	size_t length = 0;
	int letter;

	while ((letter = decode_letter(&text)) > 0) {
		if (length + 1 == sizeof(ret_taken->name))
			return false;
		ret_taken->name[length++] = (char)letter;
	}
	ret_taken->name[length] = '\0';
	return letter == 0 && length > 0 && decode_number(&text, '@', &ret_taken->place) &&
	       decode_number(&text, '.', &ret_taken->total) && *text == '\0';
}

static int compare(const void *left, const void *right)
{
	const struct taken *a = left;
	const struct taken *b = right;
	const int names = strcmp(a->name, b->name);

	if (names != 0)
		return names;
	return (a->place > b->place) - (a->place < b->place);
}

/* The descriptors that systemd passed; names that are not ours keep a total of 0. */
static void read_names(char *names, struct taken *taken, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		const char *name = names ? strsep(&names, ":") : NULL;

		taken[i].fd = LISTEN_FDS_START + (int)i;
		(void)fcntl(taken[i].fd, F_SETFD, FD_CLOEXEC);
		if (!name || !decode(name, &taken[i]))
			taken[i].total = 0;
	}
}

static void move(struct store *store, struct taken *taken, uint32_t count)
{
	qsort(taken, count, sizeof(*taken), compare);
	for (uint32_t i = 0; i < count; i++) {
		if (taken[i].total == 0 || store_add(store, taken[i].name, taken[i].place,
						   taken[i].total, &taken[i].fd, 1) < 0)
			close_fd(taken[i].fd);
	}
	store_drop_incomplete(store);
	log_info("systemd kept %u descriptors, %u of them are ours", count, store->fd_count);
}

static bool is_for_us(void)
{
	const char *pid = getenv("LISTEN_PID");

	return pid && strtol(pid, NULL, 10) == (long)getpid();
}

void fdstore_take(struct store *store)
{
	const char *number = getenv("LISTEN_FDS");
	const char *text = getenv("LISTEN_FDNAMES");
	const long count = number && is_for_us() ? strtol(number, NULL, 10) : 0;
	char *names = text ? strdup(text) : NULL;
	struct taken *taken = NULL;

	(void)unsetenv("LISTEN_PID");
	(void)unsetenv("LISTEN_FDS");
	(void)unsetenv("LISTEN_FDNAMES");
	if (count > 0 && count <= (long)STORE_FDS_MAX)
		taken = calloc((size_t)count, sizeof(*taken));
	if (taken) {
		read_names(names, taken, (uint32_t)count);
		move(store, taken, (uint32_t)count);
	}
	free(taken);
	free(names);
}
