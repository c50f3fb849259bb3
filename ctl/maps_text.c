/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A mapping in maps is one line, "START-END rwxs OFFSET MAJOR:MINOR INODE   NAME". In smaps lines
 * "Key: value" follow it, the last of which is VmFlags. Only the first kind has a '-' after its
 * leading hexadecimal digits, and that is how they are told.
 */
#include "ctl/maps_text.h"

#include <ctype.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "ctl/procfs.h"
#include "queue/base/assert.h"

void maps_text_init(struct maps_text *text, FILE *file)
{
	ASSERT(file);
	text->file = file;
	text->has_line = false;
}

bool maps_text_says_shared(const char *line)
{
	const char *blank = strchr(line, ' ');

	return blank && strnlen(blank, 5) == 5 && blank[4] == 's';
}

/* "rwxp" and the blank behind it. */
static bool take_access(const char **line, struct maps_entry *entry)
{
	const char *access = *line;

	if (strnlen(access, 5) < 5 || access[4] != ' ')
		return false;
	entry->is_writable = access[1] == 'w';
	entry->is_executable = access[2] == 'x';
	entry->is_shared = access[3] == 's';
	*line += 5;
	return true;
}

bool maps_text_parse(const char *line, struct maps_entry *ret_entry)
{
	struct maps_entry entry = {0};
	uint64_t major_number;
	uint64_t minor_number;

	if (!isxdigit((unsigned char)line[0]))
		return false;
	if (!procfs_take_number(&line, 16, '-', &entry.start) ||
		!procfs_take_number(&line, 16, ' ', &entry.end) || !take_access(&line, &entry))
		return false;
	if (!procfs_take_number(&line, 16, ' ', &entry.file_offset) ||
		!procfs_take_number(&line, 16, ':', &major_number) ||
		!procfs_take_number(&line, 16, ' ', &minor_number) ||
		!procfs_take_number(&line, 10, '\0', &entry.inode) || entry.end <= entry.start)
		return false;
	entry.device = makedev((unsigned int)major_number, (unsigned int)minor_number);
	line += strspn(line, " ");
	(void)snprintf(entry.name, sizeof(entry.name), "%.*s", (int)strcspn(line, "\n"), line);
	*ret_entry = entry;
	return true;
}

/* "VmFlags: rd wr sh mr um …": two letters each, blanks between. */
static void parse_flags(const char *line, struct maps_entry *entry)
{
	const char *flag = line + strlen("VmFlags:");

	for (; flag[0] == ' ' && isalnum((unsigned char)flag[1]) && flag[2]; flag += 3) {
		char first = flag[1];
		char second = flag[2];

		if (first == 'l' && second == 'o')
			entry->is_locked = true;
		if (first == 'u' && (second == 'm' || second == 'i' || second == 'w'))
			entry->is_registered = true;
		if (first == 'h' && second == 't')
			entry->is_hugetlb = true;
		if ((first == 'i' && second == 'o') || (first == 'p' && second == 'f'))
			entry->is_device = true;
	}
}

/* The next line, cut at the buffer's size; what is longer is dropped. */
static bool read_line(struct maps_text *text)
{
	size_t size;

	if (!fgets(text->line, sizeof(text->line), text->file))
		return false;
	size = strlen(text->line);
	if (size > 0 && text->line[size - 1] != '\n') {
		int next;

		do
			next = fgetc(text->file);
		while (next != '\n' && next != EOF);
	}
	return true;
}

bool maps_text_next(struct maps_text *text, struct maps_entry *ret_entry)
{
	struct maps_entry entry = {0};
	struct maps_entry following;
	bool has_entry = text->has_line && maps_text_parse(text->line, &entry);

	text->has_line = false;
	while (read_line(text)) {
		if (maps_text_parse(text->line, has_entry ? &following : &entry)) {
			text->has_line = has_entry;
			if (has_entry)
				break;
			has_entry = true;
		} else if (has_entry && strncmp(text->line, "VmFlags:", 8) == 0) {
			parse_flags(text->line, &entry);
		}
	}
	if (has_entry)
		*ret_entry = entry;
	return has_entry;
}
