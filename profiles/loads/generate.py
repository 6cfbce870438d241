#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes day.csv, a day's load in 15 minutes, one value a second (load 1 = the rated rate).

    generate.py            writes day.csv beside this script
    generate.py --check    exit 1 if day.csv is not what this script makes

A quiet night, a straight ramp in the morning, two busy spells with a lull at noon, an evening peak
and the way back down, joined by half cosines. The whole is scaled to a mean of 0.40, with one burst
of three seconds at 1.0 included. The last value joins the first, so the day can be repeated.
"""

import argparse
import math
import pathlib
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


def text():
    return "t_s,load\n" + "".join(f"{t},{load:.4f}\n" for t, load in enumerate(day()))


def main():
    parser = argparse.ArgumentParser(description="Makes the load curve day.csv.")
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    check = parser.parse_args().check
    path = pathlib.Path(__file__).parent / "day.csv"
    if not check:
        path.write_text(text(), encoding="ascii")
    elif not path.exists() or path.read_text(encoding="ascii") != text():
        print(f"{path}: not what this script makes; run it without --check", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
