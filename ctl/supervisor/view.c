/* SPDX-License-Identifier: Apache-2.0 */
/*
 *   /                read-only, and set-user-ID bits mean nothing, with all that is mounted below
 *   ├─ folders of the socket, the state folder, the swap file     writable, where they were
 *   ├─ /proc         writable: names of threads; /proc/sys is not
 *   └─ /home, /root  empty, unless something of the above or the program is there
 *
 * Devices can be written through a read-only mount, and memory of VMMs is opened through
 * /proc/PID/map_files, which leads to the VMM's own mounts. Nothing is noexec: an upgrade may be
 * anywhere. What the host mounts or unmounts later is seen.
 */
#include "ctl/supervisor/view.h"

#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/mount.h>

#include "ctl/config.h"
#include "queue/base/assert.h"
#include "queue/base/bits.h"
#include "queue/base/err.h"
#include "queue/base/log.h"

/* The folders of the socket, the state folder and the store, and /proc. */
#define PLACES_MAX 4u

struct place {
	char path[PATH_MAX];
	bool is_read_only; /* as it was found: it stays so */
};

struct view {
	struct place place[PLACES_MAX]; /* absolute, without links */
	uint32_t count;
	char folder[PATH_MAX]; /* where the process works */
	char program[PATH_MAX];
};

/* What is at @path, or above it if nothing is there yet. */
static int resolve(const char *path, char *ret_path)
{
	char wanted[PATH_MAX];

	if ((size_t)snprintf(wanted, sizeof(wanted), "%s%s", path[0] == '/' ? "" : "./", path) >=
		sizeof(wanted))
		return -ENAMETOOLONG;
	/* Ends: each round takes a name away. */
	while (!realpath(wanted, ret_path)) {
		char *slash = strrchr(wanted, '/');

		if (errno != ENOENT || !slash)
			return -errno;
		slash[slash == wanted] = '\0';
	}
	return 0;
}

static int add_place(struct view *view, const char *path)
{
	struct place *place = &view->place[view->count];
	struct statvfs status;
	int rc;

	ASSERT(view->count < PLACES_MAX);
	rc = resolve(path, place->path);
	if (rc < 0 || statvfs(place->path, &status) < 0)
		return rc < 0 ? rc : -errno;
	place->is_read_only = (status.f_flag & ST_RDONLY) != 0;
	view->count++;
	return 0;
}

/* The folder that has @path as a name in it. */
static int add_folder_of(struct view *view, const char *path)
{
	char folder[PATH_MAX];
	char *slash;

	if ((size_t)snprintf(folder, sizeof(folder), "%s%s", path[0] == '/' ? "" : "./", path) >=
		sizeof(folder))
		return -ENAMETOOLONG;
	slash = strrchr(folder, '/');
	ASSERT(slash);
	slash[slash == folder] = '\0';
	return add_place(view, folder);
}

/* All of it before anything is mounted: paths may be relative. */
static int find_places(const struct config *config, struct view *view)
{
	const ssize_t length = readlink("/proc/self/exe", view->program, PATH_MAX - 1);
	int rc = length < 0 || !realpath(".", view->folder) ? -errno : 0;

	/* The state folder is removed at the end, so it is no mount itself. */
	if (rc == 0)
		rc = add_folder_of(view, config->state_dir);
	if (rc == 0)
		rc = add_folder_of(view, config->socket_path);
	if (rc == 0 && config->store.kind == SWAPFILE_UNNAMED)
		rc = add_place(view, config->store.path);
	if (rc == 0 && config->store.kind == SWAPFILE_NAMED)
		rc = add_folder_of(view, config->store.path);
	return rc == 0 ? add_place(view, "/proc") : rc;
}

static int set_attributes(const char *path, unsigned int flags, uint64_t set, uint64_t clear)
{
	struct mount_attr attributes = {.attr_set = set, .attr_clr = clear};

	return errno_of((int)syscall(
		SYS_mount_setattr, AT_FDCWD, path, flags, &attributes, sizeof(attributes)));
}

static int bind_to_itself(const char *path)
{
	return errno_of(mount(path, path, NULL, MS_BIND | MS_REC, NULL));
}

static bool is_below(const char *path, const char *folder)
{
	const size_t length = strlen(folder);

	return strncmp(path, folder, length) == 0 && (path[length] == '/' || path[length] == '\0');
}

static bool is_needed(const struct view *view, const char *folder)
{
	for (uint32_t i = 0; i < view->count; i++)
		if (is_below(view->place[i].path, folder))
			return true;
	return is_below(view->program, folder) || is_below(view->folder, folder);
}

static int hide(const struct view *view, const char *folder)
{
	if (is_needed(view, folder) || access(folder, F_OK) < 0)
		return 0;
	return errno_of(mount("tmpfs", folder, "tmpfs",
		MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0,size=4k"));
}

/* Nothing of this takes anything away that the daemon needs. */
static int prepare(const struct view *view)
{
	int rc = errno_of(mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL));

	for (uint32_t i = 0; rc == 0 && i < view->count; i++)
		rc = bind_to_itself(view->place[i].path);
	if (rc == 0)
		rc = bind_to_itself("/proc/sys");
	if (rc == 0)
		rc = hide(view, "/home");
	return rc == 0 ? hide(view, "/root") : rc;
}

static int open_places(const struct view *view)
{
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && i < view->count; i++)
		if (!view->place[i].is_read_only)
			rc = set_attributes(view->place[i].path, 0, 0, MOUNT_ATTR_RDONLY);
	/* From the mount that the folder was in to the one that lies on it now. */
	return rc == 0 ? errno_of(chdir(view->folder)) : rc;
}

int view_make(const struct config *config)
{
	CLEANUP_FREE struct view *view = calloc(1, sizeof(*view));
	int rc = view ? find_places(config, view) : -ENOMEM;

	if (rc == 0)
		rc = errno_of(unshare(CLONE_NEWNS));
	if (rc == 0)
		rc = prepare(view);
	if (rc == 0)
		rc = set_attributes("/", AT_RECURSIVE, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID, 0);
	if (rc < 0) {
		log_warning("the daemon sees all file systems as they are (%s): it has no mount "
			    "view of its own",
			strerror(-rc));
		return 0;
	}
	rc = open_places(view);
	if (rc < 0)
		log_error("the mount view cannot be made writable where it has to be: %s "
			  "(--mount-view host does without)",
			strerror(-rc));
	return rc;
}
