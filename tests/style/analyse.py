#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Static analysis of queue, io, engine and ctl with the commands that built them.

usage: analyse.py cppcheck|clang-tidy BUILD_DIR|--self-test
"""
import concurrent.futures
import json
import os
import subprocess
import sys
import tempfile

import tree

LAYERS = ("queue/", "io/", "engine/", "ctl/")
JOBS = 2
# gcc's options that clang 14 does not know.
GCC_ONLY = ("-Wcast-align=strict", "-Wlogical-op", "-Wduplicated-cond", "-Wduplicated-branches",
            "-Wjump-misses-init", "-Werror")
CPPCHECK = ("cppcheck", "--quiet", "--enable=warning,performance,portability", "--inline-suppr",
            "--error-exitcode=1", "--std=c11", "--suppress=missingIncludeSystem",
            "--suppress=preprocessorErrorDirective", f"-j{JOBS}")


def commands(build):
    """The compile commands of the layers' own files."""
    with open(os.path.join(build, "compile_commands.json"), encoding="utf-8") as file:
        entries = json.load(file)
    seen = {}
    for entry in entries:
        path = os.path.relpath(entry["file"], tree.TOP)
        if path.startswith(LAYERS):
            entry["command"] = " ".join(
                word for word in entry["command"].split() if word not in GCC_ONLY)
            seen.setdefault(path, entry)
    return list(seen.values())


def run_cppcheck(database, _):
    run = subprocess.run([*CPPCHECK, f"--project={database}"], capture_output=True, text=True,
                         check=False)
    return [run.stdout + run.stderr] if run.returncode != 0 else []


def run_clang_tidy(database, paths):
    def one(path):
        run = subprocess.run(
            ["clang-tidy", "--quiet", "-p", os.path.dirname(database),
             f"--config-file={tree.TOP}/.clang-tidy", path],
            capture_output=True, text=True, check=False)
        return run.stdout + run.stderr if run.returncode != 0 else ""

    with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
        return [output for output in pool.map(one, paths) if output]


TOOLS = {"cppcheck": run_cppcheck, "clang-tidy": run_clang_tidy}
PLANTED = "int planted(void);\nint planted(void)\n{\n\tint a[2] = {0};\n\n\treturn 7 / a[2];\n}\n"


def analyse(tool, entries):
    with tempfile.TemporaryDirectory() as directory:
        database = os.path.join(directory, "compile_commands.json")
        with open(database, "w", encoding="utf-8") as file:
            json.dump(entries, file)
        return TOOLS[tool](database, sorted(entry["file"] for entry in entries))


def self_test(tool):
    """A tool that misses a read past the end of an array would pass everything."""
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "planted.c")
        with open(path, "w", encoding="utf-8") as file:
            file.write(PLANTED)
        found = analyse(tool, [{"directory": directory, "file": path,
                                "command": f"cc -O2 -o planted.o -c {path}"}])
    print(f"planted: {'found' if found else 'MISSED'}")
    sys.exit(0 if found else 1)


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in TOOLS:
        sys.exit(__doc__)
    if not tree.have(sys.argv[1]):
        tree.skip(f"{sys.argv[1]} is missing: apt-get install {sys.argv[1]}")
    if sys.argv[2] == "--self-test":
        self_test(sys.argv[1])
    sources = commands(sys.argv[2])
    tree.finish(analyse(sys.argv[1], sources), len(sources))
