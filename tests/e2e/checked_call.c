/* SPDX-License-Identifier: Apache-2.0 */
#include "checked_call.h"

#include <stdalign.h>
#include <string.h>

#define LOOP_COUNT 20000ull

/* In the order and at the offsets that the assembly below uses. */
struct registers {
	alignas(16) uint64_t general[16]; /* rax rdi rsi rdx r10 r8 r9 rbx rbp r12 … r15, r11 */
	uint64_t red_zone[2];
	uint64_t xmm[16][2];
};
_Static_assert(sizeof(struct registers) == 400, "offsets below");

void checked_call_registers(const struct registers *before, struct registers *ret_after);

__asm__(".text\n"
	".globl checked_call_registers\n"
	".type checked_call_registers, @function\n"
	"checked_call_registers:\n"
	"	push %rbx\n	push %rbp\n	push %r12\n	push %r13\n	push %r14\n"
	"	push %r15\n	push %rsi\n"
	".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n"
	"	movdqa 144+16*\\n(%rdi), %xmm\\n\n"
	".endr\n"
	"	mov 128(%rdi), %rax\n	mov %rax, -8(%rsp)\n"
	"	mov 136(%rdi), %rax\n	mov %rax, -128(%rsp)\n"
	"	mov 0(%rdi), %rax\n	mov 16(%rdi), %rsi\n	mov 24(%rdi), %rdx\n"
	"	mov 32(%rdi), %r10\n	mov 40(%rdi), %r8\n	mov 48(%rdi), %r9\n"
	"	mov 56(%rdi), %rbx\n	mov 64(%rdi), %rbp\n	mov 72(%rdi), %r12\n"
	"	mov 80(%rdi), %r13\n	mov 88(%rdi), %r14\n	mov 96(%rdi), %r15\n"
	"	mov 8(%rdi), %rdi\n"
	"	cmp $-1, %rax\n	je 1f\n"
	"	syscall\n"
	"	xor %r11d, %r11d\n"
	"	jmp 3f\n"
	"1:	mov $20000, %rcx\n	xor %r11d, %r11d\n"
	"2:	add %rcx, %r11\n	dec %rcx\n	jnz 2b\n"
	"3:	mov (%rsp), %rcx\n"
	"	mov %rax, 0(%rcx)\n	mov %rdi, 8(%rcx)\n	mov %rsi, 16(%rcx)\n"
	"	mov %rdx, 24(%rcx)\n	mov %r10, 32(%rcx)\n	mov %r8, 40(%rcx)\n"
	"	mov %r9, 48(%rcx)\n	mov %rbx, 56(%rcx)\n	mov %rbp, 64(%rcx)\n"
	"	mov %r12, 72(%rcx)\n	mov %r13, 80(%rcx)\n	mov %r14, 88(%rcx)\n"
	"	mov %r15, 96(%rcx)\n	mov %r11, 104(%rcx)\n"
	".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n"
	"	movdqa %xmm\\n, 144+16*\\n(%rcx)\n"
	".endr\n"
	"	mov -8(%rsp), %rax\n	mov %rax, 128(%rcx)\n"
	"	mov -128(%rsp), %rax\n	mov %rax, 136(%rcx)\n"
	"	pop %rsi\n	pop %r15\n	pop %r14\n	pop %r13\n	pop %r12\n"
	"	pop %rbp\n	pop %rbx\n"
	"	ret\n"
	".size checked_call_registers, . - checked_call_registers\n");

uint64_t checked_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static void fill(struct registers *registers, uint64_t *random)
{
	for (int i = 0; i < 16; i++)
		registers->general[i] = checked_random(random);
	for (int i = 0; i < 2; i++)
		registers->red_zone[i] = checked_random(random);
	for (int i = 0; i < 16; i++)
		for (int half = 0; half < 2; half++)
			registers->xmm[i][half] = checked_random(random);
}

bool checked_call(long number, const uint64_t argument[4], uint64_t *random, int64_t *ret_result)
{
	struct registers before;
	struct registers after;

	fill(&before, random);
	before.general[0] = (uint64_t)number;
	memcpy(&before.general[1], argument, 4 * sizeof(*argument));
	after = before;
	checked_call_registers(&before, &after);
	*ret_result = (int64_t)after.general[0];
	before.general[0] = after.general[0];
	before.general[13] = number == CHECKED_LOOP ? LOOP_COUNT * (LOOP_COUNT + 1) / 2 : 0;
	return memcmp(&before, &after, sizeof(before)) == 0;
}
