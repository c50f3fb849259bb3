/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control server in a process of its own, with a handler that does nothing useful, and clients
 * that say and hear lines. Whatever does not hold ends the test.
 */
#ifndef VMSWAP_TESTS_E2E_SERVER_RIG_H
#define VMSWAP_TESTS_E2E_SERVER_RIG_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/types.h>

#include "tests/support/check.h"

/* Far above any turn of a healthy server, also under sanitizers; far below a human's patience. */
#define AT_ONCE_MS 2000

/*
 * What the daemon understands: ping, keep (answered at its end only), subscribe, publish
 * {count, text}, limit {on} (leaves it no descriptor to accept with), quit.
 */
#define REQUEST(method) "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"" method "\"}\n"
#define PONG		"\"id\":1,\"result\":{\"pong\":true}"

extern char rig_directory[]; /* for mkdtemp() */
extern char rig_path[64];    /* of the socket */
extern pid_t rig_pid;	     /* of the daemon */

/* Starts a daemon: 0, or what server_open() said in the child. */
int rig_start(pid_t *ret_pid);
int rig_exit_code(pid_t pid); /* 128 and the signal */
uint32_t rig_descriptors(void);
/* Starts the daemon that must start, and ends it; the answer to its last request must come, too. */
void rig_begin(void);
void rig_end(void);

int rig_join(void);
void rig_say(int fd, const char *text);
/* With a copy of @passed. */
void rig_say_with(int fd, const char *text, int passed);
/* The next line, waited for at most AT_ONCE_MS; "" at the end of the connection; static. */
const char *rig_hear(int fd);
bool rig_hears(int fd, const char *words);
bool rig_hears_the_end(int fd);
/* A newcomer is answered at once. */
void rig_check_others_are_served(void);
/* The daemon holds no more descriptors than @expected before long. */
void rig_check_descriptors(uint32_t expected);

#endif
