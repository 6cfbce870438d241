# SPDX-License-Identifier: Apache-2.0
"""The CoFRIS paper's observations: what is declared met is met, and what is declared missed still is,
so that a change that mends it is seen and told about.

usage: test_observations.py swim|jobs [--table]; COFRIS_BUILD names the build folder. The trace that
the paper's is most like is not shipped: COFRIS_TRACES names the folder where it lies (SWIM's
FB-2009_samples_24_times_1hr_1.tsv). --table prints the rows as docs/evaluation.md has them."""

import json
import os
import subprocess
import sys

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
PROGRAM = os.path.join(os.environ["COFRIS_BUILD"], "bin", "cofris-replay")
SWIM = "FB-2009_samples_24_times_1hr_1.tsv"
SKIP = 77
MET = {"predicted": True, "calibrated": True, "miss": False, "impossible-by-construction": False}


def check(condition, text):
    if not condition:
        sys.exit(text)


def find_swim():
    folders = (os.environ.get("COFRIS_TRACES"),
               os.path.join(SOURCE, "..", "shared", "data", "traces"))
    for folder in folders:
        path = os.path.join(folder or "/nonexistent", SWIM)
        if os.path.exists(path):
            return path
    print(f"skipped: no {SWIM} in $COFRIS_TRACES")
    sys.exit(SKIP)


def run(*options):
    environment = dict(os.environ, COFRIS_PROFILES=os.path.join(SOURCE, "profiles"))
    out = subprocess.run([PROGRAM, "--experiment", "cofris", *options], stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE, text=True, env=environment)
    check(out.returncode == 0, out.stderr)
    return out.stdout


def observations(which):
    swim = ("--trace", find_swim(), "--smoothing-k", "11") if which == "swim" else ()
    return json.loads(run(*swim, "--json"))


def is_within(row):
    """Whether all that was measured lies within the bounds, by the object's own figures."""
    low = float("-inf") if row["low"] is None else row["low"] - row["tolerance"]
    high = float("inf") if row["high"] is None else row["high"] + row["tolerance"]
    return all(low <= value <= high for value in row["measured"].values())


def check_row(row):
    where = row["id"]
    check(row["measured"], f"{where}: nothing measured")
    check(None not in row["measured"].values(), f"{where}: not a number: {row['measured']}")
    check(row["low"] is not None or row["high"] is not None, f"{where}: cannot fail")
    check(row["met"] == is_within(row), f"{where}: met is {row['met']}: {row}")
    if MET[row["status"]]:
        check(row["met"], f"{where} is not met any more: {row['measured']}")
    else:
        check(not row["met"], f"{where} is a {row['status']} that is none any more: "
                              f"{row['measured']}")
        check(row["argument"], f"{where}: a {row['status']} without a reason")


def check_all(which):
    found = observations(which)
    rows = found["observations"]
    check(found["simulated"] is True and found["declared"] is True, "not what is declared for")
    check(found["latency_notion"] == "service", "not as in the paper")
    check(len({r["id"] for r in rows}) == len(rows) > 30, f"{len(rows)} rows")
    for row in rows:
        check_row(row)
    calibrated = [r["id"] for r in rows if r["status"] == "calibrated"]
    check(len(calibrated) <= 3, f"calibrated: {calibrated}")
    predicted = [r["id"] for r in rows if r["status"] == "predicted" and r["met"]]
    check(found["predicted_and_met"] == len(predicted), "the count of predicted and met")
    print(f"{len(predicted)} predicted and met, of {len(rows)}")


# ---- docs/evaluation.md ----


def bounds(row):
    low, high, tolerance = row["low"], row["high"], row["tolerance"]
    if low is None:
        text = f"at most {high:g}"
    elif high is None:
        text = f"at least {low:g}"
    else:
        text = f"{low:g}" if low == high else f"{low:g} to {high:g}"
    return text + (f" ± {tolerance:g}" if tolerance else "")


def measured(row):
    values = row["measured"]
    if len(values) > 5 and all(name.endswith(" MHz") for name in values):
        return f"{min(values.values()):.3g} to {max(values.values()):.3g} over the clocks"
    return ", ".join(f"{name} {value:.4g}" for name, value in values.items())


def print_table(which):
    found = observations(which)
    print("| id | the paper | figure | expected | here | |")
    print("|---|---|---|---|---|---|")
    for r in found["observations"]:
        print(f"| {r['id']} | {r['statement']} ({r['source']}) | {r['figure']} | {bounds(r)} | "
              f"{measured(r)} | {r['status']}, {'met' if r['met'] else 'not met'} |")
    print()
    for r in found["observations"]:
        if r["argument"]:
            print(f"- {r['id']}: {r['argument']}.")
    print(f"\n{found['predicted_and_met']} predicted and met, mean load {found['mean_load']}")


if __name__ == "__main__":
    if sys.argv[2:] == ["--table"]:
        print_table(sys.argv[1])
    else:
        check_all(sys.argv[1])
