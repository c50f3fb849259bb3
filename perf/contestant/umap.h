/* SPDX-License-Identifier: Apache-2.0 */
/*
 * LLNL umap, a library that serves faults of its caller's memory from a file: contestant_umap, with
 * the path of a build as its option. Used as its documentation says: umap() of umap.h, a C function
 * with the arguments of mmap(2), called by the process that touches; the file is O_DIRECT, which
 * its stores read as it is. UMAP_PAGESIZE is set to our page size; the environment's other UMAP_…
 * variables are umap's to read, and its defaults are else.
 *
 * It runs in the client, so that an error of its own, for which it ends the process, ends a client.
 */
#ifndef VMSWAP_PERF_CONTESTANT_UMAP_H
#define VMSWAP_PERF_CONTESTANT_UMAP_H

#include <stddef.h>
#include <sys/types.h>

struct umap_library {
	void *handle; /* of dlopen(); NULL: not loaded */
	void *(*umap)(
		void *address, size_t size_bytes, int protection, int flags, int fd, off_t offset);
};

/*
 * Loads @path: libumap.so by whatever name, or a directory it was built or installed in. On error
 * (-errno) a sentence is in @ret_why.
 */
int umap_library_open(
	const char *path, struct umap_library *ret_library, char *ret_why, size_t why_size);
/* One that is not loaded is fine. */
void umap_library_close(struct umap_library *library);

#endif
