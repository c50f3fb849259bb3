/* SPDX-License-Identifier: Apache-2.0 */
/* Runs a program of the host and waits for it; its output is dropped. */
#ifndef VMSWAP_PERF_CONTESTANT_PROGRAM_H
#define VMSWAP_PERF_CONTESTANT_PROGRAM_H

/* @arguments: the name, looked up in PATH, …, NULL. -ENOENT: there is none; -EIO: it failed. */
int program_run(const char *const arguments[]);

#endif
