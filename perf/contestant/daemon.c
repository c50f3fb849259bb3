/* SPDX-License-Identifier: Apache-2.0 */
#include "perf/contestant/daemon.h"

#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "ctl/client/rpc_client.h"
#include "queue/base/assert.h"
#include "queue/base/bits.h"
#include "queue/base/clock.h"
#include "queue/base/err.h"

/* A daemon that does not serve by then has a reason, which it has printed. */
#define START_MS      20000
#define START_STEP_US 2000
/* Of one answer, and of the longest job: 16 GiB over a slow disk. */
#define CALL_MS 60000
#define JOB_MS	600000
#define STOP_MS 60000

struct daemon {
	struct rpc_client *rpc;
	pid_t pid;    /* of the supervisor, our child */
	pid_t worker; /* that does the work */
	uint64_t job_begin_ns;
	char folder[32]; /* of its socket and log */
	char socket[64];
	char log[64];
	char why[512];
};

static int fail(struct daemon *daemon, int error, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static int fail(struct daemon *daemon, int error, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	(void)vsnprintf(daemon->why, sizeof(daemon->why), format, arguments);
	va_end(arguments);
	return error;
}

/* "0,1": shard i on cpus[i % cpu_count]. */
static void format_cpus(const struct daemon_config *config, char *ret_text, size_t size)
{
	size_t length = 0;

	ret_text[0] = '\0';
	for (uint32_t i = 0; i < config->shards && length < size; i++)
		length += (size_t)snprintf(ret_text + length, size - length, "%s%d",
			i == 0 ? "" : ",", config->cpus[i % config->cpu_count]);
}

_Noreturn static void exec_daemon(const struct daemon *daemon, const struct daemon_config *config)
{
	char shards[16];
	char cpus[256];
	char limit[32];
	const char *argument[16] = {config->path, "--foreground", "--socket", daemon->socket,
		"--swap-dir", config->directory, "--shards", shards,
		config->is_encrypted ? "--encrypt=yes" : "--encrypt=no"};
	uint32_t count = 9;
	const int log = open(daemon->log, O_WRONLY | O_CREAT | O_APPEND, 0600);

	(void)snprintf(shards, sizeof(shards), "%u", config->shards);
	if (config->cpu_count > 0) {
		format_cpus(config, cpus, sizeof(cpus));
		argument[count++] = "--cpus";
		argument[count++] = cpus;
	}
	if (config->limit_bytes > 0) {
		(void)snprintf(
			limit, sizeof(limit), "%llu", (unsigned long long)config->limit_bytes);
		argument[count++] = "--swap-limit";
		argument[count++] = limit;
		argument[count++] = "--preallocate";
	}
	/* not SIGKILL: the worker, which is told by the supervisor, would live on */
	(void)prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (log >= 0)
		(void)dup2(log, STDERR_FILENO);
	/* execv() takes pointers to char that it does not write through. */
	(void)execv(config->path, (char *const *)(uintptr_t)argument);
	_exit(127);
}

static void last_line_of_log(const struct daemon *daemon, char *ret_line, int size)
{
	CLEANUP_FILE FILE *file = fopen(daemon->log, "re");

	(void)snprintf(ret_line, (size_t)size, "no message");
	while (file && fgets(ret_line, size, file))
		ret_line[strcspn(ret_line, "\n")] = '\0';
}

static int wait_until_served(struct daemon *daemon)
{
	const uint64_t deadline_ns = clock_ns() + START_MS * NS_PER_MS;
	const struct timespec step = {.tv_nsec = START_STEP_US * (long)NS_PER_US};
	char line[256];

	while (rpc_client_open(daemon->socket, &daemon->rpc) < 0) {
		if (waitpid(daemon->pid, NULL, WNOHANG) == daemon->pid) {
			daemon->pid = 0;
			last_line_of_log(daemon, line, sizeof(line));
			return fail(daemon, -ECHILD, "vmswapd ended at once: %s", line);
		}
		if (clock_ns() > deadline_ns)
			return fail(
				daemon, -ETIMEDOUT, "vmswapd does not serve %s", daemon->socket);
		(void)nanosleep(&step, NULL);
	}
	return 0;
}

static int call(struct daemon *daemon, const char *method, json_t *params, int timeout_ms,
	json_t **ret_result)
{
	json_t *response;
	const json_t *error;
	int result = rpc_client_call(daemon->rpc, method, params, NULL, 0, timeout_ms, &response);

	if (result < 0)
		return fail(daemon, result, "%s: %s", method, strerror(-result));
	error = json_object_get(response, "error");
	if (error)
		result = fail(daemon, -EREMOTEIO, "%s: %s", method,
			json_string_value(json_object_get(error, "message")));
	else if (ret_result)
		*ret_result = json_incref(json_object_get(response, "result"));
	json_decref(response);
	return result;
}

static int find_worker(struct daemon *daemon)
{
	json_t *status = NULL;
	const int error = call(daemon, "daemon.status", NULL, CALL_MS, &status);

	if (error < 0)
		return error;
	daemon->worker = (pid_t)json_integer_value(json_object_get(status, "worker_pid"));
	json_decref(status);
	return 0;
}

int daemon_start(const struct daemon_config *config, struct daemon **ret_daemon)
{
	struct daemon *daemon = calloc(1, sizeof(*daemon));
	int error;

	ASSERT(config->shards > 0);
	if (!daemon)
		return -ENOMEM;
	*ret_daemon = daemon;
	(void)snprintf(daemon->folder, sizeof(daemon->folder), "/tmp/vmswap-bench.XXXXXX");
	if (!mkdtemp(daemon->folder))
		return fail(daemon, -errno, "no folder in /tmp: %s", strerror(errno));
	(void)snprintf(daemon->socket, sizeof(daemon->socket), "%s/socket", daemon->folder);
	(void)snprintf(daemon->log, sizeof(daemon->log), "%s/log", daemon->folder);
	daemon->pid = fork();
	if (daemon->pid == 0)
		exec_daemon(daemon, config);
	if (daemon->pid < 0)
		return fail(daemon, -errno, "no process for vmswapd: %s", strerror(errno));
	error = wait_until_served(daemon);
	return error < 0 ? error : find_worker(daemon);
}

static void remove_files(const struct daemon *daemon)
{
	char lock[80];

	(void)snprintf(lock, sizeof(lock), "%s.lock", daemon->socket);
	(void)unlink(lock);
	(void)unlink(daemon->socket);
	(void)unlink(daemon->log);
	(void)rmdir(daemon->folder);
}

static void end_process(const struct daemon *daemon)
{
	const uint64_t deadline_ns = clock_ns() + STOP_MS * NS_PER_MS;
	const struct timespec step = {.tv_nsec = START_STEP_US * (long)NS_PER_US};

	(void)kill(daemon->pid, SIGTERM);
	while (waitpid(daemon->pid, NULL, WNOHANG) == 0) {
		if (clock_ns() > deadline_ns) {
			(void)kill(daemon->pid, SIGKILL);
			if (daemon->worker > 0)
				(void)kill(daemon->worker, SIGKILL);
		}
		(void)nanosleep(&step, NULL);
	}
}

void daemon_stop(struct daemon *daemon)
{
	if (!daemon)
		return;
	rpc_client_close(daemon->rpc);
	if (daemon->pid > 0)
		end_process(daemon);
	remove_files(daemon);
	free(daemon);
}

const char *daemon_why(const struct daemon *daemon)
{
	return daemon->why;
}

pid_t daemon_pid(const struct daemon *daemon)
{
	return daemon->worker;
}

int daemon_call(struct daemon *daemon, const char *method, json_t *params, json_t **ret_result)
{
	return call(daemon, method, params, CALL_MS, ret_result);
}

int daemon_attach(struct daemon *daemon, pid_t pid, const char *vm, uint64_t min_bytes)
{
	return daemon_call(daemon, "vm.attach",
		json_pack("{s:[i], s:s, s:I, s:i}", "pids", pid, "name", vm, "min_size",
			(json_int_t)min_bytes, "dwell", 0),
		NULL);
}

int daemon_job_begin(struct daemon *daemon, const char *method, const char *vm, json_int_t *ret_job)
{
	json_t *result = NULL;
	int error;

	daemon->job_begin_ns = clock_ns();
	error = daemon_call(daemon, method, json_pack("{s:s}", "vm", vm), &result);
	if (error < 0)
		return error;
	*ret_job = json_integer_value(json_object_get(result, "job"));
	json_decref(result);
	return 0;
}

static uint64_t number_of(const json_t *object, const char *key)
{
	return (uint64_t)json_integer_value(json_object_get(object, key));
}

int daemon_job_end(struct daemon *daemon, json_int_t job, struct daemon_job *ret_job)
{
	json_t *result = NULL;
	const char *state;
	int error =
		call(daemon, "job.wait", json_pack("{s:I, s:i}", "job", job, "timeout_ms", JOB_MS),
			JOB_MS + CALL_MS, &result);

	if (error < 0)
		return error;
	state = json_string_value(json_object_get(result, "state"));
	if (strcmp(state, "done") != 0)
		error = fail(daemon, -EIO, "the job is %s: %s", state,
			json_string_value(json_object_get(result, "error")));
	else
		*ret_job = (struct daemon_job){
			.pages = number_of(result, "pages"),
			.left_pages = number_of(result, "left_pages"),
			.bytes = number_of(result, "bytes"),
			.elapsed_ns = clock_ns() - daemon->job_begin_ns,
		};
	json_decref(result);
	return error;
}

int daemon_run(
	struct daemon *daemon, const char *method, const char *vm, struct daemon_job *ret_job)
{
	json_int_t job;
	const int error = daemon_job_begin(daemon, method, vm, &job);

	return error < 0 ? error : daemon_job_end(daemon, job, ret_job);
}

/* The first number of a small file; 0 when it cannot be read. */
static uint64_t read_number(const char *path, uint32_t skipped)
{
	CLEANUP_FILE FILE *file = fopen(path, "re");
	unsigned long long number = 0;

	for (uint32_t i = 0; file && i <= skipped; i++)
		if (fscanf(file, "%llu", &number) != 1)
			return 0;
	return number;
}

static int is_shard(const char *task)
{
	CLEANUP_FILE FILE *file = NULL;
	char path[300];
	char name[16] = "";

	(void)snprintf(path, sizeof(path), "%s/comm", task);
	file = fopen(path, "re");
	return file && fgets(name, sizeof(name), file) && strncmp(name, "shard-", 6) == 0;
}

uint64_t daemon_shards_cpu_ns(const struct daemon *daemon)
{
	CLEANUP_DIR DIR *tasks = NULL;
	char folder[32];
	uint64_t sum = 0;

	(void)snprintf(folder, sizeof(folder), "/proc/%d/task", (int)daemon->worker);
	tasks = opendir(folder);
	for (const struct dirent *entry = tasks ? readdir(tasks) : NULL; entry;
		entry = readdir(tasks)) {
		char task[290];
		char path[304];

		(void)snprintf(task, sizeof(task), "%s/%s", folder, entry->d_name);
		if (!is_shard(task))
			continue;
		(void)snprintf(path, sizeof(path), "%s/schedstat", task);
		sum += read_number(path, 0);
	}
	return sum;
}

uint64_t daemon_resident_bytes(const struct daemon *daemon)
{
	char path[32];

	(void)snprintf(path, sizeof(path), "/proc/%d/statm", (int)daemon->worker);
	return read_number(path, 1) * PAGE_BYTES;
}
