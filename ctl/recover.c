/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/recover.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "ctl/children.h"
#include "ctl/config.h"
#include "ctl/guard_state.h"
#include "ctl/ledger.h"
#include "ctl/procfs.h"
#include "ctl/remote.h"
#include "ctl/state_files.h"
#include "ctl/supervisor/state_dir.h"
#include "ctl/supervisor/store.h"
#include "ctl/target.h"
#include "engine/layout.h"
#include "queue/base/assert.h"
#include "queue/base/bits.h"
#include "queue/base/clock.h"
#include "queue/base/err.h"
#include "queue/base/log.h"
#include "queue/base/probe.h"

/* A process that was killed is gone within milliseconds, unless the kernel waits for a disk. */
#define KILL_WAIT_MS 30000
/* What a disk with working error recovery takes for an I/O, at most. */
#define STORE_WAIT_MS 30000u
#define STORE_POLL_MS 10
/* Until who was killed, its guard, or who began without a supervisor has let go by itself. */
#define LOCK_WAIT_MS 5000u
#define LOCK_POLL_MS 10

struct recovery {
	const struct config *config;
	struct state_files files;
	struct store *store;
	struct engine_header header;
	int header_fd; /* locked: the state is ours */
	uint32_t vm_count;
};

/* A VM of which a process lives. */
struct found_vm {
	uint32_t number;
	int ledger_fd;
	struct shared memory;		     /* struct ledger_vm */
	struct target member[PROCESSES_MAX]; /* pidfd -1: not used, or dead */
};

static struct ledger_vm *ledger_of(const struct found_vm *vm)
{
	return vm->memory.memory;
}

static int read_header(struct recovery *recovery)
{
	struct engine_header *header = &recovery->header;
	const int fd = state_files_find_header(&recovery->files);

	if (fd < 0)
		return fd;
	recovery->header_fd = fd;
	if (pread(fd, header, sizeof(*header), 0) != (ssize_t)sizeof(*header))
		return -EBADMSG;
	if (header->magic != LAYOUT_ENGINE_MAGIC)
		return -EBADMSG;
	return header->layout == LAYOUT_VERSION ? 0 : -ESTALE;
}

struct holder {
	int folder; /* /proc/PID/fd */
	struct stat file;
};

static int visit_fd(void *context, int number)
{
	const struct holder *holder = context;
	struct stat status;
	char name[16];

	(void)snprintf(name, sizeof(name), "%d", number);
	return fstatat(holder->folder, name, &status, 0) == 0 &&
	       status.st_dev == holder->file.st_dev && status.st_ino == holder->file.st_ino;
}

/* The process has our header open: it is of the daemon whose state this is. */
static bool holds_header(const struct recovery *recovery, pid_t pid)
{
	struct holder holder;
	char path[PROCFS_PATH_BYTES];
	CLEANUP_FD int folder = -1;

	(void)snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	holder.folder = folder;
	if (folder < 0 || fstat(recovery->header_fd, &holder.file) < 0)
		return false;
	return procfs_each(path, visit_fd, &holder) == 1;
}

static int end_process(pid_t pid)
{
	CLEANUP_FD int pidfd = (int)errno_of(syscall(SYS_pidfd_open, pid, 0));
	struct pollfd end = {.fd = pidfd, .events = POLLIN};

	if (pidfd < 0)
		return pidfd == -ESRCH ? 0 : pidfd;
	if (syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0) < 0)
		return -errno;
	return poll(&end, 1, KILL_WAIT_MS) == 1 ? 0 : -ETIMEDOUT;
}

static int refuse_in_use(const struct recovery *recovery, const char *who, pid_t pid)
{
	log_error("the state in %s is in use by %s %d", recovery->config->state_dir, who, (int)pid);
	return -EBUSY;
}

static int try_lock(const struct recovery *recovery)
{
	return errno_of(flock(recovery->header_fd, LOCK_EX | LOCK_NB));
}

/* There is no event for the end of a process whose number nobody has told us. */
static int await_lock(const struct recovery *recovery)
{
	const uint64_t deadline_ns = clock_ns() + LOCK_WAIT_MS * NS_PER_MS;
	int rc = try_lock(recovery);

	while (rc == -EWOULDBLOCK && clock_ns() < deadline_ns) {
		(void)poll(NULL, 0, LOCK_POLL_MS);
		rc = try_lock(recovery);
	}
	return rc;
}

/* A worker without a supervisor serves its guests well, but nobody would replace it. */
static int end_orphan(struct recovery *recovery)
{
	const char *folder = recovery->config->state_dir;
	const pid_t supervisor = state_dir_read_pid(folder, STATE_DIR_SUPERVISOR);
	const pid_t worker = state_dir_read_pid(folder, STATE_DIR_WORKER);
	int rc;

	if (supervisor > 0 && holds_header(recovery, supervisor))
		return refuse_in_use(recovery, "the daemon", supervisor);
	if (worker <= 0 || !holds_header(recovery, worker)) {
		rc = await_lock(recovery);
		return rc == -EWOULDBLOCK
			       ? refuse_in_use(recovery, "a process that is not named there", 0)
			       : rc;
	}
	if (!recovery->config->is_recover)
		return refuse_in_use(recovery,
			"a worker without a supervisor (--recover takes "
			"over), process",
			worker);
	log_info("worker %d has no supervisor any more: it is ended and replaced", (int)worker);
	rc = end_process(worker);
	if (rc < 0)
		log_error("worker %d does not end: %s", (int)worker, strerror(-rc));
	return rc;
}

static int take_lock(struct recovery *recovery)
{
	int rc = try_lock(recovery);

	if (rc != -EWOULDBLOCK)
		return rc;
	rc = end_orphan(recovery);
	if (rc < 0)
		return rc;
	rc = await_lock(recovery);
	return rc == -EWOULDBLOCK ? refuse_in_use(recovery, "another process beside", getpid())
				  : rc;
}

/* The same process as then, and alive. */
static int open_process(const struct ledger_process *process, struct target *ret_target)
{
	struct target target = {.pid = process->pid, .uffd = -1, .start_time = process->start_time};

	target.pidfd = procfs_open_process(target.pid, target.start_time);
	if (target.pidfd < 0)
		return target.pidfd;
	if (!target_is_alive(&target)) {
		close_fd(target.pidfd);
		return -ESRCH;
	}
	*ret_target = target;
	return 0;
}

static void close_vm(struct found_vm *vm)
{
	for (uint32_t i = 0; i < PROCESSES_MAX; i++)
		close_fd(vm->member[i].pidfd);
	shared_close(&vm->memory);
	close_fd(vm->ledger_fd);
}

/* 1 and the VM when a process of it lives; 0: there is none, and nothing is left of it. */
static int open_vm(const struct recovery *recovery, uint32_t number, struct found_vm *ret_vm)
{
	struct found_vm vm = {
		.number = number,
		.ledger_fd = state_files_find_ledger(&recovery->files, number),
	};
	uint32_t living = 0;
	int rc = vm.ledger_fd < 0
			 ? vm.ledger_fd
			 : shared_adopt(vm.ledger_fd, sizeof(struct ledger_vm), &vm.memory);

	if (rc == 0 && !ledger_makes_sense(ledger_of(&vm)))
		rc = -EBADMSG;
	for (uint32_t i = 0; i < PROCESSES_MAX; i++) {
		const struct ledger_process *process = rc == 0 ? &ledger_of(&vm)->process[i] : NULL;

		vm.member[i].pidfd = -1;
		if (process && process->is_used)
			living += open_process(process, &vm.member[i]) == 0;
	}
	if (living > 0) {
		*ret_vm = vm;
		return 1;
	}
	close_vm(&vm);
	if (rc < 0 && rc != -ENOENT)
		return rc;
	state_files_drop_vm(&recovery->files, number);
	return 0;
}

/* -ENOENT only when the process has nothing of it, for sure. */
static int open_area_in(const struct target *target, const struct area *area)
{
	const struct area_list wanted = {.item = {*area}, .count = 1};
	struct mapping_list list;
	int fd = maps_read(target->pid, PAGE_BYTES, &list);

	if (fd < 0)
		return fd;
	if (area_filter(&wanted, &list) > 0) {
		fd = target_open_file(target, &list, area->device, area->inode);
		fd = fd == -ENOENT ? -EAGAIN : fd;
	} else {
		fd = target_open_unmapped(target, area->device, area->inode);
	}
	maps_free(&list);
	return fd;
}

/* Of guest memory that no process of the VM has any more: what is out of it is for nobody. */
static int make_blank(const struct area *area)
{
	CLEANUP_FD int fd = errno_of(memfd_create("vmswap-blank", MFD_CLOEXEC | MFD_ALLOW_SEALING));

	if (fd < 0)
		return fd;
	if (ftruncate(fd, (off_t)(area->file_offset + area->size_bytes)) < 0)
		return -errno;
	return take_fd(&fd);
}

/* A descriptor of the guest memory that @area is of, out of a process that has it. */
static int open_area(const struct found_vm *vm, const struct area *area)
{
	int error = -ENOENT;

	for (uint32_t i = 0; i < PROCESSES_MAX; i++) {
		int fd = -ENOENT;

		if (vm->member[i].pidfd >= 0)
			fd = open_area_in(&vm->member[i], area);
		if (fd >= 0)
			return fd;
		if (fd != -ENOENT && target_is_alive(&vm->member[i]))
			error = fd;
	}
	if (error != -ENOENT)
		return error;
	log_warning("%s: no process has 0x%" PRIx64 " bytes of its memory any more",
		ledger_of(vm)->name, area->size_bytes);
	return make_blank(area);
}

/* @number: what it is in the process. */
static int fetch_uffd(const struct target *target, int number)
{
	CLEANUP_FD int fd =
		number < 0 ? -EBADF
			   : (int)errno_of(syscall(SYS_pidfd_getfd, target->pidfd, number, 0));

	if (fd < 0)
		return fd;
	return remote_is_userfaultfd(getpid(), fd) ? take_fd(&fd) : -EBADF;
}

/* The @count descriptors are the store's, or closed. */
static int put(struct recovery *recovery, const char *name, const int *fds, uint32_t count)
{
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && i < count; i++)
		rc = fds[i] < 0 ? fds[i] : 0;
	if (rc == 0)
		rc = store_add(recovery->store, name, 0, count, fds, count);
	if (rc < 0)
		close_fds(fds, count);
	return MIN(rc, 0);
}

/* It was let go of, or not yet taken: its descriptors may be closed already. */
static bool is_dispensable(const struct found_vm *vm, uint32_t place)
{
	return !ledger_of(vm)->is_attached || ledger_of(vm)->process[place].is_passing;
}

static int put_process(struct recovery *recovery, const struct found_vm *vm, uint32_t place)
{
	struct ledger_process *process = &ledger_of(vm)->process[place];
	const struct target *target = &vm->member[place];
	const uint32_t uffds = recovery->header.shard_count;
	char name[KEEPER_NAME_BYTES];
	int fds[LEDGER_PROCESS_FDS + SHARDS_MAX];
	int rc;

	if (uffds > SHARDS_MAX)
		return -EBADMSG;
	for (uint32_t i = 0; i < LEDGER_PROCESS_FDS; i++)
		fds[i] = errno_of(fcntl(target->pidfd, F_DUPFD_CLOEXEC, 3));
	for (uint32_t i = 0; i < uffds; i++)
		fds[LEDGER_PROCESS_FDS + i] = fetch_uffd(target, process->remote[i]);
	ledger_process_name(vm->number, place, name);
	rc = put(recovery, name, fds, LEDGER_PROCESS_FDS + uffds);
	PROBE(recover, process);
	if (rc == -EBADF && is_dispensable(vm, place)) {
		process->is_used = false;
		return 0;
	}
	if (rc < 0)
		log_error("the userfaultfds of process %d (%s, %s) cannot be taken back: %s",
			(int)target->pid, process->comm, ledger_of(vm)->name, strerror(-rc));
	else
		process->has_channel = false; /* its other end hung up: calls are injected now */
	return rc;
}

static int put_tables(struct recovery *recovery, const struct found_vm *vm)
{
	const struct area_list *areas = &ledger_of(vm)->areas;
	int fds[1 + VM_PARTS + REGIONS_MAX];
	char name[KEEPER_NAME_BYTES];
	int rc = state_files_find_vm(&recovery->files, vm->number, fds + 1);

	if (rc == 0) {
		fds[0] = errno_of(fcntl(vm->ledger_fd, F_DUPFD_CLOEXEC, 3));
		for (uint32_t i = 0; i < areas->count; i++)
			fds[1 + VM_PARTS + i] = open_area(vm, &areas->item[i]);
		ledger_vm_name(vm->number, name);
		rc = put(recovery, name, fds, 1 + VM_PARTS + areas->count);
	}
	if (rc < 0)
		log_error("the tables of %s cannot be taken back: %s", ledger_of(vm)->name,
			rc == -ENOKEY ? "the kernel's keyring has lost its key" : strerror(-rc));
	return rc;
}

static int put_vm(struct recovery *recovery, const struct found_vm *vm)
{
	int rc = put_tables(recovery, vm);

	PROBE(recover, tables);
	for (uint32_t place = 0; rc == 0 && place < PROCESSES_MAX; place++) {
		struct ledger_process *process = &ledger_of(vm)->process[place];

		if (process->is_used && vm->member[place].pidfd < 0)
			process->is_used = false; /* it died meanwhile */
		else if (process->is_used)
			rc = put_process(recovery, vm, place);
	}
	return rc;
}

/*
 * The kernel lets go of a dead process's store, and of the lock on it, once the I/O that it had
 * under way has ended; there is no event for that.
 */
static int reopen_store(const char *path, enum swapfile_kind kind)
{
	const uint64_t deadline_ns = clock_ns() + STORE_WAIT_MS * NS_PER_MS;
	int fd = swapfile_reopen(path, kind);

	while (fd == -EBUSY && clock_ns() < deadline_ns) {
		(void)poll(NULL, 0, STORE_POLL_MS);
		fd = swapfile_reopen(path, kind);
	}
	return fd;
}

static int put_engine(struct recovery *recovery)
{
	int fds[ENGINE_PARTS];
	char path[PATH_MAX] = "?";
	int rc = state_files_find_store(&recovery->files, path, sizeof(path));

	fds[ENGINE_SLOT_MAP] = state_files_find_slots(&recovery->files);
	fds[ENGINE_HEADER] = errno_of(fcntl(recovery->header_fd, F_DUPFD_CLOEXEC, 3));
	fds[ENGINE_STORE] =
		rc < 0 ? rc : reopen_store(path, (enum swapfile_kind)recovery->header.store_kind);
	rc = put(recovery, LEDGER_ENGINE_NAME, fds, ENGINE_PARTS);
	if (rc < 0)
		log_error("the store %s cannot be taken back: %s", path, strerror(-rc));
	return rc;
}

/* Every VM of which a process lives: is counted, or, with @is_put, put into the store. */
static int each_vm(struct recovery *recovery, bool is_put)
{
	uint32_t count = 0;

	for (uint32_t number = 0; number < VMS_MAX; number++) {
		struct found_vm vm;
		int rc = open_vm(recovery, number, &vm);

		if (rc < 0)
			log_error("the ledger of VM %u cannot be read: %s", number, strerror(-rc));
		if (rc < 0)
			return rc;
		if (rc == 0)
			continue;
		count++;
		rc = is_put ? put_vm(recovery, &vm) : 0;
		close_vm(&vm);
		if (rc < 0)
			return rc;
	}
	recovery->vm_count = count;
	return 0;
}

/* Of a VM that is taken back. */
static int put_child(struct recovery *recovery, const struct engine_child *child, int fd)
{
	char name[KEEPER_NAME_BYTES];

	children_name(child, name);
	*strchr(name, '/') = '\0';
	if (fd >= 0 && store_find(recovery->store, name) && remote_is_userfaultfd(getpid(), fd)) {
		children_name(child, name);
		return put(recovery, name, &fd, 1);
	}
	close_fd(fd);
	return MIN(fd, -ESRCH);
}

/* Their guard keeps them until the worker that is started next has them. */
static void put_children(struct recovery *recovery)
{
	struct guard_found found;
	struct engine_child child;
	uint32_t place = 0;
	int number;

	if (guard_state_find(&recovery->files, &found) < 0)
		return;
	while (guard_state_next(&found, &place, &child, &number)) {
		const int rc = put_child(recovery, &child, guard_state_fetch(&found, number));

		if (rc < 0)
			log_warning("a forked child is not taken back, it may have ended: %s",
				strerror(-rc));
	}
	PROBE(recover, children);
	guard_state_close(&found);
}

static void end_guard(const struct recovery *recovery)
{
	struct guard_found found;

	if (guard_state_find(&recovery->files, &found) < 0)
		return;
	guard_state_end(&found);
	guard_state_close(&found);
}

static int take_vms(struct recovery *recovery)
{
	const char *folder = recovery->config->state_dir;
	int rc = each_vm(recovery, false);

	if (rc < 0)
		return rc;
	if (recovery->vm_count == 0) {
		log_info("nothing of the earlier daemon in %s lives any more: it is removed",
			folder);
		end_guard(recovery);
		state_files_drop_engine(&recovery->files);
		return 0;
	}
	if (!recovery->config->is_recover) {
		log_error("%u VMs of a daemon that died wait for their memory, see %s: --recover "
			  "takes "
			  "them back; to give them up, end their processes first",
			recovery->vm_count, folder);
		return -EEXIST;
	}
	rc = put_engine(recovery);
	PROBE(recover, engine);
	if (rc == 0)
		rc = each_vm(recovery, true);
	if (rc == 0)
		put_children(recovery);
	if (rc == 0)
		log_info("%u VMs of an earlier daemon are taken back", recovery->vm_count);
	return rc;
}

static int take(struct recovery *recovery)
{
	const char *folder = recovery->config->state_dir;
	int rc = read_header(recovery);

	if (rc == -ENOENT)
		return 0;
	if (rc == -ESTALE)
		log_error("what is in %s is of layout %u, this program has %u: start the version "
			  "that "
			  "made it",
			folder, recovery->header.layout, LAYOUT_VERSION);
	else if (rc < 0)
		log_error("%s does not hold the state of a vmswapd: %s", folder, strerror(-rc));
	if (rc == 0)
		rc = take_lock(recovery);
	PROBE(recover, locked);
	return rc < 0 ? rc : take_vms(recovery);
}

int recover_take(const struct config *config, struct store *store)
{
	struct recovery recovery = {.config = config, .store = store, .header_fd = -1};
	int rc;

	/* What systemd kept is all of it, and more. */
	if (store_count(store) > 0)
		return 0;
	rc = state_files_open(config->state_dir, &recovery.files);
	if (rc == -EMEDIUMTYPE)
		return 0;
	if (rc < 0) {
		log_error("cannot look into %s: %s", config->state_dir, strerror(-rc));
		return rc;
	}
	rc = take(&recovery);
	close_fd(recovery.header_fd);
	state_files_close(&recovery.files);
	return rc;
}

void recover_forget(const struct config *config)
{
	struct state_files files;

	if (state_files_open(config->state_dir, &files) < 0)
		return;
	state_files_drop_engine(&files);
	state_files_close(&files);
}
