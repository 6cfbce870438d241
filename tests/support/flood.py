# SPDX-License-Identifier: Apache-2.0
"""Floods the bus's daemon with calls, as the user it is run as.

usage: flood.py BUS CONNECTIONS read|denied|deaf

read: what anyone may ask, the costliest, many at once on each connection. denied: what a stranger
may not. deaf: as read, but no answer is ever read. Prints "flooding" when all are connected, runs
until SIGTERM, and then prints how many calls were sent, answered, and answered with an error.
"""

import select
import signal
import socket
import struct
import sys

from bus_client import ERROR, SIGNAL, BusClient, BusError, call_message

IN_FLIGHT = 64
CALLS = {
    "read": [("GetStatus", "", ()), ("Explain", "ssd", ("*", "*", 50.0)),
             ("GetDecisions", "ssu", ("*", "*", 1000)), ("GetTable", "s", ("resnet50",)),
             ("GetTable", "s", ("no-such-model",)), ("Verify", "s", ("*",))],
    "denied": [("Reload", "", ()), ("SetPowerCap", "st", ("*", 1))],
}
CALLS["deaf"] = CALLS["read"]


class Caller:
    def __init__(self, path, mode):
        self.bus = BusClient(path)
        self.bus.socket.setblocking(False)
        self.calls = CALLS[mode]
        self.deaf = mode == "deaf"
        self.pending = b""
        self.incoming = bytearray()
        self.sent = self.answered = self.errors = 0

    def fill(self):
        while len(self.pending) < 4096 and (self.deaf or self.sent - self.answered < IN_FLIGHT):
            member, signature, args = self.calls[self.sent % len(self.calls)]
            self.sent += 1
            self.pending += call_message(self.sent + 1, member, signature, args)

    def write(self):
        try:
            self.pending = self.pending[self.bus.socket.send(self.pending):]
        except BlockingIOError:
            pass

    def read(self):
        """Counts what has come; False after a hang-up."""
        try:
            data = self.bus.socket.recv(1 << 18)
        except BlockingIOError:
            return True
        self.incoming += data
        while len(self.incoming) >= 16:
            n_body, n_fields = struct.unpack_from("<I4xI", self.incoming, 4)
            size = 16 + n_fields + -n_fields % 8 + n_body
            if len(self.incoming) < size:
                break
            self.answered += self.incoming[1] != SIGNAL
            self.errors += self.incoming[1] == ERROR
            del self.incoming[:size]
        return bool(data)


def main():
    path, n, mode = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    stop, stopped = socket.socketpair()
    signal.signal(signal.SIGTERM, lambda *_: stop.send(b"x"))
    callers = {c.bus.socket: c for c in (Caller(path, mode) for _ in range(n))}
    total = list(callers.values())
    print("flooding", flush=True)
    while True:
        for c in callers.values():
            c.fill()
        readable, writable, _ = select.select(
            [stopped] + [s for s, c in callers.items() if not c.deaf],
            [s for s, c in callers.items() if c.pending], [])
        if stopped in readable:
            break
        gone = [s for s in readable if not callers[s].read()]
        for s in writable:
            try:
                callers[s].write()
            except (BrokenPipeError, ConnectionResetError):
                gone.append(s)
        for s in set(gone):
            # Whom the bus cuts off comes again.
            callers.pop(s).bus.close()
            try:
                c = Caller(path, mode)
            except (BusError, OSError):
                continue
            callers[c.bus.socket] = c
            total.append(c)
    print(*(sum(getattr(c, name) for c in total) for name in ("sent", "answered", "errors")),
          flush=True)


if __name__ == "__main__":
    main()
