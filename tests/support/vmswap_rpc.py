# SPDX-License-Identifier: Apache-2.0
"""A client of vmswapd's control socket (ctl/README.md), for tests. Every wait has a bound."""
import json
import socket
import time

NOT_FOUND = -32000
ILLEGAL_STATE = -32001
REFUSED = -32002
FAILED = -32003
TIMEOUT = -32004


class RpcError(Exception):
    """The daemon answered with an error."""

    def __init__(self, method, error):
        super().__init__(f"{method}: {error['message']} ({error['code']})")
        self.code = error["code"]
        self.message = error["message"]
        self.data = error.get("data") or {}

    @property
    def reason(self):
        return self.data.get("reason")


class Rpc:
    """One connection, one call at a time. Events that come meanwhile are kept in .events."""

    def __init__(self, path, timeout_s=30):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(timeout_s)
        self.socket.connect(path)
        self.bytes = b""
        self.last_id = 0
        self.events = []

    def close(self):
        self.socket.close()

    def _line(self, deadline):
        while b"\n" not in self.bytes:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError("the daemon does not answer")
            self.socket.settimeout(left)
            received = self.socket.recv(65536)
            if not received:
                raise ConnectionResetError("the daemon closed the connection")
            self.bytes += received
        line, self.bytes = self.bytes.split(b"\n", 1)
        return json.loads(line)

    def notify(self, method, **params):
        """Asked for, and never answered."""
        request = {"jsonrpc": "2.0", "method": method, "params": params}
        self.socket.sendall(json.dumps(request).encode() + b"\n")

    def call(self, method, timeout_s=60, **params):
        self.last_id += 1
        request = {"jsonrpc": "2.0", "id": self.last_id, "method": method, "params": params}
        self.socket.sendall(json.dumps(request).encode() + b"\n")
        deadline = time.monotonic() + timeout_s
        while True:
            message = self._line(deadline)
            if message.get("method") == "event":
                self.events.append(message["params"])
            elif message.get("id") != self.last_id:
                continue
            elif "error" in message:
                raise RpcError(method, message["error"])
            else:
                return message["result"]

    def next_event(self, timeout_s=30):
        deadline = time.monotonic() + timeout_s
        while not self.events:
            message = self._line(deadline)
            if message.get("method") == "event":
                self.events.append(message["params"])
        return self.events.pop(0)
