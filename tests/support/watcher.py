# SPDX-License-Identifier: Apache-2.0
"""What floods do to a daemon, seen from outside: its ticks, memory and descriptors."""

import mmap
import os
import re
import signal
import struct
import subprocess
import time

from machine import SOURCE, check
from raw_worker import connect, hello, receive

STRANGER_UID = 1  # neither root nor the daemon's; a bus wants one with a name


class Watcher:
    """A worker without a request, which sees each tick in the beat on its first page."""

    def __init__(self, m):
        self.socket = connect(m)
        self.socket.send(hello())
        _, _, (self.memory, wake) = receive(self.socket)
        os.close(wake)
        self.page = mmap.mmap(self.memory, 4096, mmap.MAP_SHARED, mmap.PROT_READ)
        self.beats = 0

    def beat(self):
        self.beats += 1
        os.pwrite(self.memory, struct.pack("<Q", self.beats), 4096)

    def ticks(self):
        return struct.unpack_from("<Q", self.page, 128)[0]

    def leave(self):
        self.page.close()
        os.close(self.memory)
        self.socket.close()

    def watch(self, seconds):
        """Ticks, and the longest time without one."""
        began = last = time.monotonic()
        first = seen = self.ticks()
        longest = 0
        while (now := time.monotonic()) < began + seconds:
            self.beat()
            if (ticks := self.ticks()) != seen:
                longest = max(longest, now - last)
                seen, last = ticks, now
            time.sleep(0.005)
        return seen - first, max(longest, time.monotonic() - last)


def memory_kb(pid, field="VmRSS"):
    with open(f"/proc/{pid}/status") as f:
        return int(re.search(rf"{field}:\s+(\d+) kB", f.read())[1])


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def start_flood(m, bus, mode, connections):
    child = subprocess.Popen(
        ["setpriv", f"--reuid={STRANGER_UID}", f"--regid={STRANGER_UID}", "--clear-groups",
         "/usr/bin/python3", f"{SOURCE}/tests/support/flood.py", bus, str(connections),
         mode], stdout=subprocess.PIPE, text=True)
    m.children.append(child)
    check(child.stdout.readline() == "flooding\n", "the flood has begun")
    return child


def end_flood(child):
    child.send_signal(signal.SIGTERM)
    sent, answered, errors = map(int, child.stdout.readline().split())
    check(child.wait() == 0, "the flood has ended")
    return sent, answered, errors
