# SPDX-License-Identifier: Apache-2.0
"""What the end-to-end tests share: a daemon on a socket of its own, guests whose consoles are
watched, and checks. A test file ends with `vmswap_e2e.main(globals())`: each function test_* is a
test; it gets a Rig, which ends every process it started and removes its folder, however it ends.

A guest that prints BAD, ends, or is silent for too long fails whatever waits for it.
"""
import ctypes
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback

from vmswap_rpc import Rpc, RpcError

TOP = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
BUILD = os.environ.get("VMSWAP_BUILD", os.path.join(TOP, "build", "release"))
# Silence that counts as a failure: a guest prints every second or round; machines may be loaded.
SILENCE_S = 30
PAGE = 4096
MIB = 1 << 20
UID_NOBODY = 65534
SANDBOX = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"
# What a guest kernel prints when it is unhappy.
COMPLAINT = re.compile(
    r"BUG:|Oops|Call Trace|hung task|blocked for more than|soft lockup|rcu:.*stall|I/O error"
    r"|Kernel panic|unable to handle|general protection|Machine check|mce:|FAILED|\bWARNING:")


class Skip(Exception):
    """The machine lacks something: exit 77."""


class Failure(AssertionError):
    pass


def check(condition, text):
    if not condition:
        raise Failure(text)


def program(name):
    for folder in ("bin", "tests"):
        path = os.path.join(BUILD, folder, name)
        if os.path.exists(path):
            return path
    raise Failure(f"{name} is not built in {BUILD}")


def wait_until(condition, text, timeout_s=30):
    """Polls until condition() is true and returns what it returned. text may be a function."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise Failure(f"not within {timeout_s} s: {text() if callable(text) else text}")
        time.sleep(0.02)


class Console:
    """A process and the lines it prints, read by a thread."""

    def __init__(self, name, argv, **options):
        self.name = name
        self.lines = []
        self.last_ns = time.monotonic()
        self.changed = threading.Condition()
        self.read_to_end = None  # the process whose output has ended
        self.process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            start_new_session=True, **options)
        self.pid = self.process.pid
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        # Of this process: a daemon that is started again has others by the time this one has ended.
        process, lines, changed = self.process, self.lines, self.changed
        for line in process.stdout:
            with changed:
                lines.append(line.decode(errors="replace").rstrip())
                self.last_ns = time.monotonic()
                changed.notify_all()
        with changed:
            self.read_to_end = process
            changed.notify_all()

    @property
    def ended(self):
        """Of this process: a daemon that was started again goes on under the same name."""
        return self.read_to_end is self.process

    def tail(self, count=15):
        return "\n".join(f"    {self.name}| {line}" for line in self.lines[-count:])

    def mark(self):
        """A place in the output: expect(…, since=mark) looks behind it only."""
        return len(self.lines)

    def threads(self):
        """Where each thread of a living process is, for the report of a failure."""
        if self.process.poll() is not None:
            return f"    {self.name}: ended with {self.process.returncode}"
        lines = []
        if not os.path.exists(f"/proc/{self.pid}"):
            return f"    {self.name}: its worker {self.pid} has ended"
        for thread in sorted(os.listdir(f"/proc/{self.pid}/task"), key=int):
            base = f"/proc/{self.pid}/task/{thread}"
            lines.append(f"    {self.name}: {thread} {read_file(base + '/comm')} in "
                         f"{read_file(base + '/wchan')} {read_file(base + '/syscall')}")
        return "\n".join(lines)

    def bad_lines(self):
        return [line for line in self.lines if re.match(r'BAD|.*"status":"BAD"', line)]

    def check_good(self):
        check(not self.bad_lines(), f"{self.name}: {self.bad_lines()[:3]}")

    def expect(self, pattern, timeout_s=60, since=0, count=1, silence_s=SILENCE_S):
        """Waits for `count` lines with the pattern; returns the match of the last one."""
        regex = re.compile(pattern)
        deadline = time.monotonic() + timeout_s
        with self.changed:
            while True:
                self.check_good()
                found = [m for m in map(regex.search, self.lines[since:]) if m]
                if len(found) >= count:
                    return found[-1]
                now = time.monotonic()
                check(not self.ended, f"{self.name} ended, no {pattern!r}:\n{self.tail()}")
                check(now < deadline, f"{self.name}: no {count} x {pattern!r} within "
                      f"{timeout_s} s:\n{self.tail()}")
                check(now - max(self.last_ns, deadline - timeout_s) < silence_s,
                      f"{self.name} is silent for {silence_s} s:\n{self.tail()}")
                self.changed.wait(0.2)

    def send(self, text):
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def signal(self, number):
        os.kill(self.pid, number)

    def wait(self, timeout_s=60):
        """The exit status."""
        try:
            status = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise Failure(f"{self.name} does not end within {timeout_s} s:\n{self.tail()}")
        self.reader.join(timeout_s)
        return status

    def end(self):
        """Kills what is left, children included: they hold the other end of the console."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        self.reader.join(10)
        self.process.stdin.close()
        self.process.stdout.close()


class Guest(Console):
    """Something with guest memory that prints OK while its memory is right."""

    def goes_on(self, lines=2, timeout_s=90):
        """New OK lines come."""
        self.expect(r'^OK|"status":"OK"', timeout_s, since=self.mark(), count=lines)

    def verify(self, timeout_s=180):
        """The guest looks at each page now."""
        since = self.mark()
        self.ask_to_verify()
        found = self.expect(r"^VERIFIED .* bad=(\d+)|^FULL", timeout_s, since=since)
        check(found[1] in (None, "0"), f"{self.name}: {found[0]}")
        self.check_good()

    def ask_to_verify(self):
        self.signal(signal.SIGUSR1)

    def memory_bytes(self):
        """RAM the guest memory takes: blocks of its largest shared mapping's file."""
        return os.stat(largest_shared_mapping(self.pid)).st_blocks * 512

    def open_userfaultfds(self):
        return [fd for fd in os.listdir(f"/proc/{self.pid}/fd")
                if "userfaultfd" in read_link(f"/proc/{self.pid}/fd/{fd}")]

    def finish(self, timeout_s=120):
        """SIGTERM: verifies all and ends by itself."""
        self.signal(signal.SIGTERM)
        status = self.wait(timeout_s)
        self.check_good()
        check(status == 0, f"{self.name} ended with {status}:\n{self.tail()}")


# QEMU 7.2 with several vCPU threads runs a guest into the int3 by which its kernel patches itself:
# one boot of some hundreds with two CPUs ends with "Oops: int3" in sched_clock_cpu().
BOOTS_MAX = 3
TCG_BROKE_IT = r"Oops: int3"
# And it loses the flags of a vCPU: the kernel finds bits set that no x86 CPU has (22 to 31), next
# to registers that are all right. No content of memory does that.
IMPOSSIBLE_FLAGS = re.compile(r"EFLAGS: (?!00[0-3])[0-9a-f]{8}\b")


class Qemu(Guest):
    """A QEMU guest; its console is the serial line."""

    qmp_path = None

    def ask_to_verify(self):
        self.send("v")

    def boots(self):
        """False when the guest has died of what TCG does to its kernel, and of nothing else."""
        found = self.expect(rf"^READY|{TCG_BROKE_IT}", 120, silence_s=60)
        if found.group(0) == "READY":
            self.expect(r"^OK", count=2)
            return True
        return False

    def has_impossible_flags(self):
        return any(map(IMPOSSIBLE_FLAGS.search, self.lines))

    def check_no_complaint(self):
        first = next(i for i, line in enumerate(self.lines) if line.startswith("READY"))
        bad = [line for line in self.lines[first:] if COMPLAINT.search(line)]
        check(not bad, f"{self.name}: the guest complains: {bad[:3]}\n{self.tail()}")

    def qmp(self, command, **arguments):
        import socket
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(60)
            connection.connect(self.qmp_path)
            stream = connection.makefile("rw")
            stream.readline()
            for request in ({"execute": "qmp_capabilities"},
                            {"execute": command, "arguments": arguments}):
                stream.write(json.dumps(request) + "\n")
                stream.flush()
                reply = {}
                while "return" not in reply and "error" not in reply:
                    reply = json.loads(stream.readline())
            check("return" in reply, f"QMP {command}: {reply}")
            return reply["return"]


def read_link(path):
    try:
        return os.readlink(path)
    except OSError:
        return ""


def read_file(path):
    try:
        with open(path) as file:
            return file.read().strip()
    except OSError:
        return ""


def children(pid):
    return [int(child) for child in read_file(f"/proc/{pid}/task/{pid}/children").split()]


def largest_shared_mapping(pid):
    """Its path below /proc, which opens the file behind it."""
    best = (0, None)
    with open(f"/proc/{pid}/maps") as maps:
        for line in maps:
            field = line.split()
            start, end = (int(x, 16) for x in field[0].split("-"))
            if field[1][1:4:2] == "ws":
                best = max(best, (end - start, f"/proc/{pid}/map_files/{start:x}-{end:x}"))
    check(best[1], f"pid {pid} has no shared mapping")
    return best[1]


def cached_pages(path, size_bytes):
    """Pages of a file that are in the page cache (mincore)."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int,
                          ctypes.c_int, ctypes.c_long]
    libc.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p]
    libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    fd = os.open(path, os.O_RDONLY)
    address = libc.mmap(None, size_bytes, 1, 1, fd, 0)
    os.close(fd)
    check(address != ctypes.c_void_p(-1).value, f"cannot map {path}")
    vector = ctypes.create_string_buffer(size_bytes // PAGE)
    rc = libc.mincore(address, size_bytes, vector)
    libc.munmap(address, size_bytes)
    check(rc == 0, "mincore")
    return sum(byte & 1 for byte in vector.raw)


class Vm:
    """An attached VM, over one connection."""

    def __init__(self, daemon, name):
        self.daemon = daemon
        self.rpc = daemon.rpc
        self.name = name

    def status(self):
        status = self.rpc.call("vm.status", vm=self.name)
        metrics = status["metrics"]
        total = sum(metrics[k] for k in
                    ("resident_pages", "staging_pages", "swap_pages", "zero_pages"))
        check(total == status["pages"], f"{self.name}: the pages do not add up: {metrics}")
        return status

    def metrics(self):
        return self.status()["metrics"]

    @property
    def state(self):
        return self.status()["state"]

    def start(self, operation, **params):
        return self.rpc.call(f"vm.{operation}", vm=self.name, **params)["job"]

    def wait_job(self, job, timeout_s=120):
        return self.rpc.call("job.wait", timeout_s + 5, job=job, timeout_ms=timeout_s * 1000)

    def run(self, operation, timeout_s=120, **params):
        """The operation, to its end: it must be done and the state must be the one it leads to."""
        after = {"enable": "pending", "trim": "pending", "swap_out": "active",
                 "disable": "ready"}[operation]
        job = self.wait_job(self.start(operation, **params), timeout_s)
        check(job["state"] == "done", f"{self.name}: {operation}: {job}")
        check(self.state == after, f"{self.name} is {self.state} after {operation}")
        return job

    def detach(self, timeout_s=120):
        self.rpc.call("vm.detach", timeout_s, vm=self.name)

    def check_refused(self, code, operation, **params):
        """The call must end in this error; returns it."""
        try:
            self.rpc.call(f"vm.{operation}", vm=self.name, **params)
        except RpcError as error:
            check(error.code == code, f"{operation}: {error}")
            return error
        raise Failure(f"{self.name}: {operation} should have been refused")


class Daemon(Console):
    """vmswapd. The process that was started is the supervisor: signal() and wait() are about it;
    pid is that of the first worker."""

    def __init__(self, folder, shards, args, name):
        self.socket = os.path.join(folder, f"{name}.sock")
        if not any(arg.startswith("--swap-") and arg != "--swap-limit" for arg in args):
            args = ["--swap-dir", folder, *args]
        if "--seccomp" not in args:
            # A call that no list has ends the worker, and so the test.
            args = ["--seccomp", "kill", *args]
        super().__init__(name, [program("vmswapd"), "--foreground", "--shards", str(shards),
                                "--socket", self.socket, *args])
        self.rpc = None
        wait_until(self._connect, "the daemon's socket answers")
        self.idle_fds = self.open_fds()

    def _connect(self):
        """To a worker of this supervisor: that of a dead one, which --recover ends, may answer."""
        check(self.process.poll() is None, f"{self.name} ended:\n{self.tail()}")
        try:
            self.rpc = Rpc(self.socket)
            status = self.rpc.call("daemon.status")
        except (OSError, EOFError):
            return False
        self.pid = status["worker_pid"]
        return status["supervisor_pid"] == self.process.pid

    def open_fds(self):
        """What the daemon has open, but for the events its threads make once and keep."""
        folder = f"/proc/{self.pid}/fd"
        links = [read_link(f"{folder}/{fd}") for fd in os.listdir(folder)]
        return sorted(re.sub(r"\d+", "N", link) for link in links if "eventfd" not in link)

    def attach(self, *pids, **params):
        """Dwell 0 unless said otherwise: fine for guests without disks."""
        params.setdefault("dwell", 0)
        return Vm(self, self.rpc.call("vm.attach", pids=list(pids), **params)["vm"])

    def refused(self, *pids, **params):
        try:
            self.attach(*pids, **params)
        except RpcError as error:
            check(error.code in (-32002, -32000), f"attach: {error}")
            return error
        raise Failure(f"attaching {pids} should have been refused")

    def check_idle(self):
        """Nothing is attached and nothing of what was is left."""
        wait_until(lambda: self.rpc.call("vm.list")["vms"] == [], "no VM is left", 10)
        wait_until(lambda: len(self.open_fds()) <= len(self.idle_fds),
                   lambda: f"descriptors at first: {self.idle_fds}, now: {self.open_fds()}", 10)
        wait_until(lambda: self.used_bytes() == 0, "no slot is in use")

    def used_bytes(self):
        return self.rpc.call("daemon.status")["store"]["used_bytes"]

    def swap_file(self):
        """Path below /proc of the swap file, and its size."""
        store = self.rpc.call("daemon.status")["store"]
        # As it was made, or as a recovery finds it.
        unnamed = tuple(os.path.join(store["path"], name) for name in ("#", ".vmswapd-"))
        for fd in os.listdir(f"/proc/{self.pid}/fd"):
            path = f"/proc/{self.pid}/fd/{fd}"
            target = read_link(path)
            if target == store["path"] or (store["kind"] == "unnamed" and
                                           target.startswith(unnamed)):
                return path, os.stat(path).st_size
        raise Failure(f"no descriptor of the swap file: {store}")

    def signal(self, number):
        """To the supervisor."""
        os.kill(self.process.pid, number)

    def kill(self):
        """SIGKILL to both: nobody replaces the worker."""
        self.signal(signal.SIGKILL)
        self.process.wait()
        os.kill(self.pid, signal.SIGKILL)
        wait_until(lambda: read_file(f"/proc/{self.pid}/stat") == "", "the worker is gone")
        self.wait()

    def stop(self, timeout_s=120):
        """SIGTERM, the orderly end."""
        if self.rpc:
            self.rpc.close()
        self.signal(signal.SIGTERM)
        status = self.wait(timeout_s)
        check(status == 0, f"vmswapd ended with {status}:\n{self.tail()}")


class Rig:
    """What one test started, and its folder."""

    def __init__(self, folder):
        self.folder = folder
        self.consoles = []
        self.undo = []

    def keep(self, console):
        self.consoles.append(console)
        return console

    def daemon(self, *args, shards=2, name="vmswapd"):
        return self.keep(Daemon(self.folder, shards, list(args), name))

    def guest(self, *args, name="guest", until=r"READY", **options):
        guest = self.keep(Guest(name, [program("vmswap-guest"), *args], **options))
        if until:
            guest.expect(until)
        return guest

    def toy(self, mib=64):
        toy = self.keep(Guest("kvm_toy", [program("kvm_toy"), str(mib)]))
        toy.expect(r"READY|no KVM")
        if any(line.startswith("no KVM") for line in toy.lines):
            raise Skip(toy.lines[-1])
        return toy

    def disk(self, name, pages, generation):
        """A file with the pattern of pattern.c, for guests to check what they read."""
        path = os.path.join(self.folder, name)
        subprocess.run([program("make_pattern"), path, str(pages), str(generation)], check=True)
        return path

    def qemu(self, name="qemu", mib=512, cpus=1, boot="", machine=(), wait=True):
        """Boots the test guest; `boot` is for its kernel command line (guest_init.c)."""
        image = guest_image()
        path = os.path.join(self.folder, name)
        argv = [shutil.which("qemu-system-x86_64"),
                "-machine", "q35,memory-backend=mem", "-m", f"{mib}M", "-smp", str(cpus),
                "-object", f"memory-backend-memfd,id=mem,size={mib}M,share=on",
                "-accel", "tcg,thread=multi", "-nodefaults", "-no-reboot", "-display", "none",
                "-serial", "stdio", "-sandbox", SANDBOX,
                "-qmp", f"unix:{path}.qmp,server=on,wait=off",
                "-kernel", image["kernel"], "-initrd", image["initramfs"],
                "-append", f"console=ttyS0 panic=-1 {boot}", *machine]
        for _ in range(BOOTS_MAX):
            qemu = self.keep(Qemu(name, argv))
            qemu.qmp_path = f"{path}.qmp"
            if not wait or qemu.boots():
                return qemu
            print(f"{name}: QEMU's TCG broke its guest while it booted, nothing was attached:\n"
                  f"{qemu.tail(40)}", flush=True)
            qemu.end()
        raise Failure(f"{name} does not boot")

    def on_end(self, function):
        """Called at the end, last first, after all processes have ended."""
        self.undo.append(function)

    def end(self):
        # Guests first: a daemon that is killed while pages are out leaves them waiting.
        for console in sorted(self.consoles, key=lambda c: isinstance(c, Daemon)):
            console.end()
        for function in reversed(self.undo):
            function()
        shutil.rmtree(self.folder, ignore_errors=True)


def guest_image():
    for tool, package in (("qemu-system-x86_64", "qemu-system-x86"), ("cpio", "cpio")):
        if not shutil.which(tool):
            raise Skip(f"{tool} is missing: install {package}")
    made = subprocess.run([os.path.join(TOP, "tools", "guest-image"), "--init",
                           program("guest_init")], capture_output=True, text=True)
    if made.returncode != 0:
        raise Skip(f"no guest image: {made.stderr.strip()}")
    return dict(line.split("=", 1) for line in made.stdout.splitlines())


def need_root():
    if os.geteuid() != 0:
        raise Skip("needs root: userfaultfd, ptrace and /proc/PID/map_files of other processes")


def run_test(name, function):
    folder = tempfile.mkdtemp(prefix=f"vmswap-{name[5:25]}-", dir="/var/tmp")
    os.chmod(folder, 0o755)
    rig = Rig(folder)
    begin = time.monotonic()
    try:
        function(rig)
        result = "passed"
    except Skip as skip:
        result = f"skipped: {skip}"
    except Exception:  # pylint: disable=broad-except
        traceback.print_exc(file=sys.stdout)
        for console in rig.consoles:
            print(console.tail(), console.threads(), sep="\n", flush=True)
        result = "FAILED"
    finally:
        rig.end()
    print(f"{name}: {result} ({time.monotonic() - begin:.1f} s)", flush=True)
    return result.split(":")[0]


def main(names):
    """Runs the tests of a file, or those named on the command line."""
    tests = {name: f for name, f in names.items() if name.startswith("test_")}
    wanted = sys.argv[1:] or list(tests)
    try:
        need_root()
    except Skip as skip:
        print(skip)
        sys.exit(77)
    results = [run_test(name, tests[name]) for name in wanted]
    if "FAILED" in results:
        sys.exit(1)
    sys.exit(0 if "passed" in results else 77)
