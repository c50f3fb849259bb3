/* SPDX-License-Identifier: Apache-2.0 */
/* The text of /proc/PID/maps and /proc/PID/smaps, one mapping at a time. */
#ifndef VMSWAP_CTL_MAPS_TEXT_H
#define VMSWAP_CTL_MAPS_TEXT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

/* One VMA. The flags below "smaps only" are false in maps. */
struct maps_entry {
	uint64_t start, end;
	uint64_t file_offset;
	dev_t device;
	ino_t inode;
	bool is_shared;
	bool is_writable;
	bool is_executable;
	char name[128]; /* without the blanks before it; cut when longer */
	/* smaps only, from VmFlags */
	bool is_locked;	    /* lo */
	bool is_registered; /* um, ui, uw */
	bool is_hugetlb;    /* ht */
	bool is_device;	    /* io, pf: no pages of a file behind it */
};

/* A reader of either file; @file stays the caller's. */
struct maps_text {
	FILE *file;
	bool has_line; /* line holds the first line of the next mapping */
	char line[512];
};

void maps_text_init(struct maps_text *text, FILE *file);
/* False at the end. Lines that are no mapping's are passed over. */
bool maps_text_next(struct maps_text *text, struct maps_entry *ret_entry);

/* The first line of a mapping; false when @line is something else. */
bool maps_text_parse(const char *line, struct maps_entry *ret_entry);
/* Cheap: a line of maps that says shared. */
bool maps_text_says_shared(const char *line);

#endif
