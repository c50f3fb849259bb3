/* SPDX-License-Identifier: Apache-2.0 */
#include "perf/contestant/program.h"

#include <fcntl.h>
#include <spawn.h>
#include <stdint.h>
#include <sys/wait.h>
#include <unistd.h>

#include "queue/base/err.h"

int program_run(const char *const arguments[])
{
	posix_spawn_file_actions_t actions;
	int status;
	pid_t pid;
	int error;

	(void)posix_spawn_file_actions_init(&actions);
	(void)posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
	(void)posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
	/* posix_spawnp() takes pointers to char that it does not write through. */
	error = posix_spawnp(
		&pid, arguments[0], &actions, NULL, (char *const *)(uintptr_t)arguments, environ);
	(void)posix_spawn_file_actions_destroy(&actions);
	if (error != 0)
		return -error;
	if (waitpid(pid, &status, 0) < 0)
		return -errno;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EIO;
}
