# SPDX-License-Identifier: Apache-2.0
"""The early path on the simulated card: from a worker's wake, through the daemon's step between two
polls and the actuator, to the write of the clock, as the card's files see it come in."""

import os

from machine import BDF, Machine, check

WAKES = 400
# What comes later is an answer to something else.
ANSWER_NS = 90_000_000


def raises(m):
    """When the clock was given its whole range, CLOCK_MONOTONIC in ns."""
    times, levels = [], set()
    for line in m.writes():
        _, wall, _, file, _, error, text = line.split("\t")
        if file != "pp_dpm_sclk" or error != "0":
            continue
        now = set(text.strip('"').replace("\\n", "").split())
        levels |= now
        times.append((int(wall), now))
    return [wall for wall, now in times if max(levels, key=int) in now]


def pair(wakes, writes):
    """ns from each wake to the first write after it, and before the next wake."""
    delays, k = [], 0
    for wake in wakes:
        while k < len(writes) and writes[k] < wake:
            k += 1
        if k < len(writes) and writes[k] - wake < ANSWER_NS:
            delays.append(writes[k] - wake)
    return delays


def measure(build, backend):
    with Machine() as m:
        m.setup(backend=backend)
        out = m.capture([os.path.join(build, "tests", "bench-wake"), m.worker_socket, BDF[0],
                         "resnet50", str(WAKES)], timeout=600).stdout
        wakes = [int(line) for line in out.splitlines()]
        delays = sorted(pair(wakes, raises(m)))
        check(len(delays) > WAKES * 3 / 4, f"{len(delays)} of {WAKES} wakes raised the clock")
        return {"wakes": len(wakes), "raises": len(delays),
                "p50_us": delays[len(delays) // 2] / 1e3,
                "p99_us": delays[len(delays) * 99 // 100] / 1e3, "max_us": delays[-1] / 1e3}

