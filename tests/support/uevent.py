# SPDX-License-Identifier: Apache-2.0
"""Device events as udev multicasts them, for machines without udev.

uevent.py ACTION BDF [KEY=VALUE...]     a card's drm minor; "pci:BDF" for the device itself

Whoever listens is in the same network namespace, and was started after udev_runs(): libsystemd
listens to nothing where it finds no udev.
"""

import ctypes
import os
import socket
import struct
import sys

NETLINK_KOBJECT_UEVENT = 15
UDEV_GROUP = 2
CLONE_NEWNS, CLONE_NEWNET = 0x00020000, 0x40000000
MS_BIND, MS_REC, MS_SLAVE = 0x1000, 0x4000, 0x80000
MAGIC = 0xFEEDCAFE  # sd-device/device-monitor.c
HEADER = struct.Struct(">8sI")
HEADER_SIZE = 40

_sequence = 0


def murmur2(data):
    """What libsystemd's filters compare instead of the subsystem's name."""
    m, mask = 0x5BD1E995, 0xFFFFFFFF
    h = len(data)
    while len(data) >= 4:
        k = struct.unpack_from("<I", data)[0] * m & mask
        k = (k ^ k >> 24) * m & mask
        h = h * m & mask ^ k
        data = data[4:]
    for i in reversed(range(len(data))):
        h ^= data[i] << 8 * i
    if data:
        h = h * m & mask
    h = (h ^ h >> 13) * m & mask
    return h ^ h >> 15


def message(properties):
    text = b"".join(f"{key}={value}\0".encode() for key, value in properties.items())
    numbers = struct.pack("=III", HEADER_SIZE, HEADER_SIZE, len(text))
    hashes = struct.pack(">IIII", murmur2(properties["SUBSYSTEM"].encode()), 0, 0, 0)
    return HEADER.pack(b"libudev\0", MAGIC) + numbers + hashes + text


def multicast(data):
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_KOBJECT_UEVENT) as s:
        s.sendto(data, (0, UDEV_GROUP))


def send(action, bdf, subsystem="drm", count=1, **properties):
    """An event of the card's minor, or (subsystem="pci") of the device."""
    global _sequence
    device = f"/devices/pci0000:40/0000:40:01.1/{bdf}"
    path = f"{device}/drm/card0" if subsystem == "drm" else device
    for _ in range(count):
        _sequence += 1
        multicast(message({"ACTION": action, "DEVPATH": path, "SUBSYSTEM": subsystem,
                           "SEQNUM": _sequence, **properties}))


def _libc(name, *arguments):
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{name}: {os.strerror(error)}")


def udev_runs(folder):
    """A network of this process's own, in which libsystemd finds an udev."""
    _libc("unshare", CLONE_NEWNS | CLONE_NEWNET)
    _libc("mount", None, b"/", None, MS_REC | MS_SLAVE, None)
    # What it looks for is /run/udev/control.
    os.makedirs(os.path.join(folder, "run", "udev"), exist_ok=True)
    with open(os.path.join(folder, "run", "udev", "control"), "w"):
        pass
    _libc("mount", os.path.join(folder, "run").encode(), b"/run", None, MS_BIND, None)


if __name__ == "__main__":
    where = sys.argv[2].split(":", 1) if sys.argv[2].startswith("pci:") else ["drm", sys.argv[2]]
    send(sys.argv[1], where[1], where[0], **dict(p.split("=", 1) for p in sys.argv[3:]))
