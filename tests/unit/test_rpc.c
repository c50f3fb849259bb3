/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/rpc.h"
#include "queue/base/bits.h"
#include "queue/base/err.h"

static struct rpc_request request;
static struct rpc_problem problem;

static bool parse(const char *line)
{
	return rpc_parse(line, strlen(line), &request, &problem);
}

static void done(void)
{
	rpc_request_done(&request);
}

TestSuite(rpc, .fini = done);

Test(rpc, a_request_gives_its_method_params_and_id)
{
	cr_assert(parse("{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"vm.wait\",\"params\":{\"vm\":"
			"\"a\"}}"));

	cr_expect_str_eq(request.method, "vm.wait");
	cr_expect_str_eq(json_string_value(json_object_get(request.params, "vm")), "a");
	cr_expect_eq(json_integer_value(request.id), 7);
	cr_expect(rpc_wants_reply(&request));
}

Test(rpc, absent_params_are_an_empty_object)
{
	cr_assert(parse("{\"jsonrpc\":\"2.0\",\"id\":\"x\",\"method\":\"m\"}"));

	cr_expect(json_is_object(request.params));
	cr_expect_eq(json_object_size(request.params), 0);
}

Test(rpc, a_request_without_id_wants_no_reply)
{
	cr_assert(parse("{\"jsonrpc\":\"2.0\",\"method\":\"m\"}"));

	cr_expect_not(rpc_wants_reply(&request));
}

Test(rpc, a_notification_with_bad_params_wants_no_reply_either)
{
	cr_assert_not(parse("{\"jsonrpc\":\"2.0\",\"method\":\"m\",\"params\":[1]}"));

	cr_expect_not(rpc_wants_reply(&request));
}

Test(rpc, a_null_id_is_a_request)
{
	cr_assert(parse("{\"jsonrpc\":\"2.0\",\"id\":null,\"method\":\"m\"}"));

	cr_expect(rpc_wants_reply(&request));
}

Test(rpc, a_carriage_return_at_the_end_is_white_space)
{
	cr_expect(parse("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"m\"}\r"));
}

struct bad_line {
	const char *line;
	enum call_error code;
	const char *words; /* in the message */
};

static const struct bad_line bad_lines[] = {
	{"", CALL_PARSE_ERROR, "not JSON"},
	{"{", CALL_PARSE_ERROR, "not JSON"},
	{"hello", CALL_PARSE_ERROR, "not JSON"},
	{"\xff\xfe\x01", CALL_PARSE_ERROR, "not JSON"},
	{"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"\\u0000\"}", CALL_PARSE_ERROR, "not JSON"},
	{"{\"jsonrpc\":\"2.0\",\"id\":1,\"id\":2,\"method\":\"m\"}", CALL_PARSE_ERROR, "duplicate"},
	{"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"m\"} x", CALL_PARSE_ERROR, "end of file"},
	{"{\"jsonrpc\":\"2.0\",\"id\":99999999999999999999,\"method\":\"m\"}", CALL_PARSE_ERROR,
		"integer"},
	{"null", CALL_INVALID_REQUEST, "object"},
	{"3", CALL_INVALID_REQUEST, "object"},
	{"\"text\"", CALL_INVALID_REQUEST, "object"},
	{"[]", CALL_INVALID_REQUEST, "batches are not supported"},
	{"[{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"m\"}]", CALL_INVALID_REQUEST,
		"batches are not supported"},
	{"{}", CALL_INVALID_REQUEST, "jsonrpc"},
	{"{\"jsonrpc\":\"1.0\",\"id\":1,\"method\":\"m\"}", CALL_INVALID_REQUEST, "jsonrpc"},
	{"{\"jsonrpc\":2.0,\"id\":1,\"method\":\"m\"}", CALL_INVALID_REQUEST, "jsonrpc"},
	{"{\"jsonrpc\":\"2.0\",\"id\":1}", CALL_INVALID_REQUEST, "method"},
	{"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":5}", CALL_INVALID_REQUEST, "method"},
	{"{\"jsonrpc\":\"2.0\",\"id\":{},\"method\":\"m\"}", CALL_INVALID_REQUEST, "id"},
	{"{\"jsonrpc\":\"2.0\",\"id\":1.5,\"method\":\"m\"}", CALL_INVALID_REQUEST, "id"},
	{"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"m\",\"params\":[1]}", CALL_INVALID_PARAMS,
		"object"},
	{"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"m\",\"params\":null}", CALL_INVALID_PARAMS,
		"object"},
};

Test(rpc, each_bad_line_has_its_own_error)
{
	for (size_t i = 0; i < ARRAY_SIZE(bad_lines); i++) {
		const struct bad_line *bad = &bad_lines[i];

		cr_expect_not(parse(bad->line), "accepted: %s", bad->line);
		cr_expect_eq(problem.code, bad->code, "%s: %d", bad->line, (int)problem.code);
		cr_expect(
			strstr(problem.message, bad->words), "%s: %s", bad->line, problem.message);
		cr_expect(rpc_wants_reply(&request), "%s", bad->line);
		rpc_request_done(&request);
	}
}

Test(rpc, a_bad_request_keeps_the_id_for_its_reply)
{
	cr_assert_not(parse("{\"jsonrpc\":\"2.0\",\"id\":\"mine\",\"method\":5}"));

	cr_expect_str_eq(json_string_value(request.id), "mine");
}

Test(rpc, a_nul_byte_does_not_end_a_line_early)
{
	static const char line[] = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"m\"}\0{}";

	cr_expect_not(rpc_parse(line, sizeof(line) - 1, &request, &problem));
	cr_expect_eq(problem.code, CALL_PARSE_ERROR);
}

Test(rpc, a_depth_bomb_is_a_parse_error)
{
	const size_t size = MIB;
	CLEANUP_FREE char *line = malloc(size);

	cr_assert(line);
	for (int kind = 0; kind < 2; kind++) {
		for (size_t i = 0; i < size; i++)
			line[i] = "[{\"a\":"[kind == 0 ? 0 : 1 + i % 5];

		cr_expect_not(rpc_parse(line, size, &request, &problem));
		cr_expect_eq(problem.code, CALL_PARSE_ERROR);
	}
}

static void expect_text(const struct rpc_text *text, const char *expected)
{
	cr_expect_eq(text->size, strlen(expected));
	cr_expect_eq(
		memcmp(text->text, expected, text->size), 0, "%.*s", (int)text->size, text->text);
	free(text->text);
}

Test(rpc, a_result_is_one_line_with_the_id_of_its_request)
{
	json_t *id = json_string("a\nb");
	struct rpc_text text;

	cr_assert_eq(rpc_encode_result(id, json_pack("{s:b}", "pong", 1), &text), 0);

	expect_text(&text, "{\"jsonrpc\":\"2.0\",\"id\":\"a\\nb\",\"result\":{\"pong\":true}}\n");
	json_decref(id);
}

Test(rpc, an_error_without_id_says_null)
{
	struct rpc_text text;

	cr_assert_eq(rpc_encode_error(NULL, CALL_BUSY, "busy", NULL, &text), 0);

	expect_text(&text, "{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":-32005,"
			   "\"message\":\"busy\"}}\n");
}

Test(rpc, an_error_carries_its_data)
{
	json_t *id = json_integer(1);
	struct rpc_text text;

	cr_assert_eq(
		rpc_encode_error(id, CALL_FAILED, "no", json_pack("{s:i}", "errno", 5), &text), 0);

	expect_text(&text, "{\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{\"code\":-32003,\"message\":"
			   "\"no\",\"data\":{\"errno\":5}}}\n");
	json_decref(id);
}

Test(rpc, a_message_that_is_not_utf8_is_sent_all_the_same)
{
	struct rpc_text text;

	cr_assert_eq(rpc_encode_error(NULL, CALL_REFUSED, "name \xc3(", NULL, &text), 0);

	expect_text(&text, "{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":-32002,"
			   "\"message\":\"name ?(\"}}\n");
}

Test(rpc, an_event_is_a_notification)
{
	struct rpc_text text;

	cr_assert_eq(rpc_encode_event(json_pack("{s:s}", "type", "state"), &text), 0);

	expect_text(&text, "{\"jsonrpc\":\"2.0\",\"method\":\"event\",\"params\":{\"type\":"
			   "\"state\"}}\n");
}

Test(rpc, random_bytes_never_make_a_request)
{
	unsigned seed = 1;
	char line[64];

	for (int round = 0; round < 100000; round++) {
		size_t size = (size_t)rand_r(&seed) % sizeof(line);

		for (size_t i = 0; i < size; i++)
			line[i] = (char)rand_r(&seed);

		cr_assert_not(rpc_parse(line, size, &request, &problem));
		rpc_request_done(&request);
	}
}

Test(rpc, a_request_with_one_byte_changed_is_served_or_refused_but_never_half)
{
	static const char good[] = "{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"vm.wait\","
				   "\"params\":{\"vm\":\"a\"}}";
	char line[sizeof(good)];

	for (size_t at = 0; at < sizeof(good) - 1; at++)
		for (int byte = 0; byte < 256; byte++) {
			bool is_request;

			memcpy(line, good, sizeof(good));
			line[at] = (char)byte;
			is_request = rpc_parse(line, sizeof(good) - 1, &request, &problem);

			cr_assert_eq(is_request, request.method && request.params);
			cr_assert(is_request || problem.code != 0);
			rpc_request_done(&request);
		}
}
