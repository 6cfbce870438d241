# SPDX-License-Identifier: Apache-2.0
"""A thousand reloads under load: nothing grows, and the governor goes on governing."""

import json
import os
import re
import sys
import time

sys.path.insert(0, os.path.join(os.environ["COFRIS_SOURCE"], "tests", "support"))
import small_surface  # noqa: E402
from bus_client import BusClient, BusError  # noqa: E402
from machine import case, check, main, wait_for  # noqa: E402

RELOADS = 1000
# The heap has its final size by then.
SETTLED = 200
# 328 bytes a reload from there on would be too much.
GROWTH_KB = 256


def held(daemon):
    """Anonymous memory in KiB, and descriptors."""
    with open(f"/proc/{daemon.pid}/status") as f:
        kb = int(re.search(r"RssAnon:\s+(\d+) kB", f.read())[1])
    return kb, sorted(os.readlink(f"/proc/{daemon.pid}/fd/{fd}")
                      for fd in os.listdir(f"/proc/{daemon.pid}/fd"))


def under_load(m):
    m.start_bus()
    path = m.surface()
    small_surface.shrink(path)
    m.write_config(daemon="poll_interval = 100ms")
    m.start_actuator()
    daemon = m.start_daemon()
    worker = m.start_worker("--rate", "40", "--duration", "600s")
    wait_for("governed", lambda: m.status()["gpus"][0]["models"][0]["workers"] == 1
             and m.card()["perf_level"] == "manual" and m.card()["soft_high_mhz"] < 1725)
    return daemon, worker, path


def last_decision(m):
    """Its number, which goes on through reloads."""
    def last():
        with BusClient(f"{m.dir}/bus") as bus:
            text = bus.call("GetDecisions", "ssu", ("*", "*", 1))
        return json.loads(text)["gpus"][0]["decisions"]

    # None is kept from before the last reload.
    return wait_for("a decision", last)[-1]["number"]


def still_governs(m, daemon, worker):
    before = last_decision(m)
    wait_for("further decisions", lambda: last_decision(m) > before + 1)
    check(daemon.poll() is None and worker.poll() is None, "both live")
    check(m.card()["perf_level"] == "manual" and m.card()["soft_high_mhz"] < 1725,
          f"the clock is still lowered: {m.card()}")


def no_growth(at, after):
    print(f"anonymous memory: {at[0]} KiB after {SETTLED} reloads, {after[0]} KiB after {RELOADS}")
    check(after[0] <= at[0] + GROWTH_KB, f"memory grows: {at[0]} -> {after[0]} KiB")
    check(after[1] == at[1], f"descriptors: {at[1]} -> {after[1]}")


@case()
def a_thousand_reloads_under_load_leave_nothing_behind(m):
    daemon, worker, _ = under_load(m)
    before = last_decision(m)
    writes = len(m.writes())
    began = time.monotonic()
    with BusClient(f"{m.dir}/bus") as bus:
        for i in range(RELOADS):
            bus.call("Reload")
            if i + 1 == SETTLED:
                at = held(daemon)
            if (i + 1) % SETTLED == 0:
                card = m.card()
                check(card["perf_level"] == "manual" and card["soft_high_mhz"] < 1725,
                      f"governed after {i + 1} reloads: {card}")
        after = held(daemon)
    no_growth(at, after)
    seconds = time.monotonic() - began
    decisions = last_decision(m) - before
    print(f"{RELOADS} reloads in {seconds:.1f} s, {decisions} decisions")
    # Ten in a second, less those that came late on a busy host.
    check(decisions > 3 * seconds, f"decided all the while: {decisions} in {seconds:.1f} s")
    # Whatever is decided anew, a reload alone tells the card nothing.
    changes = len(m.writes()) - writes
    check(changes < RELOADS / 10, f"the card is written on change only: {changes} times")
    check(m.log("cofrisd").count("Configuration loaded again") == RELOADS, "each was a reload")
    still_governs(m, daemon, worker)


@case()
def refused_reloads_leave_nothing_behind(m):
    """Files that are bad each in its own way, so that each stage fails after the others."""
    daemon, worker, path = under_load(m)
    with open(path) as f:
        surface = f.read()
    with open(f"{m.dir}/cofris.conf") as f:
        config = f.read()
    bad = [(f"{m.dir}/cofris.conf", config, config + "polcy = cofris\n"),
           (f"{m.dir}/cofris.conf", config, config + "slo = soon\n"),
           (path, surface, surface[:len(surface) // 2]),
           (path, surface, surface.replace("gfx906", "gfx90a"))]
    with BusClient(f"{m.dir}/bus") as bus:
        for i in range(RELOADS):
            file, good, text = bad[i % len(bad)]
            with open(file, "w") as f:
                f.write(text)
            try:
                bus.call("Reload")
                check(False, f"{file} is refused")
            except BusError as e:
                check(e.args[0] == "org.cofris1.Error.Config" and file in e.args[1], str(e))
            with open(file, "w") as f:
                f.write(good)
            if i + 1 == SETTLED:
                at = held(daemon)
        no_growth(at, held(daemon))
        bus.call("Reload")
    still_governs(m, daemon, worker)


if __name__ == "__main__":
    main()
