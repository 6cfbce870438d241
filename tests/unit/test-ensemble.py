#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Whether every member of the MI50's ensemble satisfies the published facts, by a fluid computation
that shares no code with the plant: kernels, power and the policies' choices are worked out here, by
the formulas at the head of src/plant/plant.h.

    test-ensemble.py [PROFILES]
"""

import configparser
import math
import pathlib
import sys

# Those of the paper.
MODELS = ("albert", "alexnet", "densenet201", "resnet152", "resnext101", "shufflenet", "squeezenet",
          "vgg19")
# Twenty quantiles of the load of the trace that the paper used, see tests/support/make-ensemble.c.
LOADS = (0.097, 0.137, 0.177, 0.204, 0.221, 0.235, 0.257, 0.270, 0.288, 0.305,
         0.323, 0.336, 0.354, 0.367, 0.394, 0.478, 0.544, 0.611, 0.730, 0.850)
# Mean power against the ungoverned card, as the paper's text gives it, and what counts as met.
PUBLISHED = {"clock": (0.83, 0.86), "cus": (0.75, 0.78), "both": (0.71, 0.73)}
SLACK = 0.002  # of two computations that round differently
ENGINES, CUS = 4, 15
# The fewest engines that hold so many CUs, evenly split.
SHAPES = [(k, c) for k in range(1, ENGINES + 1) for c in range(1, CUS + 1) if k * c > CUS * (k - 1)]


def numbers(text):
    return [float(word) for word in text.split()]


def read_ini(path):
    ini = configparser.ConfigParser(comment_prefixes=(";",), inline_comment_prefixes=(";",))
    ini.read(path)
    return ini


def read_device(path):
    ini = read_ini(path)
    device = {}
    for section in ("time", "power", "heat"):
        device.update({key: float(value) for key, value in ini[section].items()})
    device["mhz"] = numbers(ini["clocks"]["sclk_mhz"])
    device["mv"] = numbers(ini["clocks"]["sclk_mv"])
    return device


def read_model(path):
    ini = read_ini(path)
    return [tuple(float(ini[s][key]) for key in ("count", "workgroups", "flop", "bytes"))
            for s in ini.sections() if s.startswith("kernel ")]


def read_members(path):
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    names = lines[0].split(",")
    for line in lines[1:]:
        yield dict(zip(names, (float(field) for field in line.split(","))))


def busy_most(kernels, shape):
    """Workgroups of the busiest CU, kernel by kernel."""
    k, c = shape
    return [math.ceil(math.ceil(workgroups / k) / c) for _, workgroups, _, _ in kernels]


def cost(d, kernels, most, mhz, shape):
    """ns, and the rest of one request: FLOP, bytes, ns with the memory awake."""
    cus, top = shape[0] * shape[1], d["mhz"][-1]
    flop_rate = d["flop_per_clock_cu"] * d["efficiency"] * mhz * 1e-3
    byte_rate = min(d["memory_gbps"], cus * d["cu_gbps"] * mhz / top)
    launch, dispatch, awake_rate = d["launch_us"] * 1e3, d["dispatch_us"] * 1e3, d["uncore_gbps"]
    total = flops = moved = awake = 0.0
    for (count, workgroups, flop, size), m in zip(kernels, most):
        ns = max(m * flop / workgroups / flop_rate, size / byte_rate) + dispatch
        if ns < launch:
            ns = launch
        total += count * ns
        flops += count * flop
        moved += count * size
        awake += count * min(ns, size / awake_rate)
    return total, flops, moved, awake


def above_idle_w(d, costs, level, ungated):
    """Of a card that serves all the time."""
    ns, flop, moved, awake = costs
    v2 = (d["mv"][level] / d["mv"][-1]) ** 2
    share = d["cu_clock_share"]
    cu_w = d["cu_active_idle_w"] * v2 * (share * d["mhz"][level] / d["mhz"][-1] + 1 - share)
    work_w = (flop * d["pj_per_flop"] * v2 + moved * d["pj_per_byte"]) / ns * 1e-3
    return d["uncore_w"] * awake / ns + ungated * cu_w + work_w


def mean_w(d, choices):
    """choices: (slower, W above idle) of what a policy may use; the first is the baseline."""
    fit = [c for c in choices[1:] if c[0] <= 2]
    total = 0.0
    for load in LOADS:
        step = math.ceil(load * 40) / 40
        costs = [slower * w for slower, w in fit if step * slower <= 0.95]
        total += d["idle_w"] + load * min(costs + [choices[0][1]])
    return total / len(LOADS)


def ratios(d, kernels, most):
    """Mean power of each policy over the baseline's, and what the card draws at most."""
    whole, top = (ENGINES, CUS), len(d["mhz"]) - 1
    base = cost(d, kernels, most[whole], d["mhz"][top], whole)
    base_w = above_idle_w(d, base, top, ENGINES * CUS)
    choices = {name: [(1.0, base_w)] for name in PUBLISHED}
    for level, mhz in enumerate(d["mhz"]):
        for shape in SHAPES:
            c = cost(d, kernels, most[shape], mhz, shape)
            entry = (c[0] / base[0], above_idle_w(d, c, level, shape[0] * shape[1]))
            choices["both"].append(entry)
            if shape == whole:
                choices["clock"].append(entry)
            if level == top:
                choices["cus"].append(entry)
    baseline = mean_w(d, [(1.0, base_w)])
    hot = d["idle_w"] + base_w / (1 - d["leakage_w_per_k"] * d["thermal_ohm_k_per_w"])
    return {name: mean_w(d, c) / baseline for name, c in choices.items()}, hot


def check_member(shipped, member, models):
    d = shipped | member
    product, hottest = dict.fromkeys(PUBLISHED, 1.0), 0.0
    for kernels, most in models:
        by_policy, hot = ratios(d, kernels, most)
        hottest = max(hottest, hot)
        for name, ratio in by_policy.items():
            product[name] *= ratio
    problems = []
    for name, (low, high) in PUBLISHED.items():
        mean = product[name] ** (1 / len(models))
        if not low - SLACK <= mean <= high + SLACK:
            problems.append(f"{name} {mean:.4f}, published {low} to {high}")
    if hottest > d["cap_w"]:
        problems.append(f"{hottest:.1f} W of at most {d['cap_w']:g}")
    if d["idle_w"] != 15:
        problems.append(f"idle at {d['idle_w']:g} W")
    return problems


def main():
    profiles = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else
                            pathlib.Path(__file__).resolve().parents[2] / "profiles")
    shipped = read_device(profiles / "devices" / "mi50.ini")
    members = list(read_members(profiles / "devices" / "mi50-ensemble.csv"))
    models = []
    for name in MODELS:
        kernels = read_model(profiles / "models" / f"{name}.ini")
        models.append((kernels, {shape: busy_most(kernels, shape) for shape in SHAPES}))
    failed = len(members) < 20
    if failed:
        print(f"only {len(members)} members")
    for member in members:
        for problem in check_member(shipped, member, models):
            print(f"member {member['member']:g}: {problem}")
            failed = True
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
