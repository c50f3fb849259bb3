/* SPDX-License-Identifier: Apache-2.0 */
/* Messages of a machine's userfaultfd, and threads that touch its memory and wait for us. */
#ifndef VMSWAP_TESTS_KERNEL_FAULT_H
#define VMSWAP_TESTS_KERNEL_FAULT_H

#include "tests/kernel/kernel_test.h"

/* Waits until a message is there, without reading it. */
static inline void await_message(int uffd)
{
	struct pollfd poller = {.fd = uffd, .events = POLLIN};

	CHECK(poll(&poller, 1, TEST_TIMEOUT_MS) == 1);
	CHECK(poller.revents == POLLIN);
}

static inline struct uffd_message next_message(int uffd)
{
	struct uffd_message message;
	struct uffd_inbox inbox;

	await_message(uffd);
	CHECK(uffd_read(uffd, &inbox, &message, 1) == 1);
	return message;
}

static inline bool has_message(int uffd)
{
	struct pollfd poller = {.fd = uffd, .events = POLLIN};

	return poll(&poller, 1, 0) == 1;
}

static inline void expect_fault(
	const struct machine *machine, enum uffd_kind kind, uint32_t page, bool is_write)
{
	const struct uffd_message message = next_message(machine->uffd);

	CHECK(message.kind == kind);
	CHECK(message.address == address_of(machine, page));
	CHECK(message.is_write == is_write);
}

/* A call made by another thread, because it will wait for us. */
struct background {
	pthread_t thread;
	void (*run)(struct background *background);
	volatile uint8_t *address;
	uint64_t size_bytes;
	int result;
	uint8_t value;
	_Atomic bool is_over;
};

static inline void *background_main(void *argument)
{
	struct background *background = argument;

	background->run(background);
	atomic_store(&background->is_over, true);
	return NULL;
}

static inline void start(struct background *background, void (*run)(struct background *))
{
	background->run = run;
	atomic_store(&background->is_over, false);
	CHECK(pthread_create(&background->thread, NULL, background_main, background) == 0);
}

static inline bool is_over(struct background *background)
{
	return atomic_load(&background->is_over);
}

static inline void finish(struct background *background)
{
	CHECK(pthread_join(background->thread, NULL) == 0);
	CHECK(is_over(background));
}

static inline void run_read(struct background *background)
{
	background->value = *background->address;
}

static inline void run_write(struct background *background)
{
	*background->address = background->value;
}

static inline void start_read(
	struct background *background, const struct machine *machine, uint32_t page)
{
	background->address = page_of(machine, page);
	start(background, run_read);
}

static inline void start_write(
	struct background *background, const struct machine *machine, uint32_t page, uint8_t value)
{
	background->address = page_of(machine, page);
	background->value = value;
	start(background, run_write);
}

#endif
