#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Who may do what on the control socket: administrators, readers, owners and strangers."""
import json
import os
import stat
import subprocess
import sys

import vmswap_e2e
from vmswap_crash import kill_worker, taken_over
from vmswap_e2e import UID_NOBODY, check
from vmswap_rpc import Rpc

SUPPORT = os.path.join(vmswap_e2e.TOP, "tests", "support")
GROUP = 54321
OTHER_GROUP = 54322

# Becomes another user when everything is loaded: the interpreter may be root's own.
BECOME = """
import json, os, socket, sys
user, group, groups = json.loads(sys.argv[1])
sys.path.insert(0, sys.argv[2])
from vmswap_rpc import Rpc, RpcError
os.setgroups(groups)
os.setresgid(group, group, group)
os.setresuid(user, user, user)
"""
# Calls each method once and prints {method: null or [code, reason, role]}.
CLIENT = BECOME + """
answers = {}
rpc = Rpc(sys.argv[4])
for method, params in json.loads(sys.argv[3]):
    try:
        rpc.call(method, **params)
        answers[method] = None
    except RpcError as error:
        answers[method] = [error.code, error.reason, error.data.get("role")]
print(json.dumps(answers))
"""

CROWD = BECOME + """
kept = []
for _ in range(300):
    kept.append(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
    kept[-1].connect(sys.argv[3])
print("FULL", flush=True)
sys.stdin.read()
"""

ANY = ("daemon.ping", "daemon.status")
READ = ("vm.list", "vm.status", "vm.wait", "job.list", "job.wait", "events.subscribe")
SELF = ("vm.attach_self", "vm.detach")
ADMIN = ("daemon.shutdown", "vm.attach", "vm.add", "vm.remove", "vm.enable", "vm.trim",
         "vm.swap_out", "vm.disable", "job.cancel", "debug.record_start", "debug.record_stop")


def ask(daemon, calls, user=UID_NOBODY, groups=(), group=UID_NOBODY):
    """What another user is answered."""
    made = subprocess.run(
        [sys.executable, "-c", CLIENT, json.dumps([user, group, list(groups)]), SUPPORT,
         json.dumps(calls), daemon.socket], capture_output=True, text=True, timeout=60, check=False)
    check(made.returncode == 0, f"the client failed: {made.stderr}")
    return json.loads(made.stdout)


def is_denied(answer):
    return answer is not None and answer[1] == "not-permitted"


def check_permitted(answers, permitted, role):
    """Exactly these; the others name the role."""
    for method, answer in answers.items():
        check(is_denied(answer) == (method not in permitted), f"{role}: {method}: {answer}")
        check(not is_denied(answer) or answer[2] == role, f"{method}: {answer}")


def with_no_params(methods):
    return [(method, {}) for method in methods]


def check_mode(daemon, mode, gid):
    found = os.stat(daemon.socket)
    check(stat.S_IMODE(found.st_mode) == mode and found.st_gid == gid,
          f"{stat.S_IMODE(found.st_mode):o}, group {found.st_gid}")


def test_every_method_in_the_protocol_has_its_right_here(_):
    with open(os.path.join(vmswap_e2e.TOP, "ctl", "methods.c")) as source:
        rows = [line for line in source if line.startswith('\t{"')]
    known = {"RIGHT_ANY": ANY, "RIGHT_READ": READ, "RIGHT_SELF": SELF, "RIGHT_ADMIN": ADMIN}
    for row in rows:
        name = row.split('"')[1]
        right = next(r for r in known if r in row)
        if right != "RIGHT_ADMIN":
            check(name in known[right], f"{name} has {right}: does it have to?")


def test_members_of_the_group_look_and_do_not_touch(rig):
    daemon = rig.daemon("--group", str(GROUP), "--debug")
    check_mode(daemon, 0o660, GROUP)
    calls = with_no_params(ANY + READ + SELF + ADMIN)

    primary = ask(daemon, calls, group=GROUP)
    supplementary = ask(daemon, calls, groups=[OTHER_GROUP, GROUP])

    check_permitted(primary, ANY + READ, "reader")
    check_permitted(supplementary, ANY + READ, "reader")
    check(daemon.rpc.call("daemon.ping")["pong"], "the daemon was not shut down")


def test_a_reader_sees_a_vm_and_cannot_steer_it(rig):
    daemon = rig.daemon("--group", str(GROUP))
    guest = rig.guest("--size", "64M")
    vm = daemon.attach(guest.pid)

    answers = ask(daemon, [("vm.status", {"vm": vm.name}), ("vm.enable", {"vm": vm.name}),
                           ("vm.detach", {"vm": vm.name})], group=GROUP)

    check(answers["vm.status"] is None, f"{answers}")
    check(is_denied(answers["vm.enable"]), f"{answers}")
    check(is_denied(answers["vm.detach"]), f"{answers}")
    check(vm.state == "ready", vm.state)
    guest.finish()


def test_without_the_options_nobody_else_connects(rig):
    daemon = rig.daemon()

    check_mode(daemon, 0o600, 0)


def owned_guest(rig, daemon):
    """A process of another user that attaches itself, as "own"."""
    guest = rig.keep(vmswap_e2e.Guest("own", [
        "setpriv", "--reuid", str(UID_NOBODY), "--regid", str(UID_NOBODY), "--clear-groups",
        # Stands for access to /dev/userfaultfd.
        "--inh-caps", "+sys_ptrace", "--ambient-caps", "+sys_ptrace",
        vmswap_e2e.program("vmswap-guest"), "--size", "64M", "--attach", "--socket",
        daemon.socket, "--name", "own"]))
    guest.expect("READY")
    return guest


def test_an_owner_attaches_his_own_process_and_no_more(rig):
    daemon = rig.daemon("--allow-self-attach")
    check_mode(daemon, 0o666, 0)
    roots = rig.guest("--size", "64M", name="roots")
    vm = daemon.attach(roots.pid)

    guest = owned_guest(rig, daemon)
    answers = ask(daemon, with_no_params(ANY + READ + ADMIN))
    foreign = ask(daemon, [("vm.detach", {"vm": vm.name}), ("vm.detach", {"vm": "own"})],
                  user=UID_NOBODY - 1)
    check_permitted(answers, ANY, "owner")
    check(is_denied(foreign["vm.detach"]), f"{foreign}")
    own = vmswap_e2e.Vm(daemon, "own")
    own.run("enable")
    own.run("swap_out")
    guest.verify()
    guest.finish()
    vm.detach()
    roots.finish()
    daemon.check_idle()


def test_an_owner_is_one_to_the_next_worker_as_well(rig):
    daemon = rig.daemon("--allow-self-attach")
    guest = owned_guest(rig, daemon)
    own = vmswap_e2e.Vm(daemon, "own")
    own.run("enable")
    own.run("swap_out")

    kill_worker(daemon)
    taken_over(daemon, "own")
    detach = [("vm.detach", {"vm": "own"})]
    foreign = ask(daemon, detach, user=UID_NOBODY - 1)
    owner = ask(daemon, detach)

    check(is_denied(foreign["vm.detach"]), f"{foreign}")
    check(owner["vm.detach"] is None, f"{owner}")
    check(daemon.rpc.call("vm.list")["vms"] == [], "it is detached")
    guest.verify()
    guest.finish()


def test_privileges_that_are_not_used_are_given_up(rig):
    daemon = rig.daemon()
    chown, listed = 1 << 0, sum(1 << c for c in (1, 2, 5, 14, 19, 21, 23, 24, 40))

    for thread in os.listdir(f"/proc/{daemon.pid}/task"):
        status = dict(line.split(":", 1) for line in
                      vmswap_e2e.read_file(f"/proc/{daemon.pid}/task/{thread}/status").split("\n"))
        # Threads that started before the socket was there may have kept CAP_CHOWN.
        allowed = listed | (0 if int(thread) == daemon.pid else chown)
        for name in ("CapPrm", "CapEff", "CapBnd", "CapInh", "CapAmb"):
            check(int(status[name], 16) & ~allowed == 0, f"{thread} {status['Name']}: {name}")
        check(int(thread) != daemon.pid or status["NoNewPrivs"].strip() == "1", "no_new_privs")


def test_strangers_cannot_lock_administrators_out(rig):
    daemon = rig.daemon("--allow-self-attach")
    crowd = rig.keep(vmswap_e2e.Console("crowd", [
        sys.executable, "-c", CROWD, json.dumps([UID_NOBODY, UID_NOBODY, []]), SUPPORT,
        daemon.socket]))
    crowd.expect("FULL")

    another = Rpc(daemon.socket)

    check(another.call("daemon.ping")["pong"], "an administrator gets in")
    another.close()


if __name__ == "__main__":
    vmswap_e2e.main(globals())
