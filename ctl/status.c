/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/status.h"

#include "ctl/maps.h"
#include "ctl/record.h"
#include "engine/engine.h"
#include "queue/base/assert.h"
#include "queue/base/bits.h"
#include "queue/base/err.h"

json_t *status_pids_json(const struct record *record)
{
	json_t *pids = json_array();

	for (uint32_t i = 0; i < record->process_count; i++)
		(void)json_array_append_new(pids, json_integer(record->process[i].pid));
	return pids;
}

json_t *status_mappers_json(const struct mapper *mappers, uint32_t count)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < count; i++)
		(void)json_array_append_new(
			list, json_pack("{s:i, s:s}", "pid", (int)mappers[i].pid, "comm",
				      mappers[i].comm));
	return list;
}

/* Attached or not: everyone who maps the memory, as far as the last look showed. */
static json_t *all_mappers_json(const struct record *record)
{
	json_t *list = status_mappers_json(record->foreign, record->foreign_count);

	for (uint32_t i = 0; i < record->process_count; i++)
		(void)json_array_insert_new(list, i,
			json_pack("{s:i, s:s}", "pid", (int)record->process[i].pid, "comm",
				record->process[i].comm));
	return list;
}

const char *status_zap_name(const struct record *record)
{
	switch (record->zap) {
	case ZAP_AUTO:
	case ZAP_INJECT: return "inject";
	case ZAP_PAGEOUT: return "pageout";
	case ZAP_CHANNEL: return "channel";
	case ZAP_WAY_COUNT: break;
	}
	UNREACHABLE();
}

/* Where the pages are; of a VM that is just being freed nothing is known any more. */
static json_t *places_json(const struct vm_stats *stats)
{
	return json_pack("{s:I, s:I, s:I, s:I}", "resident_pages",
		(json_int_t)stats->resident_pages, "staging_pages",
		(json_int_t)stats->staging_pages, "swap_pages", (json_int_t)stats->swap_pages,
		"zero_pages", (json_int_t)stats->zero_pages);
}

static json_t *metrics_json(const struct vm_stats *stats)
{
	json_t *metrics = places_json(stats);

	for (unsigned int i = 0; i < STAT_COUNT; i++)
		(void)json_object_set_new(metrics, stats_name((enum counter)i),
			json_integer((json_int_t)stats->count[i]));
	return metrics;
}

static json_t *latency_json(const struct latency_summary *latency)
{
	return json_pack("{s:I, s:f, s:f, s:f, s:f}", "count", (json_int_t)latency->count, "p50",
		latency->p50_us, "p99", latency->p99_us, "p99_9", latency->p99_9_us, "max",
		latency->max_us);
}

static json_t *latencies_json(const struct vm_stats *stats)
{
	return json_pack("{s:o, s:o, s:o}", "staged", latency_json(&stats->latency[LATENCY_STAGED]),
		"file", latency_json(&stats->latency[LATENCY_FILE]), "zero",
		latency_json(&stats->latency[LATENCY_ZERO]));
}

/* Of the operation that runs, else of the last one. */
static json_t *transition_json(const struct record *record)
{
	const char *operation = "none";
	uint64_t pages = 0;
	uint64_t time_ms = 0;

	if (record->running) {
		operation = command_name(record->running->command);
		pages = job_pages(record->running);
		time_ms = job_time_ms(record->running);
	} else if (record->has_transition) {
		operation = command_name(record->transition_command);
		pages = record->transition_pages;
		time_ms = record->transition_ms;
	}
	return json_pack("{s:s, s:I, s:I}", "operation", operation, "pages", (json_int_t)pages,
		"time_ms", (json_int_t)time_ms);
}

static void read_stats(const struct record *record, struct vm_stats *ret_stats)
{
	*ret_stats = (struct vm_stats){.pages = 0};
	if (record->vm)
		vm_stats_read(record->vm, ret_stats);
}

json_t *status_json(const struct record *record, uint32_t shard_count)
{
	struct vm_stats stats;

	read_stats(record, &stats);
	return json_pack(
		"{s:s, s:s, s:o, s:I, s:i, s:i, s:o, s:o, s:{s:I}, s:o, s:o, s:I, s:s, s:o, "
		"s:I, s:s?}",
		"vm", record->name, "state", state_name(record->state), "pids",
		status_pids_json(record), "pages", (json_int_t)stats.pages, "page_size",
		(int)PAGE_BYTES, "shards", (int)shard_count, "metrics", metrics_json(&stats),
		"transition", transition_json(record), "attach", "stopped_us",
		(json_int_t)record->stopped_us, "fault_latency_us", latencies_json(&stats),
		"mappers", all_mappers_json(record), "dwell_ms", (json_int_t)record->dwell_ms,
		"zap", status_zap_name(record), "job",
		record->running ? job_json(record->running) : json_null(), "metadata_bytes",
		(json_int_t)(record->vm ? vm_metadata_bytes(record->vm) : 0), "failure",
		record->failure[0] != '\0' ? record->failure : NULL);
}

json_t *status_brief_json(const struct record *record)
{
	struct vm_stats stats;

	read_stats(record, &stats);
	return json_pack("{s:s, s:s, s:o, s:I, s:o}", "vm", record->name, "state",
		state_name(record->state), "pids", status_pids_json(record), "pages",
		(json_int_t)stats.pages, "metrics", places_json(&stats));
}

json_t *status_attached_json(const struct record *record)
{
	ASSERT(record->vm != NULL);
	return json_pack("{s:s, s:o, s:I, s:i, s:I, s:I, s:s, s:o, s:I, s:I}", "vm", record->name,
		"pids", status_pids_json(record), "pages", (json_int_t)vm_pages(record->vm),
		"regions", (int)record->region_count, "stopped_us", (json_int_t)record->stopped_us,
		"dwell_ms", (json_int_t)record->dwell_ms, "zap", status_zap_name(record), "mappers",
		all_mappers_json(record), "metadata_bytes",
		(json_int_t)vm_metadata_bytes(record->vm), "metadata_max_bytes",
		(json_int_t)vm_metadata_max_bytes(record->vm));
}
