/* SPDX-License-Identifier: Apache-2.0 */
/* Reading the params of a call. Each function answers the call when it returns false. */
#ifndef VMSWAP_CTL_PARAMS_H
#define VMSWAP_CTL_PARAMS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct call;

/* As json_unpack(3), and members that @format does not name are refused. Strings are the call's. */
bool params_unpack(struct call *call, const char *format, ...);

bool params_check_pid(struct call *call, json_int_t pid);
/* @name is for the message. */
bool params_check_range(
	struct call *call, const char *name, json_int_t value, json_int_t low, json_int_t high);

#endif
