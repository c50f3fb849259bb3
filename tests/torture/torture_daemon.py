# SPDX-License-Identifier: Apache-2.0
"""The daemon under torture: it may lose its worker at any moment, so each call may lose its
connection."""
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time

import vmswap_e2e
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
        self.deaths = []
        self.idle_threads = self.threads_count()
        self.idle_fds = self.open_fds()

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

    def is_spared(self):
        """One death more and the supervisor would call it a crash loop; else it is counted."""
        now = time.monotonic()
        self.deaths = [death for death in self.deaths if now - death < DEATHS_S]
        if len(self.deaths) >= DEATHS_MAX:
            return True
        self.deaths.append(now)
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

    def upgrade(self):
        """To the same program. The answer of vmswapctl."""
        done = subprocess.run([program("vmswapctl"), "--socket", self.socket, "upgrade"],
                              capture_output=True, text=True, timeout=60, check=False)
        check(done.returncode == 0, f"upgrade: {done.stdout} {done.stderr}\n{self.tail()}")
        self.reconnect()

    def kill_and_recover(self, with_worker):
        """The supervisor dies, its worker too or not; a new daemon takes over from the VMMs."""
        worker = self.worker_pid()
        for pid in (self.process.pid, worker) if with_worker else (self.process.pid,):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.wait(10)
        self.reader.join(10)
        self.start_again()

    def start_again(self):
        """Console's constructor, with --recover."""
        vmswap_e2e.Console.__init__(
            self, self.name, [program("vmswapd"), "--foreground", "--shards", str(self.shards),
                              "--socket", self.socket, *self.store_args(), "--recover"])
        self.deaths = []
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
