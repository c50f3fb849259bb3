/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Small files of /proc, read whole. A process that goes away meanwhile is -ESRCH, whatever the
 * kernel says at that moment. Control threads.
 */
#ifndef VMSWAP_CTL_PROCFS_H
#define VMSWAP_CTL_PROCFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

/* A path below /proc with two numbers in it is never longer. */
#define PROCFS_PATH_BYTES 96

/* Reads up to @size_bytes - 1 bytes and ends them with 0: their number, or -errno. */
ssize_t procfs_read(const char *path, char *ret_text, size_t size_bytes);
/* As open(2) with O_CLOEXEC and fdopen(3). */
int procfs_open_text(const char *path, FILE **ret_file);

/*
 * Takes a number in @base, after blanks, at *@text and moves behind it and behind @end, which must
 * follow (0: anything may). False when there is none.
 */
bool procfs_take_number(const char **text, int base, char end, uint64_t *ret_number);

/* What /proc/PID/task/TID/stat says about a thread. */
struct procfs_stat {
	char comm[16];
	char state;	/* R S D T t Z X … */
	uint32_t flags; /* PF_… */
	uint64_t start_time;
};

/* @tid 0: the process. */
int procfs_stat(pid_t pid, pid_t tid, struct procfs_stat *ret_stat);

/* A pidfd of the process that has the number @pid since @start_time. -ESRCH: it has ended. */
int procfs_open_process(pid_t pid, uint64_t start_time);

/* What /proc/PID/task/TID/status says. */
struct procfs_status {
	pid_t tgid;
	pid_t tracer;
	pid_t parent;
	uid_t uid;     /* effective */
	uid_t uids[3]; /* real, effective, saved */
	gid_t gids[3];
	uint64_t locked_bytes;
	uint64_t pinned_bytes;
	uint64_t capabilities; /* effective */
	uint64_t permitted;    /* capabilities, too */
	bool has_memory;       /* false: kernel thread or zombie */
	uint32_t seccomp;      /* 0: none, 1: strict, 2: filter */
};

/* @tid 0: the process. */
int procfs_status(pid_t pid, pid_t tid, struct procfs_status *ret_status);

/* False as well when it cannot be told. */
bool procfs_shares_user_ns(pid_t pid);

/* Called for each numeric name in a directory; a value other than 0 ends the walk. */
typedef int procfs_visit(void *context, int number);
/* Walks /proc (@path "/proc"), /proc/PID/task or /proc/PID/fd. 0, what @visit said, or -errno. */
int procfs_each(const char *path, procfs_visit *visit, void *context);

#endif
