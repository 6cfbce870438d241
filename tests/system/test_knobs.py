# SPDX-License-Identifier: Apache-2.0
"""Both knobs end to end: worker, daemon, actuator and simulated card under a load in steps. With
power gating, which is modelled, clock and mask move together and save more than each alone."""

import csv
import json
import os
import sys

sys.path.insert(0, os.path.join(os.environ["COFRIS_SOURCE"], "tests", "support"))
from machine import (BDF, BIN, PATIENCE_S, case, check, main, needs_hip, undisturbed,  # noqa: E402
                     wait_for)

RATED_RPS = 246  # R of resnet50 on the MI50's plant
# Load in steps, held long enough that each counts; no step is more than a third of R.
STEPS = [0.15, 0.40, 0.65, 0.40, 0.15]


def steps_file(m, seconds_each):
    path = os.path.join(m.dir, "steps.csv")
    with open(path, "w") as f:
        f.write("t_s,load\n")
        for i, load in enumerate(STEPS):
            f.write(f"{i * seconds_each + 0.001 * (i > 0):.3f},{load}\n")
            f.write(f"{(i + 1) * seconds_each:.3f},{load}\n")
    return path


def report_path(m, name):
    return os.path.join(m.dir, f"{name}.csv")


def serve(m, name, steps, scale=1, **where):
    return m.start_worker("--load", steps, "--rated-rps", str(RATED_RPS / scale), "--seed", "5",
                          "--report", report_path(m, name), name=name, **where)


def requests(m, name):
    with open(report_path(m, name)) as f:
        return list(csv.DictReader(line for line in f if not line.startswith("#")))


def sojourns_ms(m, name):
    """Of each request by its number; infinite for one that failed."""
    return {int(r["request"]): (int(r["end_ns"]) - int(r["arrival_ns"])) / 1e6
            if r["status"] == "ok" else float("inf") for r in requests(m, name)}


def watch(m, worker):
    """The clocks and CUs that the card shows while the worker serves."""
    seen = []

    def ended():
        c = m.card()
        seen.append((c["soft_high_mhz"], c["fewest_cus"]))
        return worker.poll() is not None

    wait_for("the end of the load", ended, timeout=90, period=0.05)
    check(worker.returncode == 0, "the worker exits 0")
    return sorted({c for c, _ in seen}), sorted({n for _, n in seen})


def under_steps(m, gating):
    m.setup(extra=f"gating = {gating}")
    worker = serve(m, "worker", steps_file(m, seconds_each=5))
    clocks, cus = watch(m, worker)
    print(f"gating = {gating}: limits {clocks} MHz, masks of {cus} CUs (simulated)")
    sojourns = sojourns_ms(m, "worker")
    slo_ms = m.status()["gpus"][0]["models"][0]["slo_ms"]
    late = sum(s > slo_ms for s in sojourns.values())
    check(len(sojourns) > 1000 and late <= 0.05 * len(sojourns),
          f"the SLO holds: {late} of {len(sojourns)} late")
    return clocks, cus


@case(sim=["--gating", "none"])
def without_gating_the_clock_moves_alone(m):
    clocks, cus = under_steps(m, "none")
    check(len(clocks) >= 2 and clocks[0] < 1725, f"the clock moves: {clocks}")
    check(cus == [60], f"the mask is left alone: {cus}")


@case(sim=["--gating", "cu"])
def with_modelled_gating_clock_and_mask_move(m):
    clocks, cus = under_steps(m, "cu")
    check(len(clocks) >= 2 and clocks[0] < 1725, f"the clock moves: {clocks}")
    check(len(cus) >= 2 and cus[0] < 60, f"so does the mask: {cus}")


# A real runtime, for several cards at once, is more than two cores serve in real time.
HIP_SCALE = 4
HIP_SIM = ["--time-scale", str(HIP_SCALE)]


def under_steps_through_hip(m, gating):
    needs_hip()
    m.setup(scale=HIP_SCALE, extra=f"gating = {gating}")
    worker = serve(m, "worker", steps_file(m, seconds_each=6), scale=HIP_SCALE, engine="hip")
    clocks, shown = watch(m, worker)
    cus = sorted({int(r["cus"]) for r in requests(m, "worker")})
    sojourns = sojourns_ms(m, "worker")
    # The report is in device time.
    slo_ms = m.status()["gpus"][0]["models"][0]["slo_ms"] / HIP_SCALE
    late = sum(s > slo_ms for s in sojourns.values())
    print(f"hip, gating = {gating}: limits {clocks} MHz, masks of {cus} CUs; {late} of "
          f"{len(sojourns)} late, with what the host adds (simulated)")
    check(len(clocks) >= 2 and clocks[0] < 1725, f"the clock moves: {clocks}")
    check(shown[0] == cus[0], f"the card shows the same: {shown}")
    check(len(sojourns) > 300 and float("inf") not in sojourns.values(), "no request is lost")
    return cus


@case(sim=["--gating", "none", *HIP_SIM])
def through_hip_without_gating_the_clock_moves_alone(m):
    cus = under_steps_through_hip(m, "none")
    check(cus == [60], f"the mask is left alone: {cus}")


@case(sim=["--gating", "cu", *HIP_SIM])
def through_hip_clock_and_mask_move(m):
    cus = under_steps_through_hip(m, "cu")
    check(len(cus) >= 2 and cus[0] < 60, f"the mask moves, too: {cus}")


# ---- the policies side by side ----

# The highest configuration, the clock alone, CUs alone, both: each on a card of its own, at the same
# time.
POLICIES = ["maximum", "frequency", "resource", "coordinated"]
# Excess lateness at which policies count as equal, as everywhere.
EQUAL = 0.003


def start_policy(m, index, policy, scale, *options):
    """A daemon of its own for a card of its own, which it looks at every 0.5 s of the card's time."""
    m.write_config(gpu=BDF[index], extra="gating = cu", model_extra=f"policy = {policy}",
                   daemon=f"poll_interval = {500 * scale}ms", name=policy)
    m.start_bus(f"bus-{policy}")
    m.start_daemon(*options, name=f"cofrisd-{policy}", run=f"run-{policy}", config=policy,
                   bus=f"bus-{policy}")


def slo_of(m, policy):
    result = m.capture([os.path.join(BIN, "cofrisctl"), "--bus", f"unix:path={m.dir}/bus-{policy}",
                        "status", "--json"])
    return json.loads(result.stdout)["gpus"][0]["models"][0]["slo_ms"]


def serve_under_each(m, engine, scale, steps, slo_ms):
    """The same load under each policy: power and lateness of "coordinated" against the others."""
    before = m.stat()
    workers = [serve(m, p, steps, scale, gpu=BDF[i], run=f"run-{p}", engine=engine)
               for i, p in enumerate(POLICIES)]
    wait_for("the end of the load", lambda: all(w.poll() is not None for w in workers), timeout=150,
             period=0.1)
    after = m.stat()
    check(all(w.returncode == 0 for w in workers), "the workers exit 0")

    seconds = (after["device_ns"] - before["device_ns"]) / 1e9
    power_w = {p: (after["cards"][i]["energy_j"] - before["cards"][i]["energy_j"]) / seconds
               for i, p in enumerate(POLICIES)}
    sojourns = {p: sojourns_ms(m, p) for p in POLICIES}
    unavoidable = {n for n, ms in sojourns["maximum"].items() if ms > slo_ms}
    excess = {}
    for p in POLICIES:
        check(sojourns[p].keys() == sojourns["maximum"].keys(), f"{p} had the same requests")
        late = {n for n, ms in sojourns[p].items() if ms > slo_ms} - unavoidable
        excess[p] = len(late) / len(sojourns[p])
        print(f"{engine}, {p}: {power_w[p]:.1f} W (simulated, gating modelled), {len(late)} of "
              f"{len(sojourns[p])} requests late that were not under maximum")
    for p in ("frequency", "resource"):
        saved = 100 * (1 - power_w["coordinated"] / power_w[p])
        print(f"coordinated against {p}: {saved:.1f} % less power (simulated, gating modelled)")
        check(saved > 0, f"coordinated takes less power than {p}: {power_w}")
        check(excess["coordinated"] <= max(excess[p], EQUAL), f"no more lateness: {excess}")
    check(power_w["frequency"] < power_w["maximum"], f"the clock alone saves: {power_w}")


def compare_policies(m, engine, scale=1):
    m.surface(scale=scale)
    m.start_actuator()
    steps = steps_file(m, seconds_each=6 + 2 * scale)
    for index, policy in enumerate(POLICIES):
        start_policy(m, index, policy, scale)
    slo_ms = slo_of(m, "coordinated") / scale  # the reports are in device time
    undisturbed(lambda: serve_under_each(m, engine, scale, steps, slo_ms))


@case(count=4, sim=["--gating", "cu"])
def clock_and_mask_together_take_less_than_either(m):
    compare_policies(m, "plant")


@case(count=4, sim=["--gating", "cu", *HIP_SIM])
def through_hip_both_take_less_than_either(m):
    needs_hip()
    compare_policies(m, "hip", HIP_SCALE)


# ---- the clock by feedback from latency alone ----

LEVELS = [925, 930, 1032, 1143, 1282, 1386, 1485, 1606, 1725]


def limits_until_the_end(m, workers):
    """Of each card, the limits that were in force, in order."""
    seen = [[] for _ in workers]

    def ended():
        for limits, card in zip(seen, m.stat()["cards"]):
            if not limits or limits[-1] != card["soft_high_mhz"]:
                limits.append(card["soft_high_mhz"])
        return all(w.poll() is not None for w in workers)

    wait_for("the end of the load", ended, period=0.05)
    check(all(w.returncode == 0 for w in workers), "the workers exit 0")
    return seen


@case(count=2)
def adapter_steps_the_clock_by_latency_alone(m):
    m.surface()
    m.start_actuator()
    load = os.path.join(m.dir, "load.csv")
    with open(load, "w") as f:
        f.write("t_s,load\n0,0.3\n14,0.3\n")
    record = os.path.join(m.dir, "run-adapter-tail", "record")
    workers = []
    for i, policy in enumerate(["adapter", "adapter-tail"]):
        start_policy(m, i, policy, 1, *(["--record", record] if policy == "adapter-tail" else []))
        workers.append(serve(m, policy, load, gpu=BDF[i], run=f"run-{policy}"))
    slow, tail = limits_until_the_end(m, workers)
    print(f"adapter: limits {slow} MHz; adapter-tail: {tail} MHz (simulated)")
    # The whole range for 10 s, then one level below the middle one. The worker's end frees the card.
    check(slow[:2] == [1725, LEVELS[3]], f"adapter begins in the middle: {slow}")
    check(slow[2:] in ([], [1725]), f"adapter takes a step in 10 s: {slow}")
    check(LEVELS[0] in tail, f"adapter-tail goes all the way down: {tail}")
    places = [LEVELS.index(mhz) for mhz in tail[1:tail.index(LEVELS[0]) + 1]]
    check(places[0] in (3, 4), f"adapter-tail begins in the middle: {tail}")
    # However the host may hold a request up: one level at a time.
    check(all(abs(a - b) == 1 for a, b in zip(places, places[1:])), f"level by level: {tail}")

    result = m.capture([os.path.join(BIN, "cofris-replay"), "--inputs", record])
    check(": 0 differ" in result.stdout, f"the record gives the same decisions: {result.stdout}")


if __name__ == "__main__":
    main()
