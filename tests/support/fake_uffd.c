/* SPDX-License-Identifier: Apache-2.0 */
/* io/uffd.h: registration, messages, and the resolving calls as Linux 6.18 does them on shmem. */
#include "io/uffd.h"

#include <errno.h>
#include <string.h>

#include "tests/support/fake_priv.h"

struct fake_uffd *fake_uffd_of(int fd)
{
	const uint64_t inode = fake_inode(fd);

	for (uint32_t i = 0; i < world.uffd_count; i++)
		if (world.uffd[i].inode == inode)
			return &world.uffd[i];
	fake_fail("descriptor %d is no userfaultfd", fd);
}

uint8_t fake_uffd_index(const struct fake_uffd *uffd)
{
	return (uint8_t)(uffd - world.uffd);
}

int fake_uffd(uint32_t process)
{
	struct fake_uffd *uffd = &world.uffd[world.uffd_count++];
	const int fd = fake_descriptor();

	ASSERT(world.uffd_count <= UFFDS_MAX);
	uffd->inode = fake_inode(fd);
	uffd->process = &world.process[process];
	return fd;
}

bool fake_is_readable(const struct fake_uffd *uffd)
{
	for (uint32_t i = 0; i < THREADS_MAX; i++) {
		const struct fake_thread *thread = &world.thread[i];

		if (thread->kind != THREAD_FREE && thread->is_blocked && !thread->is_read &&
			thread->uffd == fake_uffd_index(uffd))
			return true;
	}
	return uffd->event_count > 0;
}

void fake_post(struct fake_uffd *uffd, const struct uffd_message *message)
{
	ASSERT(uffd->event_count < POSTED_MAX);
	uffd->event[uffd->event_count++] = *message;
	uffd->has_edge = true;
}

void fake_wake_range(const struct fake_process *process, uint64_t address, uint64_t end)
{
	if (world.config.lie == FAKE_WAKES_NONE && fake_one_in(50))
		return;
	for (uint32_t i = 0; i < THREADS_MAX; i++) {
		struct fake_thread *thread = &world.thread[i];

		if (thread->kind != THREAD_FREE && thread->is_blocked &&
			thread->process == process && thread->address >= address &&
			thread->address < end)
			thread->is_blocked = false;
	}
}

void fake_kill(uint32_t process)
{
	struct fake_process *target = &world.process[process];

	target->is_dead = true;
	for (uint32_t i = 0; i < MEMFDS_MAX; i++)
		for (uint64_t page = 0; target->pte[i] && page < world.memfd[i].pages; page++)
			target->pte[i][page] = (struct fake_pte){0};
	for (uint32_t i = 0; i < THREADS_MAX; i++)
		if (world.thread[i].process == target)
			world.thread[i].kind = THREAD_FREE;
	for (uint32_t i = 0; i < world.uffd_count; i++)
		if (world.uffd[i].process == target)
			world.uffd[i].event_count = 0;
}

int uffd_open(void)
{
	return fake_descriptor();
}

int uffd_features(uint32_t *ret_features)
{
	*ret_features = world.config.features;
	return 0;
}

int uffd_handshake(int fd, uint32_t features)
{
	struct fake_uffd *uffd = fake_uffd_of(fd);

	if (uffd->is_ready || (features & ~world.config.features) != 0)
		return -EINVAL;
	uffd->is_ready = true;
	uffd->features = features;
	return 0;
}

/* Each page of a range that must be mapped by the process, in one run. -ENOENT where it is not. */
static int check_range(const struct fake_uffd *uffd, uint64_t address, uint64_t size_bytes)
{
	struct fake_place place;

	if (uffd->process->is_dead)
		return -ESRCH;
	for (uint64_t at = address; at < address + size_bytes; at += PAGE_BYTES)
		if (!fake_find(uffd->process, at, &place))
			return -EINVAL;
	return 0;
}

/* As the kernel, holes and all: something of the range must be mapped. */
static int check_some(const struct fake_uffd *uffd, uint64_t address, uint64_t size_bytes)
{
	struct fake_place place;

	for (uint64_t at = address; at < address + size_bytes; at += PAGE_BYTES) {
		if (uffd->process->is_dead)
			return -ENOMEM;
		if (fake_find(uffd->process, at, &place))
			return 0;
	}
	return -EINVAL;
}

int uffd_register(int fd, uint64_t address, uint64_t size_bytes, bool with_wp)
{
	struct fake_uffd *uffd = fake_uffd_of(fd);
	struct fake_place place;
	int error;

	fake_schedule();
	ASSERT(uffd->is_ready);
	ASSERT(!with_wp || (uffd->features & UFFD_WP) != 0);
	error = check_some(uffd, address, size_bytes);
	if (error)
		return error;
	for (uint64_t at = address; at < address + size_bytes; at += PAGE_BYTES) {
		if (!fake_find(uffd->process, at, &place))
			continue;
		if (place.pte->flags & PTE_REGISTERED && place.pte->uffd != fake_uffd_index(uffd))
			return -EBUSY;
	}
	for (uint64_t at = address; at < address + size_bytes; at += PAGE_BYTES) {
		if (!fake_find(uffd->process, at, &place))
			continue;
		place.pte->flags |= PTE_REGISTERED;
		place.pte->uffd = fake_uffd_index(uffd);
	}
	return 0;
}

int uffd_unregister(int fd, uint64_t address, uint64_t size_bytes)
{
	struct fake_uffd *uffd = fake_uffd_of(fd);
	struct fake_place place;
	int error;

	fake_schedule();
	error = check_range(uffd, address, size_bytes);
	if (error)
		return error == -ESRCH ? -ENOMEM : error;
	for (uint64_t at = address; at < address + size_bytes; at += PAGE_BYTES) {
		(void)fake_find(uffd->process, at, &place);
		/* Marks and markers go with the registration. */
		place.pte->flags &= (uint8_t) ~(PTE_REGISTERED | PTE_ARMED);
	}
	fake_wake_range(uffd->process, address, address + size_bytes);
	return 0;
}

/* Faults first, as the kernel does, in an order of its own. */
static uint32_t read_faults(struct fake_uffd *uffd, struct uffd_message *ret_messages, uint32_t max)
{
	const uint32_t first = (uint32_t)fake_random(THREADS_MAX);
	uint32_t count = 0;

	for (uint32_t i = 0; i < THREADS_MAX && count < max; i++) {
		struct fake_thread *thread = &world.thread[(first + i) % THREADS_MAX];

		if (thread->kind == THREAD_FREE || !thread->is_blocked || thread->is_read ||
			thread->uffd != fake_uffd_index(uffd))
			continue;
		thread->is_read = true;
		ret_messages[count++] = (struct uffd_message){
			.kind = thread->is_missing ? UFFD_FAULT_MISSING : UFFD_FAULT_MINOR,
			.is_write = thread->is_write,
			.fd = -1,
			.address = thread->address + fake_random(PAGE_BYTES),
		};
	}
	return count;
}

int uffd_read(int fd, struct uffd_inbox *inbox, struct uffd_message *ret_messages, uint32_t max)
{
	struct fake_uffd *uffd = fake_uffd_of(fd);
	uint32_t count;
	uint32_t taken = 0;

	(void)inbox; /* nobody looks into it here */
	ASSERT(max <= UFFD_BATCH_MAX);
	fake_schedule();
	count = read_faults(uffd, ret_messages, max);
	for (; taken < uffd->event_count && count < max; taken++)
		ret_messages[count++] = uffd->event[taken];
	uffd->event_count -= taken;
	memmove(uffd->event, uffd->event + taken, uffd->event_count * sizeof(uffd->event[0]));
	return (int)count;
}

void uffd_inbox_forget_child(struct uffd_inbox *inbox, uint32_t index)
{
	(void)inbox;
	(void)index;
}

enum how {
	HOW_COPY,
	HOW_CONTINUE,
	HOW_ZERO,
	HOW_POISON,
};

struct resolve {
	struct fake_uffd *uffd;
	enum how how;
	const uint8_t *source;
	bool with_wp;
	struct uffd_call *call; /* NULL: nobody looks at it */
};

static void map_page(const struct resolve *resolve, const struct fake_place *place)
{
	uint8_t flags = PTE_MAPPED | PTE_REGISTERED;

	if (resolve->with_wp)
		flags |= PTE_ARMED;
	place->pte->flags = flags;
}

static int resolve_page(const struct resolve *resolve, uint64_t address, const uint8_t *source)
{
	struct fake_page *state;
	struct fake_place place;

	if (!fake_find(resolve->uffd->process, address, &place) ||
		!(place.pte->flags & PTE_REGISTERED))
		return -ENOENT;
	if (place.pte->flags & (PTE_MAPPED | PTE_POISONED))
		return -EEXIST;
	state = &place.memfd->page[place.page];
	if (resolve->how == HOW_POISON) {
		place.pte->flags = PTE_REGISTERED | PTE_POISONED;
		return 0;
	}
	if (resolve->how == HOW_CONTINUE) {
		if (!state->is_present)
			return -EFAULT;
		state->is_hollow = false;
		map_page(resolve, &place);
		return 0;
	}
	if (state->is_present) {
		/* Whoever is told so may write it through the alias. */
		fake_keep(place.memfd->memory + place.page * PAGE_BYTES);
		return -EEXIST;
	}
	if (resolve->how == HOW_COPY)
		memcpy(fake_change(place.memfd, place.page), source, PAGE_BYTES);
	else
		memset(fake_change(place.memfd, place.page), 0, PAGE_BYTES);
	state->is_present = true;
	map_page(resolve, &place);
	return 0;
}

/* Pages one after the other; guests run in between, and the call may stop half way. */
static int resolve_range(
	const struct resolve *resolve, uint64_t address, uint64_t size_bytes, uint64_t *ret_done)
{
	static const int errors[] = {-EAGAIN, -ENOMEM};
	const struct fake_process *process = resolve->uffd->process;
	uint64_t limit = size_bytes;
	uint64_t done = 0;
	uint32_t how = 0;
	int error = 0;

	ASSERT(address % PAGE_BYTES == 0);
	ASSERT(size_bytes % PAGE_BYTES == 0 && size_bytes > 0);
	fake_schedule();
	*ret_done = 0;
	if (process->is_dead)
		return -ESRCH;
	if (fake_fails(FAKE_RESOLVE, 4, &how))
		limit = how < 2 ? 0 : fake_random(size_bytes / PAGE_BYTES) * PAGE_BYTES;
	for (; !error && done < size_bytes; done += error ? 0 : PAGE_BYTES) {
		if (process->is_dead)
			error = -ESRCH;
		else if (resolve->uffd->event_count > 0)
			error = -EAGAIN;
		else if (done == limit)
			error = errors[how % 2];
		else
			error = resolve_page(resolve, address + done,
				resolve->source ? resolve->source + done : NULL);
		/* The kernel says so before the call ends, also when the caller dies meanwhile. */
		if (!error && resolve->call)
			resolve->call->word[4] = done + PAGE_BYTES;
		if (!error && fake_one_in(32)) {
			fake_wake_range(process, address, address + done + PAGE_BYTES);
			fake_schedule();
		}
	}
	if (done > 0)
		fake_wake_range(process, address, address + done);
	*ret_done = done;
	return error;
}

void uffd_call_clear(struct uffd_call *call)
{
	*call = (struct uffd_call){{0}};
}

uint64_t uffd_call_done(const struct uffd_call *call)
{
	return call->word[4];
}

int uffd_copy(int fd, struct uffd_call *call, uint64_t address, const void *source,
	uint64_t size_bytes, bool with_wp)
{
	const struct resolve resolve = {
		.uffd = fake_uffd_of(fd),
		.how = HOW_COPY,
		.source = source,
		.with_wp = with_wp,
		.call = call,
	};
	uint64_t done;
	int error;

	ASSERT((uintptr_t)source % PAGE_BYTES == 0);
	uffd_call_clear(call);
	error = resolve_range(&resolve, address, size_bytes, &done);
	return error && done > 0 ? -EAGAIN : error;
}

int uffd_continue_page(int fd, struct uffd_call *call, uint64_t address, bool with_wp)
{
	const struct resolve resolve = {
		.uffd = fake_uffd_of(fd),
		.how = HOW_CONTINUE,
		.with_wp = with_wp,
		.call = call,
	};
	uint64_t done;

	uffd_call_clear(call);
	return resolve_range(&resolve, address, PAGE_BYTES, &done);
}

int uffd_continue(int fd, uint64_t address, uint64_t size_bytes, bool with_wp, uint64_t *ret_done)
{
	const struct resolve resolve = {
		.uffd = fake_uffd_of(fd),
		.how = HOW_CONTINUE,
		.with_wp = with_wp,
	};

	return resolve_range(&resolve, address, size_bytes, ret_done);
}

int uffd_zero(int fd, uint64_t address, uint64_t size_bytes, uint64_t *ret_done)
{
	const struct resolve resolve = {.uffd = fake_uffd_of(fd), .how = HOW_ZERO};

	return resolve_range(&resolve, address, size_bytes, ret_done);
}

int uffd_poison(int fd, uint64_t address, uint64_t size_bytes, uint64_t *ret_done)
{
	const struct resolve resolve = {.uffd = fake_uffd_of(fd), .how = HOW_POISON};

	if (!(resolve.uffd->features & UFFD_CAN_POISON)) {
		*ret_done = 0;
		return -EINVAL;
	}
	return resolve_range(&resolve, address, size_bytes, ret_done);
}

int uffd_unprotect(int fd, uint64_t address, uint64_t size_bytes)
{
	struct fake_uffd *uffd = fake_uffd_of(fd);
	struct fake_place place;

	fake_schedule();
	if (uffd->process->is_dead)
		return -ESRCH;
	for (uint64_t at = address; at < address + size_bytes; at += PAGE_BYTES)
		if (fake_find(uffd->process, at, &place))
			place.pte->flags &= (uint8_t)~PTE_ARMED;
	fake_wake_range(uffd->process, address, address + size_bytes);
	return 0;
}

int uffd_wake(int fd, uint64_t address, uint64_t size_bytes)
{
	struct fake_uffd *uffd = fake_uffd_of(fd);

	fake_schedule();
	if (uffd->process->is_dead)
		return -ESRCH;
	fake_wake_range(uffd->process, address, address + size_bytes);
	return 0;
}
