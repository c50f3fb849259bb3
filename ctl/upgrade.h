/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether a program may take this daemon's place: it is asked for its layout (PROGRAM --layout) in
 * a child of ours. Nothing here waits; control thread only.
 */
#ifndef VMSWAP_CTL_UPGRADE_H
#define VMSWAP_CTL_UPGRADE_H

struct problem;
struct upgrade;

/* vmswapd answers in milliseconds. */
#define UPGRADE_ANSWER_S 3

/*
 * Opens and asks the program at @path; NULL: what lies where this one was started from. A program
 * that others than root and we may write is refused: -EPERM.
 */
int upgrade_begin(const char *path, struct upgrade **ret_upgrade, struct problem *problem);
/* Readable when upgrade_step() has work. */
int upgrade_fd(const struct upgrade *upgrade);
/* 0: goes on; 1: it fits; -errno and the problem: it does not. */
int upgrade_step(struct upgrade *upgrade, struct problem *problem);
/* The very file that was asked, whatever lies at its path now; the upgrade's. */
int upgrade_program(const struct upgrade *upgrade);
void upgrade_free(struct upgrade *upgrade);

#endif
