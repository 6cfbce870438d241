#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes the load curves (NAME.csv) of 15 minutes each (load 1 = the rated rate).

    generate.py            writes every NAME.csv beside this script
    generate.py --check    exit 1 if a file is not what this script makes

day: a day, one value a second. A quiet night, a straight ramp in the morning, two busy spells with
a lull at noon, an evening peak and the way back down, joined by half cosines. The whole is scaled to
a mean of 0.40, with one burst of three seconds at 1.0 included. The last value joins the first, so
the day can be repeated.

steps: up and down between a tenth and the whole, each held for 45 s. bursts: a low base with bursts
of 1 to 20 s at 0.7 to 1.0. flat: half of the rated rate throughout. jobs: as a batch cluster's trace
looks after binning: made-up counts with rare large ones, averaged over 11 s, the largest 1.
"""

import argparse
import math
import pathlib
import random
import sys

SECONDS = 900
MEAN = 0.40
BURST = range(430, 433)
RAMP = (225, 285)
# (second, load before scaling); straight over the ramp, half a cosine elsewhere.
POINTS = (
    (0, 0.16),
    (120, 0.12),
    (225, 0.15),
    (285, 0.50),
    (390, 0.60),
    (480, 0.48),
    (590, 0.63),
    (690, 0.72),
    (840, 0.24),
    (900, 0.16),
)


def smooth_day(second):
    for (t0, load0), (t1, load1) in zip(POINTS, POINTS[1:]):
        if second < t1:
            way = (second - t0) / (t1 - t0)
            if (t0, t1) != RAMP:
                way = (1 - math.cos(math.pi * way)) / 2
            return load0 + (load1 - load0) * way
    raise ValueError(f"second {second} is not in the day")


def day():
    smooth = [smooth_day(t) for t in range(SECONDS)]
    outside = sum(load for t, load in enumerate(smooth) if t not in BURST)
    scale = (MEAN * SECONDS - len(BURST)) / outside
    return [1.0 if t in BURST else scale * load for t, load in enumerate(smooth)]


EDGE_S = 0.001  # over which a curve that is straight between its points takes a step
STEP_S = 45
STEPS = (
    0.1, 0.3, 0.5, 0.7, 0.9, 1.0, 0.6, 0.2, 0.8, 0.1,
    1.0, 0.4, 0.7, 0.3, 0.9, 0.5, 0.2, 0.6, 0.1, 0.4,
)
BASE = 0.15
# Begin, length and load of each.
BURSTS = (
    (40, 1, 1.0), (95, 5, 0.8), (160, 20, 0.7), (230, 2, 1.0), (236, 2, 1.0), (242, 2, 1.0),
    (330, 10, 1.0), (420, 1, 0.9), (425, 1, 0.9), (430, 1, 0.9), (520, 20, 1.0), (600, 5, 0.7),
    (660, 3, 1.0), (740, 15, 0.8), (810, 1, 1.0), (850, 8, 0.9),
)
SEED = 20090
SMOOTHING = 11


def held(pieces):
    """Points of a curve that holds each (begin, load) until the next one begins."""
    points = []
    for begin, load in pieces:
        if points:
            points += [(begin, points[-1][1]), (begin + EDGE_S, load)]
        else:
            points.append((begin, load))
    return points + [(SECONDS, points[-1][1])]


def steps():
    return held([(i * STEP_S, load) for i, load in enumerate(STEPS)])


def bursts():
    pieces = [(0, BASE)]
    for begin, length, load in BURSTS:
        pieces += [(begin, load), (begin + length, BASE)]
    return held(pieces)


def jobs():
    draw = random.Random(SEED).random
    # A count of 1 / u has a heavy tail; 20 at most, or one of them would be all that is seen.
    counts = [min(1 / draw(), 20) * (1 + 0.5 * math.sin(t / 70)) for t in range(SECONDS)]
    half = SMOOTHING // 2
    smooth = []
    for t in range(SECONDS):
        near = counts[max(t - half, 0):t + half + 1]
        smooth.append(sum(near) / len(near))
    return [(t, load / max(smooth)) for t, load in enumerate(smooth)]


CURVES = {
    "day": lambda: list(enumerate(day())),
    "steps": steps,
    "bursts": bursts,
    "flat": lambda: [(0, 0.5), (SECONDS, 0.5)],
    "jobs": jobs,
}


def text(points):
    return "t_s,load\n" + "".join(f"{t:.10g},{load:.4f}\n" for t, load in points)


def main():
    parser = argparse.ArgumentParser(description="Makes the load curves.")
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    check = parser.parse_args().check
    wrong = False
    for name, points in CURVES.items():
        path = pathlib.Path(__file__).parent / f"{name}.csv"
        if not check:
            path.write_text(text(points()), encoding="ascii")
        elif not path.exists() or path.read_text(encoding="ascii") != text(points()):
            print(f"{path}: not what this script makes; run it without --check", file=sys.stderr)
            wrong = True
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
