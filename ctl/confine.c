/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Nothing of this concerns the injector, which has been forked before. It has no seccomp filter on
 * purpose (io/filter.c).
 */
#include "ctl/confine.h"

#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/capability.h>

#include "queue/base/bits.h"
#include "queue/base/err.h"

/* Above every capability that a kernel of ours knows: dropping an unknown one is EINVAL. */
#define CAPABILITIES_MAX 64

static const unsigned char worker_capabilities[] = {
	CAP_SYS_PTRACE,		/* trace, pidfd_getfd, userfaultfds with fork events */
	CAP_SYS_ADMIN,		/* suspend seccomp filters of targets */
	CAP_CHECKPOINT_RESTORE, /* open /proc/PID/map_files */
	CAP_DAC_OVERRIDE,	/* open memfds and /proc files of other users */
	CAP_DAC_READ_SEARCH,	/* as above, where reading is enough */
	CAP_SYS_NICE,		/* process_madvise(), priorities of shards */
	CAP_IPC_LOCK,		/* locked memory, registered buffers */
	CAP_SYS_RESOURCE,	/* limits, reserved blocks of the swap file system */
	CAP_KILL,		/* stop the threads of other users' VMMs */
};

uint64_t confine_capabilities(void)
{
	uint64_t set = 0;

	for (size_t i = 0; i < ARRAY_SIZE(worker_capabilities); i++)
		set |= UINT64_C(1) << worker_capabilities[i];
	return set;
}

/* What is asked for and not there is not an error: a container has fewer. */
static int limit_to(uint64_t wanted)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

	if (syscall(SYS_capget, &header, data) < 0)
		return -errno;
	for (size_t i = 0; i < ARRAY_SIZE(data); i++) {
		uint32_t part = (uint32_t)(wanted >> (32 * i));

		data[i].permitted &= part;
		data[i].effective &= part;
		data[i].inheritable = 0;
	}
	return errno_of((int)syscall(SYS_capset, &header, data));
}

/* Needs CAP_SETPCAP; a daemon without it has been limited by whoever started it. */
static void limit_bounding_set(uint64_t wanted)
{
	for (int capability = 0; capability < CAPABILITIES_MAX; capability++) {
		if (!((wanted >> capability) & 1))
			(void)prctl(PR_CAPBSET_DROP, capability, 0, 0, 0);
	}
}

int confine_process(void)
{
	/* The socket is given to its group once it is there. */
	const uint64_t wanted = confine_capabilities() | UINT64_C(1) << CAP_CHOWN;

	(void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	limit_bounding_set(confine_capabilities());
	return limit_to(wanted);
}

static int limit_for_good(uint64_t wanted)
{
	const int rc = limit_to(wanted);

	return rc < 0 ? rc : errno_of(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
}

int confine_worker(void)
{
	return limit_for_good(confine_capabilities());
}

int confine_guard(void)
{
	return limit_for_good(0);
}
