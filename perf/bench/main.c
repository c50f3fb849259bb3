/* SPDX-License-Identifier: Apache-2.0 */
/* vmswap-bench: see options.c for what it can do, perf/README.md for what it found. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "perf/bench/bench.h"
#include "perf/bench/host.h"
#include "perf/bench/progress.h"
#include "perf/bench/results.h"
#include "perf/bench/target.h"
#include "perf/contestant/umap.h"
#include "perf/report/html.h"
#include "queue/base/bits.h"
#include "queue/base/err.h"

#define EXIT_NOTHING 77

static const struct {
	const char *name;
	void (*run)(struct bench *);
	/* Of its rows that --only finds without a command: those with targets, umap's. */
	const char *ids;
} commands[] = {
	{"fault", command_fault, "P1,P3,P16"},
	{"disk-fault", command_disk_fault,
		"P4,P5,P6,P12,disk-fault-umap,disk-rate-umap,refill-umap"},
	{"scale", command_scale, "P2,P12,scale-curve"},
	{"enable", command_enable, "P10"},
	{"trim", command_trim, "P9"},
	{"swap-out", command_swap_out, "P7"},
	{"swap-in", command_swap_in, "P8"},
	{"encrypt", command_encrypt, "encrypt"},
	{"mixed", command_mixed, "P11"},
	{"memory", command_memory, "P13,P14,P15"},
	{"queue", command_queue, "queue"},
};

/* Whether one of the comma separated @ids is wanted. */
static bool wants_any(const struct bench *bench, const char *ids)
{
	char copy[64];
	char *rest = copy;

	(void)snprintf(copy, sizeof(copy), "%s", ids);
	for (const char *id = strsep(&rest, ","); id; id = strsep(&rest, ","))
		if (bench_wants(bench, id))
			return true;
	return false;
}

/* False when there is no command of the name that was given. */
static bool run_commands(struct bench *bench)
{
	bool is_known = !bench->options.command;

	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		if (bench->options.command && strcmp(bench->options.command, commands[i].name) != 0)
			continue;
		is_known = true;
		if (wants_any(bench, commands[i].ids))
			commands[i].run(bench);
	}
	return is_known;
}

static int load(struct bench *bench, bool must_exist)
{
	char why[256];
	const char *path = bench->options.json;

	if (!path || (!must_exist && access(path, F_OK) < 0)) {
		bench->results = results_new(host_describe(bench->options.directory));
		return bench->results ? 0 : 1;
	}
	bench->results = results_load(path, why, sizeof(why));
	if (bench->results)
		return 0;
	(void)fprintf(stderr, "vmswap-bench: %s: %s\n", path, why);
	return 1;
}

static int save(const struct bench *bench)
{
	int error = bench->options.json ? results_save(bench->results, bench->options.json) : 0;

	if (error < 0)
		(void)fprintf(stderr, "vmswap-bench: %s cannot be written: %s\n",
			bench->options.json, strerror(-error));
	if (!error && bench->options.html) {
		error = html_write(results_json(bench->results), bench->options.html);
		if (error < 0)
			(void)fprintf(stderr, "vmswap-bench: %s cannot be written: %s\n",
				bench->options.html, strerror(-error));
	}
	return error < 0 ? 1 : 0;
}

/* `targets` and `report`, which measure nothing. */
static int run_offline(struct bench *bench)
{
	const bool is_report = strcmp(bench->options.command, "report") == 0;
	int status;

	if (!bench->options.json || (is_report && !bench->options.html)) {
		(void)fprintf(stderr, "vmswap-bench: %s needs --json FILE%s\n",
			bench->options.command, is_report ? " and --html FILE" : "");
		return 2;
	}
	status = load(bench, true);
	if (status != 0)
		return status;
	if (!is_report)
		return target_print(results_json(bench->results));
	bench->options.json = NULL;
	return save(bench);
}

/* Refused before minutes of measuring, not after. */
static int check_umap(const struct bench *bench)
{
	struct umap_library library = {0};
	char why[256];
	int error;

	if (!bench->options.umap)
		return 0;
	error = umap_library_open(bench->options.umap, &library, why, sizeof(why));
	if (error < 0)
		(void)fprintf(stderr, "vmswap-bench: --umap: %s\n", why);
	umap_library_close(&library);
	return error;
}

static int measure(struct bench *bench)
{
	if (geteuid() != 0) {
		(void)fputs(
			"vmswap-bench: needs root: vmswapd looks into other processes\n", stderr);
		return EXIT_NOTHING;
	}
	if (check_umap(bench) < 0 || load(bench, false) != 0)
		return 1;
	progress_set_quiet(bench->options.is_quiet);
	if (!run_commands(bench)) {
		(void)fprintf(stderr, "vmswap-bench: no command \"%s\"; see --help\n",
			bench->options.command);
		return 2;
	}
	if (save(bench) != 0 || bench->failures > 0)
		return 1;
	return bench->rows == 0 ? EXIT_NOTHING : 0;
}

/* The vmswapd beside this program. */
static int find_daemon(char *ret_path, size_t size)
{
	char self[PATH_MAX];
	const ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;

	if (length < 0)
		return -errno;
	self[length] = '\0';
	slash = strrchr(self, '/');
	*slash = '\0';
	return snprintf(ret_path, size, "%s/vmswapd", self) < (int)size ? 0 : -ENAMETOOLONG;
}

int main(int count, char **argument)
{
	struct bench bench = {0};
	char daemon[PATH_MAX];
	bool is_over;
	int status = options_parse(count, argument, &bench.options, &is_over);

	if (is_over)
		return status;
	if (!bench.options.daemon) {
		if (find_daemon(daemon, sizeof(daemon)) < 0)
			return 1;
		bench.options.daemon = daemon;
	}
	if (bench.options.command && (strcmp(bench.options.command, "targets") == 0 ||
					     strcmp(bench.options.command, "report") == 0))
		status = run_offline(&bench);
	else
		status = measure(&bench);
	results_free(bench.results);
	return status;
}
