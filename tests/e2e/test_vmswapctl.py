# SPDX-License-Identifier: Apache-2.0
"""vmswapctl against a daemon made of words: what it asks, what it prints, how it ends."""
import fcntl
import json
import os
import pty
import re
import select
import socket
import struct
import subprocess
import tempfile
import termios
import threading
import time
import unittest

BUILD = os.environ["VMSWAP_BUILD"]
VMSWAPCTL = os.path.join(BUILD, "bin", "vmswapctl")
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MAN_PAGE = os.path.join(ROOT, "tools", "vmswapctl", "vmswapctl.1")
PATIENCE_S = 20

METRICS = {"resident_pages": 1024, "staging_pages": 512, "swap_pages": 256, "zero_pages": 256,
           "faults_staged": 70000, "faults_file": 5, "faults_zero": 0, "written_bytes": 1048576}
LATENCY = {"count": 70000, "p50": 8.2, "p99": 21.5, "p99_9": 80.0, "max": 12345.6}
VM = {"vm": "web1", "state": "pending", "pids": [12, 34], "pages": 2048, "page_size": 4096,
      "shards": 2, "metrics": METRICS,
      "transition": {"operation": "enable", "pages": 512, "time_ms": 42},
      "attach": {"stopped_us": 950},
      "fault_latency_us": {"staged": LATENCY, "file": dict(LATENCY, count=0), "zero": LATENCY},
      "mappers": [{"pid": 12, "comm": "qemu"}, {"pid": 34, "comm": "vhost"}],
      "dwell_ms": 0, "zap": "inject", "job": None, "failure": None}
JOB = {"job": 7, "vm": "web1", "operation": "swap-out", "state": "running", "pages": 100,
       "pages_total": 200, "left_pages": 3, "bytes": 409600, "elapsed_ms": 61000,
       "phase": "write", "error": None}
ATTACHED = {"vm": "web1", "pids": [12, 34], "pages": 2048, "regions": 2, "stopped_us": 950,
            "dwell_ms": 30000, "zap": "inject", "mappers": VM["mappers"],
            "metadata_bytes": 65536}
RESULTS = {
    "daemon.ping": {"pong": True},
    "daemon.status": {"version": "9.9", "pid": 1, "shards": 2, "mode": "minimal",
                      "cpus": [0, 1], "socket": "/s",
                      "store": {"path": "/var", "kind": "unnamed", "size_bytes": 1 << 30,
                                "used_bytes": 3 << 20, "retired_bytes": 0},
                      "features": ["minor", "wp"], "io": "io_uring", "vms": 1, "uptime_s": 3700},
    "vm.list": {"vms": [VM]},
    "vm.status": VM,
    "vm.attach": ATTACHED,
    "vm.wait": {"state": "pending"},
    "job.list": {"jobs": [JOB]},
    "job.wait": dict(JOB, state="done"),
    "debug.record_stop": {"entries": 12, "dropped": 3, "path": "/tmp/a"},
}
for operation in ("enable", "trim", "swap_out", "disable"):
    RESULTS["vm." + operation] = {"job": 7}
TIMEOUT = {"code": -32004, "message": "not yet"}


class FakeDaemon:
    """Answers by `results`: a result, {"error": …}, a list of these (the last one stays) or a
    function of the connection and the request."""

    def __init__(self, directory):
        self.path = os.path.join(directory, "socket")
        self.results = dict(RESULTS)
        self.requests = []
        self.connections = []
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(self.path)
        self.listener.listen()
        self.acceptor = threading.Thread(target=self._accept, daemon=True)
        self.acceptor.start()

    def close(self):
        # Woken and joined before the descriptor's number can become another daemon's.
        self.listener.shutdown(socket.SHUT_RDWR)
        self.acceptor.join()
        self.listener.close()
        os.unlink(self.path)
        for connection in self.connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def _accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        with connection, connection.makefile("rb") as lines:
            try:
                for line in lines:
                    self._answer(connection, json.loads(line))
            except OSError:
                pass

    def _answer(self, connection, request):
        self.requests.append((request["method"], request.get("params", {})))
        result = self.results.get(request["method"], {})
        if isinstance(result, list):
            result = result.pop(0) if len(result) > 1 else result[0]
        if callable(result):
            result(connection, request)
            return
        reply = {"jsonrpc": "2.0", "id": request["id"]}
        reply.update(result if set(result) == {"error"} else {"result": result})
        connection.sendall(json.dumps(reply).encode() + b"\n")


class Case(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.TemporaryDirectory(prefix="vmswapctl-")
        self.daemon = FakeDaemon(self.directory.name)

    def tearDown(self):
        if self.daemon:
            self.daemon.close()
        self.directory.cleanup()

    def run_it(self, *arguments, socket_path=None, **options):
        return subprocess.run(
            [VMSWAPCTL, "--socket", socket_path or self.daemon.path, *arguments],
            stdin=subprocess.DEVNULL, stdout=options.pop("stdout", subprocess.PIPE),
            stderr=subprocess.PIPE, text=True, timeout=PATIENCE_S, check=False, **options)

    def expect(self, status, *arguments, **options):
        ended = self.run_it(*arguments, **options)
        self.assertEqual(ended.returncode, status, f"{arguments}: {ended.stderr}{ended.stdout}")
        return ended


def help_verbs():
    text = subprocess.run([VMSWAPCTL, "--help"], capture_output=True, text=True, check=True).stdout
    table = text.split("\nverbs\n")[1].split("\nglobal options\n")[0]
    return [line.split()[0] for line in table.splitlines() if line.strip()]


def man_text():
    with open(MAN_PAGE, encoding="utf-8") as page:
        return page.read().replace("\\-", "-")


class TheCommandLine(Case):
    def test_help_goes_to_stdout_and_succeeds(self):
        for arguments in (["--help"], ["-h"], ["help"]):
            ended = self.expect(0, *arguments)
            self.assertIn("usage: vmswapctl", ended.stdout)
            self.assertEqual(ended.stderr, "")

    def test_every_verb_has_help_of_its_own(self):
        for verb in help_verbs():
            if verb == "help":
                continue
            by_option = self.expect(0, verb, "--help").stdout
            self.assertIn(f"] {verb}", by_option)
            self.assertEqual(by_option, self.expect(0, "help", verb).stdout)

    def test_the_table_holds_the_verbs_that_were_promised(self):
        self.assertEqual(sorted(help_verbs()), sorted(
            "attach add remove detach list status enable trim swap-out disable scrub wait jobs "
            "cancel events top record-start record-stop shutdown ping help version daemon "
            "upgrade rescue".split()))

    def test_the_man_page_lists_the_same_verbs(self):
        section = man_text().split(".SH VERBS")[1].split(".SH EXIT STATUS")[0]
        listed = re.findall(r"^\.TP\n\.B[IR]? ([a-z][a-z-]*)", section, re.M)
        self.assertEqual(sorted(listed), sorted(help_verbs()))

    def test_the_man_page_knows_every_option(self):
        page = man_text()
        for verb in help_verbs():
            for option in re.findall(r"^  (--[a-z-]+)", self.expect(0, "help", verb).stdout, re.M):
                self.assertIn(option, page)

    def test_misuse_is_2_on_stderr_and_asks_nobody(self):
        for arguments in ([], ["frobnicate"], ["list", "--frob"], ["list", "more"], ["attach"],
                          ["attach", "qemu"], ["attach", "1,,2"], ["attach", "0"],
                          ["attach", "1", "--min-size", "0"], ["attach", "1", "--min-size", "9X"],
                          ["attach", "1", "--dwell", "soon"], ["attach", "1", "--zap", "hard"],
                          ["attach", "1", "--name"], ["attach", "1", "--name="],
                          ["add", "web1"], ["add", "web1", "-3"], ["remove", "web1", "x"],
                          ["wait", "web1", "happy"], ["cancel", "x"], ["enable", "--wait"],
                          ["list", "--json=1"], ["--timeout", "-1", "list"],
                          ["--timeout", "nan", "list"], ["trim", "web1", "--slow-cleanup"],
                          ["help", "frobnicate"], ["top", "--count", "0"],
                          ["record-start"], ["record-start", "web1", "--capacity", "0"],
                          ["record-stop", "web1"]):
            ended = self.expect(2, *arguments)
            self.assertIn("vmswapctl: ", ended.stderr)
            self.assertEqual(ended.stdout, "")
        self.assertEqual(self.daemon.requests, [])

    def test_version_is_printed_without_a_daemon(self):
        for argument in ("version", "--version"):
            ended = self.expect(0, argument, socket_path="/nonexistent")
            self.assertRegex(ended.stdout, r"^vmswapctl \d+\.\d+")

    def test_behind_two_dashes_all_is_argument(self):
        self.expect(0, "status", "--", "--json")
        self.assertEqual(self.daemon.requests, [("vm.status", {"vm": "--json"})])


class WhatIsAsked(Case):
    def check(self, arguments, method, params):
        self.daemon.requests.clear()
        self.expect(0, *arguments.split())
        self.assertEqual(self.daemon.requests, [(method, params)], arguments)

    def test_each_verb_asks_its_method_with_its_params(self):
        self.check("ping", "daemon.ping", {})
        self.check("shutdown", "daemon.shutdown", {"force": False})
        self.check("shutdown --force", "daemon.shutdown", {"force": True})
        self.check("attach 12", "vm.attach", {"pids": [12]})
        self.check("add web1 34", "vm.add", {"vm": "web1", "pid": 34})
        self.check("remove web1 34", "vm.remove", {"vm": "web1", "pid": 34})
        self.check("detach web1", "vm.detach", {"vm": "web1"})
        self.check("detach web1 --timeout 1.5", "vm.detach", {"vm": "web1", "timeout_ms": 1500})
        self.check("list", "vm.list", {})
        self.check("status", "daemon.status", {})
        self.check("status web1", "vm.status", {"vm": "web1"})
        self.check("enable web1", "vm.enable", {"vm": "web1"})
        self.check("trim web1", "vm.trim", {"vm": "web1"})
        self.check("swap-out web1", "vm.swap_out", {"vm": "web1"})
        self.check("disable web1", "vm.disable", {"vm": "web1"})
        self.check("disable web1 --slow-cleanup", "vm.disable",
                   {"vm": "web1", "slow_cleanup": True})
        self.check("disable web1 --poison-unreadable", "vm.disable",
                   {"vm": "web1", "poison_unreadable": True})
        self.check("wait web1 pending", "vm.wait", {"vm": "web1", "state": "pending"})
        self.check("wait web1 pending --timeout 2", "vm.wait",
                   {"vm": "web1", "state": "pending", "timeout_ms": 2000})
        self.check("jobs", "job.list", {})
        self.check("cancel 7", "job.cancel", {"job": 7})
        self.check("record-start web1", "debug.record_start", {"vm": "web1"})
        self.check("record-start web1 --capacity 9", "debug.record_start",
                   {"vm": "web1", "capacity": 9})
        self.check("record-stop web1 /tmp/a", "debug.record_stop",
                   {"vm": "web1", "path": "/tmp/a"})
        self.check("record-stop web1 a/b", "debug.record_stop",
                   {"vm": "web1", "path": os.path.join(os.getcwd(), "a/b")})

    def test_attach_passes_every_option(self):
        self.check("attach 12,34 --name web1 --all-mappers --allow-locked --min-size 1.5G "
                   "--dwell auto --zap pageout --trust-discard --no-verify-clean", "vm.attach",
                   {"pids": [12, 34], "name": "web1", "all_mappers": True, "allow_locked": True,
                    "min_size": 3 << 29, "dwell": "auto", "zap": "pageout",
                    "trust_discard": True, "verify_clean": False})
        self.check("attach 12 --dwell=0.5 --min-size=64MiB", "vm.attach",
                   {"pids": [12], "dwell": 0.5, "min_size": 64 << 20})


class WhatIsPrinted(Case):
    def test_json_is_the_result_of_the_daemon(self):
        for arguments, method in ((["list"], "vm.list"), (["status"], "daemon.status"),
                                  (["status", "web1"], "vm.status"), (["ping"], "daemon.ping"),
                                  (["attach", "12"], "vm.attach"), (["jobs"], "job.list"),
                                  (["enable", "web1"], "vm.enable"),
                                  (["enable", "web1", "--wait"], "job.wait"),
                                  (["wait", "web1", "pending"], "vm.wait"),
                                  (["record-stop", "web1", "/tmp/a"], "debug.record_stop")):
            printed = self.expect(0, "--json", *arguments).stdout
            self.assertEqual(printed.count("\n"), 1)
            self.assertEqual(json.loads(printed), RESULTS[method])

    def test_list_is_an_aligned_table(self):
        self.daemon.results["vm.list"] = {"vms": [VM, dict(VM, vm="a-very-long-name")]}
        lines = self.expect(0, "list").stdout.splitlines()
        self.assertEqual(len(lines), 3)
        self.assertEqual(len({line.index(word) for line, word in
                              zip(lines, ("STATE", "pending", "pending"))}), 1)
        self.assertEqual(lines[1].split(), "web1 pending 12,34 8.0 MiB 4.0 MiB 2.0 MiB 1.0 MiB "
                         "1.0 MiB".split())
        self.assertEqual(len({len(line) for line in lines}), 1)

    def test_status_of_a_vm_tells_memory_latencies_counters_and_failure(self):
        self.daemon.results["vm.status"] = dict(VM, failure="the store is full", job=JOB)
        text = self.expect(0, "status", "web1").stdout
        for words in ("web1", "pending", "12 34", "34 vhost", "950 us", "8.0 MiB, 2048 pages",
                      "50.0 %", "21.5 us|22 us", "12.3 ms", "faults_staged +70000",
                      "the store is full", "enable: 512 pages in 42 ms", "100 of 200 pages"):
            self.assertRegex(text, words)

    def test_status_of_the_daemon_tells_its_store(self):
        text = self.expect(0, "status").stdout
        for words in ("9.9", "pid 1", "up 1:01:40", "minimal: the worker died",
                      "3.0 MiB used of 1.0 GiB", "minor wp"):
            self.assertIn(words, text)

    def test_jobs_are_a_table(self):
        lines = self.expect(0, "jobs").stdout.splitlines()
        self.assertEqual(lines[1].split(),
                         "7 web1 swap-out running 400 KiB 800 KiB 12 KiB 1:01 write".split())

    def test_a_name_that_is_an_escape_sequence_does_no_harm(self):
        hostile = dict(VM, vm="\x1b]0;pwned\x07\x9b2J", mappers=[{"pid": 1, "comm": "\x1b[2J"}])
        self.daemon.results.update({"vm.list": {"vms": [hostile]}, "vm.status": hostile})
        for arguments in (["list"], ["status", "web1"], ["top", "--count", "1"]):
            text = self.expect(0, *arguments).stdout
            self.assertNotRegex(text, "[\x00-\x09\x0b-\x1f\x7f\x80-\x9f]")

    def test_a_full_disk_is_a_failure(self):
        with open("/dev/full", "w", encoding="utf-8") as full:
            self.expect(1, "list", stdout=full)


class WhatGoesWrong(Case):
    def test_without_a_daemon_the_message_says_how_to_start_it(self):
        ended = self.expect(1, "list", socket_path="/nonexistent/socket")
        self.assertIn("/nonexistent/socket", ended.stderr)
        self.assertIn("vmswapd --socket", ended.stderr)

    def test_the_words_of_the_daemon_are_passed_on_with_the_next_step(self):
        for code, step in ((-32000, "vmswapctl list"), (-32001, "vmswapctl status"),
                           (-32002, ""), (-32005, "later"), (-32601, "version")):
            self.daemon.results["vm.trim"] = {"error": {"code": code, "message": "not so"}}
            ended = self.expect(1, "trim", "web1")
            self.assertIn("trim: not so", ended.stderr)
            self.assertIn(step, ended.stderr)
            self.assertEqual(ended.stdout, "")

    def test_debugging_verbs_leave_it_to_the_daemon_to_name_its_option(self):
        self.daemon.results["debug.record_start"] = {
            "error": {"code": -32601, "message": "start it with --debug"}}
        ended = self.expect(1, "record-start", "web1")
        self.assertEqual(ended.stderr, "vmswapctl: record-start: start it with --debug\n")

    def test_with_json_the_error_is_json_too(self):
        error = {"code": -32002, "message": "no", "data": {"reason": "locked-memory"}}
        self.daemon.results["vm.attach"] = {"error": error}
        ended = self.expect(1, "--json", "attach", "12")
        self.assertEqual(json.loads(ended.stdout), {"error": error})

    def test_a_daemon_that_does_not_answer_is_given_up(self):
        self.daemon.results["vm.list"] = lambda connection, request: None
        start = time.monotonic()
        self.assertIn("no answer in time", self.expect(1, "list", "--timeout", "0.3").stderr)
        self.assertLess(time.monotonic() - start, PATIENCE_S / 2)

    def test_a_daemon_that_closes_is_reported(self):
        self.daemon.results["vm.list"] = \
            lambda connection, request: connection.shutdown(socket.SHUT_RDWR)
        self.assertIn("closed the connection", self.expect(1, "list").stderr)

    def test_a_daemon_that_talks_nonsense_is_reported(self):
        for nonsense in (b"hello\n", b"[]\n", b"\xff\x00\n"):
            self.daemon.results["vm.list"] = \
                lambda connection, request, nonsense=nonsense: connection.sendall(nonsense)
            self.assertIn("protocol", self.expect(1, "list").stderr)

    def test_a_result_of_the_wrong_shape_does_not_crash(self):
        for shape in ({"vms": 3}, {"vms": [1, None, {"pids": {}}]}, {}):
            self.daemon.results["vm.list"] = shape
            self.expect(0, "list")
            self.daemon.results["vm.status"] = shape
            self.expect(0, "status", "web1")
        self.daemon.results["vm.list"] = lambda connection, request: connection.sendall(
            json.dumps({"jsonrpc": "2.0", "id": request["id"]}).encode() + b"\n")
        self.assertIn("protocol", self.expect(1, "list").stderr)


class Waiting(Case):
    def test_wait_returns_when_the_job_is_done(self):
        self.daemon.results["job.wait"] = [{"error": TIMEOUT}, {"error": TIMEOUT},
                                           dict(JOB, state="done")]
        ended = self.expect(0, "swap-out", "web1", "--wait")
        self.assertIn("swap-out done: 400 KiB in 61.00 s; 12 KiB stayed", ended.stdout)
        self.assertEqual(ended.stderr, "")
        methods = [method for method, _ in self.daemon.requests]
        self.assertEqual(methods, ["vm.swap_out", "job.wait", "job.wait", "job.wait"])

    def test_a_job_that_did_not_end_well_is_a_failure(self):
        for state, error in (("failed", "no space"), ("cancelled", None)):
            self.daemon.results["job.wait"] = dict(JOB, state=state, error=error)
            ended = self.expect(1, "enable", "web1", "--wait")
            self.assertIn(state, ended.stderr)
            self.assertIn(error or "", ended.stderr)

    def test_the_wait_for_a_job_ends_at_its_timeout(self):
        self.daemon.results["job.wait"] = {"error": TIMEOUT}
        self.assertIn("not yet",
                      self.expect(1, "enable", "web1", "--wait", "--timeout", "0.3").stderr)

    def test_the_daemons_timeout_is_heard_not_the_clients(self):
        self.daemon.results["vm.wait"] = {"error": TIMEOUT}
        self.assertIn("not yet",
                      self.expect(1, "wait", "web1", "active", "--timeout", "0.1").stderr)


def event(number):
    return {"jsonrpc": "2.0", "method": "event",
            "params": {"type": "state", "time_ms": 1700000000123, "vm": "web1", "n": number}}


def subscribe(connection, request):
    reply = [{"jsonrpc": "2.0", "id": request["id"], "result": {}}] + [event(n) for n in range(3)]
    connection.sendall(b"".join(json.dumps(line).encode() + b"\n" for line in reply))


class Events(Case):
    def setUp(self):
        super().setUp()
        self.daemon.results["events.subscribe"] = subscribe

    def test_without_follow_the_first_event_is_the_last(self):
        text = self.expect(0, "events").stdout
        self.assertRegex(text, r'^\d\d:\d\d:\d\d\.123 state vm="web1" n=0\n$')

    def test_with_follow_they_go_on_until_the_silence_is_too_long(self):
        text = self.expect(1, "events", "--follow", "--json", "--timeout", "0.5").stdout
        self.assertEqual([json.loads(line)["n"] for line in text.splitlines()], [0, 1, 2])

    def test_a_daemon_that_ends_is_reported(self):
        def leave(connection, request):
            subscribe(connection, request)
            connection.shutdown(socket.SHUT_RDWR)
        self.daemon.results["events.subscribe"] = leave
        ended = self.expect(1, "events", "--follow")
        self.assertEqual(len(ended.stdout.splitlines()), 3)
        self.assertIn("closed the connection", ended.stderr)


class Terminal:
    """vmswapctl on a terminal of its own."""

    def __init__(self, path, *arguments, rows=24, columns=80, term="xterm"):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            try:
                os.environ["TERM"] = term
                fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
                os.execv(VMSWAPCTL, [VMSWAPCTL, "--socket", path, *arguments])
            finally:
                os._exit(127)  # or this child would go on as a second test run
        self.text = ""

    def read_until(self, words):
        """True when the words came; at the end of the program or of the patience, False."""
        deadline = time.monotonic() + PATIENCE_S
        while words is None or words not in self.text:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.fd], [], [], left)[0]:
                return False
            try:
                some = os.read(self.fd, 65536)
            except OSError:
                return False
            if not some:
                return False
            self.text += some.decode(errors="replace")
        return True

    def press(self, key):
        os.write(self.fd, key.encode())

    def end(self):
        """The exit code, once the program has closed its terminal."""
        self.read_until(None)
        os.close(self.fd)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


class OnATerminal(Case):
    def test_wait_draws_a_bar_that_grows(self):
        self.daemon.results["job.wait"] = [{"error": TIMEOUT}, {"error": TIMEOUT},
                                           dict(JOB, state="done")]
        self.daemon.results["job.list"] = [{"jobs": [JOB]}, {"jobs": [dict(JOB, pages=150)]}]
        terminal = Terminal(self.daemon.path, "swap-out", "web1", "--wait")
        self.assertEqual(terminal.end(), 0)
        self.assertRegex(terminal.text, r"swap-out \[#+-+\]  50 %")
        self.assertRegex(terminal.text, r"swap-out \[#+-+\]  75 %")
        self.assertIn("swap-out done", terminal.text)

    def test_a_bar_fits_a_narrow_terminal(self):
        self.daemon.results["job.wait"] = [{"error": TIMEOUT}, dict(JOB, state="done")]
        terminal = Terminal(self.daemon.path, "swap-out", "web1", "--wait", columns=20)
        self.assertEqual(terminal.end(), 0)
        drawn = re.findall(r"\x1b\[K([^\r\n]*)\r", terminal.text.split("swap-out done")[0])
        self.assertTrue(any(drawn))
        self.assertLess(max(len(line) for line in drawn), 20)

    def test_a_dumb_terminal_gets_no_bar(self):
        self.daemon.results["job.wait"] = [{"error": TIMEOUT}, dict(JOB, state="done")]
        terminal = Terminal(self.daemon.path, "swap-out", "web1", "--wait", term="dumb")
        self.assertEqual(terminal.end(), 0)
        self.assertNotIn("\x1b", terminal.text)

    def test_top_shows_vms_and_leaves_on_q(self):
        terminal = Terminal(self.daemon.path, "top", "--delay", "30", columns=140)
        self.assertTrue(terminal.read_until("web1"), terminal.text)
        self.assertTrue(terminal.read_until("FILE p99"), terminal.text)
        terminal.press("q")
        self.assertEqual(terminal.end(), 0)

    def test_top_shows_rates_between_two_looks(self):
        def look(connection, request, state={"faults": 0}):
            state["faults"] += 100000
            vm = dict(VM, metrics=dict(METRICS, faults_staged=state["faults"]))
            connection.sendall(json.dumps(
                {"jsonrpc": "2.0", "id": request["id"], "result": vm}).encode() + b"\n")
        self.daemon.results["vm.status"] = look
        text = self.expect(0, "top", "--count", "3", "--delay", "0.1").stdout
        rates = re.findall(r"^web1 .* MiB +(\S+)  ", text, re.M)
        self.assertEqual(len(rates), 3)
        self.assertEqual(rates[0], "-")
        self.assertTrue(all(0 < int(rate) <= 1000000 for rate in rates[1:]), rates)

    def test_top_survives_the_smallest_terminal(self):
        self.daemon.results["vm.list"] = {"vms": [dict(VM, vm=f"vm{n}") for n in range(50)]}
        for rows, columns in ((1, 1), (2, 10), (3, 20)):
            terminal = Terminal(self.daemon.path, "top", "--delay", "0.05", "--count", "3",
                                rows=rows, columns=columns)
            self.assertEqual(terminal.end(), 0, terminal.text)

    def test_top_scrolls_no_further_than_there_are_vms(self):
        terminal = Terminal(self.daemon.path, "top", "--delay", "30", columns=140)
        self.assertTrue(terminal.read_until("web1"))
        for _ in range(5):
            terminal.press("\x1bOB\x1bOA")
        terminal.press("q")
        self.assertEqual(terminal.end(), 0)

    def test_top_prints_blocks_where_the_cursor_cannot_move(self):
        for term in ("dumb", "unheard-of"):
            terminal = Terminal(self.daemon.path, "top", "--delay", "0.05", "--count", "2",
                                columns=140, term=term)
            self.assertEqual(terminal.end(), 0)
            self.assertEqual(terminal.text.count("web1"), 2)
            self.assertNotIn("\x1b", terminal.text)

    def test_top_says_that_the_daemon_ended_where_it_can_be_read(self):
        terminal = Terminal(self.daemon.path, "top", "--delay", "0.2", columns=140)
        self.assertTrue(terminal.read_until("web1"))
        self.daemon.close()
        self.daemon = None
        self.assertEqual(terminal.end(), 1)
        leave = terminal.text.rfind("\x1b[?1049l")
        self.assertGreater(leave, 0)
        self.assertIn("closed the connection", terminal.text[leave:])

    def test_a_vm_that_goes_while_top_looks_is_left_out(self):
        self.daemon.results["vm.status"] = {"error": {"code": -32000, "message": "no such VM"}}
        self.assertIn("0 VMs", self.expect(0, "top", "--count", "1").stdout)


if __name__ == "__main__":
    unittest.main()
