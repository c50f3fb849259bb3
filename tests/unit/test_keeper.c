/* SPDX-License-Identifier: Apache-2.0 */
/* The worker's side against a supervisor that runs in a thread, and hostile words to both. */
#include "ctl/keeper.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ctl/supervisor/supervisor_priv.h"

static struct supervisor supervisor;
static pthread_t thread;
static bool was_ready;
static bool was_killed;

/* What supervisor.c does on these. */
void supervisor_worker_is_ready(struct supervisor *self)
{
	(void)self;
	was_ready = true;
}

void supervisor_kill_worker(struct supervisor *self)
{
	(void)self;
	was_killed = true;
}

static void *serve(void *context)
{
	(void)context;
	while (supervisor.worker.socket >= 0)
		supervisor_serve(&supervisor);
	return NULL;
}

/* The worker's end. The socket of the supervisor waits here, where nothing else is polled. */
static int begin(void)
{
	int pair[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	supervisor.worker.socket = pair[0];
	supervisor.candidate = supervisor.previous = -1;
	cr_assert_eq(pthread_create(&thread, NULL, serve, NULL), 0);
	return pair[1];
}

static void end(void)
{
	cr_assert_eq(pthread_join(thread, NULL), 0);
	store_drop_incomplete(&supervisor.store);
}

static struct keeper *open_keeper(void)
{
	struct keeper *keeper = NULL;

	cr_assert_eq(keeper_open(begin(), &keeper), 0);
	return keeper;
}

static ino_t inode(int fd)
{
	struct stat found;

	cr_assert_eq(fstat(fd, &found), 0);
	return found.st_ino;
}

Test(keeper, a_successor_finds_what_was_stored)
{
	struct keeper *keeper = open_keeper();
	int pipes[2];
	int found[2] = {-1, -1};

	cr_expect_eq(keeper_find(keeper, "vm.a", found, 2), 0);
	cr_assert_eq(pipe(pipes), 0);
	cr_assert_eq(keeper_store(keeper, "vm.a", pipes, 2), 0);
	keeper_close(keeper);
	end();
	keeper = open_keeper();

	cr_assert_eq(keeper_find(keeper, "vm.a", found, 2), 2);
	cr_expect_eq(inode(found[0]), inode(pipes[0]));
	cr_expect_eq(write(found[1], "x", 1), 1);
	cr_expect_eq(keeper_find(keeper, "vm.b", found, 2), 0);
	keeper_release(keeper);
	cr_expect_eq(keeper_find(keeper, "vm.a", &(int){0}, 1), 0);
	cr_expect_eq(fcntl(found[0], F_GETFD), -1);
	keeper_close(keeper);
	end();
}

/* As shards do it: nothing comes back, and the next answer is the next request's. */
Test(keeper, what_is_posted_is_stored_and_forgotten)
{
	struct keeper *keeper = open_keeper();
	char name[KEEPER_NAME_BYTES];
	uint32_t index = 0;
	int fd = -1;

	cr_expect_eq(keeper_post_store(keeper, "vm-1/a", STDIN_FILENO), 0);
	cr_expect_eq(keeper_post_store(keeper, "vm-1/b", STDIN_FILENO), 0);
	cr_expect_eq(keeper_post_store(keeper, "vm-2/a", STDIN_FILENO), 0);
	cr_expect_eq(keeper_post_forget(keeper, "vm-1/a"), 0);
	cr_expect_eq(keeper_ready(keeper), 0);
	cr_expect_eq(store_count(&supervisor.store), 2);
	keeper_close(keeper);
	end();
	keeper = open_keeper();

	cr_assert(keeper_next_below(keeper, "vm-1", &index, name, &fd));
	cr_expect_str_eq(name, "vm-1/b");
	cr_expect_eq(inode(fd), inode(STDIN_FILENO));
	cr_expect(!keeper_next_below(keeper, "vm-1", &index, name, &fd));
	keeper_forget_below(keeper, "vm-1");
	index = 0;
	cr_expect(!keeper_next_below(keeper, "vm-1", &index, name, &fd));
	cr_expect_null(store_find_below(&supervisor.store, "vm-1"));
	cr_expect_not_null(store_find_below(&supervisor.store, "vm-2"));
	keeper_close(keeper);
	end();
}

Test(keeper, many_descriptors_take_several_messages)
{
	const uint32_t count = 3 * HANDOVER_FDS_MAX + 7;
	struct keeper *keeper = open_keeper();
	int fds[3 * HANDOVER_FDS_MAX + 7];
	int found[3 * HANDOVER_FDS_MAX + 7];
	int pipes[2];

	cr_assert_eq(pipe(pipes), 0);
	for (uint32_t i = 0; i < count; i++)
		fds[i] = pipes[i == count - 1 ? 1 : 0];
	fds[HANDOVER_FDS_MAX] = STDIN_FILENO;
	cr_assert_eq(keeper_store(keeper, "many", fds, count), 0);
	cr_expect_eq(store_count(&supervisor.store), 1);
	keeper_close(keeper);
	end();
	keeper = open_keeper();

	cr_assert_eq(keeper_find(keeper, "many", found, count), count);
	cr_expect_eq(inode(found[HANDOVER_FDS_MAX]), inode(STDIN_FILENO));
	cr_expect_eq(fcntl(found[count - 1], F_GETFL) & O_ACCMODE, O_WRONLY);
	keeper_close(keeper);
	end();
}

Test(keeper, a_name_is_replaced_and_forgotten)
{
	struct keeper *keeper = open_keeper();
	int pipes[2];

	cr_assert_eq(pipe(pipes), 0);
	cr_expect_eq(keeper_store(keeper, "a", pipes, 1), 0);
	cr_expect_eq(keeper_store(keeper, "a", pipes, 2), 0);
	cr_expect_eq(supervisor.store.fd_count, 2);
	cr_expect_eq(keeper_store(keeper, "b", pipes, 1), 0);
	keeper_forget(keeper, "a");
	keeper_forget(keeper, "nobody");
	cr_expect_eq(supervisor.store.fd_count, 1);
	cr_expect_eq(keeper_store(keeper, "", pipes, 1), -EINVAL);
	cr_expect_eq(keeper_store(keeper, "a", pipes, 0), -EINVAL);
	keeper_close(keeper);
	end();
}

Test(keeper, what_is_forgotten_is_closed_here_too)
{
	struct keeper *keeper = open_keeper();
	int pipes[2];
	int found;

	cr_assert_eq(pipe(pipes), 0);
	cr_assert_eq(keeper_store(keeper, "a", pipes + 1, 1), 0);
	keeper_close(keeper);
	end();
	(void)close(pipes[1]);
	keeper = open_keeper();
	cr_assert_eq(keeper_find(keeper, "a", &found, 1), 1);

	keeper_forget(keeper, "a");

	cr_expect_eq(read(pipes[0], &(char){0}, 1), 0, "the last writer is gone");
	keeper_close(keeper);
	end();
}

Test(keeper, the_life_of_a_worker_is_told)
{
	struct keeper *keeper = open_keeper();
	struct keeper_info info;

	keeper_info(keeper, &info);
	cr_expect_eq(info.supervisor_pid, getpid());
	cr_expect_eq(keeper_ready(keeper), 0);
	cr_expect(was_ready);
	cr_expect_eq(keeper_upgrade(keeper, STDIN_FILENO), 0);
	cr_expect_geq(supervisor.candidate, 0);
	cr_expect_eq(keeper_upgrade(keeper, STDIN_FILENO), -EBUSY);
	cr_expect(was_killed);
	keeper_bye(keeper);
	cr_expect(supervisor.worker.said_bye);
	keeper_close(keeper);
	end();
}

Test(keeper, without_a_supervisor_nothing_happens)
{
	struct keeper *keeper = NULL;
	int fd;

	cr_assert_eq(keeper_open(-1, &keeper), 0);
	cr_expect_null(keeper);
	cr_expect_eq(keeper_store(keeper, "a", &(int){0}, 1), 0);
	cr_expect_eq(keeper_find(keeper, "a", &fd, 1), 0);
	keeper_release(keeper);
	keeper_forget(keeper, "a");
	cr_expect_eq(keeper_ready(keeper), 0);
	keeper_bye(keeper);
	keeper_close(keeper);
}

Test(keeper, a_supervisor_that_dies_costs_nothing)
{
	struct keeper *keeper = open_keeper();
	struct keeper_info info;

	(void)shutdown(supervisor.worker.socket, SHUT_RDWR);
	end();

	cr_expect_eq(keeper_store(keeper, "a", &(int){0}, 1), 0);
	cr_expect_eq(keeper_store(keeper, "a", &(int){0}, 1), 0);
	keeper_forget(keeper, "a");
	keeper_info(keeper, &info);
	cr_expect_eq(info.supervisor_pid, 0);
	keeper_close(keeper);
}

/* Sends bytes that are not a request; the answer to the HELLO behind them must be the next. */
static void insult(const void *bytes, size_t size, const int *fds, uint32_t count)
{
	char control[CMSG_SPACE(HANDOVER_FDS_MAX * sizeof(int))] = {0};
	struct iovec iovec = {(void *)(uintptr_t)bytes, size};
	struct msghdr header = {.msg_iov = &iovec, .msg_iovlen = 1};
	struct handover_message hello = {
		.magic = HANDOVER_MAGIC, .kind = HANDOVER_HELLO, .serial = 42};
	struct cmsghdr *part = (struct cmsghdr *)(void *)control;
	int got[HANDOVER_FDS_MAX];
	uint32_t got_count;
	int worker = begin();

	if (count > 0) {
		*part = (struct cmsghdr){CMSG_LEN(count * sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
		memcpy(CMSG_DATA(part), fds, count * sizeof(int));
		header.msg_control = control;
		header.msg_controllen = CMSG_SPACE(count * sizeof(int));
	}
	cr_assert_geq(sendmsg(worker, &header, MSG_NOSIGNAL), 0);
	cr_assert_eq(handover_send(worker, &hello, NULL, 0), 0);
	do
		cr_assert_eq(handover_receive(worker, &hello, got, &got_count), 0);
	while (hello.serial != 42);
	cr_expect_eq(hello.result, 0);
	cr_expect_eq(hello.entry, 0);
	(void)close(worker);
	end();
	cr_expect_eq(supervisor.store.entry_count, 0);
}

Test(keeper, hostile_messages_change_nothing_and_leak_nothing)
{
	struct handover_message message = {
		.magic = HANDOVER_MAGIC, .kind = HANDOVER_STORE, .total = 1, .name = "a"};
	char large[2 * sizeof(message)] = {0};
	struct handover_message bad;
	int fds[8];
	int before;

	for (int i = 0; i < 8; i++)
		fds[i] = STDIN_FILENO;
	before = dup(STDIN_FILENO);
	(void)close(before);

	insult("x", 1, fds, 8);
	insult(&message, sizeof(message) - 1, fds, 8);
	memcpy(large, &message, sizeof(message));
	insult(large, sizeof(large), fds, 1);
	bad = message;
	bad.magic++;
	insult(&bad, sizeof(bad), fds, 1);
	bad = message;
	memset(bad.name, 'a', sizeof(bad.name));
	insult(&bad, sizeof(bad), fds, 1);
	bad = message;
	bad.kind = 77;
	insult(&bad, sizeof(bad), fds, 1);
	bad = message; /* says one, brings eight */
	insult(&bad, sizeof(bad), fds, 8);
	bad = message; /* says one, brings none */
	insult(&bad, sizeof(bad), NULL, 0);
	bad.kind = HANDOVER_FETCH;
	bad.entry = UINT32_MAX;
	insult(&bad, sizeof(bad), NULL, 0);
	bad.kind = HANDOVER_UPGRADE;
	insult(&bad, sizeof(bad), fds, 2);
	bad.kind = HANDOVER_ANSWER;
	insult(&bad, sizeof(bad), fds, 2);

	int after = dup(STDIN_FILENO);
	cr_expect_eq(before, after, "a descriptor was left open");
	cr_expect(!was_killed);
}
