#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""vmswap-bench runs, says what it measured, and refuses what makes no sense. No figure is judged.

usage: test_bench.py VMSWAP_BENCH UMAP_STAND_IN UMAP_WITHOUT_UMAP
"""
import json
import math
import os
import subprocess
import sys
import tempfile
import unittest

BENCH, UMAP, NO_UMAP = map(os.path.abspath, sys.argv[1:4])
TIMEOUT_S = 120


def leftovers():
    return {name for name in os.listdir("/tmp") if name.startswith("vmswap-bench.")}


def bench(*arguments):
    return subprocess.run([BENCH, *arguments], capture_output=True, text=True, check=False,
                          timeout=TIMEOUT_S)


class Measured(unittest.TestCase):
    """One small run of three commands into one file."""

    @classmethod
    def setUpClass(cls):
        cls.before = leftovers()
        cls.folder = tempfile.TemporaryDirectory()
        cls.json = os.path.join(cls.folder.name, "results.json")
        cls.html = os.path.join(cls.folder.name, "report.html")
        cls.runs = [
            bench("swap-out", "--only", "P7", "--size", "64M", "--rounds", "1", "--json", cls.json,
                  "--quiet"),
            bench("fault", "--only", "P1,P3", "--size", "64M", "--rounds", "2", "--json", cls.json,
                  "--html", cls.html),
            bench("disk-fault", "--only", "disk-fault-umap,disk-rate-umap,refill-umap", "--umap",
                  UMAP, "--size", "64M", "--rounds", "1", "--json", cls.json, "--html", cls.html,
                  "--quiet"),
        ]
        with open(cls.json, encoding="utf-8") as file:
            cls.results = json.load(file)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def row(self, number, part):
        return next(row for row in self.results["rows"]
                    if row["id"] == number and row["part"] == part)

    def test_it_ends_well(self):
        for run in self.runs:
            self.assertEqual(run.returncode, 0, run.stderr)

    def test_rows_of_all_runs_are_in_the_file(self):
        self.assertEqual({row["id"] for row in self.results["rows"]},
                         {"P1", "P3", "P7", "disk-fault-umap", "disk-rate-umap", "refill-umap"})

    def test_umap_is_a_reference_without_a_target(self):
        rows = [row for row in self.results["rows"] if row["id"].endswith("-umap")]
        self.assertEqual({(row["id"], row["part"]) for row in rows},
                         {("disk-fault-umap", "p50"), ("disk-fault-umap", "p99"),
                          ("disk-rate-umap", "8 threads"), ("disk-rate-umap", "32 threads"),
                          ("refill-umap", "sequential"), ("refill-umap", "recorded")})
        for row in rows:
            self.assertEqual((row["subject"], row["reference"]), ("vmswapd", "umap"))
            self.assertFalse(row.get("target"), row)

    def test_a_row_holds_its_rounds_and_their_ratio(self):
        row = self.row("P1", "p50")
        ratios = sorted(s / r for s, r in zip(row["values"]["subject"],
                                              row["values"]["reference"]))
        self.assertEqual(len(ratios), 2)
        self.assertEqual(row["ratio"]["rounds"], 2)
        self.assertAlmostEqual(row["ratio"]["median"], sum(ratios) / 2, places=3)
        self.assertAlmostEqual(row["ratio"]["min"], ratios[0], places=3)
        self.assertEqual(row["target"], "<=1.1")
        self.assertEqual(row["met"], row["ratio"]["median"] <= 1.1)
        self.assertEqual(row["placement"], "same")

    def test_every_ratio_is_a_number(self):
        for row in self.results["rows"]:
            for value in row["ratio"].values():
                self.assertTrue(math.isfinite(value) and value > 0, row)

    def test_the_host_is_described(self):
        self.assertEqual(self.results["host"]["cpus"], os.cpu_count())
        self.assertEqual(self.results["host"]["kernel"], os.uname().release)

    def test_the_picture_of_the_latencies_is_a_distribution(self):
        cdf = next(s for s in self.results["series"] if s["kind"] == "cdf")
        for line in cdf["lines"]:
            self.assertEqual(line["x"], sorted(line["x"]))
            self.assertEqual(line["y"][-1], 1)

    def test_the_report_has_the_rows(self):
        with open(self.html, encoding="utf-8") as file:
            text = file.read()
        for row in range(len(self.results["rows"])):
            self.assertEqual(text.count(f'id="row{row}"'), 1)
        for series in self.results["series"]:
            self.assertEqual(text.count(f'data-name="{series["name"]}"'), 1)
        self.assertIn("<polyline", text)

    def test_the_report_fetches_nothing(self):
        with open(self.html, encoding="utf-8") as file:
            text = file.read().replace("http://www.w3.org/2000/svg", "")
        for word in ("http", "src=", "url(", "@import", "<link", "<script"):
            self.assertNotIn(word, text)

    def test_a_report_that_cannot_be_written_leaves_nothing(self):
        with tempfile.TemporaryDirectory() as folder:
            taken = os.path.join(folder, "report.html")
            os.mkdir(taken)
            run = bench("report", "--json", self.json, "--html", taken)
            self.assertEqual(run.returncode, 1)
            self.assertIn("cannot be written", run.stderr)
            self.assertEqual(os.listdir(folder), ["report.html"])

    def test_targets_are_printed_with_what_is_missing(self):
        run = bench("targets", "--json", self.json)
        self.assertEqual(run.returncode, 1)
        self.assertIn("not measured", run.stdout)
        self.assertRegex(run.stdout, r"\d+ met, \d+ missed, \d+ not measured")

    def test_a_report_is_made_from_a_file(self):
        again = os.path.join(self.folder.name, "again.html")
        self.assertEqual(bench("report", "--json", self.json, "--html", again).returncode, 0)
        self.assertTrue(os.path.getsize(again) > 1000)

    def test_nothing_is_left(self):
        self.assertEqual(leftovers() - self.before, set())
        with open("/proc/swaps", encoding="utf-8") as file:
            self.assertNotIn("vmswap-bench", file.read())


class Refused(unittest.TestCase):
    def test_what_makes_no_sense_is_a_usage_error(self):
        for arguments in (["no-such-command"], ["fault", "--pin", "north"], ["--rounds", "0"],
                          ["--size", "1"], ["--size", "-5"], ["targets"], ["report"],
                          ["--no-such-option"], ["fault", "scale"]):
            run = bench(*arguments)
            self.assertEqual(run.returncode, 2, (arguments, run.stderr))
            self.assertNotEqual(run.stderr, "", arguments)

    def test_a_file_that_is_no_result_is_refused(self):
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            file.write("[]")
            file.flush()
            run = bench("targets", "--json", file.name)
        self.assertEqual(run.returncode, 1)
        self.assertIn("not an object", run.stderr)

    def test_a_daemon_that_is_not_there_fails_with_its_name(self):
        run = bench("memory", "--only", "P13", "--daemon", "/nowhere/vmswapd")
        self.assertEqual(run.returncode, 1)
        self.assertIn("vmswapd", run.stderr)

    def test_a_library_that_is_not_umap_is_refused_before_anything_runs(self):
        for path, reason in ((NO_UMAP, "has no function umap()"),
                             ("/nowhere", "no libumap.so at /nowhere"),
                             ("/proc/self/status", "is not loaded")):
            run = bench("disk-fault", "--umap", path)
            self.assertEqual(run.returncode, 1, run.stderr)
            self.assertIn(reason, run.stderr)
            self.assertEqual(run.stdout, "")

    def test_help_and_version_end_well(self):
        for option in ("--help", "--version"):
            run = bench(option)
            self.assertEqual(run.returncode, 0)
            self.assertIn("vmswap-bench", run.stdout)


if __name__ == "__main__":
    if os.geteuid() != 0:
        print("SKIPPED: vmswap-bench needs root")
        sys.exit(77)
    unittest.main(argv=sys.argv[:1], verbosity=2)
