#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The scaling model obeys the laws that every closed queueing network obeys."""
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import unittest

PERF = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "perf")
sys.path.insert(0, PERF)
import scaling  # noqa: E402

COSTS = scaling.MEASURED
# Nothing but the shards' own work.
FREE = dataclasses.replace(
    COSTS, thread=0, vcpu=0, switch=0, lock=0, waiter=0, mm=0, pte=0, read_call=0,
    cross_thread=0, cross_shard=0, send=0, latency=0)


def run(costs=COSTS, **setup):
    return scaling.simulate(costs, scaling.Setup(**{"faults": 4000, **setup}))


class Determinism(unittest.TestCase):
    def test_same_seed_gives_the_same_result(self):
        for setup in ({}, {"disk": True}, {"zap": True, "punch": True}, {"uffds": 1}):
            self.assertEqual(run(shards=4, vcpus=16, seed=7, **setup),
                             run(shards=4, vcpus=16, seed=7, **setup))

    def test_another_seed_gives_another_result(self):
        self.assertNotEqual(run(shards=4, vcpus=16, seed=7), run(shards=4, vcpus=16, seed=8))


class Bounds(unittest.TestCase):
    def assert_below(self, rate, bound):
        # A window ends in the middle of some visits.
        self.assertLessEqual(rate, 1.03 * bound)

    def test_no_server_is_busier_than_always(self):
        for costs in scaling.SETS.values():
            for shards, vcpus in ((1, 1), (1, 256), (8, 64), (64, 256)):
                for setup in ({}, {"disk": True}, {"zap": True}):
                    result = run(costs, shards=shards, vcpus=vcpus, **setup)
                    for name, use in result["utilisation"].items():
                        self.assertLessEqual(use, 1.02, f"{name} {shards} {vcpus} {setup}")

    def test_rate_stays_below_the_shard_cpu_bound_with_any_number_of_vcpus(self):
        bound = 1e9 / (COSTS.serve + COSTS.wake + COSTS.cross_shard + COSTS.mm + COSTS.pte
                       + 2 * COSTS.lock)
        for vcpus in scaling.VCPUS:
            self.assert_below(run(shards=1, vcpus=vcpus)["faults_per_s"], bound)

    def test_rate_stays_below_the_lock_bound_of_one_uffd(self):
        bound = 1e9 / (3 * COSTS.lock + COSTS.shared)
        for shards in (2, 8, 64):
            self.assert_below(run(shards=shards, vcpus=64, uffds=1)["faults_per_s"], bound)

    def test_rate_stays_below_the_mmap_lock_bound(self):
        result = run(scaling.BARE_METAL, shards=64, vcpus=128)
        self.assert_below(result["faults_per_s"], 1e9 / (3 * scaling.BARE_METAL.mm))
        self.assertEqual(result["bottleneck"], "mmap lock")

    def test_rate_stays_below_the_serial_part_of_wake_ups(self):
        result = run(scaling.PLATEAU, shards=32, vcpus=128)
        self.assert_below(result["faults_per_s"], 1e9 / scaling.PLATEAU.wake_serial)
        self.assertEqual(result["bottleneck"], "wake-up")

    def test_rate_stays_below_the_disk(self):
        result = run(shards=8, vcpus=64, disk=True)
        self.assert_below(result["faults_per_s"], COSTS.disk[-1][1])
        self.assertEqual(result["bottleneck"], "disk")

    def test_rate_stays_below_what_the_vcpus_ask_for(self):
        cycle = COSTS.thread + COSTS.vcpu + COSTS.switch + COSTS.latency
        for vcpus in (1, 16):
            rate = run(shards=vcpus, vcpus=vcpus)["faults_per_s"]
            self.assert_below(rate, vcpus * 1e9 / cycle)

    def test_punches_of_one_memfd_stay_below_its_lock(self):
        result = run(shards=8, vcpus=16, punch=True, faults=40000)
        self.assertAlmostEqual(result["punch_per_s"], 1e9 / COSTS.punch,
                               delta=0.05 * 1e9 / COSTS.punch)


class Scaling(unittest.TestCase):
    def test_twice_the_shards_give_twice_the_rate_without_locks(self):
        for shards in (1, 4, 16):
            one = run(FREE, shards=shards, vcpus=256, faults=12000)["faults_per_s"]
            two = run(FREE, shards=2 * shards, vcpus=256, faults=12000)["faults_per_s"]
            self.assertAlmostEqual(two / one, 2, delta=0.2)

    def test_shards_do_not_help_one_uffd(self):
        few = run(shards=2, vcpus=64, uffds=1)["faults_per_s"]
        many = run(shards=16, vcpus=64, uffds=1)["faults_per_s"]
        self.assertLess(many, 1.3 * few)

    def test_a_zap_costs_more_with_more_cpus(self):
        few = run(shards=4, vcpus=4, zap=True)
        many = run(shards=4, vcpus=256, zap=True)
        self.assertLess(few["utilisation"]["TLB"], many["utilisation"]["TLB"])
        self.assertGreater(few["zap_per_s"], 2 * many["zap_per_s"])

    def test_a_stream_brings_more_pages_with_fewer_faults(self):
        one = run(shards=2, vcpus=16)["faults_per_s"]
        many = run(shards=2, vcpus=16, pages=16)["faults_per_s"]
        self.assertLess(many, one)
        self.assertGreater(16 * many, 4 * one)

    def test_one_uffd_falls_as_published(self):
        rate = {vcpus: run(scaling.BARE_METAL, shards=vcpus, vcpus=vcpus, uffds=1, faults=12000)
                ["faults_per_s"] for vcpus in (4, 256)}
        self.assertAlmostEqual(rate[4], 210e3, delta=21e3)
        self.assertAlmostEqual(rate[256], 36e3, delta=3.6e3)

    def test_the_plateau_is_where_it_was_published(self):
        for vcpus, rate in scaling.UFFD_A_VCPU[0][1]:
            if vcpus >= 4:
                result = run(scaling.PLATEAU, shards=vcpus, vcpus=vcpus, batch=1, at_home=True)
                self.assertAlmostEqual(result["faults_per_s"] / rate / 1e3, 1, delta=0.3)


class Laws(unittest.TestCase):
    def test_utilisation_is_rate_times_service(self):
        result = run(dataclasses.replace(COSTS, waiter=0), shards=4, vcpus=32, faults=12000)
        rate = result["faults_per_s"] / 1e9
        use = result["utilisation"]
        lock = rate * 3 * COSTS.lock / 4
        self.assertAlmostEqual(use["wait-queue lock"] / lock, 1, delta=0.02)
        self.assertAlmostEqual(use["mmap lock"] / (rate * 3 * COSTS.mm), 1, delta=0.02)
        self.assertAlmostEqual(use["page tables"] * 2048 / (rate * COSTS.pte), 1, delta=0.02)

    def test_utilisation_of_the_disk_queue_is_rate_times_service(self):
        result = run(shards=4, vcpus=32, disk=True, faults=12000)
        demand = result["faults_per_s"] / 1e9 * COSTS.disk_queue
        self.assertAlmostEqual(result["utilisation"]["disk queue"] / demand, 1, delta=0.02)

    def test_littles_law(self):
        for setup in ({}, {"disk": True}, {"placement": "any"}, {"zap": True}):
            for vcpus in (1, 16, 64):
                result = run(shards=2, vcpus=vcpus, faults=12000, **setup)
                inside = result["faults_per_s"] * result["response_us"] / 1e6
                self.assertAlmostEqual(inside / vcpus, 1, delta=0.02)


class Command(unittest.TestCase):
    def command(self, *arguments):
        done = subprocess.run([sys.executable, "-B", os.path.join(PERF, "scaling.py"), *arguments],
                              capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def test_check_reads_and_fits_the_points_of_the_bench(self):
        points = [{"shards": shards, "threads": threads, "faults_per_s": rate, "min": rate,
                   "max": rate} for shards, threads, rate in ((1, 8, 120e3), (2, 8, 110e3))]
        series = [{"name": "other", "kind": "lines"},
                  {"name": "scale-staged", "points": points}]
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump({"rows": [], "series": series}, file)
            file.flush()
            rows = json.loads(self.command("--json", "--check", file.name, "--results",
                                           file.name))["check"]
        self.assertEqual([row["is_fitted"] for row in rows], [True, False])
        self.assertLess(abs(rows[0]["error"]), 0.05)

    def test_check_prints_a_table(self):
        rows = scaling.check(COSTS, scaling.floor_points()[1:2], 1)
        text = scaling.text_of(lambda rows: scaling.print_check("title", rows), rows)
        self.assertIn("| staged | same | 1 | 1 | 8 | 64 | 165.0 k [115-170] |", text)


class Report(unittest.TestCase):
    TEXT = "a\n<!-- begin check -->\nold\n<!-- end check -->\nb\n"

    def test_a_section_is_replaced_and_the_rest_is_kept(self):
        once = scaling.put_section(self.TEXT, "check", "new")
        self.assertEqual(once, self.TEXT.replace("old", "new"))
        self.assertEqual(scaling.put_section(once, "check", "new"), once)

    def test_a_report_without_the_section_is_refused(self):
        with self.assertRaises(SystemExit):
            scaling.put_section(self.TEXT, "sweep", "new")

    def test_the_report_has_both_sections_and_every_cost(self):
        with open(os.path.join(PERF, "scaling.md"), encoding="utf-8") as file:
            report = file.read()
        for name in ("check", "sweep"):
            scaling.put_section(report, name, "")
        for field in dataclasses.fields(scaling.Costs):
            self.assertIn(f"`{field.name}`", report)


if __name__ == "__main__":
    unittest.main()
