# SPDX-License-Identifier: Apache-2.0
"""Published experiments repeated on the plant. What is met has to stay so; what is missed is named
here and has to stay missed, so that a change that mends it is seen and told about."""

import json
import os
import subprocess
import sys

PROGRAM = os.path.join(os.environ["COFRIS_BUILD"], "bin", "cofris-replay")


def check(condition, text):
    if not condition:
        sys.exit(text)


def run(name, *options):
    out = subprocess.run([PROGRAM, "--experiment", name, *options], stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE, text=True)
    check(out.returncode == 0, out.stderr)
    return out.stdout


def experiment(name):
    text = run(name, "--json")
    check(text == run(name, "--json"), "the same bytes")
    shown = run(name)
    check("Simulated" in shown, "says that it is simulated")
    found = json.loads(text)
    check(found["simulated"] is True and found["experiment"] == name, f"{found.keys()}")
    claims = {(c["id"], c["subject"]): c for c in found["claims"]}
    check(len(claims) == len(found["claims"]), "each claim once")
    for c in claims.values():
        least = -float("inf") if c["least"] is None else c["least"]
        most = float("inf") if c["most"] is None else c["most"]
        met = c["ours"] is not None and least <= c["ours"] <= most
        check(c["met"] is met, f"met or not: {c}")
        check(met == (c["status"] == "predicted"), f"declared otherwise: {c}")
    predicted = sum(c["status"] == "predicted" for c in claims.values())
    check(f"{predicted} of {len(claims)} claims are predicted, {predicted} of them met" in shown,
          "the count of claims")
    return found, claims


def adapter():
    found, claims = experiment("adapter")
    rows = {(r["model"], r["stream_share"], r["slo_ms"], r["policy"]): r for r in found["rows"]}
    check(len(rows) == len(found["rows"]) == 36, f"{len(rows)} rows")
    tight = {(m, s): slo for m, s, slo, p in rows if slo != 2000}
    check(len(tight) == 6 and len(claims) == 24, f"six streams: {tight}")
    for (model, share), slo in tight.items():
        check(rows[model, share, 2000, "auto"]["mean_power_w"] ==
              rows[model, share, slo, "auto"]["mean_power_w"], "the default knows no objective")
        for policy in ("adapter", "adapter-tail"):
            check(rows[model, share, slo, policy]["power_vs_auto"] <= 1, f"tight: {model}")
        if share is not None:
            continue
        # A flood is served as fast as the clock lets it.
        order = sorted((r for (m, s, _, _), r in rows.items() if m == model and s is None),
                       key=lambda r: r["mean_sclk_mhz"])
        for a, b in zip(order, order[1:]):
            check(a["requests"] <= b["requests"] and
                  a["mean_power_w"] <= b["mean_power_w"], f"slower but more: {a} {b}")
        # Judged by the tail, a tight objective is kept better than by the mean.
        check(rows[model, share, slo, "adapter-tail"]["request_attainment_pct"] >
              rows[model, share, slo, "adapter"]["request_attainment_pct"], f"tail: {model}")
    for (name, subject), c in claims.items():
        if "flood" in subject:
            check(c["met"], f"the flood is as published: {c}")


def batchsizer():
    found, claims = experiment("batchsizer")
    jobs = found["jobs"]
    check([j["job"] for j in jobs] == list(range(1, 21)), "twenty jobs")
    check(len({j["model"] for j in jobs}) == 10, "ten networks")
    done = jobs
    for policy in ("batchsizer", "batchsizer_fixed"):
        gains = [j[policy + "_gain_pct"] for j in done]
        check(found[policy + "_gain_pct"] == {"least": min(gains), "most": max(gains)}, "extremes")
        for j in done:
            check(abs(j[policy + "_gain_pct"] -
                      100 * (j[policy + "_rps"] / j["dvfs_rps"] - 1)) < 0.01, f"gain: {j}")
            check(1 <= j[policy + "_batch"] <= 256, f"batch: {j}")
    check(len(claims) == 16, f"{len(claims)} claims")
    for j in done:
        check(15.9 < j["dvfs_batch"] <= 16, f"the clock's batch is 16: {j}")
        check(j["batchsizer_mhz"] > 1500 and j["batchsizer_fixed_mhz"] > 1500,
              f"the batch alone: {j}")
        check(j["batchsizer_fixed_w"] <= j["cap_w"], f"mean power: {j}")
        # The repairs cost nothing.
        check(j["batchsizer_fixed_rps"] >= 0.99 * j["batchsizer_rps"], f"repaired: {j}")
        # Clock and batch together do what the better of them does, and stay inside.
        others = [p for p in ("dvfs", "batchsizer", "batchsizer_fixed")]
        best = max(j[p + "_rps"] for p in others)
        check(abs(j["cofris_best_pct"] - 100 * (j["cofris_rps"] / best - 1)) < 0.01, f"best: {j}")
        check(j["cofris_rps"] >= 0.9995 * best, f"at least the better knob: {j}")
        check(j["cofris_over_cap_pct"] <= min(j["batchsizer_over_cap_pct"],
                                              j["batchsizer_fixed_over_cap_pct"]) + 1e-9,
              f"no longer above the cap than with the batch: {j}")
    check(any(j["cofris_rps"] > 1.15 * j["batchsizer_fixed_rps"] and
              j["cofris_rps"] > 1.15 * j["dvfs_rps"] for j in done), "together they are worth more")
    check(any(j["batchsizer_fixed_rps"] > 2 * j["batchsizer_rps"] for j in done),
          "they are worth something")


# One run: it takes a minute. That threads do not matter is a unit test's matter.
def disturbances():
    found = json.loads(run("disturbances", "--json"))
    check(found["simulated"] is True and found["experiment"] == "disturbances", f"{found.keys()}")
    rows = {(r["scenario"], r["model"]): r for r in found["rows"]}
    scenarios, models = {s for s, _ in rows}, {m for _, m in rows}
    check(len(rows) == len(found["rows"]) == len(scenarios) * len(models), "a row of each")
    check(len(scenarios) == 22 and len(models) == 4, f"{scenarios} {models}")
    for c in found["claims"]:
        figures = [rows[c["id"], m][c["subject"]] for m in models]
        check(c["ours"] == (min if c["most"] is None else max)(figures), f"not the worst: {c}")
        met = (c["least"] or 0) <= c["ours"] and (c["most"] is None or c["ours"] <= c["most"])
        check(c["met"] is met, f"met or not: {c}")
        check(met == (c["status"] == "predicted"), f"declared otherwise: {c}")
    check({c["id"] for c in found["claims"]} == scenarios, "each has a bound")


def refusals():
    for options, word in ((["--experiment", "batchsize"], "did you mean 'batchsizer'"),
                          (["--experiment", "adapter", "--models", "vgg19"], "--models"),
                          (["--experiment", "adapter", "--inputs", "x"], "--experiment")):
        out = subprocess.run([PROGRAM, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             text=True)
        check(out.returncode == 2 and word in out.stderr, f"{options}: {out.stderr}")


if __name__ == "__main__":
    {"adapter": adapter, "batchsizer": batchsizer, "disturbances": disturbances,
     "refusals": refusals}[sys.argv[1]]()
