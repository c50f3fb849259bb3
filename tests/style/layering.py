#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Include arrows point down: queue/base < queue < io < engine < ctl < tools, perf.

usage: layering.py [--self-test]

A layer may include itself and the layers listed for it. Outside headers that only one layer may use
are listed with the folders that may; a folder or a file that is exempt is listed with its reason.
"""
import os
import re
import sys

import tree

MAY_INCLUDE = {
    "queue/base": {"queue/base"},
    "queue": {"queue/base", "queue"},
    "io": {"queue/base", "queue", "io"},
    "engine": {"queue/base", "queue", "io", "engine"},
    # ctl opens and sizes what the engine is given (swap file, shared tables): it sees io headers.
    "ctl": {"queue/base", "queue", "io", "engine", "ctl"},
    # The client library runs inside a VMM: it must not drag the daemon's layers along.
    "ctl/client": {"queue/base", "ctl/client", "ctl"},
}
MAY_INCLUDE["ctl"].add("ctl/client")
MAY_INCLUDE["tools"] = MAY_INCLUDE["ctl"] | {"tools"}
MAY_INCLUDE["perf"] = MAY_INCLUDE["ctl"] | {"perf"}

# (header, who may, why the others beside the layer may)
ONLY_IN = (
    # perf/floor measures the disk bare, without io/uring.c's own work.
    (r"liburing\.h", ("io/", "perf/floor/", "tests/kernel/")),
    (r"liburing/.*", ("io/", "perf/floor/", "tests/kernel/")),
    (r"linux/io_uring\.h", ("io/", "tests/")),
    # tests/kernel states kernel facts; ctl/client makes the uffd in the VMM, without our layers;
    # floors and peers speak to the kernel themselves.
    (r"linux/userfaultfd\.h",
     ("io/", "ctl/client/", "tests/kernel/", "perf/client/", "perf/contestant/")),
    # perf/command/queue_threads.c measures ck_ring against our ring.
    (r"ck_\w+\.h", ("queue/", "perf/command/queue_threads.c")),
    # Keys and round keys are in one file's hands; its test counts what libcrypto allocates.
    (r"openssl/.*", ("engine/cipher.c", "tests/unit/test_cipher_memory.c")),
    # tests/kernel proves what an injected call does.
    (r"sys/ptrace\.h", ("ctl/", "tests/kernel/")),
    # PROBE() keeps the compiler from moving what it stands between.
    (r"sys/sdt\.h", ("queue/base/probe.h",)),
)

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^">]+)[">]', re.M)


def layer_of(path):
    """The longest listed folder that holds @path, or None (tests may include everything)."""
    fitting = [layer for layer in MAY_INCLUDE if path.startswith(layer + "/")]
    return max(fitting, key=len, default=None)


def is_ours(path):
    return path.split("/")[0] in tree.FOLDERS


def judge(path, bracket, header):
    """The violation of one include, or None."""
    for pattern, places in ONLY_IN:
        if re.fullmatch(pattern, header) and not path.startswith(places):
            return f"<{header}> belongs to {', '.join(places)}"
    if bracket == "<":
        return f"<{header}> is ours: use quotes" if is_ours(header) else None
    layer = layer_of(path)
    if layer is None:
        # Tests may include everything, their own neighbours by bare name too.
        return None
    if "/" not in header or not is_ours(header):
        return f'"{header}" does not name its layer'
    target = layer_of(header)
    if target is None or target not in MAY_INCLUDE[layer]:
        return f'{layer} may not include "{header}"'
    return None


def check(top):
    violations = []
    paths = tree.files(top)
    for path in paths:
        text = tree.read(top, path)
        for match in INCLUDE.finditer(text):
            violation = judge(path, *match.groups())
            if violation:
                line = text.count("\n", 0, match.start()) + 1
                violations.append(f"{path}:{line}: {violation}")
    return violations, len(paths)


CASES = (
    ("queue/ring.c", "#include <ck_pr.h>\n#include \"queue/base/bits.h\"\n", None),
    ("io/uring.c", "#include <liburing.h>\n#include \"queue/ring.h\"\n", None),
    ("engine/fault.c", '#include "io/uffd.h"\n', None),
    ("ctl/main.c", '#include "io/swapfile.h"\n#include <sys/ptrace.h>\n', None),
    ("ctl/client/client.c", "#include <linux/userfaultfd.h>\n", None),
    ("tests/kernel/test_poison.c", "#include <linux/userfaultfd.h>\n#include <liburing.h>\n", None),
    ("tests/kernel/test_poison.c", '#include "kernel_test.h"\n', None),
    ("tests/unit/test_poison.c", "#include <liburing.h>\n", "belongs to io/"),
    ("tests/unit/test_ring.c", '#include "queue/ring.c"\n', None),
    ("perf/command/queue_threads.c", "#include <ck_ring.h>\n", None),
    ("perf/contestant/raw.c", "#include <linux/userfaultfd.h>\n", None),
    ("perf/floor/disk.c", "#include <liburing.h>\n#include \"perf/floor/disk.h\"\n", None),
    ("queue/base/log.c", '#include "queue/ring.h"\n', "queue/base may not"),
    ("queue/ring.c", '#include "io/uring.h"\n', "queue may not"),
    ("io/uring.c", '#include "engine/page.h"\n', "io may not"),
    ("io/uring.c", "#include <ck_ring.h>\n", "belongs to queue/"),
    ("engine/fault.c", '  #  include "ctl/rpc.h"\n', "engine may not"),
    ("engine/fault.c", "#include <liburing.h>\n", "belongs to io/"),
    ("engine/fault.h", "#include <linux/userfaultfd.h>\n", "belongs to io/"),
    ("perf/bench/main.c", "#include <linux/userfaultfd.h>\n", "belongs to io/"),
    ("engine/fault.h", "#include <ck_pr.h>\n", "belongs to queue/"),
    ("io/guest.c", "#include <sys/ptrace.h>\n", "belongs to ctl/"),
    ("ctl/client/client.c", '#include "engine/engine.h"\n', "ctl/client may not"),
    ("ctl/main.c", '#include "tools/bar.h"\n', "ctl may not"),
    ("ctl/main.c", '#include "rpc.h"\n', "does not name its layer"),
    ("ctl/main.c", "#include <ctl/rpc.h>\n", "use quotes"),
    ("perf/bench.c", "#include <ck_ring.h>\n", "belongs to queue/"),
    ("engine/cipher.c", "#include <openssl/evp.h>\n", None),
    ("engine/fill.c", "#include <openssl/evp.h>\n", "belongs to engine/cipher.c"),
    ("perf/client/child.c", "#include <liburing.h>\n", "belongs to io/"),
    ("engine/fill.c", "#include <sys/sdt.h>\n", "belongs to queue/base/probe.h"),
)

if __name__ == "__main__":
    if sys.argv[1:] == ["--self-test"]:
        tree.self_test(check, CASES)
    if sys.argv[1:]:
        sys.exit(__doc__)
    tree.finish(*check(tree.TOP))
