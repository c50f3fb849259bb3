/* SPDX-License-Identifier: Apache-2.0 */
/*
 * UFFDIO_POISON: the touch of that page, and of no other, raises SIGBUS. It is a memory error that
 * a VMM can pass on to its guest (BUS_MCEERR_AR) only where the kernel has CONFIG_MEMORY_FAILURE;
 * elsewhere it is BUS_ADRERR.
 */
#include <setjmp.h>
#include <signal.h>

#include "kernel_test.h"

static sigjmp_buf back;
static volatile int code;
static void *volatile where;

static void on_bus_error(int signal, siginfo_t *info, void *context)
{
	(void)signal;
	(void)context;
	code = info->si_code;
	where = info->si_addr;
	siglongjmp(back, 1);
}

int main(void)
{
	const struct machine machine = machine_new(4, UFFD_CAN_POISON);
	const struct sigaction action = {.sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO};
	uint64_t done;

	CHECK(sigaction(SIGBUS, &action, NULL) == 0);
	punch(&machine, 1, 1);
	CHECK(uffd_poison(machine.uffd, address_of(&machine, 1), PAGE_BYTES, &done) == 0);
	CHECK(done == PAGE_BYTES);

	if (sigsetjmp(back, 1) == 0)
		*(volatile uint8_t *)page_of(&machine, 1) = 1;

	CHECK(code == BUS_MCEERR_AR || code == BUS_ADRERR);
	printf("si_code: %s\n", code == BUS_MCEERR_AR ? "BUS_MCEERR_AR" : "BUS_ADRERR");
	CHECK(where == page_of(&machine, 1));
	CHECK(machine.memory[0] == content_of(0));
	CHECK(machine.memory[2 * PAGE_BYTES] == content_of(2));
	return 0;
}
