/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shards, clients and a collector as the daemon has them: clients address commands to random lanes,
 * one sleeper a lane serves them and hands them back through a completion queue of one lane. The
 * lanes are smaller than the number of clients, and nobody serves until every client has been
 * refused once, so back-pressure is met for certain. Every command is served once, by its lane, and
 * comes back once.
 */
#include <stdatomic.h>

#include "queue/cmdq.h"
#include "tests/stress/stress.h"

#define LANES	      4u
#define CLIENTS	      6u
#define LANE_CAPACITY 4u
#define COMMANDS_EACH 10000u
#define COMMANDS      (CLIENTS * COMMANDS_EACH)

/* Plain fields: the queues alone hand them from thread to thread. */
struct command {
	uint32_t lane;
	uint32_t served;
	uint32_t returned;
};

struct client {
	struct command *commands;
	uint64_t random;
	uint64_t refused;
};

struct server {
	uint32_t lane;
};

static struct command commands[COMMANDS];
static struct command stop;
static struct cmdq *requests;
static struct cmdq *completions;
static pthread_barrier_t all_refused;

static void submit(struct client *client, struct command *command)
{
	while (!cmdq_push_mpmc(requests, command->lane, command)) {
		if (client->refused++ == 0)
			(void)pthread_barrier_wait(&all_refused);
		(void)sched_yield();
	}
}

static void *run_client(void *argument)
{
	struct client *client = argument;

	for (uint32_t i = 0; i < COMMANDS_EACH; i++) {
		client->commands[i].lane = (uint32_t)(stress_random(&client->random) % LANES);
		submit(client, &client->commands[i]);
	}
	return NULL;
}

static void *run_server(void *argument)
{
	const struct server *server = argument;
	struct command *command;

	for (;;) {
		command = cmdq_wait(requests, server->lane, -1);
		CHECK(command);
		if (command == &stop)
			return NULL;
		CHECK(command->lane == server->lane);
		command->served++;
		while (!cmdq_push_mpmc(completions, 0, command))
			(void)sched_yield();
	}
}

static void *run_collector(void *argument)
{
	(void)argument;
	for (uint32_t i = 0; i < COMMANDS; i++) {
		struct command *command = cmdq_wait(completions, 0, -1);

		CHECK(command);
		command->returned++;
	}
	CHECK(!cmdq_pop_mpmc(completions, 0));
	return NULL;
}

static void check_commands(void)
{
	for (uint32_t i = 0; i < COMMANDS; i++) {
		CHECK(commands[i].served == 1);
		CHECK(commands[i].returned == 1);
	}
	for (uint32_t i = 0; i < LANES; i++)
		CHECK(cmdq_count(requests, i) == 0);
}

int main(void)
{
	struct client clients[CLIENTS];
	struct server servers[LANES];
	pthread_t client_threads[CLIENTS];
	pthread_t server_threads[LANES];
	pthread_t collector;
	uint64_t refused = 0;

	CHECK(cmdq_new(LANES, LANE_CAPACITY, &requests) == 0);
	CHECK(cmdq_new(1, LANE_CAPACITY, &completions) == 0);
	CHECK(pthread_barrier_init(&all_refused, NULL, CLIENTS + 1) == 0);
	for (uint32_t i = 0; i < CLIENTS; i++) {
		clients[i] = (struct client){
			.commands = &commands[i * COMMANDS_EACH], .random = 0x2545f491 + i};
		client_threads[i] = stress_start(run_client, &clients[i]);
	}
	(void)pthread_barrier_wait(&all_refused);
	collector = stress_start(run_collector, NULL);
	for (uint32_t i = 0; i < LANES; i++) {
		servers[i].lane = i;
		server_threads[i] = stress_start(run_server, &servers[i]);
	}
	for (uint32_t i = 0; i < CLIENTS; i++) {
		stress_join(client_threads[i]);
		refused += clients[i].refused;
	}
	stress_join(collector);
	for (uint32_t i = 0; i < LANES; i++) {
		CHECK(cmdq_push_mpmc(requests, i, &stop));
		stress_join(server_threads[i]);
	}
	check_commands();
	cmdq_free(requests);
	cmdq_free(completions);
	CHECK(pthread_barrier_destroy(&all_refused) == 0);
	(void)printf("%u commands over %u lanes, refused %llu times, none lost\n", COMMANDS, LANES,
		(unsigned long long)refused);
	return 0;
}
