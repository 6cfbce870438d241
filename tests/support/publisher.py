# SPDX-License-Identifier: Apache-2.0
"""tests/support/mask-publisher.c: the daemon's side of a channel in the hands of a test."""

import os
import re
import subprocess

from machine import BUILD, check, wait_for


class Publisher:
    def __init__(self, m, name="publisher"):
        self.socket = os.path.join(m.dir, f"{name}.sock")
        self.process = subprocess.Popen([os.path.join(BUILD, "tests", "mask-publisher"),
                                         self.socket], text=True, bufsize=1,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        m.children.append(self.process)
        wait_for("the publisher's socket", lambda: os.path.exists(self.socket))

    def take_worker(self):
        line = self.process.stdout.readline()
        check(line == "worker resnet50\n", f"a worker of the model: {line!r}")

    def publish(self, mask):
        """Returns the queues changed and the us until the acknowledgement was seen."""
        self.process.stdin.write(mask + "\n")
        line = self.process.stdout.readline()
        found = re.fullmatch(rf"{mask} queues=(\d+) applied_us=\d+ waited_us=(\d+)\n", line)
        check(found, f"mask {mask} is acknowledged: {line!r}")
        return int(found[1]), int(found[2])
