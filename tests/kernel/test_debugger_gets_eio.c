/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a debugger sees: reading an evicted page through /proc/PID/mem or PTRACE_PEEKDATA gives EIO,
 * it neither hangs nor reads zeros. process_vm_readv waits for the page and gets it.
 */
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "kernel_fault.h"
#include "kernel_test.h"

static struct machine machine;

/* The tracee has an address space of its own, so it registers by itself. */
static pid_t start_tracee(void)
{
	const pid_t pid = fork();
	int status;

	CHECK(pid >= 0);
	if (pid > 0) {
		CHECK(waitpid(pid, &status, WUNTRACED) == pid);
		CHECK(WIFSTOPPED(status));
		return pid;
	}
	machine.uffd = uffd_open();
	CHECK(uffd_handshake(machine.uffd, 0) == 0);
	CHECK(uffd_register(machine.uffd, address_of(&machine, 0), machine.size_bytes, false) == 0);
	CHECK(ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0);
	CHECK(raise(SIGSTOP) == 0);
	_exit(0);
}

static int read_through_proc(pid_t pid, uint8_t *ret_byte)
{
	char path[64];
	int result;
	int fd;

	(void)snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	CHECK(fd >= 0);
	result = pread(fd, ret_byte, 1, (off_t)address_of(&machine, 1)) == 1 ? 0 : -errno;
	close(fd);
	return result;
}

static void run_vm_read(struct background *background)
{
	const struct iovec local = {&background->value, 1};
	const struct iovec remote = {(void *)(uintptr_t)background->address, 1};

	background->result = (int)process_vm_readv(getpid(), &local, 1, &remote, 1, 0);
}

int main(void)
{
	struct background reader = {0};
	uint8_t byte = 0xff;
	pid_t pid;

	machine = machine_new(2, 0);
	punch(&machine, 1, 1);
	pid = start_tracee();

	CHECK(read_through_proc(pid, &byte) == -EIO);
	CHECK(byte == 0xff);
	errno = 0;
	CHECK(ptrace(PTRACE_PEEKDATA, pid, page_of(&machine, 1), NULL) == -1);
	CHECK(errno == EIO);
	CHECK(kill(pid, SIGKILL) == 0);
	CHECK(waitpid(pid, NULL, 0) == pid);

	reader.address = page_of(&machine, 1);
	start(&reader, run_vm_read);
	expect_fault(&machine, UFFD_FAULT_MISSING, 1, false);
	resolve_copy(&machine, 1, false);
	finish(&reader);
	CHECK(reader.result == 1);
	CHECK(reader.value == content_of(1));
	return 0;
}
