# SPDX-License-Identifier: Apache-2.0
"""CU masks end to end: published, acknowledged and shown per worker, the watchdog, the policies of
one knob, and what is modelled called so."""

import json
import os
import signal
import sys

sys.path.insert(0, os.path.join(os.environ["COFRIS_SOURCE"], "tests", "support"))
from machine import BDF, BIN, BUILD, PATIENCE_S, case, check, main, wait_for  # noqa: E402

STALLED = "stalled under a partial mask: off until reload"


def gpu(machine):
    return machine.status()["gpus"][0]


def model(machine):
    return gpu(machine)["models"][0]


def workers(machine):
    return gpu(machine)["worker_list"]


def ctl(machine, *words):
    return machine.capture([os.path.join(BIN, "cofrisctl"), "--bus", machine.bus_address,
                            *words]).stdout


def mask_cus(directive):
    return sum(bin(int(word, 16)).count("1") for word in directive["mask"])


def held_cus(machine):
    """CUs of the mask that the held worker was told last; 0: all, None: nothing yet."""
    lines = machine.log("held").split()
    return int(lines[-1]) if lines else None


def settled_on_a_mask(machine):
    """The held worker under a partial mask with nothing on its way to it, else None. What it was
    told last is read before and after: nothing of the three may have moved meanwhile."""
    before = held_cus(machine)
    w = workers(machine)[0]
    ack = w["acknowledged"]
    still = ack and ack["epoch"] == w["wanted"]["epoch"] and held_cus(machine) == before
    return w if still and ack["mask"] and mask_cus(ack) == before else None


@case()
def status_shows_the_wanted_and_the_acknowledged_mask_of_each_worker(m):
    # Near its rated rate, where 30 CUs are measured to draw clearly less than 60.
    m.setup(model="shufflenet")
    worker = m.start_worker("--rate", "400", "--duration", "600s", "--instance", "first",
                            model="shufflenet")
    wait_for("30 CUs acknowledged", lambda: len(workers(m)) == 1
             and (workers(m)[0]["acknowledged"] or {}).get("cus") == 30)
    w = workers(m)[0]
    check(w["model"] == "shufflenet" and w["instance"] == "first" and w["pid"] == worker.pid, w)
    check(w["follows"] == ["cu-mask", "batch"] and w["clock_alone"] is None, w)
    check(w["wanted"]["epoch"] >= w["acknowledged"]["epoch"] > 0, w)
    check(w["acknowledged"]["shape"] == "2x15" and mask_cus(w["acknowledged"]) == 30, w)
    check(w["apply_ns"] is not None and w["queues_changed"] is not None, w)
    text = ctl(m, "status")
    line = next(line for line in text.splitlines() if line.startswith("first"))
    check(line.split()[1:6] == [str(worker.pid), "shufflenet", "cu-mask,batch", "2x15", "2x15"],
          line)


@case(sim=["--gating", "cu"])
def a_worker_that_follows_no_masks_is_governed_by_clock_alone(m):
    m.setup(extra="gating = cu")
    worker = m.start_worker("--rate", "60", "--duration", "600s", "--no-follow-mask", "--instance",
                            "deaf")
    wait_for("a lower clock limit", lambda: m.card()["perf_level"] == "manual"
             and m.card()["soft_high_mhz"] < 1725)
    w = workers(m)[0]
    check(w["clock_alone"] == "does not follow masks" and w["follows"] == ["batch"], w)
    check(w["wanted"]["mask"] is None and model(m)["cus"] == 60, w)
    check(m.card()["fewest_cus"] == 60, "all CUs")
    check(model(m)["clock_alone"] and gpu(m)["predicted_power_w"] > 0, "its power is known")
    check("does not follow masks" in ctl(m, "status"), "the operator sees it")
    wait_for("it is logged", lambda: "does not follow masks" in m.log("cofrisd"))
    before = gpu(m)["decisions"]
    wait_for("three more decisions", lambda: gpu(m)["decisions"] > before + 3)
    check(m.log("cofrisd").count("does not follow masks") == 1, "and it is logged once")
    check(worker.poll() is None, "the worker goes on")


def table_of(m):
    return json.loads(ctl(m, "table", "resnet50", "--json"))["tables"][0]


@case(sim=["--gating", "cu"])
def without_masks_clock_and_power_are_what_policy_frequency_would_choose(m):
    m.start_bus()
    m.surface()
    m.write_config(extra="gating = cu", model_extra="policy = coordinated")
    m.start_actuator()
    record = os.path.join(m.dir, "run", "record")
    daemon = m.start_daemon("--record", record)
    wait_for("a table", lambda: json.loads(ctl(m, "table", "resnet50", "--json"))["tables"])
    check(not table_of(m)["clock_alone"] and min(row["cus"] for row in table_of(m)["rows"]) < 60,
          "with masks it is another one")
    worker = m.start_worker("--rate", "60", "--duration", "600s", "--no-follow-mask", "--seed",
                            "1")
    wait_for("a lower clock limit", lambda: model(m).get("clock_alone")
             and (gpu(m)["max_mhz"] or 1725) < 1725)
    table = table_of(m)
    rows = table["rows"]
    check(table["clock_alone"] and {row["cus"] for row in rows} == {60}, table)
    check("clock alone: not all of its workers follow masks" in ctl(m, "table", "resnet50"),
          "the operator sees which")
    before = gpu(m)["decisions"]
    limits = 0
    while gpu(m)["decisions"] < before + 10 or limits == 0:
        g = gpu(m)
        row = rows[g["models"][0]["row"]] if g["models"][0]["row"] is not None else None
        if row is None:
            continue
        check(g["predicted_power_w"] == row["power_w"] and g["models"][0]["cus"] == 60, g)
        check(g["models"][0]["predicted_tail_ms"] == row["tail_ms"], g)
        limits += g["max_mhz"] == row["max_mhz"] < 1725
    check(m.card()["fewest_cus"] == 60, "all CUs")
    m.write_config(extra="gating = cu", model_extra="policy = frequency")
    ctl(m, "reload")
    check(table_of(m)["rows"] == rows and not table_of(m)["clock_alone"], table_of(m))
    check(worker.poll() is None, "the worker goes on")
    worker.kill()
    daemon.terminate()
    check(daemon.wait(PATIENCE_S) == 0, "a clean stop exits 0")
    result = m.capture([os.path.join(BIN, "cofris-replay"), "--inputs", record, "--json"])
    replayed = json.loads(result.stdout)
    check(replayed["differing"] == 0 and replayed["configurations"] == 2, replayed)


@case()
def a_model_stalled_under_its_mask_gets_all_cus_until_a_reload(m):
    # Without a guard, which would answer a request in danger by the whole card.
    m.setup(extra="gating = cu", model_extra="policy = resource")
    worker = m.spawn("held", [os.path.join(BUILD, "tests", "held-worker"), m.worker_socket,
                              "resnet50"])
    # Its first interval counts as the rated rate; the mask of its own rate is the one to stay.
    wait_for("its own rate", lambda: 80 < model(m).get("rate_rps", 0) < 120
             and model(m)["reason"] == "demand")
    wait_for("a partial mask", lambda: (held_cus(m) or 60) < 60)
    w = wait_for("it is wanted, held and acknowledged", lambda: settled_on_a_mask(m))
    check(w["queues_changed"] == 5, w)
    worker.send_signal(signal.SIGUSR1)
    wait_for("requests in flight", lambda: model(m)["in_flight"] > 0)
    check(held_cus(m) > 0, "still under its mask")
    wait_for("all CUs", lambda: held_cus(m) == 0)
    wait_for("acknowledged", lambda: workers(m)[0]["acknowledged"]["mask"] is None)
    check(workers(m)[0]["clock_alone"] == STALLED and model(m)["masks_off"] == STALLED,
          workers(m)[0])
    check(STALLED in ctl(m, "status"), "the operator sees it")
    check(m.log("cofrisd").count("none has ended for 5 s") == 1, "and it is logged once")
    worker.send_signal(signal.SIGUSR2)
    before = gpu(m)["decisions"]
    wait_for("ten more decisions", lambda: gpu(m)["decisions"] > before + 10)
    check(held_cus(m) == 0 and model(m)["cus"] == 60, "masks stay off")
    ctl(m, "reload")
    wait_for("a partial mask again", lambda: held_cus(m) > 0)
    check(model(m)["masks_off"] is None and workers(m)[0]["clock_alone"] is None, "on again")
    check(worker.poll() is None, "the worker lives")


def run_policy(m, policy, done):
    """Daemon with a record, a worker under load; checks that the record replays."""
    m.start_bus()
    m.surface()
    m.write_config(extra="gating = cu", model_extra=f"policy = {policy}")
    m.start_actuator()
    record = os.path.join(m.dir, "run", "record")
    daemon = m.start_daemon("--record", record)
    worker = m.start_worker("--rate", "60", "--duration", "600s", "--seed", "1")
    wait_for(f"{policy} at work", done)
    before = gpu(m)["decisions"]
    seen = []
    while gpu(m)["decisions"] < before + 10:
        seen.append((gpu(m)["max_mhz"], m.card()["fewest_cus"]))
    text = ctl(m, "status"), ctl(m, "table", "resnet50")
    table = json.loads(ctl(m, "table", "resnet50", "--json"))["tables"][0]
    worker.kill()
    daemon.terminate()
    check(daemon.wait(PATIENCE_S) == 0, "a clean stop exits 0")
    result = m.capture([os.path.join(BIN, "cofris-replay"), "--inputs", record, "--json"])
    check(json.loads(result.stdout)["differing"] == 0, result.stdout)
    return seen, table, text


@case(sim=["--gating", "cu"])
def policy_frequency_moves_the_clock_alone(m):
    seen, table, _ = run_policy(m, "frequency", lambda: m.card()["perf_level"] == "manual"
                                and m.card()["soft_high_mhz"] < 1725)
    check(all(cus == 60 for _, cus in seen), seen)
    check(any(mhz and mhz < 1725 for mhz, _ in seen), seen)
    check({row["shape"] for row in table["rows"]} == {"4x15"}, table)
    check(len({row["max_mhz"] for row in table["rows"]}) > 1, table)


@case(sim=["--gating", "cu"])
def policy_resource_moves_the_cus_alone_by_modelled_power(m):
    seen, table, (status, text) = run_policy(m, "resource", lambda: m.card()["fewest_cus"] < 60)
    check(all(mhz in (None, 1725) for mhz, _ in seen), seen)
    check(any(cus < 60 for _, cus in seen), seen)
    check({row["max_mhz"] for row in table["rows"]} == {1725}, table)
    check(len({row["cus"] for row in table["rows"]}) > 1, table)
    check(table["modelled"] and all(row["modelled"] for row in table["rows"]), table)
    check("gating cu (power modelled, not measured)" in text, text)
    check("predicted power is modelled, not measured" in status, status)
    check(BDF[0] in status, status)


if __name__ == "__main__":
    main()
