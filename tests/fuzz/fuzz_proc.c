/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The texts of /proc: byte 0 says which, the rest is the text. procfs.c is included whole, for its
 * parsers take paths.
 */
#include <stdlib.h>

#include "ctl/maps_text.h"
#include "ctl/procfs.c" /* NOLINT(bugprone-suspicious-include) */
#include "fuzz.h"

static void read_maps(const char *text, size_t size)
{
	FILE *file = fmemopen((void *)(uintptr_t)text, size, "r");
	struct maps_text *reader = malloc(sizeof(*reader));
	struct maps_entry entry;

	ASSERT(file && reader);
	maps_text_init(reader, file);
	while (maps_text_next(reader, &entry)) {
		ASSERT(entry.end > entry.start);
		ASSERT(memchr(entry.name, '\0', sizeof(entry.name)) != NULL);
	}
	free(reader);
	(void)fclose(file);
}

static void read_stat(const char *text)
{
	struct procfs_stat stat;

	if (parse_stat(text, &stat) == 0)
		ASSERT(memchr(stat.comm, '\0', sizeof(stat.comm)) != NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct procfs_status status;
	struct maps_entry entry;
	char *text;

	if (size < 2)
		return 0;
	text = strndup((const char *)data + 1, size - 1);
	ASSERT(text != NULL);
	switch (data[0] % 4) {
	case 0: read_maps((const char *)data + 1, size - 1); break;
	case 1: read_stat(text); break;
	case 2: (void)parse_status(text, &status); break;
	default:
		(void)maps_text_says_shared(text);
		(void)maps_text_parse(text, &entry);
		break;
	}
	free(text);
	return 0;
}
