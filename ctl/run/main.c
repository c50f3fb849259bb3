/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmswap-run: starts a VMM that vmswapd can attach at once, whatever rights the VMM drops or
 * filters it sets up later. Stays its parent: passes signals on and ends as it ends.
 */
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "ctl/client/rpc_client.h"
#include "ctl/problem.h"
#include "ctl/run/child.h"
#include "ctl/run/daemon.h"
#include "queue/base/bits.h"
#include "queue/base/err.h"

/* As env(1) and nohup(1) have them. */
#define EXIT_USAGE	 125
#define EXIT_NOT_STARTED 125
#define EXIT_NOT_RUN	 126
#define EXIT_NOT_FOUND	 127

#define TIMEOUT_S_DEFAULT 60u
#define TIMEOUT_S_MAX	  86400u
#define MIN_BYTES_DEFAULT (64 * MIB)

struct options {
	const char *socket;
	bool is_optional;
	struct daemon_request request;
	char **command;
};

static int usage(FILE *file, int status)
{
	(void)fprintf(file,
		"usage: vmswap-run [OPTION]… [--] COMMAND [ARGUMENT]…\n"
		"Starts COMMAND, a virtual machine monitor, and attaches it to vmswapd.\n"
		"  -s, --socket PATH    control socket of vmswapd (" RPC_SOCKET_DEFAULT ")\n"
		"  -n, --name NAME      name of the VM (COMMAND-PID)\n"
		"  -t, --timeout S      wait this long for the guest memory (%u)\n"
		"  -m, --min-size SIZE  smallest mapping that counts as guest memory (64M)\n"
		"  -o, --optional       run COMMAND also when no vmswapd is there\n"
		"  -h, --help\n"
		"      --version\n",
		TIMEOUT_S_DEFAULT);
	return status;
}

/* A number of bytes with K, M, G or T after it; 0 when it is none. */
static uint64_t parse_size(const char *text)
{
	static const char units[] = "KMGT";
	char *end;
	uint64_t value = isdigit((unsigned char)text[0]) ? strtoull(text, &end, 10) : 0;
	const char *unit = value && *end ? strchr(units, toupper((unsigned char)*end)) : NULL;
	uint32_t shift = unit ? 10 * (uint32_t)(unit - units + 1) : 0;

	if (value == 0 || (*end && (!unit || end[1] != '\0')))
		return 0;
	return value > (uint64_t)INT64_MAX >> shift ? 0 : value << shift;
}

static bool take_timeout(const char *text, uint32_t *ret_wait_ms)
{
	char *end;
	unsigned long seconds =
		isdigit((unsigned char)text[0]) ? strtoul(text, &end, 10) : ULONG_MAX;

	if (seconds > TIMEOUT_S_MAX || *end)
		return false;
	*ret_wait_ms = (uint32_t)seconds * 1000;
	return true;
}

/* 0 on; else the exit status plus one. */
static int parse(int argc, char **argv, struct options *options)
{
	static const struct option long_options[] = {
		{"socket", required_argument, NULL, 's'},
		{"name", required_argument, NULL, 'n'},
		{"timeout", required_argument, NULL, 't'},
		{"min-size", required_argument, NULL, 'm'},
		{"optional", no_argument, NULL, 'o'},
		{"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'V'},
		{0},
	};
	int option;

	/* '+': what follows COMMAND is COMMAND's. */
	while ((option = getopt_long(argc, argv, "+s:n:t:m:oh", long_options, NULL)) != -1) {
		bool is_good = true;

		switch (option) {
		case 's': options->socket = optarg; break;
		case 'n': options->request.name = optarg; break;
		case 't': is_good = take_timeout(optarg, &options->request.wait_ms); break;
		case 'm':
			options->request.min_bytes = parse_size(optarg);
			is_good = options->request.min_bytes > 0;
			break;
		case 'o': options->is_optional = true; break;
		case 'h': return usage(stdout, 1);
		case 'V': (void)printf("vmswap-run " VMSWAP_VERSION "\n"); return 1;
		default: return usage(stderr, EXIT_USAGE + 1);
		}
		if (!is_good) {
			(void)fprintf(stderr, "vmswap-run: %s is not a valid value\n", optarg);
			return EXIT_USAGE + 1;
		}
	}
	options->command = argv + optind;
	return *options->command ? 0 : usage(stderr, EXIT_USAGE + 1);
}

/* Ends as the child ended, by the same signal if it was one. */
static int exit_as(int status)
{
	const struct rlimit no_core = {0};

	if (WIFEXITED(status))
		return WEXITSTATUS(status);
	sigset_t signals;
	int number = WTERMSIG(status);

	(void)setrlimit(RLIMIT_CORE, &no_core); /* the child's is enough */
	(void)signal(number, SIG_DFL);
	(void)sigemptyset(&signals);
	(void)sigaddset(&signals, number);
	(void)raise(number);
	(void)sigprocmask(SIG_UNBLOCK, &signals, NULL);
	return 128 + number;
}

/* A signal of the terminal went to the whole group already, the child included. */
static bool was_sent_to_us(const siginfo_t *information)
{
	return information->si_code == SI_USER || information->si_code == SI_QUEUE ||
	       information->si_code == SI_TKILL;
}

static int wait_child(pid_t pid, const sigset_t *signals)
{
	for (;;) {
		siginfo_t information;
		int status;

		if (waitpid(pid, &status, WNOHANG) == pid)
			return exit_as(status);
		if (sigwaitinfo(signals, &information) < 0)
			continue;
		if (information.si_signo != SIGCHLD && was_sent_to_us(&information))
			(void)kill(pid, information.si_signo);
	}
}

static void block_signals(sigset_t *ret_signals, sigset_t *ret_before)
{
	static const int numbers[] = {SIGCHLD, SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2,
		SIGALRM, SIGCONT, SIGWINCH};

	/* Inherited as ignored it would take the child's status from us. */
	(void)signal(SIGCHLD, SIG_DFL);
	(void)sigemptyset(ret_signals);
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
		(void)sigaddset(ret_signals, numbers[i]);
	(void)sigprocmask(SIG_BLOCK, ret_signals, ret_before);
}

/* Starts the command: 0, or an exit status. */
static int start(const struct options *options, const sigset_t *mask, uint32_t shards,
	struct child *ret_child)
{
	struct problem problem = {0};
	int error = child_start(options->command, mask, shards, ret_child, &problem);

	if (!error)
		return 0;
	(void)fprintf(stderr, "vmswap-run: %s\n", problem.text);
	if (strcmp(problem.reason, "exec") == 0)
		return error == -ENOENT ? EXIT_NOT_FOUND : EXIT_NOT_RUN;
	return EXIT_NOT_STARTED;
}

int main(int argc, char **argv)
{
	struct options options = {
		.socket = RPC_SOCKET_DEFAULT,
		.request = {.wait_ms = TIMEOUT_S_DEFAULT * 1000, .min_bytes = MIN_BYTES_DEFAULT},
	};
	struct rpc_client *client = NULL;
	uint32_t shards = 0;
	struct child child;
	sigset_t signals;
	sigset_t before;
	int status = parse(argc, argv, &options);

	if (status)
		return status - 1;
	if (daemon_open(options.socket, &client, &shards) < 0 && !options.is_optional)
		return EXIT_NOT_STARTED;
	block_signals(&signals, &before);
	status = start(&options, &before, shards, &child);
	if (status) {
		rpc_client_close(client);
		return status;
	}
	if (client)
		(void)daemon_attach(client, &child, &options.request);
	return wait_child(child.pid, &signals);
}
