# SPDX-License-Identifier: Apache-2.0
"""The times of kernels on the unmodified HIP against the plant's formula, by HIP's own events.

Of each kernel its progress is added up from its start to its end: at a clock and among whatever
else ran at each moment by the events, it must come to 1, within 2 %. The formula is written down
here once more, from the documentation of src/plant.
"""

import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from support.machine import BUILD, case, check, main, undisturbed, wait_for  # noqa: E402

CLIENT = os.path.join(BUILD, "tests", "hsa", "hip-times")
DEVICE = "/sys/class/drm/card0/device"
WORKGROUPS, FLOP = 24000, 24000000  # 79 ms on all CUs at 1725 MHz
N_SE, N_CUS = 4, 60
FLOP_PER_CLOCK_CU, EFFICIENCY, DISPATCH_NS, LAUNCH_NS = 128, 0.55, 3000, 7000
SWITCH_NS = 10_000_000
TOLERANCE = 0.02
ALL = set(range(N_CUS))


def mask(text):
    """The CUs of a mask by their bits."""
    if text == "all":
        return ALL
    low, high = (int(word, 16) for word in text.split(","))
    return {i for i in ALL if (low | high << 32) >> i & 1}


HALF_A, HALF_B = "33333333,03333333", "cccccccc,0ccccccc"  # SEs 0 and 1, SEs 2 and 3
EVEN_HALF = "3fffffff,0"  # 7 or 8 CUs of each SE


def per_se(cus):
    return [sum(1 for cu in cus if cu % N_SE == se) for se in range(N_SE)]


def alone_ns(cus, mhz):
    used = [n for n in per_se(cus) if n > 0]
    busiest = -(-(-(-WORKGROUPS // len(used))) // min(used))
    compute = busiest * FLOP / (FLOP_PER_CLOCK_CU * EFFICIENCY * mhz * 1e-3)
    return max(LAUNCH_NS, compute + DISPATCH_NS)


def rate(cus, others):
    """The part of its speed that is left among others; all of them fill their CUs."""
    shares = [0.0] * N_SE
    for cu in cus:
        shares[cu % N_SE] += 1 / (1 + sum(cu in o for o in others))
    used = per_se(cus)
    return min(s for s, n in zip(shares, used) if n) / min(n for n in used if n)


class Kernel:
    def __init__(self, text, cus):
        self.start, self.end = text
        self.cus = cus


def progress(kernel, kernels, clocks):
    """clocks: (from_ns, mhz) in ascending order; the first holds from the beginning."""
    times = {kernel.start, kernel.end}
    times |= {t for k in kernels for t in (k.start, k.end)} | {t for t, _ in clocks}
    times = sorted(t for t in times if kernel.start <= t <= kernel.end)
    done = 0
    for begin, end in zip(times, times[1:]):
        mhz = [m for t, m in clocks if t <= begin][-1]
        others = [k.cus for k in kernels
                  if k is not kernel and k.start <= begin and k.end >= end]
        done += (end - begin) * rate(kernel.cus, others) / alone_ns(kernel.cus, mhz)
    return done


def check_all(kernels, clocks=((0, 1725),)):
    for k in kernels:
        p = progress(k, kernels, clocks)
        print(f"{k.end - k.start} ns on {len(k.cus)} CUs: {p:.4f}")
        check(abs(p - 1) <= TOLERANCE, f"a kernel of {k.end - k.start} ns came to {p:.4f}")


def start(count, masks):
    return subprocess.Popen([CLIENT, str(WORKGROUPS), str(FLOP), str(count), *masks],
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def go(processes):
    """All at once, when all are ready."""
    for p in processes:
        check(p.stdout.readline() == "ready\n", "the client is ready")
    for p in processes:
        p.stdin.write("\n")
        p.stdin.flush()


def finish(process, masks):
    text, _ = process.communicate(timeout=120)
    check(process.returncode == 0, f"hip-times exited {process.returncode}")
    return [Kernel((int(w[2]), int(w[3])), mask(masks[int(w[1])]))
            for w in (line.split() for line in text.splitlines()) if w[0] == "kernel"]


def write(name, text):
    with open(os.path.join(DEVICE, name), "w") as f:
        f.write(text)


def pin(machine, level="high", mhz=1725):
    write("power_dpm_force_performance_level", level)
    wait_for(f"{mhz} MHz", lambda: machine.card()["sclk_mhz"] == mhz)


def run(count, masks):
    process = start(count, masks)
    go([process])
    kernels = finish(process, masks)
    check(len(kernels) == count * len(masks), "every kernel is told of")
    check_all(kernels)
    return kernels


@case()
def hip_kernels_take_what_the_plant_says(machine):
    pin(machine)
    for one in ("all", HALF_A, HALF_B, EVEN_HALF, "11111111,01111111", "1,0"):
        undisturbed(lambda: run(1 if one == "1,0" else 3, [one]))


@case()
def hip_streams_share_by_mask(machine):
    pin(machine)
    for two in ((HALF_A, HALF_B), ("all", "all"), (HALF_A, HALF_A), ("all", HALF_A),
                (EVEN_HALF, HALF_B), ("all", HALF_A, HALF_B)):
        undisturbed(lambda: run(2, list(two)))


def run_processes(masks):
    processes = [start(4, [m]) for m in masks]
    go(processes)
    a, b = (finish(p, [m]) for p, m in zip(processes, masks))
    check(max(a[0].start, b[0].start) < min(a[1].end, b[1].end), "they ran at the same time")
    check_all(a + b)


@case()
def hip_processes_share_by_mask(machine):
    pin(machine)
    for masks in (("all", "all"), (HALF_A, HALF_B), ("all", HALF_A)):
        undisturbed(lambda: run_processes(masks))


def run_over_a_switch(machine):
    pin(machine)
    process = start(4, ["all"])
    go([process])
    wait_for("work", lambda: machine.card()["sensor_busy_percent"] > 50)
    before = len(machine.writes())
    write("power_dpm_force_performance_level", "low")
    kernels = finish(process, ["all"])
    fields = machine.writes()[before].split("\t")
    switch_ns = int(fields[1]) + SWITCH_NS
    check(any(k.start < switch_ns < k.end for k in kernels), "the switch came in mid-kernel")
    check_all(kernels, ((0, 1725), (switch_ns, 925)))


@case()
def hip_kernels_follow_the_clock(machine):
    undisturbed(lambda: run_over_a_switch(machine))


@case()
def hip_copies_are_right_under_stress(machine):
    seconds = int(os.environ.get("COFRIS_STRESS_S", "6"))
    processes = [subprocess.Popen([CLIENT, "stress", str(seconds), str(seed)]) for seed in (1, 2)]
    for p in processes:
        check(p.wait(timeout=seconds + 100) == 0, "no byte is wrong")


if __name__ == "__main__":
    main()
