#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""systemd understands vmswapd.service, and its exposure stays below a bound."""
import os
import re
import shutil
import subprocess
import sys
import tempfile

TOP = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
UNIT = "vmswapd.service"
# What is left is what attaching needs: root, ptrace, CAP_SYS_ADMIN, no filter of its own.
EXPOSURE_MAX = 6.3


def main():
    if not shutil.which("systemd-analyze"):
        print("systemd-analyze is missing: apt-get install systemd")
        sys.exit(77)
    with open(os.path.join(TOP, "tools", UNIT)) as source:
        # The program need not be installed; any that is there will do.
        text = re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", source.read(), flags=re.M)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, UNIT)
        with open(path, "w") as unit:
            unit.write(text)
        made = subprocess.run(["systemd-analyze", "verify", "--man=no", path],
                              capture_output=True, text=True, timeout=60, check=False)
        ours = [line for line in made.stderr.split("\n") if UNIT in line]
        if made.returncode != 0 or ours:
            sys.exit(f"systemd-analyze verify: {made.stderr}")
        made = subprocess.run(["systemd-analyze", "security", "--offline=yes", "--no-pager", path],
                              capture_output=True, text=True, timeout=60, check=False)
    found = re.search(r"exposure level for .*: ([0-9.]+)", made.stdout)
    if not found:
        sys.exit(f"systemd-analyze security: {made.stdout}{made.stderr}")
    print(f"exposure {found[1]}, at most {EXPOSURE_MAX}")
    sys.exit(0 if float(found[1]) <= EXPOSURE_MAX else 1)


if __name__ == "__main__":
    main()
