# SPDX-License-Identifier: Apache-2.0
"""The files that the style tests look at, and how they report."""
import os
import shutil
import sys
import tempfile

SKIPPED = 77
TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FOLDERS = ("queue", "io", "engine", "ctl", "perf", "tools", "tests")


def files(top, folders=FOLDERS, suffixes=(".c", ".h")):
    """Paths relative to @top, sorted."""
    found = []
    for folder in folders:
        for directory, subdirectories, names in os.walk(os.path.join(top, folder)):
            subdirectories[:] = [s for s in subdirectories if s != "__pycache__"]
            found += [os.path.relpath(os.path.join(directory, name), top)
                      for name in names if name.endswith(suffixes)]
    return sorted(found)


def read(top, path):
    with open(os.path.join(top, path), encoding="utf-8", errors="replace") as file:
        return file.read()


def skip(why):
    print(f"SKIPPED: {why}")
    sys.exit(SKIPPED)


def finish(violations, looked_at):
    for violation in violations:
        print(violation)
    print(f"{len(violations)} violations in {looked_at} files")
    if looked_at == 0:
        print("no file was looked at: the test proves nothing")
    sys.exit(1 if violations or looked_at == 0 else 0)


def self_test(check, cases):
    """Plants each (path, text, part of the violation, or None for clean) in a tree of its own."""
    failures = 0
    for path, text, expected in cases:
        with tempfile.TemporaryDirectory() as top:
            os.makedirs(os.path.dirname(os.path.join(top, path)), exist_ok=True)
            with open(os.path.join(top, path), "w", encoding="utf-8") as file:
                file.write(text)
            violations, _ = check(top)
        clean = expected is None and not violations
        caught = expected is not None and any(expected in v for v in violations)
        if not clean and not caught:
            failures += 1
            print(f"planted in {path}: {text[:60]!r}: expected {expected}, got {violations}")
    print(f"{len(cases) - failures} of {len(cases)} planted files judged rightly")
    sys.exit(1 if failures or not cases else 0)


def have(tool):
    return shutil.which(tool) is not None
