/* SPDX-License-Identifier: Apache-2.0 */
/* A seccomp filter like those of strict VMMs. */
#ifndef VMSWAP_TOOLS_CONFINE_H
#define VMSWAP_TOOLS_CONFINE_H

/*
 * From now on this process, threads to come included, is killed when it calls userfaultfd,
 * socketpair, recvmsg or ptrace: calls an attacher may want to run inside it. -errno.
 */
int confine_process(void);

#endif
