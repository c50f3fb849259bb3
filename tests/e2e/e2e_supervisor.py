#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The supervisor: a worker that dies is replaced, a crash loop stops, upgrades go both ways."""
import os
import shutil
import signal
import socket
import subprocess
import threading
import time

import vmswap_e2e
from vmswap_crash import (DEATHS_MAX, into_minimal_mode, into_waiting, next_worker, status_of,
                          worker_of)
from vmswap_e2e import Console, check, program, read_file, wait_until
from vmswap_rpc import Rpc, RpcError


def test_a_worker_that_dies_is_replaced(rig):
    daemon = rig.daemon()
    first = status_of(daemon)
    check(first["supervisor_pid"] == daemon.process.pid, f"{first}")
    check(first["worker_pid"] != daemon.process.pid and first["restarts"] == 0, f"{first}")
    pid_file = os.path.join(first["state_dir"], "supervisor.pid")
    check(first["state_dir"] == daemon.socket + ".state", f"{first}")
    check(open(pid_file, encoding="ascii").read() == f"{daemon.process.pid}\n", "supervisor.pid")
    check(os.stat(first["state_dir"]).st_mode & 0o777 == 0o700, "mode of the folder")
    check(os.stat(pid_file).st_mode & 0o777 == 0o600, "mode of supervisor.pid")

    begin = time.monotonic()
    os.kill(first["worker_pid"], signal.SIGKILL)
    second = next_worker(daemon, first["worker_pid"])
    print(f"answers again after {(time.monotonic() - begin) * 1000:.0f} ms")

    check(second["restarts"] == 1 and second["supervisor_pid"] == daemon.process.pid, f"{second}")
    guest = rig.guest("--size", "64M", "--working-set", "5")
    daemon.rpc = Rpc(daemon.socket)
    vm = daemon.attach(guest.pid)
    vm.run("enable")
    vm.run("swap_out")
    daemon.stop()
    check(not os.path.exists(first["state_dir"]), "the folder is left")
    check(not os.path.exists(daemon.socket), "the socket is left")
    guest.finish()


def test_who_connects_in_the_gap_is_served(rig):
    daemon = rig.daemon()
    worker = status_of(daemon)["worker_pid"]
    failures = []
    done = threading.Event()

    def connect():
        # A connection that was accepted dies with its worker; one that is refused is a failure.
        # With pauses: 64 may wait at the listener, and a restart takes some 20 ms.
        while not done.wait(0.005):
            with socket.socket(socket.AF_UNIX) as client:
                try:
                    client.connect(daemon.socket)
                except OSError as error:
                    failures.append(error)

    thread = threading.Thread(target=connect)
    thread.start()
    for _ in range(3):
        os.kill(worker, signal.SIGKILL)
        worker = next_worker(daemon, worker)["worker_pid"]
    done.set()
    thread.join()

    check(not failures, f"{failures[:3]}")
    # While no worker is there the listener is: a call that is made now is answered by the next.
    os.kill(worker, signal.SIGKILL)
    client = Rpc(daemon.socket)
    try:
        check(client.call("daemon.ping")["pong"], "ping")
    except (OSError, EOFError, RpcError):
        pass  # the dying worker had accepted it
    check(next_worker(daemon, worker)["restarts"] == 4, "restarts")


def test_crash_loops_end_in_waiting_for_the_operator(rig):
    daemon = rig.daemon()
    check(status_of(daemon)["mode"] == "normal", f"{status_of(daemon)}")
    check(into_minimal_mode(daemon)["restarts"] == DEATHS_MAX, "restarts")

    into_waiting(daemon)

    check(worker_of(daemon) == 0, "no worker runs")
    check(daemon.process.poll() is None, "the supervisor stays")
    # The listener is held: who connects waits.
    answers = []
    thread = threading.Thread(target=lambda: answers.append(status_of(daemon)))
    thread.start()
    daemon.signal(signal.SIGHUP)
    check(not answers, "nobody answers")
    daemon.signal(signal.SIGUSR1)
    thread.join(20)
    check(answers and answers[0]["restarts"] == 2 * DEATHS_MAX, f"{answers}")
    check(answers[0]["mode"] == "normal", f"{answers}")
    daemon.signal(signal.SIGTERM)
    check(daemon.wait() == 0, "an orderly end")


def test_a_sigterm_between_two_workers_is_not_lost(rig):
    daemon = rig.daemon()
    guest = rig.guest("--size", "64M", "--working-set", "20")
    vm = daemon.attach(guest.pid)
    vm.run("enable")
    vm.run("swap_out")
    worker = status_of(daemon)["worker_pid"]

    daemon.signal(signal.SIGSTOP)
    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: ") Z " in read_file(f"/proc/{worker}/stat"), "the worker is dead")
    daemon.signal(signal.SIGTERM)
    daemon.signal(signal.SIGCONT)

    check(daemon.wait(30) == 0, "an orderly end")
    check(guest.open_userfaultfds() == [], "the VM is let go")
    guest.verify()


def test_sigterm_ends_a_waiting_supervisor_that_holds_nothing_of_guests(rig):
    daemon = rig.daemon()
    into_waiting(daemon)

    daemon.signal(signal.SIGTERM)

    check(daemon.wait(10) == 1, "not an orderly end")


def test_a_worker_survives_its_supervisor(rig):
    daemon = rig.daemon()
    worker = status_of(daemon)["worker_pid"]
    daemon.signal(signal.SIGKILL)
    daemon.process.wait()

    status = wait_until(lambda: status_of(daemon), "it answers")

    check(status["worker_pid"] == worker, f"{status}")
    os.kill(worker, signal.SIGTERM)
    wait_until(lambda: not os.path.exists(daemon.socket), "it ends in order")


def test_a_start_that_fails_has_its_exit_status(rig):
    argv = [program("vmswapd"), "--socket", os.path.join(rig.folder, "s")]
    for options, expected in ((["--foreground", "--swap-dir", "/proc"], 1),
                              (["--swap-dir", "/proc"], 1),
                              (["--foreground", "--no-such-option"], 2),
                              (["--no-such-option"], 2)):
        run = subprocess.run([*argv, *options], capture_output=True, text=True, timeout=30)
        check(run.returncode == expected, f"{options}: {run.returncode} {run.stderr}")
        check(run.stderr, f"{options}: it does not say why")
    check(os.listdir(rig.folder) == [], f"left: {os.listdir(rig.folder)}")


def test_it_detaches(rig):
    path = os.path.join(rig.folder, "s")
    run = subprocess.run([program("vmswapd"), "--socket", path, "--swap-dir", rig.folder],
                         capture_output=True, text=True, timeout=30)
    check(run.returncode == 0, f"{run.returncode} {run.stderr}")
    status = Rpc(path).call("daemon.status")
    for pid in (status["supervisor_pid"], status["worker_pid"]):
        check(os.readlink(f"/proc/{pid}/fd/2") == "/dev/null", "it has let go of the terminal")
    os.kill(status["supervisor_pid"], signal.SIGTERM)
    wait_until(lambda: not os.path.exists(f"/proc/{status['supervisor_pid']}"), "it ends")
    check(not os.path.exists(f"/proc/{status['worker_pid']}"), "the worker, too")


def upgrade(daemon, *words):
    run = subprocess.run([program("vmswapctl"), "--socket", daemon.socket, "upgrade", *words],
                         capture_output=True, text=True, timeout=60)
    return run.returncode, run.stdout + run.stderr


def executable(rig, name, text):
    path = os.path.join(rig.folder, name)
    with open(path, "w", encoding="ascii") as file:
        file.write(text)
    os.chmod(path, 0o755)
    return path


def test_an_upgrade_replaces_the_worker(rig):
    daemon = rig.daemon()
    old = status_of(daemon)
    copy = os.path.join(rig.folder, "vmswapd-new")
    shutil.copy(program("vmswapd"), copy)

    status, out = upgrade(daemon, copy)

    check(status == 0, out)
    new = status_of(daemon)
    check(new["worker_pid"] != old["worker_pid"] and new["upgrade"] == "done", f"{new}")
    check(new["restarts"] == 0, "an upgrade is no restart")
    check(os.readlink(f"/proc/{new['worker_pid']}/exe") == copy, "it runs the copy")
    os.kill(new["worker_pid"], signal.SIGKILL)
    newer = next_worker(daemon, new["worker_pid"])
    check(os.readlink(f"/proc/{newer['worker_pid']}/exe") == copy, "and so does the next one")


def test_upgrades_that_cannot_be_are_refused(rig):
    # Not "kill": a shell makes calls that vmswapd has no need of.
    daemon = rig.daemon("--seccomp", "deny")
    old = status_of(daemon)
    other = executable(rig, "other", "#!/bin/sh\necho vmswapd 9.9 layout 999\n")
    silent = executable(rig, "silent", "#!/bin/sh\nexec sleep 60\n")
    open_to_all = executable(rig, "open", "#!/bin/sh\necho vmswapd 9.9 layout 1\n")
    os.chmod(open_to_all, 0o777)

    for path, words in (("/bin/true", "not a vmswapd"), (other, "layout 999"),
                        (silent, "answer"), (open_to_all, "write"),
                        ("/nowhere/vmswapd", "No such file")):
        status, out = upgrade(daemon, path)
        check(status == 1 and words in out, f"{path}: {status} {out}")

    check(status_of(daemon)["worker_pid"] == old["worker_pid"], "the worker stays")


def test_an_upgrade_that_dies_is_taken_back(rig):
    daemon = rig.daemon("--seccomp", "deny")
    old = status_of(daemon)
    line = subprocess.run([program("vmswapd"), "--layout"], capture_output=True, text=True,
                          check=True).stdout.strip()
    # execveat() of a script needs its descriptor in /dev/fd, which the child has closed: it fails.
    broken = executable(rig, "broken", f"#!/bin/sh\necho {line}\n")

    status, out = upgrade(daemon, broken)

    check(status == 1, f"{status} {out}")
    new = status_of(daemon)
    check(new["upgrade"] == "failed" and new["worker_pid"] != old["worker_pid"], f"{new}")


def fake_systemd(path):
    server = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    server.bind(path)
    server.settimeout(20)
    return server


def test_systemd_is_the_second_home(rig):
    path = os.path.join(rig.folder, "notify")
    systemd = fake_systemd(path)
    os.environ["NOTIFY_SOCKET"] = path
    try:
        rig.daemon()
    finally:
        del os.environ["NOTIFY_SOCKET"]
    kept = {}
    while True:
        text, fds, _, _ = socket.recv_fds(systemd, 4096, 4)
        fields = dict(line.split("=", 1) for line in text.decode().split("\n"))
        if "READY" in fields:
            break
        check(fields["FDSTORE"] == "1" and fields["FDPOLL"] == "0" and len(fds) == 1, text)
        kept[fields["FDNAME"]] = fds[0]
    check(sorted(kept) == ["daemon.engine@0.3", "daemon.engine@1.3", "daemon.engine@2.3",
                           "daemon.listener@0.2", "daemon.listener@1.2"], f"{kept}")
    systemd.close()

    # What comes back in any order is the listener again, with the lock, and the store.
    daemon = rig.consoles[0]
    worker = status_of(daemon)["worker_pid"]
    os.kill(daemon.process.pid, signal.SIGKILL)
    daemon.process.wait()
    os.kill(worker, signal.SIGKILL)
    names = sorted(kept, reverse=True)
    script = ("import os,sys\n"
              "os.environ.update(LISTEN_PID=str(os.getpid()), "
              f"LISTEN_FDS='{len(names)}', LISTEN_FDNAMES="
              f"'{':'.join(names)}')\n"
              "os.execv(sys.argv[1], sys.argv[1:])\n")

    def place():
        for i, fd in enumerate(high):
            os.dup2(fd, 3 + i)

    high = [os.dup(kept[name]) for name in names]
    while min(high) < 3 + len(names):
        high = [os.dup(fd) for fd in high]
    again = rig.keep(Console("again", [
        "python3", "-c", script, program("vmswapd"), "--foreground", "--shards", "2",
        "--socket", daemon.socket, "--swap-dir", rig.folder], preexec_fn=place, close_fds=False))
    again.expect(f"{len(names)} of them are ours")
    status = wait_until(lambda: status_of(daemon), "it answers")
    check(status["supervisor_pid"] == again.pid, f"{status}")


if __name__ == "__main__":
    vmswap_e2e.main(globals())
