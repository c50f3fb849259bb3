/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A VMM of our own over raw KVM: guest memory is a memfd, the guest is a flat 32-bit program that
 * goes over all pages for ever. Each page holds a counter at both ends and its own address; the
 * program checks the three, adds one to the counters and reports each round by an I/O port:
 *
 *     READY pid=N pages=N
 *     OK round=N ms=N
 *     FULL round=N             SIGUSR1: the VMM has compared every byte of every page
 *     BAD …                    exit 1
 *
 * SIGTERM: compare everything, end. Exit 77 when there is no KVM.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include <linux/kvm.h>

#include "queue/base/bits.h"
#include "queue/base/clock.h"
#include "queue/base/err.h"

#define SKIP	    77
#define CODE_BYTES  PAGE_BYTES /* the program is in page 0, the data begin in page 1 */
#define PORT_ROUND  0x10
#define PORT_BAD    0x11
#define TSS_ADDRESS 0xfffbd000u
#define WORDS	    (PAGE_BYTES / sizeof(uint32_t))
#define LAST_WORD   (WORDS - 1)

/*
 * In: %edi first page, %esi end of memory, %ebp the round. The ports carry %eax: the round that is
 * done, or the page that is wrong.
 */
extern const uint8_t guest_code[], guest_code_end[];
__asm__(".pushsection .rodata\n"
	".code32\n"
	"guest_code:\n"
	"1:	mov %edi, %ebx\n"
	"2:	cmp %ebp, (%ebx)\n"
	"	jne 3f\n"
	"	cmp %ebx, 4(%ebx)\n"
	"	jne 3f\n"
	"	cmp %ebp, 4092(%ebx)\n"
	"	jne 3f\n"
	"	incl (%ebx)\n"
	"	incl 4092(%ebx)\n"
	"	add $4096, %ebx\n"
	"	cmp %esi, %ebx\n"
	"	jb 2b\n"
	"	inc %ebp\n"
	"	mov %ebp, %eax\n"
	"	out %eax, $0x10\n"
	"	jmp 1b\n"
	"3:	mov %ebx, %eax\n"
	"	out %eax, $0x11\n"
	"	hlt\n"
	"guest_code_end:\n"
	".code64\n"
	".popsection\n");

struct toy {
	int vm, vcpu;
	struct kvm_run *run;
	uint8_t *memory;
	uint64_t size_bytes;
	uint64_t round_ns; /* when this round began */
};

static volatile sig_atomic_t must_end, must_verify;

static void on_signal(int number)
{
	if (number == SIGUSR1)
		must_verify = 1;
	else
		must_end = 1;
}

/* The bytes between counter and counter: a function of their place. */
static uint32_t filler(uint32_t address, uint32_t word)
{
	return (address + word) * 2654435761u ^ word;
}

static void fill(struct toy *toy)
{
	for (uint64_t address = CODE_BYTES; address < toy->size_bytes; address += PAGE_BYTES) {
		uint32_t *words = (uint32_t *)(void *)(toy->memory + address);

		for (uint32_t word = 2; word < LAST_WORD; word++)
			words[word] = filler((uint32_t)address, word);
		words[1] = (uint32_t)address;
	}
	memcpy(toy->memory, guest_code, (uintptr_t)guest_code_end - (uintptr_t)guest_code);
}

static bool page_is_right(const struct toy *toy, uint32_t address, uint32_t round)
{
	const uint32_t *words = (const uint32_t *)(const void *)(toy->memory + address);
	uint32_t difference =
		(words[0] ^ round) | (words[1] ^ address) | (words[LAST_WORD] ^ round);

	for (uint32_t word = 2; word < LAST_WORD; word++)
		difference |= words[word] ^ filler(address, word);
	return difference == 0;
}

/* Between two rounds, when all counters are the same. */
static bool verify_all(const struct toy *toy, uint32_t round)
{
	for (uint64_t address = CODE_BYTES; address < toy->size_bytes; address += PAGE_BYTES) {
		if (page_is_right(toy, (uint32_t)address, round))
			continue;
		printf("BAD address=%#llx round=%u\n", (unsigned long long)address, round);
		return false;
	}
	printf("FULL round=%u\n", round);
	return true;
}

static int set_memory(struct toy *toy)
{
	const int memfd = memfd_create("kvm-toy", MFD_CLOEXEC);
	struct kvm_userspace_memory_region region = {.memory_size = toy->size_bytes};

	if (memfd < 0 || ftruncate(memfd, (off_t)toy->size_bytes) < 0)
		return -errno;
	toy->memory = mmap(NULL, toy->size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0);
	(void)close(memfd);
	if (toy->memory == MAP_FAILED)
		return -errno;
	region.userspace_addr = (uintptr_t)toy->memory;
	return errno_of(ioctl(toy->vm, KVM_SET_USER_MEMORY_REGION, &region));
}

/* Protected mode, no paging, segments from 0 to 4 GiB. */
static int set_registers(struct toy *toy)
{
	const struct kvm_segment data = {.limit = UINT32_MAX,
		.selector = 16,
		.type = 3,
		.present = 1,
		.db = 1,
		.s = 1,
		.g = 1};
	struct kvm_regs registers = {.rflags = 2, .rdi = CODE_BYTES, .rsi = toy->size_bytes};
	struct kvm_sregs special;

	if (ioctl(toy->vcpu, KVM_GET_SREGS, &special) < 0)
		return -errno;
	special.cs = data;
	special.cs.selector = 8;
	special.cs.type = 11;
	special.ds = special.es = special.fs = special.gs = special.ss = data;
	special.cr0 |= 1;
	if (ioctl(toy->vcpu, KVM_SET_SREGS, &special) < 0)
		return -errno;
	return errno_of(ioctl(toy->vcpu, KVM_SET_REGS, &registers));
}

static int set_vcpu(struct toy *toy, int kvm)
{
	const int size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);

	toy->vcpu = ioctl(toy->vm, KVM_CREATE_VCPU, 0);
	if (toy->vcpu < 0 || size < 0)
		return -errno;
	toy->run = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, toy->vcpu, 0);
	return toy->run == MAP_FAILED ? -errno : set_registers(toy);
}

static int open_vm(struct toy *toy)
{
	const int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	int rc;

	if (kvm < 0)
		return -errno;
	toy->vm = ioctl(kvm, KVM_CREATE_VM, 0);
	if (toy->vm < 0 || ioctl(toy->vm, KVM_SET_TSS_ADDR, TSS_ADDRESS) < 0)
		return -errno;
	rc = set_memory(toy);
	if (rc < 0)
		return rc;
	fill(toy);
	return set_vcpu(toy, kvm);
}

/* The guest wrote a port. 0: go on, 1: ended well, -1: bad. */
static int handle_port(struct toy *toy)
{
	const struct kvm_run *run = toy->run;
	const uint64_t now_ns = clock_ns();
	uint32_t value;

	memcpy(&value, (const uint8_t *)run + run->io.data_offset, sizeof(value));
	if (run->io.port == PORT_BAD) {
		printf("BAD address=%#x seen by the guest\n", value);
		return -1;
	}
	printf("OK round=%u ms=%llu\n", value,
		(unsigned long long)((now_ns - toy->round_ns) / NS_PER_MS));
	toy->round_ns = now_ns;
	if (!must_verify && !must_end)
		return 0;
	must_verify = 0;
	if (!verify_all(toy, value))
		return -1;
	return must_end;
}

static int run(struct toy *toy)
{
	int rc = 0;

	toy->round_ns = clock_ns();
	while (rc == 0) {
		if (ioctl(toy->vcpu, KVM_RUN, 0) < 0) {
			if (errno == EINTR || errno == EAGAIN)
				continue;
			printf("BAD KVM_RUN: %s\n", strerror(errno));
			return -1;
		}
		if (toy->run->exit_reason != KVM_EXIT_IO) {
			printf("BAD exit reason %u\n", toy->run->exit_reason);
			return -1;
		}
		rc = handle_port(toy);
	}
	return rc;
}

int main(int argc, char **argv)
{
	const struct sigaction action = {.sa_handler = on_signal};
	struct toy toy = {.size_bytes = (argc > 1 ? strtoull(argv[1], NULL, 10) : 64) * MIB};
	int rc;

	(void)setvbuf(stdout, NULL, _IOLBF, 0);
	if (toy.size_bytes == 0 || toy.size_bytes > 2 * GIB) {
		(void)fputs("usage: kvm_toy [MIB]\n", stderr);
		return 2;
	}
	(void)sigaction(SIGUSR1, &action, NULL);
	(void)sigaction(SIGTERM, &action, NULL);
	rc = open_vm(&toy);
	if (rc < 0) {
		printf("no KVM: %s\n", strerror(-rc));
		return SKIP;
	}
	printf("READY pid=%d pages=%llu\n", (int)getpid(),
		(unsigned long long)(toy.size_bytes / PAGE_BYTES));
	return run(&toy) == 1 ? 0 : 1;
}
