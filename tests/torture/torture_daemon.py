# SPDX-License-Identifier: Apache-2.0
"""The daemon under torture: it may lose its worker at any moment, so each call may lose its
connection."""
import functools
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

import vmswap_e2e
import vmswap_probes
from vmswap_e2e import Failure, check, program, wait_until
from vmswap_rpc import Rpc, RpcError

# A daemon that answers no ping for so long has stalled, whatever else it does.
PING_S = 2
# Until a new worker answers, after the old one was killed.
RESTART_S = 20
# The supervisor gives up after five deaths in 30 s (ctl/supervisor).
DEATHS_MAX = 4
DEATHS_S = 32


class Lost(Exception):
    """The connection broke before the answer came: done or not, nobody knows."""


def does_help_say(name, word):
    text = subprocess.run([program(name), "--help"], capture_output=True, text=True, check=False)
    return word in text.stdout + text.stderr


@functools.lru_cache
def probes():
    """Of the program that all of this is about: {name: offsets}."""
    return vmswap_probes.probes_of(program("vmswapd"))


class NextArmed:
    """What the daemon, or a process that becomes the daemon, executes next dies at a probe."""

    def __init__(self, pid, name):
        script = os.path.join(vmswap_e2e.TOP, "tests", "support", "arm_next.py")
        self.console = vmswap_e2e.Console(
            "arm_next", [sys.executable, "-B", script, str(pid), program("vmswapd"), name])
        self.console.expect("^SEIZED")

    def pid(self):
        """Of what was executed, once it was."""
        found = int(self.console.expect(r"^ARMED (\d+)", RESTART_S)[1])
        self.console.wait()
        self.console.end()
        return found


class TortureDaemon(vmswap_e2e.Daemon):
    """vmswapd, by its socket."""

    def __init__(self, rig, args, shards, number):
        # Tables outlive all processes where this is of a tmpfs; elsewhere "recover" is not drawn.
        self.state_dir = tempfile.mkdtemp(prefix="vmswap-torture-", dir="/dev/shm")
        rig.on_end(lambda: shutil.rmtree(self.state_dir, ignore_errors=True))
        self.args = [*args, "--state-dir", self.state_dir]
        self.shards = shards
        self.rig = rig
        self.lost = 0
        super().__init__(rig.folder, shards, self.args, f"vmswapd{number}")
        rig.keep(self)
        self.has_worker = self.worker_pid() != self.process.pid
        self.can_recover = self.ask("daemon.status")["recoverable"]
        self.can_upgrade = self.has_worker and does_help_say("vmswapctl", "upgrade")
        self.can_arm = self.has_worker and bool(probes())
        self.deaths = []
        self.armed = None  # (pid, probe)
        self.may_end = False  # its end is what is waited for
        self.idle_threads = self.threads_count()
        self.idle_fds = self.open_fds()

    def named_vms(self):
        """Numbers of those that have names in the state directory, or some of them."""
        return {name.split(".")[0] for name in os.listdir(self.state_dir)
                if name.startswith("vm-")}

    def worker_pid(self):
        """Of the process that does the work: the daemon itself while there is no supervisor."""
        return self.ask("daemon.status").get("worker_pid", self.process.pid)

    def open_fds(self):
        """Of the worker of this moment."""
        if hasattr(self, "has_worker"):
            self.pid = self.worker_pid()
        return super().open_fds()

    def threads_count(self):
        """But for the kernel's own, which do what io_uring cannot do at once and come and go."""
        folder = f"/proc/{self.worker_pid()}/task"
        names = [vmswap_e2e.read_file(f"{folder}/{tid}/comm") for tid in os.listdir(folder)]
        return len([name for name in names if name and not name.startswith("iou-")])

    def reconnect(self):
        """Until the daemon answers again; the time that took, in seconds."""
        begin = time.monotonic()
        self.rpc.close()

        def answers():
            check(self.process.poll() is None, f"{self.name} ended:\n{self.tail()}")
            try:
                self.rpc = Rpc(self.socket)
                return self.rpc.call("daemon.ping", PING_S)["pong"]
            except (OSError, RpcError, KeyError):
                return False
        wait_until(answers, f"{self.name} answers again", RESTART_S)
        return time.monotonic() - begin

    def call(self, method, timeout_s=60, **params):
        """Raises Lost, connected again, when the connection broke."""
        try:
            return self.rpc.call(method, timeout_s, **params)
        except TimeoutError as error:
            raise Failure(f"{method}: {error}\n{self.tail()}\n{self.threads()}") from error
        except OSError as error:
            check(self.has_worker, f"{method}: {error}\n{self.tail()}")
            self.lost += 1
            if not (self.may_end and self.process.poll() is not None):
                self.reconnect()
            raise Lost(method) from error

    def ask(self, method, timeout_s=60, **params):
        """A question that changes nothing: asked again when the answer was lost."""
        for _ in range(10):
            try:
                return self.call(method, timeout_s, **params)
            except Lost:
                pass
        raise Failure(f"{method}: the daemon loses each answer\n{self.tail()}")

    def ping(self):
        """The control thread is never stalled, not by a client either. Seconds."""
        begin = time.monotonic()
        self.ask("daemon.ping", RESTART_S)
        took = time.monotonic() - begin
        check(took < (RESTART_S if self.has_worker else PING_S), f"a ping took {took:.1f} s")
        return took

    def is_spared(self, count=1):
        """So many deaths more and the supervisor would call it a crash loop; else they count."""
        now = time.monotonic()
        self.deaths = [death for death in self.deaths if now - death < DEATHS_S]
        if len(self.deaths) + count > DEATHS_MAX:
            return True
        self.deaths += [now] * count
        return False

    def kill_worker_in(self, seconds):
        """From another thread, so that it hits whatever goes on. Returns the thread."""
        pid = self.worker_pid()

        def kill():
            time.sleep(seconds)
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        thread = threading.Thread(target=kill)
        thread.start()
        return thread

    def try_upgrade(self):
        """To the same program. What vmswapctl said."""
        return subprocess.run([program("vmswapctl"), "--socket", self.socket, "upgrade"],
                              capture_output=True, text=True, timeout=60, check=False)

    def upgrade(self):
        """The supervisor forgets the deaths that were."""
        done = self.try_upgrade()
        check(done.returncode == 0, f"upgrade: {done.stdout} {done.stderr}\n{self.tail()}")
        self.reconnect()
        self.deaths = []

    def spare(self, count):
        """Room for so many deaths before the supervisor calls it a crash loop."""
        if len(self.deaths) + count > DEATHS_MAX:
            self.upgrade()
        self.deaths += [time.monotonic()] * count

    def arm(self, name, pid=None):
        """Who comes to the probe dies there, in the worker of this moment or @pid. Its pid."""
        pid = pid or self.worker_pid()
        if vmswap_probes.arm(pid, program("vmswapd"), probes()[name]):
            self.armed = (pid, name)
        return pid

    def arm_next(self, name):
        """The same in the worker that comes next."""
        return NextArmed(self.process.pid, name)

    def disarm(self):
        """Nobody dies any more. The probe at which the worker did, if any."""
        if not self.armed:
            return None
        (pid, name), self.armed = self.armed, None
        if vmswap_probes.disarm(pid, program("vmswapd"), probes()[name]):
            return None
        return name if self.died_at_probe(pid) else None

    def died_at_probe(self, pid):
        """By the supervisor's words on the death of that worker."""
        pattern = re.compile(rf"worker {pid} (died: (signal 5 )?|was replaced)")

        def words():
            return next(filter(None, map(pattern.search, self.lines)), None)
        return bool(wait_until(words, f"{self.name} tells how {pid} died\n{self.tail()}", 10)[2])

    def kill_and_recover(self, with_worker, probe=None):
        """The supervisor dies, its worker too or not; a new daemon takes over from the VMMs, dies
        at the probe, and yet another one takes over. Whether it did."""
        worker = int(vmswap_e2e.read_file(os.path.join(self.state_dir, "worker.pid")) or 0)
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)
        if with_worker and vmswap_e2e.read_file(f"/proc/{worker}/comm").startswith("vmswapd"):
            os.kill(worker, signal.SIGKILL)
        has_died = bool(probe) and self.die_recovering(probe)
        self.start_again()
        return has_died

    def rescue(self):
        """All memory back, the daemon's end, and a new one. What vmswapctl said."""
        done = subprocess.run([program("vmswapctl"), "--socket", self.socket, "rescue",
                               "--state-dir", self.state_dir],
                              capture_output=True, text=True, timeout=120, check=False)
        check(done.returncode == 0, f"rescue: {done.stdout} {done.stderr}\n{self.tail()}")
        check(self.wait() == 0, f"{self.name} ended with {self.process.returncode}")
        self.start_again()
        return "; ".join(done.stdout.split("\n")[:-1])

    def recover_args(self):
        return [program("vmswapd"), "--foreground", "--shards", str(self.shards),
                "--socket", self.socket, *self.store_args(), "--recover"]

    def die_recovering(self, probe):
        recovering = vmswap_e2e.Console(
            f"{self.name}-dies", ["/bin/sh", "-c", 'read -r _; exec "$0" "$@"',
                                  *self.recover_args()])
        armer = NextArmed(recovering.pid, probe)
        recovering.send("\n")
        armer.pid()
        try:
            return recovering.wait(10) == -signal.SIGTRAP
        except Failure:
            return False  # it has not come there
        finally:
            recovering.end()

    def start_again(self):
        """Console's constructor, with --recover."""
        vmswap_e2e.Console.__init__(self, self.name, self.recover_args())
        self.deaths = []
        self.armed = None
        self.rpc.close()
        wait_until(self._connect, f"{self.name} has recovered", RESTART_S)

    def stop(self, timeout_s=120):
        super().stop(timeout_s)
        left = os.listdir(self.state_dir)
        check(left == [], f"left in the state directory: {left}")

    def store_args(self):
        if any(arg.startswith("--swap-") and arg != "--swap-limit" for arg in self.args):
            return self.args
        return ["--swap-dir", self.rig.folder, *self.args]

    def check_idle(self):
        """Nothing is attached, and nothing of what was is left: slot, descriptor, thread."""
        super().check_idle()
        wait_until(lambda: self.threads_count() <= self.idle_threads,
                   lambda: f"{self.threads_count()} threads, {self.idle_threads} at first", 10)
