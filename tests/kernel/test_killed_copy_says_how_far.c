/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A copy whose caller is killed has written how far it came into its argument: what it says is
 * mapped, and nothing behind that is there. So a look into shared memory tells a successor.
 */
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>

#include "io/guest.h"
#include "kernel_test.h"
#include "queue/base/clock.h"

#define PAGES 4096u
#define TRIES 200u
/* One copy of all pages takes some milliseconds: kills are spread over about as long. */
#define SPREAD_NS (5 * NS_PER_MS)

static _Noreturn void copy(const struct machine *machine, struct uffd_call *call, int begun)
{
	const uint8_t *source = mmap(NULL, PAGES * PAGE_BYTES, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	CHECK(source != MAP_FAILED);
	CHECK(write(begun, "", 1) == 1);
	(void)uffd_copy(
		machine->uffd, call, address_of(machine, 0), source, PAGES * PAGE_BYTES, false);
	_exit(0);
}

static bool has_page(const struct machine *machine, uint64_t page)
{
	return guest_has_page(machine->memfd, page * PAGE_BYTES) == 1;
}

/* How many pages it had copied. */
static uint64_t kill_a_copy(
	const struct machine *machine, struct uffd_call *call, uint64_t after_ns)
{
	uint64_t done;
	uint64_t start_ns;
	int begun[2];
	char byte;
	pid_t child;

	punch(machine, 0, PAGES);
	uffd_call_clear(call);
	CHECK(pipe(begun) == 0);
	child = fork();
	CHECK(child >= 0);
	if (child == 0)
		copy(machine, call, begun[1]);
	CHECK(read(begun[0], &byte, 1) == 1);
	start_ns = clock_ns();
	while (clock_ns() - start_ns < after_ns)
		;
	CHECK(kill(child, SIGKILL) == 0);
	CHECK(waitpid(child, NULL, 0) == child);
	(void)close(begun[0]);
	(void)close(begun[1]);

	CHECK(uffd_call_done(call) % PAGE_BYTES == 0);
	done = uffd_call_done(call) / PAGE_BYTES;
	CHECK(done == 0 || has_page(machine, done - 1));
	CHECK(done == PAGES || !has_page(machine, done));
	return done;
}

int main(void)
{
	const struct machine machine = machine_new(PAGES, 0);
	struct uffd_call *call = mmap(
		NULL, sizeof(*call), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	uint32_t parts = 0;

	CHECK(call != MAP_FAILED);
	for (uint32_t i = 0; i < TRIES; i++) {
		const uint64_t done = kill_a_copy(&machine, call, i * SPREAD_NS / TRIES);

		parts += done > 0 && done < PAGES;
	}
	(void)printf("%u of %u copies were killed half way\n", parts, TRIES);
	CHECK(parts > 0);
	return 0;
}
