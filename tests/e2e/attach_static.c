/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A static program for test_run.c to start with vmswap-run, as strict as Firecracker: it filters
 * itself so that an unknown call kills it. Writes how many userfaultfds it was born with to
 * standard output, waits for a byte on standard input and ends with its first argument.
 */
#include <dirent.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/filter.h>
#include <linux/seccomp.h>

static int count_uffds(void)
{
	DIR *directory = opendir("/proc/self/fd");
	struct dirent *entry;
	int count = 0;

	while (directory && (entry = readdir(directory))) {
		char link[64] = "";
		ssize_t size = readlinkat(dirfd(directory), entry->d_name, link, sizeof(link) - 1);

		count += size > 0 && strcmp(link, "anon_inode:[userfaultfd]") == 0;
	}
	if (directory)
		(void)closedir(directory);
	return count;
}

static int filter(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_read, 4, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_write, 3, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_restart_syscall, 2, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {.len = sizeof(code) / sizeof(code[0]), .filter = code};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		return -1;
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

int main(int argc, char **argv)
{
	char line[32];
	char byte;
	int size = snprintf(line, sizeof(line), "%d\n", count_uffds());

	if (filter() != 0 || write(1, line, (size_t)size) != size)
		return 99;
	if (read(0, &byte, 1) < 0)
		return 98;
	return argc > 1 ? atoi(argv[1]) : 0;
}
