/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An engine over the fake world, and what control does with it. Every call checks afterwards that
 * tables, counters and slots agree; tests/support/fake_io.h checks what guests see.
 */
#ifndef VMSWAP_TESTS_SIM_H
#define VMSWAP_TESTS_SIM_H

#include "engine/engine.h"
#include "engine/engine_priv.h"
#include "engine/page.h"
#include "engine/vm.h"
#include "io/uffd.h"
#include "tests/support/fake_io.h"

#define SIM_FEATURES (UFFD_WP | UFFD_WP_ASYNC_MARK | UFFD_CAN_POISON | UFFD_EVENTS)
#define SIM_REGIONS  2u
#define SIM_RUNS     2u

struct sim_config {
	uint64_t seed;
	uint32_t shards;
	uint32_t processes;
	uint32_t threads; /* a process */
	uint64_t pages[SIM_REGIONS];
	uint32_t dwell_ms;
	bool verify_clean;
	bool trust_discard;
	bool is_encrypted;
	struct fake_config world; /* seed, features and disk_bytes 0: chosen by sim_open() */
};

struct sim {
	struct sim_config config;
	struct engine *engine;
	struct vm *vm;
	int memfd[SIM_REGIONS];
	uint32_t regions;
	uint32_t processes;		      /* of the world, ever */
	uint32_t process[FAKE_PROCESSES_MAX]; /* of the world, by index in the VM */
	bool is_served[FAKE_PROCESSES_MAX];   /* by index in the VM */
	struct dispatch_control control;
	uint64_t events[ENGINE_RANGE_MOVED + 1];
	/* What a supervisor holds: descriptors of the parts, and of processes (of the world). */
	int engine_fd[ENGINE_PARTS];
	int vm_fd[VM_PARTS];
	bool is_joined[FAKE_PROCESSES_MAX];
	/* Of one that has moved memory; no runs: all lies where it lay. */
	struct process_run run[FAKE_PROCESSES_MAX][SIM_RUNS];
	bool has_runs[FAKE_PROCESSES_MAX];
	uint32_t run_count[FAKE_PROCESSES_MAX];
	int uffd[FAKE_PROCESSES_MAX][FAKE_SHARDS_MAX];
};

/* How an enable may differ from the right order. */
enum sim_enable {
	SIM_RIGHT,
	SIM_WITHOUT_ZAP,
	SIM_SCAN_BEFORE_ZAP,
	SIM_SETTLE_BLINDLY, /* every page counts as clean */
	SIM_WITHOUT_SCAN,   /* digests decide */
	SIM_PAGEOUT,
	SIM_WITHOUT_SETTLE,
};

/* One chunk region of 2 MiB and some, one shard, one process, marks, verified clean pages. */
struct sim_config sim_defaults(uint64_t seed);
/* The world, an engine, a VM of the given processes, registered; threads run. */
void sim_open(const struct sim_config *config, struct sim *sim);
/* Everything back, unregistered, verified and freed. */
void sim_close(struct sim *sim);
/* No process is left: the VM is freed, its content forgotten. */
void sim_abandon(struct sim *sim);

/* Where region @region lies in every process. */
uint64_t sim_address(uint32_t region);
/*
 * The daemon died (fake_crash() was called), and a successor takes over what it left: tables,
 * store, descriptors. The engine and VM before are never touched again.
 */
void sim_recover(struct sim *sim);
/* Its halves: up to engine_resume(), whose result it returns, and the rest, of which the processes
 * are a part. */
int sim_adopt(struct sim *sim);
void sim_resume(struct sim *sim);
void sim_adopt_processes(struct sim *sim);

/* A further process of the world, which maps everything and has no thread. */
uint32_t sim_process(struct sim *sim);
/* It joins the VM. 0 or -errno. */
int sim_join(struct sim *sim, uint32_t process);
/* @index of the VM. */
void sim_leave(struct sim *sim, uint32_t index);

void sim_turn(struct sim *sim);
void sim_idle(struct sim *sim, uint32_t turns);
/* One access of @process to page @page of region 0, served. False when it is poisoned. */
bool sim_touch(struct sim *sim, uint32_t process, uint64_t page, bool is_write);
/* Process 0 writes pages [0, count) of region 0. */
void sim_write(struct sim *sim, uint64_t count);
/* Those pages leave RAM: enabled in the right order, then moved out. */
struct dispatch_result sim_out(struct sim *sim);
/* Until no guest waits; begun accesses end. */
void sim_settle_guests(struct sim *sim);
/* Guests read everything once. */
void sim_read_all(struct sim *sim);
/* The pieces of [first, first + count). The number of pages staged. */
uint64_t sim_enable(struct sim *sim, enum sim_enable how, uint32_t first, uint32_t count);
int sim_dispatch(struct sim *sim, enum chunk_op op, uint32_t first, uint32_t count,
	struct dispatch_result *ret_result);
/* Over all chunks; must return 0. */
struct dispatch_result sim_all(struct sim *sim, enum chunk_op op);
/* Over all chunks until nothing is left that can come. */
void sim_all_in(struct sim *sim);
/* One of them, by chance; or an enable, or a pause. */
void sim_random_operation(struct sim *sim);
void sim_check(struct sim *sim);
/* Its part that changes nothing; also called at the beginning of some turns. */
void sim_check_tables(const struct sim *sim);
/*
 * Whether a guest that touched a page now would see what it must: page cache, page tables, slots,
 * digests and words, without touching anything. After sim_recover().
 */
void sim_audit(const struct sim *sim);
/* Counts what the engine told. */
void sim_take_events(struct sim *sim);
/* After unregistering a lost page must go on being an error in every process, not become zeros. */
void sim_check_poison_stays(const struct sim *sim);

uint64_t sim_stat(const struct sim *sim, enum counter stat);
struct page_count sim_pages(const struct sim *sim);
enum page_state sim_state(const struct sim *sim, uint64_t page);
uint32_t sim_slot(const struct sim *sim, uint64_t page);

/* Runs @body in a child: its exit code, or 256 + signal. Its stderr is dropped when @is_quiet. */
int sim_child(void (*body)(uint64_t), uint64_t argument, bool is_quiet);
/* Worlds of seeds from argv[1] (1) on, argv[2] (@count) of them, each a child: 1 if one failed. */
int sim_worlds(int argc, char **argv, uint64_t count, void (*one_world)(uint64_t seed));

#endif
