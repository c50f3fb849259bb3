# SPDX-License-Identifier: Apache-2.0
"""Clients that nobody wants: what each does comes from the seed; none may harm anybody else."""
import array
import json
import os
import socket

MIB = 1 << 20
# Connections that stay open at once. The daemon takes 256; some are left for those who behave.
OPEN_MAX = 200
REQUEST = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "daemon.ping"}).encode() + b"\n"


def connect(path):
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(5)
    connection.connect(path)
    return connection


def send(connection, data, fds=()):
    """What the daemon does not take (it closed, or does not read) is lost."""
    ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    try:
        connection.setblocking(False)
        sent = connection.sendmsg([data], ancillary)
        while 0 < sent < len(data):
            connection.settimeout(1)
            sent += connection.send(data[sent:])
    except OSError:
        pass


def half_message(connection, rng):
    send(connection, REQUEST[:rng.randrange(1, len(REQUEST) - 1)])


def long_line(connection, rng):
    send(connection, b'{"jsonrpc":"2.0","id":"' + b"x" * (MIB - 100) +
         b'","method":"daemon.ping"}\n')
    if rng.random() < 0.5:
        send(connection, b"y" * (MIB + 5000))


def slow_reader(connection, rng):
    send(connection, REQUEST.replace(b"daemon.ping", b"events.subscribe"))
    send(connection, REQUEST.replace(b"daemon.ping", b"daemon.status") * rng.randrange(50, 2000))


def noise(connection, rng):
    send(connection, rng.randbytes(rng.randrange(1, 3000)) + b"\n")


def deep(connection, rng):
    send(connection, b"[" * rng.randrange(100, 100000) + b"\n")


def descriptors(connection, rng):
    """Among them its own end, which then nobody but the daemon holds."""
    fds = [connection.fileno()] * rng.randrange(1, 100)
    data = REQUEST if rng.random() < 0.3 else REQUEST[:20]
    send(connection, data, fds)


def pipeline(connection, rng):
    wait = json.dumps({"jsonrpc": "2.0", "id": 2, "method": "vm.wait",
                       "params": {"vm": "nobody", "state": "ready"}}).encode() + b"\n"
    send(connection, (REQUEST + wait) * rng.randrange(1, 200))


def nothing(_connection, _rng):
    pass


WAYS = (half_message, long_line, slow_reader, noise, deep, descriptors, pipeline, nothing)


class Crowd:
    """Hostile connections; `count` is all there ever were."""

    def __init__(self):
        self.open = []
        self.count = 0

    def come(self, path, rng, count):
        """`count` of them, one after the other; some stay."""
        kinds = []
        for _ in range(count):
            way = rng.choice(WAYS if rng.random() < 0.3 else (half_message, noise, nothing))
            stays = rng.random() < 0.2
            # Drawn whether or not the daemon is there at the moment.
            own = type(rng)(rng.random())
            try:
                connection = connect(path)
            except OSError:
                continue
            self.count += 1
            way(connection, own)
            kinds.append(way.__name__)
            if stays and len(self.open) < OPEN_MAX:
                self.open.append(connection)
            else:
                connection.close()
        return {kind: kinds.count(kind) for kind in sorted(set(kinds))}

    def go(self):
        for connection in self.open:
            connection.close()
        self.open = []


def open_descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))
