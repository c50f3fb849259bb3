/* SPDX-License-Identifier: Apache-2.0 */
/* The injector's side: see injector.c. */
#ifndef VMSWAP_CTL_INJECTOR_PROCESS_H
#define VMSWAP_CTL_INJECTOR_PROCESS_H

/* In the forked child: serves sessions until the other end of @socket closes, finishes them. */
_Noreturn void injector_process_run(int socket);

#endif
