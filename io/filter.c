/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program is a row of comparisons, one a call. Its length costs nothing where calls are made: as
 * it is installed, the kernel (5.11) runs it once for each number, and keeps which are allowed
 * whatever their arguments are. That is why only mmap and mprotect are asked for their arguments.
 *
 * What io_uring does for a thread no filter sees: uring.c restricts its rings to the operations it
 * uses. The injector has no filter: a thread that has one may not suspend those of its targets
 * (PTRACE_O_SUSPEND_SECCOMP, kernel: ptrace_setoptions()).
 */
#include "io/filter.h"

#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>

#include "io/filter_calls.h"
#include "queue/base/assert.h"
#include "queue/base/bits.h"
#include "queue/base/err.h"

#if !defined(__x86_64__)
#error "the calls and AUDIT_ARCH below are those of x86-64"
#endif

#define PROGRAM_MAX 512u
/* The lower half of an argument; x86-64 is little endian. */
#define ARGUMENT(index)	    (uint32_t)(offsetof(struct seccomp_data, args) + 8 * (index))
#define PROTECTION_ARGUMENT 2

/* In any thread, made by libraries. Those of ours have their comments. */
static const uint16_t library_calls[] = {
	SYS_futex,	   /* mutexes, semaphores, joins */
	SYS_clock_gettime, /* where the vDSO has no clock */
	/* an allocator; the stack of a thread that ends */
	SYS_mmap,
	SYS_munmap,
	SYS_mremap,
	SYS_madvise,
	SYS_brk,
	/* an assertion that fails: its message, abort() */
	SYS_write,
	SYS_rt_sigprocmask,
	SYS_rt_sigaction,
	SYS_getpid,
	SYS_gettid,
	SYS_tgkill,
	/* the ends of handlers, of interrupted calls, of threads */
	SYS_rt_sigreturn,
	SYS_restart_syscall,
	SYS_exit,
	SYS_exit_group,
};

static const uint16_t control_library_calls[] = {
	/* stdio, folders, what a file is */
	SYS_read,
	SYS_openat,
	SYS_close,
	SYS_newfstatat,
	SYS_fstat,
	SYS_lseek,
	SYS_getdents64,
	SYS_readlink,
	SYS_fcntl,
	SYS_ioctl,
	/* random numbers; tables that libcrypto makes read-only */
	SYS_getrandom,
	SYS_mprotect,
	/* the start of a program, its linker and its allocator, up to its answer (upgrade.c) */
	SYS_execve,
	SYS_open,
	SYS_arch_prctl,
	SYS_set_tid_address,
	SYS_prlimit64,
	SYS_pread64,
	SYS_access,
	SYS_sched_getaffinity,
	SYS_sysinfo,
	SYS_dup2,
};

static const struct {
	const uint16_t *calls;
	uint32_t count;
} lists[FILTER_ROLES][2] = {
	[FILTER_SHARD] = {{shard_calls, ARRAY_SIZE(shard_calls)}},
	[FILTER_DISK] = {{disk_calls, ARRAY_SIZE(disk_calls)}},
	[FILTER_CONTROL] = {{control_calls, ARRAY_SIZE(control_calls)},
		{control_library_calls, ARRAY_SIZE(control_library_calls)}},
};

static const char *const mode_names[FILTER_MODES] = {
	[FILTER_OFF] = "off",
	[FILTER_LOG] = "log",
	[FILTER_DENY] = "deny",
	[FILTER_KILL] = "kill",
};

static const uint32_t actions[FILTER_MODES] = {
	[FILTER_OFF] = SECCOMP_RET_ALLOW,
	[FILTER_LOG] = SECCOMP_RET_LOG,
	[FILTER_DENY] = SECCOMP_RET_ERRNO | ENOSYS,
	[FILTER_KILL] = SECCOMP_RET_KILL_PROCESS,
};

/* Constant once the first thread runs. */
static enum filter_mode current_mode = FILTER_OFF;

struct program {
	struct sock_filter code[PROGRAM_MAX];
	uint16_t length;
};

const char *filter_mode_name(enum filter_mode mode)
{
	ASSERT(mode < FILTER_MODES);
	return mode_names[mode];
}

enum filter_mode filter_mode_by_name(const char *name)
{
	enum filter_mode mode = FILTER_OFF;

	while (mode < FILTER_MODES && strcmp(name, mode_names[mode]) != 0)
		mode++;
	return mode;
}

int filter_set_mode(enum filter_mode mode)
{
	const uint32_t action = actions[mode] & SECCOMP_RET_ACTION_FULL;

	ASSERT(mode < FILTER_MODES);
	current_mode = FILTER_OFF;
	if (mode == FILTER_OFF)
		return 0;
#ifdef VMSWAP_SANITIZED
	return -EOPNOTSUPP;
#endif
	/* @unfiltered seccomp */
	if (syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) < 0)
		return -EOPNOTSUPP;
	current_mode = mode;
	return 0;
}

enum filter_mode filter_mode(void)
{
	return current_mode;
}

static void add(struct program *program, struct sock_filter instruction)
{
	ASSERT(program->length < PROGRAM_MAX);
	program->code[program->length++] = instruction;
}

/* Memory that can be executed is what a program needs at its start, and no thread of ours later. */
static bool asks_protection(enum filter_role role, uint16_t call)
{
	return role != FILTER_CONTROL && (call == SYS_mmap || call == SYS_mprotect);
}

static void add_call(struct program *program, enum filter_role role, uint16_t call)
{
	const bool asks = asks_protection(role, call);

	add(program,
		(struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, asks ? 4 : 1));
	if (asks) {
		add(program, (struct sock_filter)BPF_STMT(
				     BPF_LD | BPF_W | BPF_ABS, ARGUMENT(PROTECTION_ARGUMENT)));
		add(program,
			(struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, PROT_EXEC, 0, 1));
		add(program, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, actions[current_mode]));
	}
	add(program, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
}

static void add_calls(
	struct program *program, enum filter_role role, const uint16_t *calls, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		add_call(program, role, calls[i]);
}

static void make(struct program *program, enum filter_role role)
{
	const struct sock_filter refusal = BPF_STMT(BPF_RET | BPF_K, actions[current_mode]);

	program->length = 0;
	add(program, (struct sock_filter)BPF_STMT(
			     BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)));
	/* The numbers are others for 32 bits. Those of x32 are in no list. */
	add(program,
		(struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0));
	add(program, refusal);
	add(program, (struct sock_filter)BPF_STMT(
			     BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)));
	for (size_t i = 0; i < ARRAY_SIZE(lists[role]); i++)
		add_calls(program, role, lists[role][i].calls, lists[role][i].count);
	add_calls(program, role, library_calls, ARRAY_SIZE(library_calls));
	add(program, refusal);
}

int filter_install(enum filter_role role)
{
	struct program program;
	struct sock_fprog given = {.filter = program.code};

	ASSERT(role < FILTER_ROLES);
	if (current_mode == FILTER_OFF)
		return 0;
	make(&program, role);
	given.len = program.length;
	/* @unfiltered prctl */
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	/* @unfiltered seccomp */
	return errno_of((int)syscall(
		SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_LOG, &given));
}

static bool is_listed(const uint16_t *calls, uint32_t count, uint32_t call)
{
	uint32_t i = 0;

	while (i < count && calls[i] != call)
		i++;
	return i < count;
}

bool filter_allows(enum filter_role role, uint32_t call)
{
	bool is_allowed = is_listed(library_calls, ARRAY_SIZE(library_calls), call);

	ASSERT(role < FILTER_ROLES);
	for (size_t i = 0; i < ARRAY_SIZE(lists[role]); i++)
		is_allowed |= is_listed(lists[role][i].calls, lists[role][i].count, call);
	return is_allowed;
}
