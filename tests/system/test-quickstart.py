# SPDX-License-Identifier: Apache-2.0
"""The quickstart as a newcomer runs it, only faster: its promises about the last line.

test-quickstart.py plant|hip: with the plant engine both runs; through HIP, which takes longer to
profile, the one with modelled gating."""

import json
import os
import re
import subprocess
import sys
import tempfile

if os.geteuid() != 0 or not os.path.exists("/dev/fuse"):
    print("needs root and /dev/fuse")
    sys.exit(77)

ENGINE = sys.argv[1]
SOURCE, BUILD = os.environ["COFRIS_SOURCE"], os.environ["COFRIS_BUILD"]
if ENGINE == "hip" and not os.path.exists(f"{BUILD}/lib/sim/libhsakmt.so.1"):
    print("built without the simulated HSA")
    sys.exit(77)

KEYS = {"simulated": bool, "engine": str, "model": str, "slo_ms": float, "requests": int,
        "ungoverned_mean_power_w": float, "governed_mean_power_w": float, "power_saved_pct": float,
        "slo_attainment_pct": float, "excess_late_pct": float, "p95_ms": float, "min_cus": int,
        "max_cus": int, "min_sclk_mhz": int, "max_sclk_mhz": int, "baseline_restored": bool}
MODELLED = {"modelled_power_saved_pct": float, "modelled_excess_late_pct": float,
            "modelled_min_cus": int, "modelled_max_cus": int}


def quickstart(folder, *options):
    """What it prints, and the last line of that."""
    run = subprocess.run(["sh", f"{SOURCE}/docs/quickstart.sh", "--build-dir", BUILD, "--no-build",
                          "--output", folder, "--engine", ENGINE, *options],
                         stdout=subprocess.PIPE, text=True)
    assert run.returncode == 0, f"exit status {run.returncode}\n{run.stdout[-3000:]}"
    print("\n".join(run.stdout.splitlines()[-8:]))
    return run.stdout, json.loads(run.stdout.splitlines()[-1])


def check_run(folder, text, result, keys, seconds, requests):
    for key, kind in keys.items():
        accepted = (int, float) if kind is float else kind
        assert isinstance(result[key], accepted), f"{key} = {result.get(key)}"
    shown = [int(s) for s in re.findall(r"^ +(\d+)s .*/", text, re.MULTILINE)]
    runs = text.count("== Governing ")
    assert max(shown) >= seconds, f"the seconds while it serves: {shown}"
    # A busy host has no time for some of them.
    assert len(shown) >= runs * seconds / 2, f"a line each second: {shown}"
    assert os.path.getsize(os.path.join(folder, "run.svg")) > 10000, "a plot"
    assert "simulated" in text.lower(), "it says what it ran on"
    assert "gating = cu modelled" in text, "what is modelled says so"
    assert text.count("== Profiling ") == 1, "one surface"
    assert result["simulated"] is True and result["engine"] == ENGINE
    assert result["requests"] > requests
    assert result["power_saved_pct"] > 0
    assert result["baseline_restored"] is True
    assert 925 <= result["min_sclk_mhz"] <= result["max_sclk_mhz"] <= 1725


def both_runs(folder):
    # At 15 min in 45 s the load changes twice as fast as in the quickstart itself.
    text, result = quickstart(folder, "--compression", "20")
    check_run(folder, text, result, {**KEYS, **MODELLED}, seconds=40, requests=3000)
    assert os.path.getsize(os.path.join(folder, "modelled/run.svg")) > 10000, "a second plot"
    assert result["gating"] == "none" and result["modelled"] is False, "the plain figures"
    assert result["max_cus"] == 60 == result["min_cus"], "without gating the mask is left alone"
    assert result["excess_late_pct"] <= 0.5
    assert result["modelled_power_saved_pct"] > result["power_saved_pct"], "gating saves more"
    assert result["modelled_excess_late_pct"] <= 0.5
    assert result["modelled_min_cus"] < result["modelled_max_cus"] <= 60, "both knobs move"


def gated_run(folder):
    text, result = quickstart(folder, "--compression", "30", "--gating", "cu")
    check_run(folder, text, result, KEYS, seconds=20, requests=400)
    assert "HIP" in text and result["modelled"] is True and result["gating"] == "cu"


run = gated_run if ENGINE == "hip" else both_runs
for left in (1, 0):
    with tempfile.TemporaryDirectory(prefix="cofris-quickstart-test-") as folder:
        try:
            run(folder)
            break
        except AssertionError as e:
            # What the host holds up is late: that is no promise's fault, unless it is so twice.
            if left == 0:
                raise
            print(f"{e}: once more", flush=True)
