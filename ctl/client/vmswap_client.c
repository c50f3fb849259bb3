/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libvmswap. Attaching:
 *
 *     this process                                      vmswapd
 *     daemon.status                               ──►   how many shards
 *     one userfaultfd a shard, a socket pair
 *     start the helper thread on one end
 *     vm.attach_self + memfds, userfaultfds, end  ──►   handshake, registration, service
 *
 * The copies of the userfaultfds here stay open until the memory is known to be unregistered: the
 * kernel fills missing pages with zeros once the last copy is gone.
 */
#include "ctl/client/vmswap.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <jansson.h>

#include "ctl/client/rpc_client.h"
#include "ctl/client/vmswap_memory.h"
#include "ctl/client/vmswap_zap.h"
#include "queue/base/assert.h"
#include "queue/base/bits.h"
#include "queue/base/err.h"

/* The daemon answers these at once or fails on its own bounds. */
#define STATUS_TIMEOUT_MS 10000
#define ATTACH_TIMEOUT_MS 60000
#define UFFDS_MAX	  64u
/* memfds, userfaultfds, one end of the channel. */
#define FDS_MAX (VMSWAP_REGIONS_MAX + UFFDS_MAX + 1)

static_assert(FDS_MAX <= RPC_FDS_MAX, "all descriptors travel in one message");

struct vmswap {
	char *socket; /* NULL: the default */
	char *name;
	struct zap_thread *zap;
	uint32_t region_count;
	struct zap_range regions[VMSWAP_REGIONS_MAX];
	uint32_t uffd_count;
	int uffds[UFFDS_MAX];
};

__attribute__((format(printf, 3, 4))) static int fail(
	struct vmswap_error *error, int code, const char *format, ...)
{
	va_list arguments;

	ASSERT(code < 0);
	va_start(arguments, format);
	if (error) {
		error->code = code;
		/* NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized): lost when inlined */
		(void)vsnprintf(error->text, sizeof(error->text), format, arguments);
	}
	va_end(arguments);
	return code;
}

static void cleanup_json(json_t **json)
{
	json_decref(*json);
}

static void cleanup_client(struct rpc_client **client)
{
	rpc_client_close(*client);
}

#define CLEANUP_JSON   __attribute__((cleanup(cleanup_json)))
#define CLEANUP_CLIENT __attribute__((cleanup(cleanup_client)))

static const char *socket_path(const struct vmswap *vmswap)
{
	return vmswap->socket ? vmswap->socket : RPC_SOCKET_DEFAULT;
}

static int connect_daemon(
	const struct vmswap *vmswap, struct rpc_client **ret_client, struct vmswap_error *error)
{
	const int rc = rpc_client_open(socket_path(vmswap), ret_client);

	if (rc < 0)
		return fail(error, rc, "no vmswapd at %s: %s", socket_path(vmswap), strerror(-rc));
	return 0;
}

/* What one call needs besides the connection. */
struct request {
	const char *method;
	json_t *params; /* stolen */
	const int *fds;
	uint32_t fd_count;
	int timeout_ms;
};

/* Calls; a refusal becomes -EREMOTEIO with the daemon's words. @ret_result is new. */
static int call(struct rpc_client *client, const struct request *request, json_t **ret_result,
	struct vmswap_error *error)
{
	CLEANUP_JSON json_t *response = NULL;
	const char *message = "it does not say why";
	json_t *result;
	int rc;

	rc = rpc_client_call(client, request->method, request->params, request->fds,
		request->fd_count, request->timeout_ms, &response);
	if (rc < 0)
		return fail(error, rc, "%s: no answer from vmswapd: %s", request->method,
			strerror(-rc));
	result = json_object_get(response, "result");
	if (!result) {
		(void)json_unpack(response, "{s:{s:s}}", "error", "message", &message);
		return fail(error, -EREMOTEIO, "%s", message);
	}
	*ret_result = json_incref(result);
	return 0;
}

static bool is_page_aligned(uint64_t value)
{
	return value % PAGE_BYTES == 0;
}

static bool overlaps(const struct zap_range *range, const struct zap_range *other)
{
	return range->address < other->address + other->size_bytes &&
	       other->address < range->address + range->size_bytes;
}

static int take_region(
	struct vmswap *vmswap, const struct vmswap_region *region, struct vmswap_error *error)
{
	const struct zap_range range = {
		.address = (uintptr_t)region->address, .size_bytes = region->size_bytes};
	const uint32_t index = vmswap->region_count;

	if (region->memfd < 0 || region->size_bytes == 0 ||
		range.address > UINT64_MAX - range.size_bytes)
		return fail(error, -EINVAL, "region %u: no memfd, empty or too large", index);
	if (!is_page_aligned(range.address) || !is_page_aligned(range.size_bytes) ||
		!is_page_aligned(region->file_offset))
		return fail(error, -EINVAL, "region %u is not page aligned", index);
	for (uint32_t i = 0; i < index; i++)
		if (overlaps(&range, &vmswap->regions[i]))
			return fail(error, -EINVAL, "regions %u and %u overlap", i, index);
	vmswap->regions[vmswap->region_count++] = range;
	return 0;
}

static int take_config(
	struct vmswap *vmswap, const struct vmswap_config *config, struct vmswap_error *error)
{
	int rc = 0;

	if (!config->regions || config->region_count == 0 ||
		config->region_count > VMSWAP_REGIONS_MAX)
		return fail(error, -EINVAL, "%u regions: must be 1 to %u", config->region_count,
			(unsigned int)VMSWAP_REGIONS_MAX);
	if (config->socket && !(vmswap->socket = strdup(config->socket)))
		return fail(error, -ENOMEM, "no memory");
	for (uint32_t i = 0; i < config->region_count && rc == 0; i++)
		rc = take_region(vmswap, &config->regions[i], error);
	return rc;
}

/* One userfaultfd for each shard of the daemon. */
static int open_uffds(struct vmswap *vmswap, struct rpc_client *client, struct vmswap_error *error)
{
	const struct request request = {.method = "daemon.status", .timeout_ms = STATUS_TIMEOUT_MS};
	CLEANUP_JSON json_t *status = NULL;
	json_int_t shards = 0;
	int rc = call(client, &request, &status, error);

	if (rc < 0)
		return rc;
	if (json_unpack(status, "{s:I}", "shards", &shards) < 0 || shards < 1 || shards > UFFDS_MAX)
		return fail(error, -EPROTO, "vmswapd does not say how many shards it has");
	while (vmswap->uffd_count < (uint32_t)shards) {
		const int fd = memory_userfaultfd();

		if (fd < 0)
			return fail(error, fd,
				"cannot make a userfaultfd: %s (needs CAP_SYS_PTRACE, or access to "
				"/dev/userfaultfd)",
				strerror(-fd));
		vmswap->uffds[vmswap->uffd_count++] = fd;
	}
	return 0;
}

static json_t *attach_params(const struct vmswap_config *config)
{
	json_t *params = json_object();
	json_t *regions = json_array();
	uint64_t min_bytes = UINT64_MAX;

	for (uint32_t i = 0; i < config->region_count; i++) {
		const struct vmswap_region *region = &config->regions[i];

		min_bytes = MIN(min_bytes, region->size_bytes);
		(void)json_array_append_new(
			regions, json_pack("{s:I, s:I, s:I, s:i}", "address",
					 (json_int_t)(uintptr_t)region->address, "size",
					 (json_int_t)region->size_bytes, "file_offset",
					 (json_int_t)region->file_offset, "memfd", (int)i));
	}
	(void)json_object_set_new(params, "regions", regions);
	/* What is handed over on purpose is guest memory, however small. */
	(void)json_object_set_new(params, "min_size", json_integer((json_int_t)min_bytes));
	if (config->name)
		(void)json_object_set_new(params, "name", json_string(config->name));
	return params;
}

/* The call that hands everything over; @channel: the daemon's end. */
static int hand_over(struct vmswap *vmswap, struct rpc_client *client,
	const struct vmswap_config *config, int channel, struct vmswap_error *error)
{
	int fds[FDS_MAX];
	struct request request = {.method = "vm.attach_self",
		.params = attach_params(config),
		.fds = fds,
		.timeout_ms = ATTACH_TIMEOUT_MS};
	CLEANUP_JSON json_t *result = NULL;
	const char *name = NULL;
	int rc;

	for (uint32_t i = 0; i < config->region_count; i++)
		fds[request.fd_count++] = config->regions[i].memfd;
	for (uint32_t i = 0; i < vmswap->uffd_count; i++)
		fds[request.fd_count++] = vmswap->uffds[i];
	fds[request.fd_count++] = channel;
	ASSERT(request.fd_count <= FDS_MAX);
	rc = call(client, &request, &result, error);
	if (rc < 0)
		return rc;
	if (json_unpack(result, "{s:s}", "vm", &name) < 0)
		return fail(error, -EPROTO, "vmswapd does not say the name of the VM");
	vmswap->name = strdup(name);
	return vmswap->name ? 0 : fail(error, -ENOMEM, "no memory");
}

static int attach(
	struct vmswap *vmswap, const struct vmswap_config *config, struct vmswap_error *error)
{
	CLEANUP_CLIENT struct rpc_client *client = NULL;
	CLEANUP_FD int theirs = -1;
	int ends[2];
	int rc = take_config(vmswap, config, error);

	if (rc == 0)
		rc = connect_daemon(vmswap, &client, error);
	if (rc == 0)
		rc = open_uffds(vmswap, client, error);
	if (rc < 0)
		return rc;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return fail(error, -errno, "no socket pair: %s", strerror(errno));
	theirs = ends[1];
	rc = zap_thread_start(ends[0], vmswap->regions, vmswap->region_count, &vmswap->zap);
	if (rc < 0) {
		(void)close(ends[0]);
		return fail(error, rc, "cannot start a thread: %s", strerror(-rc));
	}
	return hand_over(vmswap, client, config, theirs, error);
}

/* The memory is not registered (any more). */
static void release(struct vmswap *vmswap)
{
	zap_thread_stop(vmswap->zap);
	for (uint32_t i = 0; i < vmswap->uffd_count; i++)
		(void)close(vmswap->uffds[i]);
	free(vmswap->name);
	free(vmswap->socket);
	free(vmswap);
}

int vmswap_attach(const struct vmswap_config *config, struct vmswap **ret_vmswap,
	struct vmswap_error *ret_error)
{
	struct vmswap *vmswap = calloc(1, sizeof(*vmswap));
	int rc;

	if (!vmswap)
		return fail(ret_error, -ENOMEM, "no memory");
	rc = attach(vmswap, config, ret_error);
	if (rc < 0) {
		release(vmswap);
		return rc;
	}
	*ret_vmswap = vmswap;
	return 0;
}

/* 1, 0 or -errno: is a userfaultfd still on any of the memory? */
static int is_registered(const struct vmswap *vmswap)
{
	int rc = 0;

	for (uint32_t i = 0; i < vmswap->region_count && rc == 0; i++)
		rc = memory_is_registered(
			vmswap->regions[i].address, vmswap->regions[i].size_bytes);
	return rc;
}

static int ask_to_detach(struct vmswap *vmswap, struct vmswap_error *error)
{
	CLEANUP_CLIENT struct rpc_client *client = NULL;
	CLEANUP_JSON json_t *result = NULL;
	const struct request request = {.method = "vm.detach",
		.params = json_pack("{s:s}", "vm", vmswap->name),
		.timeout_ms = -1};
	int rc = connect_daemon(vmswap, &client, error);

	if (rc < 0) {
		json_decref(request.params);
		return rc;
	}
	return call(client, &request, &result, error);
}

int vmswap_detach(struct vmswap *vmswap, struct vmswap_error *ret_error)
{
	int rc = 0, registered;

	/* A channel that has been closed: detached from the daemon's side, or the daemon died. */
	if (zap_thread_is_connected(vmswap->zap))
		rc = ask_to_detach(vmswap, ret_error);
	registered = is_registered(vmswap);
	if (registered < 0)
		return fail(ret_error, registered, "cannot read /proc/self/smaps: %s",
			strerror(-registered));
	if (registered > 0 && rc < 0)
		return rc;
	if (registered > 0)
		return fail(ret_error, -ENOTCONN,
			"vmswapd has gone with memory of this process: start it again");
	release(vmswap);
	return 0;
}

const char *vmswap_name(const struct vmswap *vmswap)
{
	ASSERT(vmswap->name);
	return vmswap->name;
}

int vmswap_is_attached(const struct vmswap *vmswap)
{
	return zap_thread_is_connected(vmswap->zap);
}
