#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Virtual time held against real time: the same requests, table and policy once on simulated cards
under the real daemons, in real time, and once in the simulation that cofris-replay is made of.

    live.py --build-dir DIR [--models A,B] [--policy P] [--seconds S] [--time-scale X] [--runs N]

Serves --runs seeds of each model at once, each on a card of its own with a daemon of its own (the
cards of one daemon tick together, also where one of them asks to be looked at early). Energy and latency quantiles
are of the card's time, over --seconds of it; before that the governor has --warm-up of its own
time. Agreement: the median over the runs of energy within 3 %, and that of p95 within 5 % or 1 ms,
whichever is more. The daemon's record fed to its governor again must give the same decisions.
Exit status: 0 all agree, 1 some do not, 77 it cannot run here.
"""

import argparse
import json
import math
import os
import shutil
import socket
import stat
import statistics
import subprocess
import sys
import tempfile
import threading
import time

SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SUPPORT = os.path.join(SOURCE, "tests", "support")

ENERGY_PCT = 3.0
P95_PCT, P95_MS = 5.0, 1.0
MAX_CARDS = 8
POLL_NS = 500_000_000  # the daemon's, by default
LATE_MS = 5.0  # one reading in a hundred: from here on the host is too busy to judge by
AFTER_S = 1.0  # of the card's time that the load goes on after what counts


def parse(arguments=None):
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--build-dir", required=True)
    p.add_argument("--models", default="resnet152,vgg19")
    p.add_argument("--policy", default="cofris")
    p.add_argument("--gating", default="none")
    p.add_argument("--slo-factor", type=float, default=2.0)
    p.add_argument("--seconds", type=float, default=60, help="of the card's time, that count")
    p.add_argument("--warm-up", type=float, default=30, help="s of the daemon's time before")
    p.add_argument("--time-scale", type=float, default=10)
    p.add_argument("--runs", type=int, default=3)
    p.add_argument("--attempts", type=int, default=1,
                   help="where runs do not agree and the host was late, try again")
    p.add_argument("--json", metavar="FILE", help="the figures")
    p.add_argument("--keep", metavar="DIR", help="reports, ticks and the record")
    p.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    a = p.parse_args(arguments)
    a.build_dir = os.path.abspath(a.build_dir)
    a.models = a.models.split(",")
    a.warm_up_s = a.warm_up / a.time_scale  # of the card's time
    if len(a.models) * a.runs > MAX_CARDS:
        p.error(f"at most {MAX_CARDS} cards")
    return a


def write_curve(path, a):
    """A day: up to 0.85 of the rated rate and down again. Time is the daemon's."""
    n = 60
    length = a.warm_up_s + a.seconds + AFTER_S
    with open(path, "w") as f:
        f.write("t_s,load\n")
        for i in range(n + 1):
            load = 0.15 + 0.7 * math.sin(math.pi * i / n) ** 2
            f.write(f"{length * i / n * a.time_scale:.6f},{load:.4f}\n")


def quantile(values, percent):
    """The least that at least so many percent do not exceed."""
    return sorted(values)[math.ceil(len(values) * percent / 100) - 1]


# ---- in real time --------------------------------------------------------------------------


class Meter:
    """Reads the energy of all cards several times a second; between readings it is a line."""

    def __init__(self, n):
        self.points = [[] for _ in range(n)]
        self.clocks = []  # (monotonic ns before, the card's ns, monotonic ns after)
        self.late_ms = []  # of each reading, by the host's fault
        self.ending = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def read(self):
        before = time.monotonic_ns()
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
            s.connect(os.path.join(os.environ["COFRIS_TEST_DIR"], "control"))
            s.sendall(b"stat --json\n")
            s.shutdown(socket.SHUT_WR)
            answer = b"".join(iter(lambda: s.recv(65536), b""))
        seen = json.loads(answer.split(b"\n", 1)[1])
        self.clocks.append((before, seen["device_ns"], time.monotonic_ns()))
        for points, card in zip(self.points, seen["cards"]):
            points.append((seen["device_ns"], card["energy_j"], card["busy_s"]))

    def run(self):
        due = time.monotonic()
        while not self.ending.wait(max(0, due - time.monotonic())):
            self.read()
            self.late_ms.append(1e3 * (time.monotonic() - due))
            due = max(due + 0.2, time.monotonic())

    def stop(self):
        self.ending.set()
        self.thread.join()

    def origin_ns(self, time_scale):
        """When the card's clock began."""
        earliest = max(before - ns * time_scale for before, ns, _ in self.clocks)
        latest = min(after - ns * time_scale for _, ns, after in self.clocks)
        return (earliest + latest) / 2

    def at(self, card, ns):
        points = self.points[card]
        for before, after in zip(points, points[1:]):
            if before[0] <= ns <= after[0]:
                x = (ns - before[0]) / (after[0] - before[0])
                return [b + x * (c - b) for b, c in zip(before[1:], after[1:])]
        raise ValueError("no reading around that moment")


def read_report(path):
    with open(path) as f:
        names = f.readline().strip().split(",")
        return [dict(zip(names, line.strip().split(","))) for line in f]


def figures(a, meter, card, summary, rows):
    begin = summary["start_ns"] + a.warm_up_s * 1e9
    end = summary["start_ns"] + (a.warm_up_s + a.seconds) * 1e9
    counted = [r for r in rows if begin <= int(r["arrival_ns"]) < end]
    failed = [r for r in counted if r["status"] != "ok"]
    if failed:
        raise ValueError(f"{len(failed)} requests failed")
    latency_ms = [(int(r["end_ns"]) - int(r["arrival_ns"])) * 1e-6 for r in counted]
    energy, busy = (y - x for x, y in zip(meter.at(card, begin), meter.at(card, end)))
    return {"requests": len(counted), "energy_j": energy, "busy_s": busy,
            "start_ns": summary["start_ns"] * a.time_scale + meter.origin_ns(a.time_scale),
            **{f"p{q}_ms": quantile(latency_ms, q) for q in (50, 95, 99)}}


def plan(a):
    """(card, model, seed) of each run."""
    return [(i, model, i % a.runs + 1)
            for i, model in enumerate(m for m in a.models for _ in range(a.runs))]


def serve_all(a, m, folder):
    from machine import BDF, wait_for

    with open(os.path.join(folder, "rated.json")) as f:
        rated = json.load(f)
    wall_s = (a.warm_up_s + a.seconds + AFTER_S) * a.time_scale
    workers = []
    meter = Meter(len(plan(a)))
    for i, model, seed in plan(a):
        workers.append(m.start_worker(
            "--load", f"{folder}/curve.csv", "--rated-rps", f"{rated[model]:.17g}", "--seed", str(seed),
            "--report", f"{folder}/report-{i}.csv", gpu=BDF[i], model=model, name=f"worker-{i}",
            run=f"run-{i}"))
    wait_for("the load's end", lambda: all(w.poll() is not None for w in workers),
             timeout=wall_s + 60, period=0.2)
    meter.stop()
    result = []
    for i, model, seed in plan(a):
        summary = json.loads(m.log(f"worker-{i}").splitlines()[-1])
        rows = read_report(f"{folder}/report-{i}.csv")
        result.append({"model": model, "seed": seed, **figures(a, meter, i, summary, rows)})
    return result, quantile(meter.late_ms, 99)


def start_daemon(a, m, folder, i, model):
    from machine import BDF, DAEMON_UID

    m.start_bus(f"bus-{i}")
    m.write_config(f"[daemon]\nallow_simulated = yes\n[gpu {BDF[i]}]\nenabled = yes\n"
                   f"gating = {a.gating}\n[model {model}]\nslo = {a.slo_factor}x\n"
                   f"policy = {a.policy}\nallow = 0\n", name=f"cofris-{i}")
    run = f"{folder}/run-{i}"
    os.makedirs(run)
    os.chown(run, DAEMON_UID, DAEMON_UID)
    return m.start_daemon("--record", f"{run}/record.csv", name=f"cofrisd-{i}", run=f"run-{i}",
                          config=f"cofris-{i}", bus=f"bus-{i}")


def inside(a):
    """Below cofris-sim."""
    sys.path.insert(0, SUPPORT)
    from machine import Machine, wait_for

    folder = os.environ["COFRIS_TEST_DIR"]
    with Machine() as m:
        # It would give up, to be started anew, where the host does not let it run in time.
        actuator = m.start_actuator("--deadline", "5000")
        daemons = [start_daemon(a, m, folder, i, model) for i, model, _ in plan(a)]
        result = serve_all(a, m, folder)
        if any(p.poll() is not None for p in (actuator, *daemons)):
            raise ValueError("a daemon ended before the load")
        for daemon in daemons:
            daemon.terminate()
        wait_for("each cofrisd has ended", lambda: all(d.poll() is not None for d in daemons))
    with open(f"{folder}/live.json", "w") as f:
        json.dump({"runs": result[0], "late_ms": result[1]}, f)


# ---- in virtual time -----------------------------------------------------------------------


def profiles(kind, name):
    return os.path.join(SOURCE, "profiles", kind, f"{name}.ini")


def surface_path(folder, model):
    return os.path.join(folder, "surfaces", "gfx906-60cu", f"{model}.csv")


def make_surfaces(a, folder):
    os.makedirs(os.path.join(folder, "surfaces", "gfx906-60cu"))
    rated = {}
    for model in a.models:
        path = surface_path(folder, model)
        subprocess.run([os.path.join(a.build_dir, "tests", "make-surface"), profiles("devices", "mi50"),
                        profiles("models", model), path, str(a.time_scale)], check=True)
        os.chmod(path, 0o644)
        with open(path) as f:
            rated[model] = next(float(line.split("=")[1]) for line in f
                                if line.startswith("# rated_rps"))
    with open(os.path.join(folder, "rated.json"), "w") as f:
        json.dump(rated, f)


def first_tick_ns(folder, run, start_ns):
    """Where in its interval the daemon's clock was as the load began: the first tick after that.
    Nothing else tells two runs of the same seed apart."""
    with open(f"{folder}/run-{run}/record.csv") as f:
        for line in f:
            fields = line.split()
            if fields[0] == "input":
                now_ns = int(fields[2])
            elif fields[0] == "in" and fields[3] == "ok":
                return (now_ns - start_ns - 1) % POLL_NS + 1
    raise ValueError(f"no tick in the record of run {run}")


def virtual(a, folder, card, model, seed, start_ns):
    ticks = ["--ticks", os.path.join(folder, f"ticks-{card}.csv")] if a.keep else []
    out = subprocess.run([
        os.path.join(a.build_dir, "tests", "virtual-run"), "--device", profiles("devices", "mi50"),
        "--model", profiles("models", model), "--surface", surface_path(folder, model),
        "--load", os.path.join(folder, "curve.csv"), "--policy", a.policy, "--gating", a.gating,
        "--slo-factor", str(a.slo_factor), "--time-scale", str(a.time_scale), "--seed", str(seed),
        "--first-tick", f"{first_tick_ns(folder, card, start_ns):.0f}ns",
        "--begin", f"{a.warm_up_s * 1e9:.0f}ns",
        "--end", f"{(a.warm_up_s + a.seconds) * 1e9:.0f}ns", *ticks], check=True, stdout=subprocess.PIPE)
    return json.loads(out.stdout)


# ---- compared ------------------------------------------------------------------------------


def compare(a, rows):
    """Per model the medians of the runs' differences; whether all agree."""
    result, agree = [], True
    for model in a.models:
        mine = [r for r in rows if r["model"] == model]
        energy = statistics.median(100 * (r["live"]["energy_j"] / r["virtual"]["energy_j"] - 1)
                                   for r in mine)
        p95_pct = statistics.median(100 * (r["live"]["p95_ms"] / r["virtual"]["p95_ms"] - 1)
                                    for r in mine)
        p95_ms = statistics.median(r["live"]["p95_ms"] - r["virtual"]["p95_ms"] for r in mine)
        same = all(r["live"]["requests"] == r["virtual"]["requests"] for r in mine)
        ok = same and abs(energy) <= ENERGY_PCT and (abs(p95_pct) <= P95_PCT or abs(p95_ms) <= P95_MS)
        agree = agree and ok
        result.append({"model": model, "energy_pct": energy, "p95_pct": p95_pct, "p95_ms": p95_ms,
                       "agrees": ok})
    return result, agree


def show(a, rows, medians):
    print(f"Real against virtual time (simulated): policy {a.policy}, gating {a.gating}, "
          f"{a.seconds:g} s of card time, cards slowed {a.time_scale:g} x")
    print(f"  {'model':<14}{'seed':>5}{'requests':>10}{'J live':>10}{'virtual':>10}{'%':>7}"
          f"{'p95 ms live':>13}{'virtual':>9}{'%':>7}")
    for r in rows:
        v, w = r["live"], r["virtual"]
        print(f"  {r['model']:<14}{r['seed']:>5}{v['requests']:>10}{v['energy_j']:>10.1f}"
              f"{w['energy_j']:>10.1f}{100 * (v['energy_j'] / w['energy_j'] - 1):>7.2f}"
              f"{v['p95_ms']:>13.2f}{w['p95_ms']:>9.2f}{100 * (v['p95_ms'] / w['p95_ms'] - 1):>7.2f}")
    for m in medians:
        print(f"  {m['model']}: median energy {m['energy_pct']:+.2f} %, p95 {m['p95_pct']:+.2f} % "
              f"({m['p95_ms']:+.2f} ms): {'agrees' if m['agrees'] else 'DOES NOT AGREE'}")


def replay_records(a, folder):
    """Whether the daemons' governors decide the same again, and on how much that was tried."""
    decisions, differing, same = 0, 0, True
    for i, _, _ in plan(a):
        out = subprocess.run([os.path.join(a.build_dir, "bin", "cofris-replay"), "--inputs",
                              f"{folder}/run-{i}/record.csv", "--json"], stdout=subprocess.PIPE)
        result = json.loads(out.stdout)
        decisions += result["decisions"]
        differing += result["differing"]
        same = same and out.returncode == 0 and result["decisions"] > 0
    print(f"  the records: {decisions} decisions, {differing} differ")
    return same


def card_was_lost(a, folder):
    """Whether a daemon had to do without its card, as no simulation has to."""
    lost = 0
    for i, _, _ in plan(a):
        with open(f"{folder}/run-{i}/record.csv") as f:
            lost += sum(1 for line in f if line.startswith("decision")
                        and line.split()[5] in ("sensors-lost", "readback-failed"))
    if lost:
        print(f"  {lost} decisions without the card's sensors: the host was too busy for the actuator")
    return lost > 0


def run(a, folder):
    make_surfaces(a, folder)
    write_curve(f"{folder}/curve.csv", a)
    subprocess.run([os.path.join(a.build_dir, "bin", "cofris-sim"), "--device", "mi50", "--count",
                    str(len(plan(a))), "--time-scale", str(a.time_scale), "--gating", a.gating,
                    "--runtime-dir", folder, "--", "/usr/bin/python3", os.path.abspath(__file__),
                    "--inside", *sys.argv[1:]], check=True,
                   env={**os.environ, "COFRIS_TEST_DIR": folder, "COFRIS_BUILD": a.build_dir,
                        "COFRIS_SOURCE": SOURCE})
    with open(f"{folder}/live.json") as f:
        outcome = json.load(f)
    live = outcome["runs"]
    rows = [{"model": model, "seed": seed, "live": live[i],
             "virtual": virtual(a, folder, i, model, seed, live[i]["start_ns"])}
            for i, model, seed in plan(a)]
    medians, agree = compare(a, rows)
    show(a, rows, medians)
    print(f"  the host: one reading in a hundred came {outcome['late_ms']:.1f} ms late or more")
    agree = replay_records(a, folder) and agree
    if a.json:
        with open(a.json, "w") as f:
            json.dump({"simulated": True, "policy": a.policy, "gating": a.gating,
                       "seconds": a.seconds, "time_scale": a.time_scale, "runs": rows,
                       "medians": medians}, f, indent=1)
            f.write("\n")
    return agree, card_was_lost(a, folder) or outcome["late_ms"] >= LATE_MS


def attempt(a):
    folder = tempfile.mkdtemp(prefix="cofris-live-")
    os.chmod(folder, 0o755)
    try:
        return run(a, folder)
    finally:
        if a.keep:
            # But for sockets, and what is memory.
            shutil.copytree(folder, a.keep, dirs_exist_ok=True, ignore=lambda path, names: [
                n for n in names if n == "machine" or stat.S_ISSOCK(os.lstat(f"{path}/{n}").st_mode)])
        shutil.rmtree(folder, ignore_errors=True)


def main():
    a = parse()
    if a.inside:
        inside(a)
        return
    if os.geteuid() != 0 or not os.path.exists("/dev/fuse"):
        print("needs root and /dev/fuse")
        sys.exit(77)
    for _ in range(a.attempts):
        agree, late = attempt(a)
        if agree or not late:
            break
    sys.exit(0 if agree else 1)


if __name__ == "__main__":
    main()
