#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""vmswapd(8) lists the probes that vmswapd has, each once.

usage: probes.py BUILD_DIR|--self-test
"""
import os
import sys

import tree

sys.path.insert(0, os.path.join(tree.TOP, "tests", "support"))
import vmswap_probes  # pylint: disable=wrong-import-position

PAGE = os.path.join(tree.TOP, "ctl", "vmswapd.8")


def judge(present, listed):
    violations = [f"{name} is not in vmswapd(8)" for name in present if name not in listed]
    violations += [f"vmswapd(8) lists {name}, which vmswapd does not have"
                   for name in listed if name not in present]
    return violations + [f"vmswapd(8) lists {name} twice"
                         for name in sorted(set(listed)) if listed.count(name) > 1]


def self_test():
    cases = ((("a:b",), ["a:b"], 0), (("a:b", "a:c"), ["a:b"], 1), (("a:b",), ["a:b", "a:c"], 1),
             (("a:b",), ["a:b", "a:b"], 1))
    bad = [case for case in cases if len(judge(case[0], case[1])) != case[2]]
    print(f"judged wrongly: {bad}" if bad else f"{len(cases)} lists judged rightly")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    if sys.argv[1] == "--self-test":
        self_test()
    PROBES = vmswap_probes.probes_of(os.path.join(sys.argv[1], "bin", "vmswapd"))
    tree.finish(judge(PROBES, vmswap_probes.documented(PAGE)), len(PROBES))
