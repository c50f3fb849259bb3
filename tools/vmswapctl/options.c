/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/vmswapctl/options.h"

#include <string.h>

#include "ctl/client/rpc_client.h"
#include "queue/base/assert.h"
#include "queue/base/bits.h"
#include "tools/vmswapctl/units.h"

/* A year is for ever. */
#define SECONDS_MAX (365.0 * 24 * 3600)

const struct option_spec options_global[] = {
	{"--socket", OPTION_TEXT, "socket", "PATH", "Control socket (" RPC_SOCKET_DEFAULT ")"},
	{"--json", OPTION_FLAG, "json", NULL, "Print the daemon's result as one line of JSON"},
	{"--timeout", OPTION_SECONDS, "timeout", "S", "Give up after S seconds"},
	{"--help", OPTION_FLAG, "help", NULL, "Print help, of the verb if there is one"},
	{"--version", OPTION_FLAG, "version", NULL, "Print the version"},
	{0},
};

/* A command line on its way through the parser. */
struct parser {
	int argc;
	char **argv;
	int next;
	bool is_after_dashes; /* behind "--" all are arguments */
	json_t *globals;
	struct invocation *invocation;
};

static const struct option_spec *find(
	const struct option_spec *specs, const char *name, size_t length)
{
	for (const struct option_spec *spec = specs; spec && spec->name; spec++)
		if (strlen(spec->name) == length && strncmp(spec->name, name, length) == 0)
			return spec;
	return NULL;
}

static bool has_value(const struct option_spec *spec)
{
	return spec->kind != OPTION_FLAG && spec->kind != OPTION_NEGATION;
}

static json_t *read_seconds(const char *text)
{
	double seconds;

	return units_parse_seconds(text, SECONDS_MAX, &seconds) ? json_real(seconds) : NULL;
}

static json_t *read_number(const char *text, bool (*parse)(const char *, uint64_t *))
{
	uint64_t number;

	return parse(text, &number) ? json_integer((json_int_t)number) : NULL;
}

static json_t *read_zap(const char *text)
{
	static const char *const names[] = {"inject", "pageout", "auto"};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (strcmp(text, names[i]) == 0)
			return json_string(text);
	return NULL;
}

/* NULL when the text makes no sense for the kind. */
static json_t *read_value(enum option_kind kind, const char *text)
{
	switch (kind) {
	case OPTION_FLAG: return json_true();
	case OPTION_NEGATION: return json_false();
	case OPTION_TEXT: return *text ? json_string(text) : NULL;
	case OPTION_SIZE: return read_number(text, units_parse_size);
	case OPTION_COUNT: return read_number(text, units_parse_count);
	case OPTION_SECONDS: return read_seconds(text);
	case OPTION_DWELL:
		return strcmp(text, "auto") == 0 ? json_string(text) : read_seconds(text);
	case OPTION_ZAP: return read_zap(text);
	}
	UNREACHABLE();
}

/* The text of a value: behind '=', or the next word. NULL when there is none. */
static const char *value_text(struct parser *parser, const char *equals)
{
	if (equals)
		return equals + 1;
	return parser->next < parser->argc ? parser->argv[parser->next++] : NULL;
}

static enum status take_option(struct parser *parser, const char *word)
{
	struct invocation *invocation = parser->invocation;
	const struct verb *verb = invocation->verb;
	const char *equals = strchr(word, '=');
	size_t length = equals ? (size_t)(equals - word) : strlen(word);
	const struct option_spec *spec = find(verb ? verb->options : NULL, word, length);
	json_t *target = spec ? invocation->options : parser->globals;
	const char *text = "";
	json_t *value;

	if (!spec)
		spec = find(options_global, word, length);
	if (!spec)
		return complain(
			invocation, STATUS_MISUSE, "unknown option %.*s", (int)length, word);
	if (!has_value(spec) && equals)
		return complain(invocation, STATUS_MISUSE, "%s takes no value", spec->name);
	if (has_value(spec))
		text = value_text(parser, equals);
	if (!text)
		return complain(
			invocation, STATUS_MISUSE, "%s needs a value: %s", spec->name, spec->value);
	value = read_value(spec->kind, text);
	if (!value || json_object_set_new(target, spec->key, value))
		return complain(invocation, STATUS_MISUSE, "%s %s: expected %s", spec->name, text,
			spec->value);
	return STATUS_OK;
}

/* The first word is the verb, the others are its arguments, kept at the front of argv. */
static enum status take_word(struct parser *parser, char *word)
{
	struct invocation *invocation = parser->invocation;

	/* Words only move to the front: none is written over before it was read. */
	ASSERT(invocation->argument_count < parser->next);
	if (invocation->verb) {
		invocation->arguments[invocation->argument_count++] = word;
		return STATUS_OK;
	}
	invocation->verb = verb_find(word);
	if (!invocation->verb)
		return complain(invocation, STATUS_MISUSE, "unknown verb %s", word);
	return STATUS_OK;
}

static enum status take_next(struct parser *parser)
{
	ASSERT(parser->next < parser->argc);
	char *word = parser->argv[parser->next++];

	if (parser->is_after_dashes || word[0] != '-' || word[1] == '\0')
		return take_word(parser, word);
	if (strcmp(word, "--") == 0) {
		parser->is_after_dashes = true;
		return STATUS_OK;
	}
	return take_option(parser, strcmp(word, "-h") == 0 ? "--help" : word);
}

static void apply_globals(struct invocation *invocation, const json_t *globals)
{
	const char *socket = json_string_value(json_object_get(globals, "socket"));

	invocation->socket = socket ? strdup(socket) : strdup(RPC_SOCKET_DEFAULT);
	invocation->is_json = json_is_true(json_object_get(globals, "json"));
	invocation->wants_help = json_is_true(json_object_get(globals, "help"));
	invocation->wants_version = json_is_true(json_object_get(globals, "version"));
	invocation->timeout_s = json_real_value(json_object_get(globals, "timeout"));
}

static enum status check_arguments(const struct invocation *invocation)
{
	const struct verb *verb = invocation->verb;

	if (invocation->wants_help || invocation->wants_version)
		return STATUS_OK;
	if (!verb)
		return complain(invocation, STATUS_MISUSE, "a verb is missing");
	if (invocation->argument_count < verb->arguments_min)
		return complain(invocation, STATUS_MISUSE, "needs %s", verb->arguments);
	if (invocation->argument_count > verb->arguments_max)
		return complain(invocation, STATUS_MISUSE, "unexpected argument %s",
			invocation->arguments[verb->arguments_max]);
	return STATUS_OK;
}

enum status options_parse(int argc, char **argv, struct invocation *invocation)
{
	ASSERT(argc >= 1 && argv && invocation);
	struct parser parser = {.argc = argc,
		.argv = argv,
		.next = 1,
		.globals = json_object(),
		.invocation = invocation};
	enum status status = STATUS_OK;

	*invocation = (struct invocation){.arguments = argv, .options = json_object()};
	while (status == STATUS_OK && parser.next < argc)
		status = take_next(&parser);
	apply_globals(invocation, parser.globals);
	json_decref(parser.globals);
	return status == STATUS_OK ? check_arguments(invocation) : status;
}
