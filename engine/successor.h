/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Taking over from a predecessor that died at some instant. Somebody held the descriptors of its
 * parts: tables and store, and the userfaultfds of its processes. In this order:
 *
 *   engine_start()      with its parts: no shard runs yet
 *   vm_new()            each VM with its parts
 *   engine_resume()     moves that were half done are ended or undone, and the shards run
 *   vm_process_adopt()  each process
 *   vm_resume()         its faults are served
 *   engine_settle()     what the predecessor was still writing is waited for
 *
 * Control threads, as all of engine.h.
 */
#ifndef VMSWAP_ENGINE_SUCCESSOR_H
#define VMSWAP_ENGINE_SUCCESSOR_H

#include <stdbool.h>
#include <stdint.h>

struct engine;
struct engine_child;
struct process_spec;
struct vm;

/* What a successor needs of an engine. */
enum engine_part {
	ENGINE_STORE,
	ENGINE_SLOT_MAP,
	ENGINE_HEADER,
	ENGINE_PARTS,
};

/*
 * Starts the shards of a successor; @vms: all that were adopted. Each shard first makes its pages
 * true again, all of them at the same time. -errno; -EBADMSG: the tables make no sense.
 */
int engine_resume(struct engine *engine, struct vm *const *vms, uint32_t count);
/* Whether engine_settle() would end at once, as far as can be told. */
bool engine_may_settle(const struct engine *engine);
/*
 * Waits until the writes that a predecessor had under way have ended, and gives their slots back.
 * Takes as long as the disk does, and faults that read the store wait as well: ask first. Once
 * after engine_resume(). The number of slots that stay out of use, as for a device nobody can tell.
 */
uint32_t engine_settle(struct engine *engine);
/* The descriptors of its parts, which stay its own. */
void engine_parts(const struct engine *engine, int ret_fds[ENGINE_PARTS]);
/* What a successor needs of a VM. */
enum vm_part {
	VM_WORDS,
	VM_DIGESTS,
	VM_CHUNKS,
	VM_HEADER,
	VM_KEY, /* of what it has in the store; wiped when the VM is freed */
	VM_PARTS,
};

/* The descriptors of its parts, which stay its own. */
void vm_parts(const struct vm *vm, int ret_fds[VM_PARTS]);
/*
 * The same for a process that a predecessor served, or was about to. After engine_resume();
 * vm_resume() then registers it where the VM is.
 */
int vm_process_adopt(struct vm *vm, const struct process_spec *process, uint32_t *ret_process);
/*
 * After vm_resume(), of a VM that is registered: a child of @process that a predecessor served, at
 * its parent's addresses. @uffd is ours from now on. -EINVAL: there is no such shard.
 */
int vm_child_adopt(struct vm *vm, uint32_t process, const struct engine_child *child, int uffd);
/*
 * All processes of a predecessor are adopted: registers what was registered, whole, and wakes
 * whoever waits for an answer to a message that died with the predecessor. -errno.
 */
int vm_resume(struct vm *vm);
#endif
