# SPDX-License-Identifier: Apache-2.0
"""As much of D-Bus as a test needs to call a daemon thousands of times in a second, well or badly:
many calls in one write, answers that are never read. The standard library has none."""

import os
import socket
import struct

# Header fields and types of the D-Bus specification.
PATH, INTERFACE, MEMBER, ERROR_NAME, REPLY_SERIAL, DESTINATION, SIGNATURE = 1, 2, 3, 4, 5, 6, 8
CALL, RETURN, ERROR, SIGNAL = 1, 2, 3, 4
NAME, OBJECT, MANAGER = "org.cofris1", "/org/cofris1", "org.cofris1.Manager"


def _align(data, n):
    return data + b"\0" * (-len(data) % n)


def _string(data, text):
    raw = text.encode()
    return _align(data, 4) + struct.pack("<I", len(raw)) + raw + b"\0"


_BASIC = {"u": ("<I", 4), "t": ("<Q", 8), "d": ("<d", 8), "i": ("<i", 4), "b": ("<I", 4)}


def marshal(signature, args):
    data = b""
    for kind, value in zip(signature, args):
        if kind in "so":
            data = _string(data, value)
        else:
            form, size = _BASIC[kind]
            data = _align(data, size) + struct.pack(form, value)
    return data


def call_message(serial, member, signature="", args=(), destination=NAME, path=OBJECT,
                 interface=MANAGER):
    fields = b""
    for code, kind, value in ((PATH, "o", path), (INTERFACE, "s", interface),
                              (MEMBER, "s", member), (DESTINATION, "s", destination),
                              (SIGNATURE, "g", signature)):
        if code == SIGNATURE and not signature:
            continue
        fields = _align(fields, 8) + bytes((code, 1)) + kind.encode() + b"\0"
        if kind == "g":
            fields += bytes((len(value),)) + value.encode() + b"\0"
        else:
            fields = _string(fields, value)
    body = marshal(signature, args)
    header = struct.pack("<cBBBII", b"l", CALL, 0, 1, len(body), serial)
    # The array's length is followed by 8-byte aligned structs, and 16 is.
    return _align(header + struct.pack("<I", len(fields)) + fields, 8) + body


def _fields(data):
    """{code: value} of those that are strings or numbers."""
    found, at = {}, 0
    while at < len(data):
        at += -at % 8
        code, length = data[at], data[at + 1]
        kind = chr(data[at + 2])
        at += 2 + length + 1
        if kind == "u":
            at += -at % 4
            found[code] = struct.unpack_from("<I", data, at)[0]
            at += 4
        elif kind == "g":
            found[code] = data[at + 1:at + 1 + data[at]].decode()
            at += data[at] + 2
        else:
            at += -at % 4
            n = struct.unpack_from("<I", data, at)[0]
            found[code] = data[at + 4:at + 4 + n].decode()
            at += 4 + n + 1
    return found


class BusError(Exception):
    """str() is the error's name."""


class BusClient:
    """One connection, named or not."""

    def __init__(self, path, hello=True, timeout=60):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(timeout)
        self.socket.connect(path)
        self.buffer = b""
        self.serial = 0
        self.socket.sendall(b"\0AUTH EXTERNAL " + str(os.geteuid()).encode().hex().encode() +
                            b"\r\n")
        line = b""
        while not line.endswith(b"\r\n"):
            line += self.socket.recv(1)
        if not line.startswith(b"OK "):
            raise BusError(line.decode())
        self.socket.sendall(b"BEGIN\r\n")
        if hello:
            self.name = self.call("Hello", destination="org.freedesktop.DBus",
                                  path="/org/freedesktop/DBus", interface="org.freedesktop.DBus")

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _take(self, n):
        while len(self.buffer) < n:
            data = self.socket.recv(1 << 16)
            if not data:
                raise BusError("hung up")
            self.buffer += data
        taken, self.buffer = self.buffer[:n], self.buffer[n:]
        return taken

    def receive(self):
        """The next message: (type, fields, body)."""
        head = self._take(16)
        if head[:1] != b"l":
            raise BusError("not in this machine's order")
        n_body, n_fields = struct.unpack_from("<I4xI", head, 4)
        fields = self._take(n_fields + -n_fields % 8)[:n_fields]
        return head[1], _fields(fields), self._take(n_body)

    def send(self, member, signature="", args=(), **where):
        """Returns the serial that the answer will carry."""
        self.serial += 1
        self.socket.sendall(call_message(self.serial, member, signature, args, **where))
        return self.serial

    def answer(self, serial):
        """The first string of the answer, or None; an error is a BusError."""
        while True:
            kind, fields, body = self.receive()
            if fields.get(REPLY_SERIAL) != serial:
                continue
            text = None
            if fields.get(SIGNATURE, "").startswith(("s", "o")):
                text = body[4:4 + struct.unpack_from("<I", body)[0]].decode()
            if kind == ERROR:
                raise BusError(fields[ERROR_NAME], text)
            return text

    def call(self, member, signature="", args=(), **where):
        return self.answer(self.send(member, signature, args, **where))
