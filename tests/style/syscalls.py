#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Each system call of the worker is named beside it, for the filters of its threads (io/filter.h).

usage: syscalls.py [--self-test]

A call is a function of libc or liburing that enters the kernel, or syscall(SYS_…). Its comment,
`/* @ROLE… CALL… */`, is on the same line or on the one before, and has the call's name. In ctl/
what libraries do in control threads too (control_library_calls in io/filter.c) needs none.
"""
import re
import sys

import tree

# (function, the calls one of which its comment names); of libc wrappers only those we use.
CALLS = {
    **{name: {name} for name in """
        accept4 add_key bind clock_nanosleep close close_range connect dup2 dup3 epoll_create1
        epoll_ctl epoll_wait fallocate fchmod fchmodat fchown fcntl fdatasync flock fsync
        ftruncate geteuid getrandom getsockopt ioctl keyctl kill lchown linkat listen lseek
        madvise memfd_create mincore mkdir mkdirat mlock mlockall mmap mprotect mremap munlock
        munmap openat pipe2 poll ppoll prctl preadv process_madvise pwritev recvmsg renameat
        renameat2 request_key rmdir sched_yield sendmsg setsockopt shutdown socket socketpair
        statfs symlinkat timerfd_create timerfd_settime umask unlink unlinkat""".split()},
    "read": {"read"}, "write": {"write"}, "readlink": {"readlink"},
    "open": {"openat"}, "opendir": {"openat"}, "fopen": {"openat"}, "close_fd": {"close"},
    "stat": {"newfstatat"}, "lstat": {"newfstatat"}, "fstat": {"fstat", "newfstatat"},
    "fstatat": {"newfstatat"}, "fstatfs": {"fstatfs"}, "fstatvfs": {"fstatfs"},
    "statvfs": {"statfs"}, "eventfd": {"eventfd2"}, "signalfd": {"signalfd4"},
    "pread": {"pread64"}, "pwrite": {"pwrite64"}, "recv": {"recvfrom"}, "send": {"sendto"},
    "nanosleep": {"clock_nanosleep"}, "waitpid": {"wait4"}, "waitid": {"waitid"},
    "sigaction": {"rt_sigaction"}, "signal": {"rt_sigaction"},
    "fork": {"clone"}, "vfork": {"vfork"}, "pthread_create": {"clone3"},
    "posix_spawn": {"clone3"}, "execveat": {"execveat"}, "isatty": {"ioctl"},
    "getrlimit": {"prlimit64"}, "setrlimit": {"prlimit64"},
    "pthread_setaffinity_np": {"sched_setaffinity"},
    "io_uring_queue_init_params": {"io_uring_setup"}, "io_uring_queue_exit": {"munmap"},
    **{f"io_uring_{name}": {"io_uring_register"} for name in (
        "register", "register_buffers", "register_sync_cancel")},
    **{f"io_uring_{name}": {"io_uring_enter"} for name in (
        "submit", "submit_and_wait", "submit_and_wait_timeout", "submit_and_get_events",
        "peek_cqe", "wait_cqe")},
}
FOLDERS = ("queue", "io", "engine", "ctl")
# No thread with a filter runs these.
EXEMPT = {
    "queue/base/err.h": "closes for everybody; who calls it says so",
    "ctl/client/": "in the VMM's process", "ctl/run/": "a program of its own",
    "ctl/supervisor/": "the process above", "ctl/main.c": "before the daemon",
    "ctl/confine.c": "the start", "ctl/recover.c": "the process above",
    "ctl/injector_process.c": "the injector", "ctl/injector_session.c": "the injector",
    "ctl/tracee.c": "the injector", "ctl/inject_uffd.c": "the injector",
}
SITE = re.compile(r"(?<![\w.>])(" + "|".join(sorted(CALLS, key=len, reverse=True)) +
                  r")\(|\bsyscall\(SYS_(\w+)")
NOTE = re.compile(r"/\* (?:@[a-z]+ )+([a-z0-9_ ]+)\*/")
COMMENT = re.compile(r"\"[^\"]*\"|/\*.*?\*/|^\s*\*.*|/\*.*")


def library_calls(top):
    text = tree.read(top, "io/filter.c")
    lists = re.findall(r"library_calls\[\] = \{(.*?)\};", text, re.S)
    return set(re.findall(r"SYS_(\w+)", " ".join(lists)))


def sites(text):
    """(line number, function, calls that would do, calls noted beside it)"""
    lines = text.split("\n")
    own = set(re.findall(r"^static [^;=()]*?(\w+)\(", text, re.M))
    in_comment = False
    for number, line in enumerate(lines, 1):
        code = COMMENT.sub("", line)
        if in_comment or (line.lstrip().startswith("/*") and "*/" not in line):
            in_comment = "*/" not in line
            continue
        above = lines[number - 2] if number > 1 else ""
        above = above if above.lstrip().startswith("/* ") else ""
        noted = set(" ".join(NOTE.findall(above + line)).split())
        for match in SITE.finditer(code):
            if match[1] and (match[1] in own or line.startswith("int ")):
                continue
            yield number, match[1] or match[2], CALLS.get(match[1], {match[2]}), noted


def check(top, common=frozenset()):
    violations = []
    paths = [path for path in tree.files(top, FOLDERS) if not path.startswith(tuple(EXEMPT))]
    for path in paths:
        for number, function, calls, noted in sites(tree.read(top, path)):
            is_common = path.startswith("ctl/") and calls & common
            if not is_common and not calls & noted:
                violations.append(
                    f"{path}:{number}: {function}(): who calls {' or '.join(sorted(calls))}? "
                    f"Say so beside it: /* @ROLE {sorted(calls)[0]} */ (io/filter.h)")
    return violations, len(paths)


CASES = (
    ("io/a.c", "\tresult = read(fd, raw, size);\n", "read()"),
    ("io/a.c", "\tresult = read(fd, raw, size); /* @shard read */\n", None),
    ("io/a.c", "\t/* @shard @disk read */\n\tresult = read(fd, raw, size);\n", None),
    ("io/a.c", "\t/* @shard write */\n\tresult = read(fd, raw, size);\n", "read()"),
    ("io/a.c", "/*\n * read(2) of what is there: read(fd)\n */\n", None),
    ("io/a.c", '\tproblem_set("read(2) failed: read()");\n', None),
    ("engine/a.c", "\tx->read(fd);\n\tpage_read(fd);\n", None),
    ("engine/a.c", "static void send(int a)\n{\n}\n\tsend(1);\n", None),
    ("ctl/a.c", "\t(void)syscall(SYS_keyctl, 1);\n", "keyctl"),
    ("ctl/a.c", "\t(void)syscall(SYS_keyctl, 1); /* @control keyctl */\n", None),
    ("ctl/main.c", "\t(void)read(0, 0, 0);\n", None),
)

if __name__ == "__main__":
    if "--self-test" in sys.argv:
        tree.self_test(check, CASES)
    found, looked_at = check(tree.TOP, library_calls(tree.TOP))
    tree.finish(found, looked_at)
