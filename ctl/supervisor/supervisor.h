/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The process that outlives the worker: it starts vmswapd's worker, holds every descriptor that the
 * worker stores here (keeper.h), and starts another one when it dies.
 *
 *            ┌────────────────────────────────────────────────────────────┐
 *            ▼                                                            │ at once
 *   start ──► starting ──READY──► serving ──dies──► fewer than 5 in 30 s? ┤
 *                │                   │                                    │ no
 *                │ dies, never       │ BYE, exit                          ▼
 *                ▼ served            ▼                       the same in minimal mode
 *              its status          its status                             │ 5 in 30 s again
 *                                                                         ▼
 *                                                            waiting: all is held, nothing is
 *                                                            served
 *
 * SIGUSR2 starts, while it waits, a rescue (ctl/rescue): all memory back into RAM. Where that is
 * complete the supervisor ends, else it waits again.
 *
 * A worker in minimal mode does without everything that is optional. SIGUSR1 or an upgrade leads
 * back to the normal mode, from minimal mode and from waiting.
 *
 * SIGTERM and SIGINT are passed on to the worker. While there is none they end the supervisor if it
 * holds nothing of a guest, otherwise it says what and stays: guests need it. SIGHUP is ignored.
 *
 * After the start nothing is allocated and nothing is parsed but one struct of fixed size; all is
 * locked into memory.
 */
#ifndef VMSWAP_CTL_SUPERVISOR_SUPERVISOR_H
#define VMSWAP_CTL_SUPERVISOR_SUPERVISOR_H

struct config;

/*
 * Until the worker's orderly end; the process's exit status. @argv is the worker's too. @ready_fd:
 * as that of the starter that waits for one byte, -1: nobody waits.
 */
int supervisor_run(const struct config *config, char **argv, int ready_fd);

#endif
