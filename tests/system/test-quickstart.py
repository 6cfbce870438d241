# SPDX-License-Identifier: Apache-2.0
"""The quickstart as a newcomer runs it, only faster: its promises about the last line."""

import json
import os
import subprocess
import sys
import tempfile

if os.geteuid() != 0 or not os.path.exists("/dev/fuse"):
    print("needs root and /dev/fuse")
    sys.exit(77)

SOURCE, BUILD = os.environ["COFRIS_SOURCE"], os.environ["COFRIS_BUILD"]
KEYS = {"simulated": bool, "engine": str, "model": str, "slo_ms": float, "requests": int,
        "ungoverned_mean_power_w": float, "governed_mean_power_w": float, "power_saved_pct": float,
        "slo_attainment_pct": float, "excess_late_pct": float, "p95_ms": float, "min_cus": int,
        "max_cus": int, "min_sclk_mhz": int, "max_sclk_mhz": int, "baseline_restored": bool,
        "modelled_power_saved_pct": float, "modelled_excess_late_pct": float,
        "modelled_min_cus": int, "modelled_max_cus": int}

with tempfile.TemporaryDirectory(prefix="cofris-quickstart-test-") as folder:
    # At 15 min in 45 s the load changes twice as fast as in the quickstart itself.
    run = subprocess.run(["sh", f"{SOURCE}/docs/quickstart.sh", "--build-dir", BUILD, "--no-build",
                          "--output", folder, "--compression", "20", "--engine", "plant"],
                         stdout=subprocess.PIPE, text=True)
    assert run.returncode == 0, f"exit status {run.returncode}\n{run.stdout[-3000:]}"
    lines = run.stdout.splitlines()
    print("\n".join(lines[-8:]))
    result = json.loads(lines[-1])
    for key, kind in KEYS.items():
        accepted = (int, float) if kind is float else kind
        assert isinstance(result[key], accepted), f"{key} = {result.get(key)}"
    seconds = [line for line in lines if line.lstrip()[:1].isdigit() and "/" in line]
    assert len(seconds) >= 2 * 40, f"a line each second while it serves: {len(seconds)}"
    for plot in ("run.svg", "modelled/run.svg"):
        assert os.path.getsize(os.path.join(folder, plot)) > 10000, f"a plot: {plot}"
    assert "gating = cu modelled" in run.stdout, "what is modelled says so"
    assert run.stdout.count("== Profiling ") == 1, "both runs are on one surface"
    assert "simulated" in run.stdout.lower(), "it says what it ran on"
    assert result["simulated"] is True and result["engine"] == "plant"
    assert result["requests"] > 3000
    assert result["power_saved_pct"] > 0
    assert result["excess_late_pct"] <= 0.5
    assert result["baseline_restored"] is True
    assert result["max_cus"] == 60 == result["min_cus"], "without gating the mask is left alone"
    assert 925 <= result["min_sclk_mhz"] <= result["max_sclk_mhz"] <= 1725
    assert result["gating"] == "none" and result["modelled"] is False, "the plain figures"
    assert result["modelled_power_saved_pct"] > result["power_saved_pct"], "gating saves more"
    assert result["modelled_excess_late_pct"] <= 0.5
    assert result["modelled_min_cus"] < result["modelled_max_cus"] <= 60, "both knobs move"
