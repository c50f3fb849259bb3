/* SPDX-License-Identifier: Apache-2.0 */
/* The command line: global options anywhere, a verb, its arguments and options in any order. */
#ifndef VMSWAP_TOOLS_VMSWAPCTL_OPTIONS_H
#define VMSWAP_TOOLS_VMSWAPCTL_OPTIONS_H

#include "tools/vmswapctl/verb.h"

/* The global options, for help. */
extern const struct option_spec options_global[];

/* Fills @invocation; its arguments point into @argv, which is rearranged. */
enum status options_parse(int argc, char **argv, struct invocation *invocation);

#endif
