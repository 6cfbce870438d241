#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""cofris-replay --exact --surface is the simulation that live.py holds against real time: the same
requests, latencies and clocks. And what --surface refuses. Environment: COFRIS_BUILD,
COFRIS_SOURCE."""

import json
import os
import subprocess
import tempfile

BUILD = os.environ["COFRIS_BUILD"]
SOURCE = os.environ["COFRIS_SOURCE"]
SEED = "5"
DURATION_S, WARM_UP_S = 90, 30


def profile(kind, name):
    return os.path.join(SOURCE, "profiles", kind, f"{name}.ini")


def surface(folder, model):
    path = os.path.join(folder, f"{model}.csv")
    subprocess.run([os.path.join(BUILD, "tests", "make-surface"), profile("devices", "mi50"),
                    profile("models", model), path], check=True)
    return path


def replay(*options):
    return subprocess.run([os.path.join(BUILD, "bin", "cofris-replay"), "--switch-ms", "10", "--exact",
                           "--seed", SEED, "--json", *options], capture_output=True, text=True)


def virtual(policy, model, surface_path, curve):
    out = subprocess.run([os.path.join(BUILD, "tests", "virtual-run"), "--device",
                          profile("devices", "mi50"), "--model", profile("models", model),
                          "--surface", surface_path, "--load", curve, "--policy", policy, "--seed", SEED,
                          "--begin", f"{WARM_UP_S}s", "--end", f"{DURATION_S}s"],
                         check=True, capture_output=True)
    return json.loads(out.stdout)


def near(what, a, b, relative):
    assert abs(a - b) <= relative * abs(b), f"{what}: {a} and {b}"


def compare(row, expected):
    assert row["requests"] == expected["requests"], (row, expected)
    for key in ("slo_ms", "rated_rps", "p50_ms", "p95_ms", "p99_ms"):
        near(f"{row['policy']}: {key}", row[key], expected[key], 1e-5)
    # These go on until the last request of any policy has ended.
    near("clock", row["mean_sclk_mhz"], expected["mean_sclk_mhz"], 5e-3)
    near("power", row["mean_power_w"], expected["energy_j"] / expected["length_s"], 5e-3)


def expect_refusal(text, *options):
    result = replay(*options)
    assert result.returncode == 2 and text in result.stderr, result


def main():
    with tempfile.TemporaryDirectory(prefix="cofris-test-") as folder:
        curve = os.path.join(folder, "curve.csv")
        with open(curve, "w") as f:
            f.write(f"t_s,load\n0,0.2\n40,0.8\n60,0.3\n{DURATION_S},0.6\n")
        model, policies = "resnet152", ("maximum", "coordinated", "cofris")
        path = surface(folder, model)
        result = replay("--trace", curve, "--models", model, "--surface", path, "--policies",
                        ",".join(policies))
        assert result.returncode == 0, result.stderr
        object_ = json.loads(result.stdout)
        assert object_["exact"] and object_["surfaces"] == [model], object_
        rows = {r["policy"]: r for r in object_["results"]}
        for policy in policies:
            compare(rows[policy], virtual(policy, model, path, curve))
        assert rows["coordinated"]["p95_ms"] != rows["maximum"]["p95_ms"]

        trace = ("--trace", curve)
        expect_refusal("which is not among the models", *trace, "--models", "vgg19", "--surface", path)
        expect_refusal("the second surface of resnet152", *trace, "--models", model, "--surface",
                       f"{path},{path}")
        expect_refusal("its surface is of another card", *trace, "--models", model, "--surface", path,
                       "--device", "tx2")
        expect_refusal(f"{curve}:1:", *trace, "--models", model, "--surface", curve)
        expect_refusal("No such file", *trace, "--models", model, "--surface", f"{folder}/none.csv")


if __name__ == "__main__":
    main()
    print("ok")
