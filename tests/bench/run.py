# SPDX-License-Identifier: Apache-2.0
"""Runs every benchmark and prints one table; --json FILE keeps the figures. No pass or fail: the
machine decides what is fast. What ran on the simulated card says so."""

import argparse
import json
import os
import subprocess
import sys
import tempfile

import hsa_tool

SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def run(command, **kw):
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE, **kw).stdout


def bench_json(build, name):
    with tempfile.NamedTemporaryFile(suffix=".json") as f:
        sys.stdout.write(run([os.path.join(build, "tests", name), "--json", f.name]))
        return json.load(f)


def inside(build, seconds):
    """Under cofris-sim: the apply path per backend, and what both daemons cost while they govern."""
    os.environ.update(COFRIS_BUILD=build, COFRIS_SOURCE=SOURCE)
    sys.path.insert(0, os.path.join(SOURCE, "tests", "support"))
    import early_path
    from machine import BDF, Machine, wait_for

    apply_path = os.path.join(build, "tests", "bench-apply")
    result = {"simulated": True, "bare": json.loads(run([apply_path, "bare"]))}
    for backend in ("rsmi", "sysfs"):
        with Machine() as m:
            m.start_actuator(backend=backend)
            result[backend] = json.loads(run([apply_path, "actuator", m.actuator_socket, BDF[0]]))
    result["early"] = {b: early_path.measure(build, b) for b in ("rsmi", "sysfs")}
    with Machine() as m:
        actuator, daemon = m.setup()
        m.start_worker("--rate", "60", "--duration", f"{seconds + 60}s")
        wait_for("a lower clock limit", lambda: m.card()["soft_high_mhz"] < 1725)
        children = {"cofris-actuator": actuator, "cofrisd": daemon}
        before = {n: cpu_seconds(c.pid) for n, c in children.items()}
        end = m.card()["device_ns"] + seconds * 1e9
        wait_for("the end", lambda: m.card()["device_ns"] > end, timeout=seconds + 30, period=1)
        for name, child in children.items():
            result[name] = {"cpu_pct": 100 * (cpu_seconds(child.pid) - before[name]) / seconds,
                            **memory(child.pid)}
    if os.path.exists(os.path.join(build, "tests", "hsa", "hip-times")):
        result["hip"] = inside_hip(build)
    result["hsa_tool"] = hsa_tool.measure(build, os.environ["COFRIS_TEST_DIR"])
    print(json.dumps(result))


def inside_hip(build):
    """What the simulated card costs a HIP program: launches back to back, and being idle."""
    client = os.path.join(build, "tests", "hsa", "hip-times")
    return {**json.loads(run([client, "launches", "50000"])), **json.loads(run([client, "idle", "10"]))}


def cpu_seconds(pid):
    with open(f"/proc/{pid}/schedstat") as f:
        main = int(f.read().split()[0])
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/schedstat") as f:
            total += int(f.read().split()[0])
    return max(total, main) / 1e9


def memory(pid):
    with open(f"/proc/{pid}/status") as f:
        fields = dict(line.split(":", 1) for line in f)
    return {key: int(fields[name].split()[0])
            for key, name in (("rss_kib", "VmRSS"), ("anonymous_kib", "RssAnon"))}


def show_early(early):
    print(f"  {'wake to write of the clock, us':<34}{'median':>10}{'p99':>10}{'max':>10}{'raises':>10}")
    for backend, q in early.items():
        print(f"  {backend:<34}{q['p50_us']:>10.0f}{q['p99_us']:>10.0f}{q['max_us']:>10.0f}"
              f"{q['raises']:>10}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build-dir", required=True)
    parser.add_argument("--json")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--inside", action="store_true")
    a = parser.parse_args()
    build = os.path.abspath(a.build_dir)
    if a.inside:
        inside(build, a.seconds)
        return
    result = {name: bench_json(build, name) for name in ("bench-channel", "bench-governor")}
    with tempfile.TemporaryDirectory(prefix="cofris-bench-") as folder:
        os.chmod(folder, 0o755)
        text = run([os.path.join(build, "bin", "cofris-sim"), "--device", "mi50", "--runtime-dir",
                    folder, "--", "/usr/bin/python3", os.path.abspath(__file__), "--inside",
                    "--build-dir", build, "--seconds", str(a.seconds)],
                   env={**os.environ, "COFRIS_TEST_DIR": folder})
    d = result["daemons"] = json.loads(text.splitlines()[-1])
    print("\nOn the simulated card:")
    print(f"  {'clock change, us':<34}{'median':>10}{'p95':>10}{'max':>10}")
    for name in ("bare", "rsmi", "sysfs"):
        q = d[name]
        print(f"  {name:<34}{q['median_us']:>10.0f}{q['p95_us']:>10.0f}{q['max_us']:>10.0f}")
    show_early(d["early"])
    print(f"  {'governing, 60 s at 0.5 s':<34}{'CPU %':>10}{'RSS KiB':>10}{'anon KiB':>10}")
    for name in ("cofrisd", "cofris-actuator"):
        q = d[name]
        print(f"  {name:<34}{q['cpu_pct']:>10.3f}{q['rss_kib']:>10}{q['anonymous_kib']:>10}")
    if "hip" in d:
        q = d["hip"]
        print(f"  {'HIP, launches back to back':<34}{'1/s':>10}{'submit us':>10}{'CPU us':>10}")
        print(f"  {'empty kernels':<34}{q['per_s']:>10.0f}{q['submit_us']:>10.2f}{q['cpu_us']:>10.2f}")
        print(f"  {'idle HIP process, CPU %':<34}{q['idle_pct']:>10.4f}")
    hsa_tool.show(d["hsa_tool"])
    if a.json:
        with open(a.json, "w") as f:
            json.dump(result, f, indent=1)
            f.write("\n")


if __name__ == "__main__":
    main()
