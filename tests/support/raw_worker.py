# SPDX-License-Identifier: Apache-2.0
"""The workers' protocol by hand, for those that do not keep to it."""

import array
import os
import socket
import struct

from machine import BDF, PATIENCE_S, check

# channel/channel-layout.h
MAGIC, VERSION, HELLO, WELCOME, REFUSE, ANNOUNCE = 0x6F667263, 1, 1, 2, 3, 4
HELLO_SIZE = 416


def hello(model=b"resnet50", version=VERSION, size=HELLO_SIZE, bdf=BDF[0].encode(), slots=1,
          magic=MAGIC, follows=0):
    text = struct.pack("<IHHII", magic, version, HELLO, size, 0)
    text += struct.pack("64s64sIIII", model, b"hostile", follows, 1, slots, 1 if bdf else 0)
    text += struct.pack("13sBBB", bdf or b"", 0, 0, 0)
    return text.ljust(HELLO_SIZE, b"\0")


def connect(m):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.settimeout(PATIENCE_S)
    s.connect(m.worker_socket)
    return s


def receive(s):
    """(type, message, fds); type 0 for a hang-up."""
    fds = array.array("i")
    try:
        data, ancillary, _, _ = s.recvmsg(4096, socket.CMSG_LEN(8 * fds.itemsize))
    except ConnectionResetError:
        return 0, b"", []
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(content[:len(content) - len(content) % fds.itemsize])
    if not data:
        return 0, b"", list(fds)
    return struct.unpack_from("<IHH", data)[2], data, list(fds)


def skip_announcements(s):
    while True:
        kind, data, fds = receive(s)
        if kind != ANNOUNCE:
            return kind, data, fds


class Liar:
    """A worker without a request, that beats, and wakes the daemon as if one had waited long."""

    def __init__(self, m):
        self.socket = connect(m)
        self.socket.send(hello())
        kind, _, (self.memory, self.eventfd) = receive(self.socket)
        check(kind == WELCOME, "welcome")
        self.beats = self.served = 0

    def beat(self):
        self.beats += 1
        os.pwrite(self.memory, struct.pack("<Q", self.beats), 4096)

    def serve_late(self):
        """Two more that were late, but no latency of either."""
        self.served += 2
        n, busy_ns = self.served, self.served * 5000000
        os.pwrite(self.memory, struct.pack("<7Q", n, n, n, 0, n, n, busy_ns), 8192)
        self.beat()

    def serve(self, n, seconds_each=0.0):
        """n more that have come and gone, in time."""
        self.served += n
        busy_ns = int(self.served * seconds_each * 1e9)
        os.pwrite(self.memory, struct.pack("<7Q", self.served, self.served, self.served, 0, 0, self.served,
                                           busy_ns), 8192)
        self.beat()

    def wake(self):
        os.write(self.eventfd, struct.pack("<Q", 1))

    def leave(self):
        self.socket.close()
        os.close(self.memory)
        os.close(self.eventfd)
