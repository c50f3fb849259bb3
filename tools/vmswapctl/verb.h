/* SPDX-License-Identifier: Apache-2.0 */
/* What a verb is, and what it is run with. The table of verbs is in main.c. */
#ifndef VMSWAP_TOOLS_VMSWAPCTL_VERB_H
#define VMSWAP_TOOLS_VMSWAPCTL_VERB_H

#include <jansson.h>
#include <stdbool.h>

struct rpc_client;

/* Exit codes, and what functions here return that may tell the user something. */
enum status {
	STATUS_OK = 0,
	STATUS_FAILED = 1, /* tried; the message has been printed */
	STATUS_MISUSE = 2, /* the command line makes no sense */
	STATUS_LOST = 3,   /* done, but guests have lost pages: rescue */
};

/* How the value of an option is read; its JSON value is in parentheses. */
enum option_kind {
	OPTION_FLAG,	 /* no value (true) */
	OPTION_NEGATION, /* no value (false) */
	OPTION_TEXT,	 /* (string) */
	OPTION_SIZE,	 /* 4096, 64M, 2GiB (bytes) */
	OPTION_SECONDS,	 /* 0.5 (real) */
	OPTION_DWELL,	 /* seconds or auto (real or string) */
	OPTION_ZAP,	 /* inject, pageout or auto (string) */
	OPTION_COUNT,	 /* 1… (integer) */
};

struct option_spec {
	const char *name; /* with its dashes; NULL ends a list */
	enum option_kind kind;
	const char *key;   /* in the options object; a param's name where the option is one */
	const char *value; /* what help shows behind the name, or NULL */
	const char *sentence;
};

/* A complaint kept back while ncurses owns the screen. */
struct held_complaint {
	char text[512];
};

struct invocation {
	const struct verb *verb;
	char *socket;
	bool is_json;
	bool wants_help;
	bool wants_version;
	double timeout_s; /* of the whole verb; 0: as the verb's default */
	int argument_count;
	char **arguments;
	json_t *options; /* by key */
	struct rpc_client *client;
	struct held_complaint *held; /* NULL: complaints go to stderr at once */
};

struct verb {
	const char *name;
	enum status (*run)(struct invocation *invocation);
	const char *arguments; /* as help shows them */
	int arguments_min;
	int arguments_max;
	int timeout_s;			   /* default: how long an answer may take; 0: for ever */
	const struct option_spec *options; /* NULL: none */
	const char *sentence;
};

/* The table ends with a verb without a name. */
extern const struct verb verbs[];
const struct verb *verb_find(const char *name);

/* Daemon. */
enum status verb_ping(struct invocation *invocation);
enum status verb_upgrade(struct invocation *invocation);
enum status verb_shutdown(struct invocation *invocation);
enum status verb_rescue(struct invocation *invocation);
enum status verb_events(struct invocation *invocation);
enum status verb_help(struct invocation *invocation);
enum status verb_version(struct invocation *invocation);
enum status verb_top(struct invocation *invocation);
/* VMs. */
enum status verb_attach(struct invocation *invocation);
enum status verb_add(struct invocation *invocation);
enum status verb_remove(struct invocation *invocation);
enum status verb_detach(struct invocation *invocation);
enum status verb_list(struct invocation *invocation);
enum status verb_status(struct invocation *invocation);
enum status verb_wait(struct invocation *invocation);
/* Jobs. */
enum status verb_operation(struct invocation *invocation);
enum status verb_jobs(struct invocation *invocation);
enum status verb_cancel(struct invocation *invocation);

/* Debugging. */
enum status verb_record_start(struct invocation *invocation);
enum status verb_record_stop(struct invocation *invocation);

/* Prints "vmswapctl: VERB: …" to stderr, fit for a terminal. Returns @status. */
enum status complain(const struct invocation *invocation, enum status status, const char *format,
	...) __attribute__((format(printf, 3, 4)));

#endif
