/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/manager.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>

#include "ctl/cleaner.h"
#include "ctl/keeper.h"
#include "ctl/manager_priv.h"
#include "ctl/methods.h"
#include "ctl/server.h"
#include "ctl/upgrade.h"
#include "ctl/worker.h"
#include "engine/engine.h"
#include "queue/base/assert.h"
#include "queue/base/clock.h"
#include "queue/base/err.h"
#include "queue/base/log.h"
#include "queue/cmdq.h"
#include "queue/wake.h"

/* Every job that may exist at once: VMS_MAX * (short ones + a collect a process + running and
 * next). */
#define RESULTS_CAPACITY 16384u
static_assert(RESULTS_CAPACITY >= VMS_MAX * (RECORD_SHORT_MAX + PROCESSES_MAX + 2),
	"workers push without looking");

#define EPOLL_BATCH 32
/* Turns of the server after the end, so that the last answers leave. */
#define LAST_STEPS 16

int manager_watch(struct manager *manager, int fd)
{
	struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};

	ASSERT(fd >= 0);
	/* @control epoll_ctl */
	return errno_of(epoll_ctl(manager->epoll, EPOLL_CTL_ADD, fd, &event));
}

void manager_unwatch(struct manager *manager, int fd)
{
	if (fd >= 0)
		(void)epoll_ctl(manager->epoll, EPOLL_CTL_DEL, fd, NULL); /* @control epoll_ctl */
}

static int open_signals(void)
{
	sigset_t signals;

	(void)sigemptyset(&signals);
	(void)sigaddset(&signals, SIGTERM);
	(void)sigaddset(&signals, SIGINT);
	(void)pthread_sigmask(SIG_BLOCK, &signals, NULL);
	/* @unfiltered signalfd4 */
	return errno_of(signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
}

static int watch_all(struct manager *manager)
{
	int rc = manager_watch(manager, cmdq_wake(manager->results, WORKER_RESULT_LANE)->eventfd);

	if (rc == 0)
		rc = manager_watch(manager, engine_event_fd(manager->engine));
	if (rc == 0)
		rc = manager_watch(manager, manager->signals);
	if (rc == 0)
		rc = manager_watch(manager, server_fd(manager->server));
	return rc;
}

/* A predecessor's, in which clients wait already, or a new one that a successor finds. */
static int open_server(struct manager *manager)
{
	const struct server_config config = {
		.path = manager->config->socket_path,
		.policy = manager->config->policy,
		.handler = methods_handle,
		.context = manager,
	};
	int fds[2];
	int rc;

	if (keeper_find(manager->keeper, KEEPER_LISTENER, fds, 2) == 2)
		return server_adopt(&config, fds, &manager->server);
	rc = server_open(&config, &manager->server);
	if (rc < 0)
		return rc;
	server_fds(manager->server, fds);
	return keeper_store(manager->keeper, KEEPER_LISTENER, fds, 2);
}

static int open_parts(struct manager *manager)
{
	int rc = cmdq_new(1, RESULTS_CAPACITY, &manager->results);

	if (rc == 0)
		rc = cleaner_new(manager->engine, &manager->cleaner);
	if (rc == 0)
		/* @unfiltered epoll_create1 */
		rc = manager->epoll = errno_of(epoll_create1(EPOLL_CLOEXEC));
	if (rc >= 0)
		rc = manager->signals = open_signals();
	if (rc >= 0)
		rc = open_server(manager);
	return rc < 0 ? rc : watch_all(manager);
}

int manager_open(const struct config *config, struct engine *engine, struct keeper *keeper,
	struct manager **ret_manager)
{
	struct manager *manager = calloc(1, sizeof(*manager));
	int rc;

	ASSERT(engine != NULL);
	if (!manager)
		return -ENOMEM;
	manager->config = config;
	manager->engine = engine;
	manager->keeper = keeper;
	manager->epoll = -1;
	manager->signals = -1;
	manager->started_ns = clock_ns();
	rc = open_parts(manager);
	if (rc < 0) {
		manager_close(manager);
		return rc;
	}
	*ret_manager = manager;
	return 0;
}

void manager_close(struct manager *manager)
{
	static const struct problem ending = {-ESHUTDOWN, "ending", "the daemon ends"};

	if (!manager)
		return;
	ASSERT(manager->record_count == 0);
	manager_end_upgrade(manager, &ending);
	for (uint32_t i = 0; i < manager->job_count; i++)
		job_free(manager->job[i]);
	waiter_free(&manager->waiters);
	if (manager->server)
		server_close(manager->server);
	close_fd(manager->signals);
	close_fd(manager->epoll);
	cleaner_free(manager->cleaner);
	if (manager->results)
		cmdq_free(manager->results);
	free(manager);
}

static void take_results(struct manager *manager)
{
	struct job *job;

	while ((job = cmdq_pop_mpmc(manager->results, WORKER_RESULT_LANE)) != NULL)
		manager_take_result(manager, job);
}

static int timeout_ms(struct manager *manager)
{
	uint64_t deadline_ns =
		MIN(waiter_deadline(&manager->waiters), server_deadline(manager->server));
	uint64_t now_ns = clock_ns();

	if (cmdq_count(manager->results, WORKER_RESULT_LANE) > 0 || deadline_ns <= now_ns)
		return 0;
	if (deadline_ns == UINT64_MAX)
		return -1;
	return (int)MIN(divide_up(deadline_ns - now_ns, NS_PER_MS), (uint64_t)INT32_MAX);
}

static void take_event(struct manager *manager, int fd)
{
	if (fd == server_fd(manager->server))
		server_step(manager->server);
	else if (fd == engine_event_fd(manager->engine))
		manager_take_engine_events(manager);
	else if (fd == manager->signals)
		manager_take_signals(manager);
	else if (manager->upgrade && fd == upgrade_fd(manager->upgrade))
		manager_take_upgrade(manager);
	else if (fd != cmdq_wake(manager->results, WORKER_RESULT_LANE)->eventfd)
		manager_process_exited(manager, fd);
}

static void turn(struct manager *manager)
{
	struct wake *wake = cmdq_wake(manager->results, WORKER_RESULT_LANE);
	struct epoll_event events[EPOLL_BATCH];
	int count;

	wake_prepare(wake);
	/* @control epoll_wait */
	count = epoll_wait(manager->epoll, events, EPOLL_BATCH, timeout_ms(manager));
	wake_done(wake);
	take_results(manager);
	for (int i = 0; i < count; i++)
		take_event(manager, events[i].data.fd);
	if (server_deadline(manager->server) <= clock_ns())
		server_step(manager->server);
	manager_expire_waiters(manager);
}

void manager_run(struct manager *manager)
{
	while (!manager->has_ended)
		turn(manager);
	for (int i = 0; i < LAST_STEPS; i++)
		server_step(manager->server);
}

struct record *manager_find(struct manager *manager, const char *name)
{
	for (uint32_t i = 0; i < manager->record_count; i++) {
		if (strcmp(manager->record[i]->name, name) == 0)
			return manager->record[i];
	}
	return NULL;
}

struct record *manager_find_by_vm(struct manager *manager, const struct vm *vm)
{
	for (uint32_t i = 0; i < manager->record_count; i++) {
		if (manager->record[i]->vm == vm)
			return manager->record[i];
	}
	return NULL;
}

/* The pids of an attach that runs: the request is constant meanwhile. */
static bool is_attaching(const struct record *record, pid_t pid)
{
	const struct job *job = record->running;

	if (record->phase != RECORD_ATTACHING || !job)
		return false;
	for (uint32_t i = 0; i < job->request.pid_count; i++) {
		if (job->request.pids[i] == pid)
			return true;
	}
	return false;
}

struct record *manager_find_by_pid(struct manager *manager, pid_t pid)
{
	for (uint32_t i = 0; i < manager->record_count; i++) {
		struct record *record = manager->record[i];

		if (record_find_pid(record, pid) || is_attaching(record, pid))
			return record;
	}
	return NULL;
}

int manager_new_record(struct manager *manager, const char *name, struct record **ret_record)
{
	struct record *record;
	int rc;

	if (manager_find(manager, name))
		return -EEXIST;
	if (manager->record_count == VMS_MAX)
		return -ENOSPC;
	record = record_new(name);
	if (!record)
		return -ENOMEM;
	rc = worker_new(manager->engine, manager->keeper, manager->cleaner, manager->results,
		&record->worker);
	if (rc < 0) {
		record_free(record);
		return rc;
	}
	manager->record[manager->record_count++] = record;
	*ret_record = record;
	return 0;
}

/* Its worker has ended, so the join does not wait. */
void manager_remove_record(struct manager *manager, struct record *record)
{
	uint32_t i = 0;

	while (manager->record[i] != record) {
		i++;
		ASSERT(i < manager->record_count);
	}
	manager->record[i] = manager->record[--manager->record_count];
	worker_free(record->worker);
	record_free(record);
}

bool manager_is_listed(const struct job *job)
{
	return job->command <= COMMAND_DISABLE || job->command == COMMAND_SCRUB;
}

struct job *manager_find_job(struct manager *manager, uint64_t id)
{
	for (uint32_t i = 0; i < manager->job_count; i++) {
		if (manager->job[i]->id == id)
			return manager->job[i];
	}
	return NULL;
}

/* Makes room for one more in the list: the oldest that has ended goes. */
static bool forget_job(struct manager *manager)
{
	for (uint32_t i = 0; i < manager->job_count; i++) {
		if (!job_is_over(manager->job[i]))
			continue;
		job_free(manager->job[i]);
		manager->job_count--;
		memmove(&manager->job[i], &manager->job[i + 1],
			(manager->job_count - i) * sizeof(struct job *));
		return true;
	}
	return false;
}

struct job *manager_new_job(struct manager *manager, const char *vm_name, enum command command)
{
	struct job *job = job_new(manager->last_job_id + 1, command, vm_name);

	if (!job)
		return NULL;
	if (manager_is_listed(job)) {
		if (manager->job_count == MANAGER_JOBS_MAX && !forget_job(manager)) {
			job_free(job);
			return NULL;
		}
		manager->job[manager->job_count++] = job;
	}
	manager->last_job_id++;
	return job;
}

void manager_keep_job(struct manager *manager, struct job *job)
{
	ASSERT(job_is_over(job));
	if (!manager_is_listed(job)) {
		job_free(job);
		return;
	}
	ASSERT(manager_find_job(manager, job->id) == job);
}

void manager_publish(struct manager *manager, const char *type, const char *vm, json_t *more)
{
	struct timespec now;
	json_t *event;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	event = json_pack("{s:s, s:I}", "type", type, "time_ms",
		(json_int_t)now.tv_sec * 1000 + now.tv_nsec / 1000000);
	if (vm)
		(void)json_object_set_new(event, "vm", json_string(vm));
	if (more)
		(void)json_object_update_missing(event, more);
	json_decref(more);
	server_publish(manager->server, event);
}
