# SPDX-License-Identifier: Apache-2.0
"""cofris-worker --engine hip: the real HIP and ROCr on simulated cards, held against the plant
engine on the same card in the same run."""

import csv
import json
import os
import signal
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.environ["COFRIS_SOURCE"], "tests", "support"))
from machine import (BDF, BIN, BUILD, PATIENCE_S, case, check, main, undisturbed,  # noqa: E402
                     wait_for)
from publisher import Publisher  # noqa: E402

# Slowed down, a busy host still keeps the card's queues filled.
SLOW = ("--time-scale", "8")

# In a sanitised build: HIP and ROCr leave memory behind at exit. What the engine itself holds is
# counted by its unit test.
os.environ.setdefault("LSAN_OPTIONS", "detect_leaks=0")

if not os.path.exists(os.path.join(BUILD, "lib", "sim", "libhsakmt.so.1")):
    print("built without the simulated HSA")
    sys.exit(77)


def worker(m, engine, *options, env=None):
    """Runs a worker to its end; its summary."""
    command = [os.path.join(BIN, "cofris-worker"), "--engine", engine, "--gpu", BDF[0],
               "--socket", "/nonexistent/worker.sock", "--jitter", "0", *options]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120,
                            env={**os.environ, **(env or {})})
    check(result.returncode == 0, f"{command} ends well: {result.stderr}")
    summary = json.loads(result.stdout)
    check(summary["failed"] == 0 and summary["rejected"] == 0, f"every request is served: {summary}")
    return summary


def near(what, value, want, share):
    check(abs(value / want - 1) <= share, f"{what}: {value:.4g}, not within {share:.0%} of {want:.4g}")


def in_time(what, value, want):
    """A card never runs ahead of the plant; where the host is late with a launch, it waits."""
    check(0.995 * want <= value <= 1.05 * want, f"{what}: {value:.4g} ms, {want:.4g} by the plant")


def processes(m):
    """Those with queues on the card, as the kernel lists them."""
    folder = "/sys/class/kfd/kfd/proc"
    return [pid for pid in os.listdir(folder) if pid.isdigit()]


@case()
def a_hip_worker_serves_requests_at_a_rate(m):
    path = os.path.join(m.dir, "requests.csv")
    summary = worker(m, "hip", "--model", "resnet50", "--rate", "50", "--duration", "3s",
                     "--max-batch", "4", "--report", path)
    check(summary["engine"] == "hip" and summary["simulated"] is True, f"says what it is: {summary}")
    check(90 <= summary["requests"] <= 220, f"50 a second for 3 s: {summary['requests']}")
    check(summary["completed"] == summary["requests"], f"all are completed: {summary}")
    with open(path) as f:
        rows = list(csv.DictReader(f))
    check(len(rows) == summary["requests"], "a row for each request")
    for row in rows:
        check(row["status"] == "ok" and row["cus"] == "60", f"served on the whole card: {row}")
        check(int(row["arrival_ns"]) <= int(row["start_ns"]) < int(row["end_ns"]), f"in order: {row}")
    check(any(int(row["sclk_mhz"]) >= 925 for row in rows), "the card's clock is in the report")


def compare_device_times(m, model):
    load = ("--model", model, "--closed-loop", "1", "--duration", "4s")
    plant = worker(m, "plant", *load)["mean_service_ms"]
    hip = worker(m, "hip", *load)
    in_time(f"{model} through HIP", hip["mean_device_ms"], plant)
    check(hip["mean_service_ms"] >= hip["mean_device_ms"] * 0.999,
          f"the host's part comes on top: {hip}")
    print(f"{model}: plant {plant} ms, HIP events {hip['mean_device_ms']} ms, with the host's "
          f"part {hip['mean_service_ms']} ms (simulated)")


@case(sim=SLOW)
def device_times_through_hip_are_the_plants(m):
    for model in ("resnet50", "shufflenet"):
        undisturbed(lambda: compare_device_times(m, model))


def served(path):
    with open(path) as f:
        return [row for row in csv.DictReader(f) if row["status"] == "ok"]


def median_ms(rows):
    return statistics.median(int(row["end_ns"]) - int(row["start_ns"]) for row in rows) / 1e6


def undisturbed_ms(rows):
    """Of the tenth of the requests that the host held up least: it only adds."""
    return statistics.quantiles((int(row["end_ns"]) - int(row["start_ns"]) for row in rows),
                                n=10)[0] / 1e6


def limit_clock():
    """Levels 0 to 4, at which no power cap interferes."""
    device = "/sys/class/drm/card0/device"
    for name, text in (("power_dpm_force_performance_level", "manual"), ("pp_dpm_sclk", "0 1 2 3 4")):
        with open(os.path.join(device, name), "w") as f:
            f.write(text)


def compare_a_batch(m):
    load = ("--model", "resnet50", "--closed-loop", "16", "--max-batch", "8", "--duration", "4s")
    plant, hip = worker(m, "plant", *load), worker(m, "hip", *load)
    check(hip["completed"] == 8 * hip["batches"], f"batches are full: {hip}")
    in_time("a batch of eight", hip["mean_device_ms"], plant["mean_service_ms"])
    print(f"a batch of eight: plant {plant['mean_service_ms']} ms, HIP events "
          f"{hip['mean_device_ms']} ms (simulated)")


@case(sim=SLOW)
def a_batch_through_hip_takes_the_plants_time(m):
    limit_clock()
    undisturbed(lambda: compare_a_batch(m))


def compare_compiled_kernels(m):
    load = ("--model", "shufflenet", "--closed-loop", "1", "--duration", "3s")
    built = worker(m, "hip", *load)
    compiled = worker(m, "hip", *load, env={"COFRIS_HIP_COMPILE": "1"})
    near("compiled by hiprtc", compiled["mean_device_ms"], built["mean_device_ms"], 0.05)


@case(sim=SLOW)
def kernels_compiled_at_start_take_the_same_time(m):
    undisturbed(lambda: compare_compiled_kernels(m))


SHAPES = ((4, 15), (2, 15), (3, 10), (1, 8), (0, 0))


def masked_times_ms(m, engine):
    """Service time of a worker's requests under each mask, from its report."""
    path = os.path.join(m.dir, f"{engine}.csv")
    for old in (path, os.path.join(m.dir, f"{engine}.sock")):
        if os.path.exists(old):
            os.unlink(old)
    publisher = Publisher(m, engine)
    child = m.spawn(f"worker-{engine}", [
        os.path.join(BIN, "cofris-worker"), "--engine", engine, "--gpu", BDF[0], "--model", "resnet50",
        "--closed-loop", "1", "--jitter", "0", "--socket", publisher.socket, "--report",
        path])
    publisher.take_worker()
    times = {}
    for k, c in SHAPES:
        publisher.publish(f"{k} {c}")
        cus, before = k * c or 60, len(served(path))
        wait_for("requests under the mask", lambda: len(served(path)) >= before + 60)
        # Those that ran when the directive came began under the one before.
        rows = served(path)[before + 10:]
        check(all(int(row["cus"]) == cus for row in rows), f"all on {cus} CUs")
        times[k, c] = undisturbed_ms(rows)
    child.terminate()
    check(child.wait(PATIENCE_S) == 0, f"{engine} ends well")
    return times


def compare_masked_times(m):
    plant, hip = masked_times_ms(m, "plant"), masked_times_ms(m, "hip")
    for shape in SHAPES:
        near(f"{shape[0]} SEs x {shape[1]} CUs", hip[shape], plant[shape], 0.08)
    check(hip[1, 8] > 2 * hip[0, 0], f"a small mask is slow: {hip}")
    print(f"plant {plant}, HIP {hip} (simulated, ms, with the host's part)")


@case(sim=SLOW)
def masks_through_hip_change_times_as_the_plant_says(m):
    undisturbed(lambda: compare_masked_times(m))


def busy_power_w(m, engine, *options):
    """Mean power of the card while it is busy with a worker, however busy a busy host keeps it."""
    idle_w = m.card()["power_w"]
    child = m.start_worker("--closed-loop", "2", *options, governed=False, engine=engine,
                           name=f"power-{engine}")
    wait_for("the worker is on the card", lambda: processes(m))
    wait_for("the card is busy", lambda: m.card()["sensor_busy_percent"] > 50)
    before = m.card()
    wait_for("a second of busy time", lambda: m.card()["busy_s"] - before["busy_s"] > 1)
    after = m.card()
    child.terminate()
    check(child.wait(PATIENCE_S) == 0, f"{engine} ends well")
    wait_for("the card is idle", lambda: m.card()["sensor_busy_percent"] == 0)
    busy_s = after["busy_s"] - before["busy_s"]
    idle_s = (after["device_ns"] - before["device_ns"]) / 1e9 - busy_s
    return (after["energy_j"] - before["energy_j"] - idle_s * idle_w) / busy_s


def compare_active_idle_power(m):
    plant = busy_power_w(m, "plant", "--idle-kernels")
    hip = busy_power_w(m, "hip", "--idle-kernels")
    near("active-idle power", hip, plant, 0.05)
    print(f"active-idle power: plant {plant:.1f} W, HIP {hip:.1f} W (simulated)")


@case(sim=SLOW)
def idle_kernels_through_hip_draw_active_idle_power(m):
    undisturbed(lambda: compare_active_idle_power(m))


def while_all_run(reports):
    """Of each report the requests in the time in which all of them have some."""
    every = [served(path) for path in reports]
    begin = max(int(rows[0]["start_ns"]) for rows in every)
    end = min(int(rows[-1]["end_ns"]) for rows in every)
    return [[row for row in rows if int(row["start_ns"]) >= begin and int(row["end_ns"]) <= end]
            for rows in every]


def compare_shared_times(m):
    load = ("--model", "vgg19", "--duration", "4s")
    paths = [os.path.join(m.dir, f"shared-{i}.csv") for i in range(2)]
    worker(m, "hip", *load, "--closed-loop", "1", "--report", paths[0])
    alone = median_ms(served(paths[0]))
    worker(m, "hip", *load, "--closed-loop", "2", "--workers", "2", "--report", paths[0])
    both = median_ms(served(paths[0]))
    # What a launch costs in any case is not shared, and small kernels leave room for each other.
    check(1.6 * alone < both < 2.05 * alone, f"two slots: {both} ms each, {alone} ms alone")
    command = [os.path.join(BIN, "cofris-worker"), "--engine", "hip", "--gpu", BDF[0], "--socket",
               "/nonexistent/worker.sock", "--closed-loop", "1", "--jitter", "0", *load]
    pair = [subprocess.Popen([*command, "--report", path], stdout=subprocess.DEVNULL)
            for path in paths]
    check([child.wait(PATIENCE_S) for child in pair] == [0, 0], "both end well")
    # Nor does it matter whose the other's kernels are.
    overlap = while_all_run(paths)
    check(all(len(rows) > 10 for rows in overlap), f"they overlap: {[len(r) for r in overlap]}")
    times = [median_ms(rows) for rows in overlap]
    for i, ms in enumerate(times):
        near(f"process {i} beside the other, against two slots of one", ms, both, 0.06)
    print(f"alone {alone} ms, two slots {both} ms, two processes {times} ms (simulated)")


@case(sim=SLOW)
def requests_at_the_same_time_share_the_card(m):
    undisturbed(lambda: compare_shared_times(m))


@case()
def a_killed_hip_worker_leaves_nothing(m):
    load = ("--model", "vgg19", "--closed-loop", "1", "--duration", "2s")
    before = worker(m, "hip", *load)
    shm = sorted(os.listdir("/dev/shm"))
    for _ in range(3):
        child = m.start_worker("--closed-loop", "2", "--workers", "2", governed=False, engine="hip",
                               model="vgg19", name="killed")
        wait_for("the worker is on the card", lambda: processes(m))
        wait_for("the card is busy", lambda: m.card()["sensor_busy_percent"] > 50)
        child.send_signal(signal.SIGKILL)
        child.wait()
        wait_for("its queues are gone", lambda: not processes(m))
        wait_for("the card is idle", lambda: m.card()["sensor_busy_percent"] == 0)
    check(sorted(os.listdir("/dev/shm")) == shm, f"/dev/shm is as before: {os.listdir('/dev/shm')}")
    after = worker(m, "hip", *load)
    near("the next run", after["mean_device_ms"], before["mean_device_ms"], 0.1)


@case()
def a_hung_queue_does_not_keep_a_stopped_worker(m):
    model = os.path.join(m.dir, "endless.ini")
    with open(model, "w") as f:
        f.write("[model]\nname = endless\n[kernel endless]\ncount = 1\nworkgroups = 1000000\n"
                "flop = 1e18\nbytes = 1000\nfixed_bytes = 0\n")
    child = m.start_worker("--closed-loop", "1", "--drain", "100ms", governed=False, engine="hip",
                           model=model, name="hung")
    wait_for("the card is busy", lambda: m.card()["sensor_busy_percent"] > 50)
    child.terminate()
    check(child.wait(PATIENCE_S) == 1, f"it ends, and not well: {m.log('hung')}")
    check("does not end what it runs" in m.log("hung"), f"says why: {m.log('hung')}")
    wait_for("its queues are gone", lambda: not processes(m))
    wait_for("the card is idle", lambda: m.card()["sensor_busy_percent"] == 0)


@case()
def hip_is_the_default_engine_where_it_finds_a_card(m):
    summary = worker(m, "auto", "--model", "resnet50", "--closed-loop", "1", "--duration", "1s")
    check(summary["engine"] == "hip", f"auto is hip: {summary}")
    # Another libhsakmt in front of ours: as on a machine whose HIP sees no card.
    summary = worker(m, "auto", "--model", "resnet50", "--closed-loop", "1", "--duration", "1s",
                     env={"LD_LIBRARY_PATH": ""})
    check(summary["engine"] == "plant", f"auto is plant without a card of HIP's: {summary}")


@case(count=2)
def a_hip_worker_runs_on_the_card_it_is_told(m):
    child = m.start_worker("--closed-loop", "2", governed=False, engine="hip", gpu=BDF[1])
    wait_for("the second card is busy", lambda: m.card(1)["sensor_busy_percent"] > 50)
    check(m.card(0)["sensor_busy_percent"] == 0, "the first is not")
    child.terminate()
    check(child.wait(PATIENCE_S) == 0, "it ends well")
    wait_for("no queue is left", lambda: not processes(m))
    began = time.monotonic()
    result = m.capture([os.path.join(BIN, "cofris-worker"), "--engine", "hip", "--model", "resnet50",
                        "--rate", "1", "--duration", "1s"], check_exit=False)
    check(result.returncode == 1 and "--gpu" in result.stderr, f"asks which: {result.stderr}")
    check(time.monotonic() - began < 30, "at once")


if __name__ == "__main__":
    main()
