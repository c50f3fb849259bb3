#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Sizes: function <= 70 lines, .c file <= 600, header <= 150, line <= 100 columns (tab = 8); every
file of ours begins with its licence line; no TODO or FIXME without an issue number.

usage: sizes.py [--self-test]
"""
import json
import os
import re
import subprocess
import sys
import tempfile

import tree

FUNCTION_LINES = 70
FILE_LINES = 600
HEADER_LINES = 150
COLUMNS = 100
# A benchmark or a test is cut like the code; scripts are measured by columns and licence only.
C_SUFFIXES = (".c", ".h")
SUFFIXES = C_SUFFIXES + (".py", ".sh", ".def")
LICENCE = "SPDX-License-Identifier: Apache-2.0"
CRITERION = re.compile(r"^Test\(\w+,\s*(\w+)[^{;]*?\)(?=\s*\{)", re.M)
OPEN_WORK = re.compile(r"\b(TODO|FIXME|XXX)\b(?!\s*\(?#\d+)")


def as_function(match):
    return f"void {match[1]}(void)" + "\n" * match[0].count("\n")


def functions(top, path):
    """(name, first line, last line) of each function body; a Criterion test is one."""
    text = CRITERION.sub(as_function, tree.read(top, path))
    with tempfile.NamedTemporaryFile("w", suffix=os.path.splitext(path)[1]) as file:
        file.write(text)
        file.flush()
        run = subprocess.run(
            ["ctags", "--options=NONE", "--languages=C", "--langmap=C:.c.h", "--c-kinds=f",
             "--fields=+ne", "--output-format=json", "-f", "-", file.name],
            capture_output=True, text=True, check=True)
    for line in run.stdout.splitlines():
        tag = json.loads(line)
        if "end" in tag:
            yield tag["name"], tag["line"], tag["end"]


def check_lines(path, text):
    lines = text.split("\n")
    # The first line of a script is its interpreter.
    head = lines[1:2] if lines[0].startswith("#!") else lines[:1]
    if not head or LICENCE not in head[0]:
        yield f"{path}:1: the licence line is missing"
    for number, line in enumerate(lines, 1):
        if len(line.expandtabs(8)) > COLUMNS:
            yield f"{path}:{number}: {len(line.expandtabs(8))} columns, {COLUMNS} allowed"
        if path != "tests/style/sizes.py" and OPEN_WORK.search(line):
            yield f"{path}:{number}: open work without an issue number"


def check_c(top, path, text):
    allowed = HEADER_LINES if path.endswith(".h") else FILE_LINES
    count = text.count("\n")
    if count > allowed:
        yield f"{path}: {count} lines, {allowed} allowed"
    for name, first, last in functions(top, path):
        if last - first + 1 > FUNCTION_LINES:
            yield f"{path}:{first}: {name}() has {last - first + 1} lines, {FUNCTION_LINES} allowed"


def is_script(top, path):
    return os.path.isfile(os.path.join(top, path)) and tree.read(top, path)[:2] == "#!"


def scripts(top):
    """Executable texts without a suffix: tools/test and its like."""
    return [path for path in tree.files(top, suffixes=("",))
            if "." not in os.path.basename(path) and is_script(top, path)]


def check(top):
    paths = tree.files(top, suffixes=SUFFIXES) + scripts(top)
    violations = []
    for path in paths:
        text = tree.read(top, path)
        violations += check_lines(path, text)
        if path.endswith(C_SUFFIXES):
            violations += check_c(top, path, text)
    return violations, len(paths)


HEAD = f"/* {LICENCE} */\n"
LONG_FUNCTION = "int f(void)\n{\n" + "\tg();\n" * 68 + "}\n"
CASES = (
    ("io/a.c", HEAD + "int f(void)\n{\n" + "\tg();\n" * 67 + "}\n", None),
    ("io/a.c", HEAD + "x;\n" * 599, None),
    ("io/a.h", HEAD + "x;\n" * 149, None),
    ("io/a.c", HEAD + "\t" + "x" * 92 + "\n", None),
    ("io/a.c", HEAD + "/* TODO(#12): later */\n", None),
    ("tools/run", f"#!/bin/sh\n# {LICENCE}\n", None),
    ("io/a.c", HEAD + LONG_FUNCTION, "f() has 71 lines"),
    ("io/a.h", HEAD + "static inline " + LONG_FUNCTION, "f() has 71 lines"),
    ("tests/unit/test_a.c", HEAD + LONG_FUNCTION.replace("int f(void)", "Test(ring, a_name)"),
     "71 lines"),
    ("io/a.c", HEAD + "x;\n" * 600, "601 lines"),
    ("io/a.h", HEAD + "x;\n" * 150, "151 lines"),
    ("io/a.c", HEAD + "\t" + "x" * 93 + "\n", "101 columns"),
    ("io/a.c", HEAD + "/* TODO: later */\n", "open work"),
    ("io/a.c", HEAD + "/* FIXME */\n", "open work"),
    ("io/a.c", "int a;\n", "licence"),
    ("io/a.c", "\n" + HEAD, "licence"),
    ("tools/run", "#!/bin/sh\necho\n", "licence"),
)

if __name__ == "__main__":
    if not tree.have("ctags") or "Universal" not in subprocess.run(
            ["ctags", "--version"], capture_output=True, text=True, check=False).stdout:
        tree.skip("universal-ctags is missing: apt-get install universal-ctags")
    if sys.argv[1:] == ["--self-test"]:
        tree.self_test(check, CASES)
    if sys.argv[1:]:
        sys.exit(__doc__)
    tree.finish(*check(tree.TOP))
