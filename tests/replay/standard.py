#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The standard evaluation: every table of docs/evaluation.md that is made of cofris-replay's runs.

    python3 tests/replay/standard.py --build-dir build --traces DIR [--part NAME]... > tables.md

DIR holds SWIM's FB-2009_samples_24_times_1hr_1.tsv and FB-2010_samples_24_times_1hr_0.tsv, which are
not shipped (SWIMProjectUCB/SWIM, workloadSuite/). Parts: objectives, cards, switching, traces,
ramps. Progress goes to standard error. Everything that is printed is simulated."""

import argparse
import json
import os
import subprocess
import sys
import time

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
FB_2009 = "FB-2009_samples_24_times_1hr_1.tsv"
FB_2010 = "FB-2010_samples_24_times_1hr_0.tsv"
ALL = ("auto,maximum,frequency,resource,coordinated,adapter,adapter-tail,cofris,oracle,"
       "oracle-rate")
# A row for each policy that is no reference; oracles cost most of the time.
TICK = "auto,maximum,frequency,resource,coordinated,adapter,adapter-tail,cofris"
CARDS = 21  # the device's file and the ensemble's 20


def number(value, digits=3, factor=1):
    return "-" if value is None else f"{value * factor:.{digits}f}"


def spread(value, digits=3):
    if value is None or value["median"] is None:
        return "-"
    return (f"{value['median']:.{digits}f} ({value['low']:.{digits}f} to "
            f"{value['high']:.{digits}f})")


def table(header, rows):
    print("| " + " | ".join(header) + " |")
    print("|" + "---|" * len(header))
    for row in rows:
        print("| " + " | ".join(row) + " |")
    print(flush=True)


class Runner:
    def __init__(self, program, traces):
        self.program = program
        self.traces = traces

    def trace(self, name):
        shipped = os.path.join(SOURCE, "profiles", "loads", f"{name}.csv")
        return shipped if os.path.exists(shipped) else os.path.join(self.traces, name)

    def run(self, trace, *options):
        """The objects of a run, one for each objective."""
        command = [self.program, "--trace", self.trace(trace), "--json", *options]
        began = time.monotonic()
        print(" ".join(command), file=sys.stderr)
        out = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if out.returncode:
            sys.exit(f"{out.stderr[-2000:]}\nexit status {out.returncode}")
        print(f"  {time.monotonic() - began:.0f} s", file=sys.stderr)
        return [json.loads(line) for line in out.stdout.splitlines()]


def excess(result, policy):
    """Excess lateness of a policy: of the median model, and of the worst."""
    late = sorted(r["excess_late_pct"] for r in result["results"] if r["policy"] == policy)
    return f"{late[len(late) // 2]:.2f}, {late[-1]:.2f}"


def at_the_default(result, policy):
    """Geometric mean of power against auto over the models, as run."""
    product, n = 1.0, 0
    for row in result["results"]:
        if row["policy"] == policy:
            product *= row["power_vs_auto"]
            n += 1
    return number(product ** (1 / n))


def objectives(runner):
    print("### Objectives and gating\n")
    for gating in ("cu", "none", "se"):
        for result in runner.run(FB_2009, "--policies", ALL, "--gating", gating, "--slo",
                                 "1.25x,1.5x,2.0x", "--headroom-sweep"):
            label = "measured power" if gating == "none" else "modelled power"
            print(f"Gating {gating} ({label}), SLO {result['slo']}, mean load "
                  f"{result['mean_load']:.3f}, k = {result['smoothing_k']}:\n")
            rows = []
            for mean in result["geomean"]:
                policy = mean["policy"]
                rows.append([policy, at_the_default(result, policy), excess(result, policy),
                             "yes" if mean["reaches"] else "no",
                             number(mean["headroom_there"], 2),
                             number(mean["power_vs_auto_there"]),
                             number(mean["regret_pct"], 1), number(mean["missed_pct"], 1)])
            table(["policy", "power at h = 0.9", "excess late %: median model, worst",
                   "reaches 0.3 %", "at h", "power there", "regret %", "missed %"], rows)


def cards(runner):
    print(f"### {CARDS} cards\n")
    for gating in ("cu", "none"):
        result, = runner.run(FB_2009, "--policies", TICK, "--gating", gating, "--service-cards",
                             str(CARDS), "--ensemble", str(CARDS))
        print(f"Gating {gating}, SLO {result['slo']}: median (lowest to highest card).\n")
        models = sorted({r["model"] for r in result["results"]})
        rows = []
        for policy in TICK.split(","):
            mine = [r for r in result["results"] if r["policy"] == policy]
            rows.append([policy] + [spread(r["power_vs_auto_range"], 2) for m in models
                                    for r in mine if r["model"] == m])
        table(["power of auto"] + models, rows)
        rows = []
        for policy in TICK.split(",")[2:]:
            mine = [r for r in result["results"] if r["policy"] == policy]
            rows.append([policy] + [spread(r["excess_late_pct_range"], 2) for m in models
                                    for r in mine if r["model"] == m])
        table(["excess late %"] + models, rows)


def switching(runner):
    print("### Time of a clock change\n")
    rows = {}
    times = (1, 5, 10, 50, 200)
    for ms in times:
        result, = runner.run(FB_2009, "--policies", TICK, "--gating", "cu", "--switch-ms", str(ms))
        for policy in TICK.split(",")[2:]:
            rows.setdefault(policy, [policy]).append(
                f"{at_the_default(result, policy)}; {excess(result, policy)}")
    print("Gating cu, SLO 2.0x: power against auto; excess late % of the median model, the worst."
          "\n")
    table(["policy"] + [f"{ms} ms" for ms in times], rows.values())


def ramps(runner):
    print("### Unknown on hardware: DPM's ramp, idle power at a raised clock\n")
    rows = {}
    settings = (("--dpm-ramp-ms", "0"), ("--dpm-ramp-ms", "50"), ("--idle-active-share", "0.5"),
                ("--idle-active-share", "1"))
    for setting in settings:
        result, = runner.run(FB_2009, "--policies", TICK, "--gating", "cu", *setting)
        for policy in TICK.split(",")[2:]:
            rows.setdefault(policy, [policy]).append(
                f"{at_the_default(result, policy)}; {excess(result, policy)}")
    table(["policy"] + [f"{name[2:]} {value}" for name, value in settings], rows.values())


def traces(runner):
    print("### Other loads\n")
    rows = {}
    names = [(FB_2009, "1"), (FB_2009, "31"), (FB_2010, "11"), ("day", None), ("steps", None),
             ("bursts", None), ("flat", None), ("jobs", None)]
    header = ["policy"]
    for name, k in names:
        options = ["--smoothing-k", k] if k else []
        result, = runner.run(name, "--policies", TICK, "--gating", "cu", *options)
        label = name.split("_")[0] + (f", k = {k}" if k else "")
        header.append(f"{label} (mean load {result['mean_load']:.2f})")
        for policy in TICK.split(",")[2:]:
            rows.setdefault(policy, [policy]).append(
                f"{at_the_default(result, policy)}; {excess(result, policy)}")
    print("Gating cu, SLO 2.0x: power against auto; excess late % of the median model, the worst."
          "\n")
    table(header, rows.values())


PARTS = {"objectives": objectives, "cards": cards, "switching": switching, "ramps": ramps,
         "traces": traces}


def main():
    parser = argparse.ArgumentParser(description="The standard evaluation, as Markdown tables.")
    parser.add_argument("--build-dir", default=os.path.join(SOURCE, "build"))
    parser.add_argument("--traces", required=True, help="folder with SWIM's files")
    parser.add_argument("--part", action="append", choices=PARTS, help="default: all")
    arguments = parser.parse_args()
    runner = Runner(os.path.join(arguments.build_dir, "bin", "cofris-replay"), arguments.traces)
    for name in arguments.part or PARTS:
        PARTS[name](runner)


if __name__ == "__main__":
    main()
