# SPDX-License-Identifier: Apache-2.0
"""The governor under load on the simulated card, and the rules about inputs."""

import json
import os
import signal
import socket
import struct
import sys

sys.path.insert(0, os.path.join(os.environ["COFRIS_SOURCE"], "tests", "support"))
from machine import (BDF, BIN, PATIENCE_S, SOURCE, case, check, main, wait_for,  # noqa: E402
                     within)

RATED_RPS = 200


def gpu(machine):
    return machine.status()["gpus"][0]


def model(machine):
    return gpu(machine)["models"][0]


def govern(machine, rate=40, backend="rsmi", **config):
    """Daemon and a worker under constant load, once the clock limit is below the highest."""
    actuator, daemon = machine.setup(backend=backend, **config)
    found = machine.baseline()
    return actuator, daemon, governed_worker(machine, rate), found


def governed_worker(machine, rate=40):
    worker = machine.start_worker("--rate", str(rate), "--duration", "600s", "--seed", "1")
    wait_for("a lower clock limit", lambda: machine.card()["perf_level"] == "manual"
             and machine.card()["soft_high_mhz"] < 1725)
    return worker


@case()
def lowers_the_clock_and_restores_on_stop(m):
    # Busy enough that sensor samples above 50 % come soon: only they verify a limit.
    _, daemon, _, found = govern(m, rate=190)
    wait_for("the limit is verified", lambda: gpu(m)["verified"] == "verified")
    daemon.terminate()
    check(daemon.wait(PATIENCE_S) == 0, "a clean stop exits 0")
    wait_for("the card as found", lambda: m.baseline() == found)


@case()
def governs_over_the_sysfs_backend_too(m):
    _, daemon, _, found = govern(m, backend="sysfs")
    daemon.terminate()
    check(daemon.wait(PATIENCE_S) == 0, "a clean stop exits 0")
    wait_for("the card as found", lambda: m.baseline() == found)


@case()
def no_arrivals_for_a_minute_is_row_zero(m):
    m.setup()
    silence = os.path.join(m.dir, "silence.csv")
    with open(silence, "w") as f:
        f.write("t_s,load\n0,0\n599,0\n600,1\n")  # the worker stays for what comes at the end
    m.start_worker("--load", silence, "--rated-rps", "100")
    wait_for("row 0", lambda: model(m).get("row") == 0
             and model(m)["reason"] == "idle")
    deadline = m.card()["device_ns"] + 60e9
    while m.card()["device_ns"] < deadline:
        check(model(m)["reason"] == "idle", "an idle worker stays in row 0")
        wait_for("the next second", lambda t=m.card()["device_ns"]: m.card()["device_ns"] > t + 1e9)


@case()
def last_worker_gone_is_baseline_within_two_ticks(m):
    m.setup()
    found = m.baseline()
    within(lambda: governed_worker(m).kill(), ("baseline", 1.3, lambda: m.baseline() == found))
    check(gpu(m)["models"][0]["workers"] == 0, "its counts are gone")


@case()
def a_killed_workers_counts_are_gone_within_one_tick(m):
    m.setup()
    other = m.start_worker("--rate", "10", "--duration", "600s", "--seed", "2", name="worker2")

    def kill_another():
        worker = governed_worker(m)
        wait_for("two workers and their rate", lambda: model(m)["workers"] == 2
                 and model(m)["rate_rps"] > 30)
        worker.kill()

    within(kill_another, ("one worker", 0.8, lambda: model(m)["workers"] == 1),
           ("the other's rate alone", 5.8, lambda: model(m)["rate_rps"] < 25))
    check(other.poll() is None, "the other worker goes on")


@case()
def a_stopped_worker_counts_as_its_rated_rate(m):
    _, _, worker, _ = govern(m)

    def stop():
        worker.send_signal(signal.SIGCONT)
        wait_for("its own demand", lambda: model(m)["reason"] != "missing-input")
        worker.send_signal(signal.SIGSTOP)

    def counts_as_rated():
        now = model(m)
        return (now["reason"] == "missing-input"
                and now["demand_rps"] >= now["rated_rps"] * 0.999)

    within(stop, ("demand = R", 1.9, counts_as_rated))
    worker.send_signal(signal.SIGCONT)
    wait_for("its own demand again", lambda: model(m)["reason"] != "missing-input")


@case(count=2)
def an_unconfigured_card_is_never_written(m):
    govern(m)
    other = m.start_worker("--rate", "40", "--duration", "600s", gpu=BDF[1], name="worker2")
    check(other.poll() is None, "a worker runs on the other card")
    wait_for("ten more writes or decisions", lambda: gpu(m)["decisions"] > 10)
    check(m.card(1)["writes"] == 0, "no write to the card without a section")


@case(sim=["--fault", "foreign-manual:0:2:5"])
def a_card_found_in_manual_is_not_taken(m):
    m.setup()
    m.start_worker("--rate", "40", "--duration", "600s")
    wait_for("held by other", lambda: gpu(m)["state"] == "held-by-other")
    check(m.card()["writes"] == 0, "nothing is written")


@case()
def a_foreign_process_with_queues_means_full_speed(m):
    govern(m)
    stranger = m.start_worker("--rate", "5", "--duration", "600s", governed=False, name="stranger")
    wait_for("full speed", lambda: gpu(m)["reason"] == "foreign-load"
             and m.card()["soft_high_mhz"] == 1725)
    stranger.kill()
    wait_for("governed again", lambda: gpu(m)["reason"] != "foreign-load")


@case()
def observe_writes_nothing(m):
    m.start_bus()
    m.surface()
    m.write_config(daemon="mode = observe")
    m.start_actuator()
    m.start_daemon()
    m.start_worker("--rate", "40", "--duration", "600s")
    wait_for("ten decisions on the demand", lambda: gpu(m)["decisions"] > 10
             and gpu(m)["models"][0]["reason"] in ("demand", "dwell"))
    check(m.card()["writes"] == 0, "no write at all")


@case()
def both_daemons_run_without_capabilities(m):
    actuator, daemon, _, _ = govern(m)
    for child, uid in ((actuator, 0), (daemon, 65534)):
        with open(f"/proc/{child.pid}/status") as f:
            fields = dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)
        check(fields["Uid"].split() == [str(uid)] * 4, f"uid {uid}, not {fields['Uid']}")
        check(int(fields["CapEff"], 16) == 0, f"no effective capability: {fields['CapEff']}")
        check(int(fields["CapPrm"], 16) == 0, f"no permitted capability: {fields['CapPrm']}")


@case()
def a_recording_gives_the_same_bytes_again(m):
    m.start_bus()
    m.surface()
    m.write_config()
    m.start_actuator()
    record = os.path.join(m.dir, "run", "record")
    daemon = m.start_daemon("--record", record)
    worker = m.start_worker("--rate", "60", "--duration", "600s")
    wait_for("ten decisions", lambda: gpu(m)["decisions"] > 10)
    check(cofrisctl(m, "cap", "120W").returncode == 0, "a cap in between")
    wait_for("twenty decisions", lambda: gpu(m)["decisions"] > 20)
    worker.kill()
    daemon.terminate()
    check(daemon.wait(PATIENCE_S) == 0, "a clean stop exits 0")
    result = m.capture([os.path.join(BIN, "cofris-replay"), "--inputs", record, "--json"])
    check(json.loads(result.stdout)["differing"] == 0, result.stdout)
    with open(record) as f:
        text = f.read()
    with open(record, "w") as f:
        f.write(text.replace("demand", "overload"))
    result = m.capture([os.path.join(BIN, "cofris-replay"), "--inputs", record], check_exit=False)
    check(result.returncode == 1, "a changed record is found out")


def cofrisctl(machine, *words, uid=None):
    command = [os.path.join(BIN, "cofrisctl"), "--bus", machine.bus_address, *words]
    if uid is not None:
        command = ["/usr/bin/setpriv", f"--reuid={uid}", "--clear-groups", *command]
    return machine.capture(command, check_exit=False)


@case()
def an_operators_power_cap_is_obeyed_and_given_back(m):
    _, daemon, _, found = govern(m, extra="power_cap = 200W")
    check(m.card()["cap_uw"] == 200e6, "the configuration's cap is the card's")
    check(cofrisctl(m, "cap", "150W").returncode == 0, "all cards take it")
    wait_for("the card's own cap follows", lambda: m.card()["cap_uw"] == 150e6)
    listed = json.loads(cofrisctl(m, "cap", BDF[0], "--json").stdout)["gpus"]
    check([(c["bdf"], c["configured_w"], c["ordered_w"], c["in_force_w"], c["max_w"])
           for c in listed] == [(BDF[0], 200, 150, 150, 225)], f"listed: {listed}")
    check("150" in cofrisctl(m, "cap").stdout, "and as a table")
    refused = cofrisctl(m, "cap", BDF[0], "226W")
    check(refused.returncode == 1 and "from 0 W to 225 W" in refused.stderr, refused.stderr)
    refused = cofrisctl(m, "cap", BDF[1], "150W")
    check(refused.returncode == 1 and "no governed card" in refused.stderr, refused.stderr)
    refused = cofrisctl(m, "cap", "100W", uid=1)
    check(refused.returncode == 1 and "Not allowed" in refused.stderr, refused.stderr)
    check(m.card()["cap_uw"] == 150e6, "refusals change nothing")
    check(cofrisctl(m, "cap", "config").returncode == 0, "taken back")
    wait_for("the configuration's again", lambda: m.card()["cap_uw"] == 200e6)
    check(cofrisctl(m, "cap", "1W").returncode == 0, "a cap that nothing is inside")
    wait_for("time above it", lambda: gpu(m)["cap"]["over_ms"] > 0
             and gpu(m)["cap"]["over_most_w"] > 0)
    daemon.terminate()
    check(daemon.wait(PATIENCE_S) == 0, "a clean stop exits 0")
    wait_for("the card as found", lambda: m.baseline() == found)


@case()
def what_is_decided_is_explained_to_anyone(m):
    govern(m)
    wait_for("demand is known", lambda: model(m)["reason"] in ("demand", "dwell"))

    def explained(*words):
        result = cofrisctl(m, "explain", *words, "--json", uid=1)
        check(result.returncode == 0, result.stderr)
        return json.loads(result.stdout)["gpus"]

    present = explained()[0]["models"][0]
    check(present["name"] == "resnet50" and present["from"] == "menu", f"explained: {present}")
    check([c["verdict"] for c in present["candidates"]].count("chosen") == 1, "one is chosen")
    little, much = (explained(BDF[0], "--model", "resnet50", "--rps", str(rps))[0]["models"][0]
                    for rps in (20, RATED_RPS))
    check(much["what_if"] and much["choice"]["power_w"] > little["choice"]["power_w"],
          f"more demand takes more power: {little['choice']} {much['choice']}")
    wait_for("three decisions", lambda: gpu(m)["decisions"] >= 3)
    decisions = explained("--last", "3")[0]["decisions"]
    check([d["number"] - decisions[0]["number"] for d in decisions] == [0, 1, 2], "in order")
    text = cofrisctl(m, "explain", "--rps", "5").stdout
    check("would be: " in text and "POWER W" in text and "simulated card" in text, text)
    check("LIMIT MHZ" in cofrisctl(m, "explain", "--last", "2").stdout, "as a table")
    refused = cofrisctl(m, "explain", "--model", "resnet5")
    check(refused.returncode == 1 and "did you mean 'resnet50'" in refused.stderr, refused.stderr)
    refused = cofrisctl(m, "explain", BDF[1])
    check(refused.returncode == 1 and "no governed card" in refused.stderr, refused.stderr)


@case()
def a_bad_reload_keeps_the_old_configuration(m):
    _, daemon, _, _ = govern(m)
    path = m.write_config("[daemon]\npoll_intervall = 500ms\n")
    result = m.capture([os.path.join(BIN, "cofrisctl"), "--bus", m.bus_address, "reload"],
                       check_exit=False)
    check(result.returncode != 0, "the reload fails")
    check(f"{path}:2" in result.stderr and "poll_interval" in result.stderr,
          f"file, line and the nearest key are named: {result.stderr}")
    check(daemon.poll() is None and gpu(m)["state"] == "governed", "still governing")
    m.write_config(slo="1.5x")
    m.capture([os.path.join(BIN, "cofrisctl"), "--bus", m.bus_address, "reload"])
    wait_for("the new SLO", lambda: abs(model(m)["slo_ms"] / model(m)["t0_ms"] - 1.5) < 0.01)


def hello_over(cards):
    """A worker's first message (channel/channel-layout.h) that names several cards."""
    text = struct.pack("<IHHII64s64sIIII", 0x6F667263, 1, 1, 416, 0, b"resnet50", b"over-several",
                       0, 1, 1, len(cards))
    return (text + b"".join(struct.pack("13s3x", bdf.encode()) for bdf in cards)).ljust(416, b"\0")


def govern_a_group(m):
    """Until both cards show that they are one group; then it hangs up."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
        s.settimeout(PATIENCE_S)
        s.connect(m.worker_socket)
        s.send(hello_over(BDF[:2]))
        _, fds, _, _ = socket.recv_fds(s, 4096, 2)
        check(len(fds) == 2, "welcome")
        beats = iter(range(1, 1 << 30))

        def one_low_clock():
            os.pwrite(fds[0], struct.pack("<Q", next(beats)), 4096)  # the worker's page: its beat
            cards = m.stat()["cards"]
            return (all(c["perf_level"] == "manual" and c["soft_high_mhz"] < 1725 for c in cards)
                    and len({c["soft_high_mhz"] for c in cards}) == 1)

        wait_for("one low clock on both", one_low_clock)
        gpus = m.status()["gpus"]
        check(all(sorted(g["group"]) == sorted(BDF[:2]) for g in gpus), "both show the group")
        check(all(g["models"][0]["workers"] == 1 for g in gpus), "the worker counts on both")
        for fd in fds:
            os.close(fd)


@case(count=2)
def a_worker_over_two_cards_makes_them_a_clock_group(m):
    m.setup(gpu="*")
    found = [m.baseline(0), m.baseline(1)]
    within(lambda: govern_a_group(m),
           ("both as found", 1.5, lambda: [m.baseline(0), m.baseline(1)] == found))
    check(all(g["group"] == [] for g in m.status()["gpus"]), "the group is gone")


def serve_shufflenet(m, **config):
    """Near its rated rate, where 30 CUs are measured to draw clearly less than 60."""
    m.setup(model="shufflenet", **config)
    m.start_worker("--rate", "400", "--duration", "600s", model="shufflenet")
    wait_for("thirty decisions", lambda: gpu(m)["decisions"] > 30)


@case()
def a_mask_that_saves_measured_power_is_taken_without_gating(m):
    serve_shufflenet(m)
    wait_for("30 CUs", lambda: m.card()["fewest_cus"] == 30 and model(m)["acknowledged"])
    check(model(m)["p95_ms"] < model(m)["slo_ms"], "inside the SLO")


@case()
def a_model_with_masks_off_keeps_all_cus(m):
    serve_shufflenet(m, model_extra="cu_mask = off")
    check(m.card()["fewest_cus"] == 60 and model(m)["cus"] == 60, "all CUs")


@case(count=2)
def two_runs_with_one_seed_agree_in_energy(m):
    m.start_bus()
    m.surface()
    m.write_config(gpu="*")
    m.start_actuator()
    energies = []
    # A card each, so that both begin cold; one after the other, each with a daemon of its own.
    for index, bdf in enumerate(BDF[:2]):
        daemon = m.start_daemon()
        before = m.card(index)
        worker = m.start_worker("--load", f"{SOURCE}/profiles/loads/day.csv", "--time-compression",
                                "40", "--rated-rps", str(RATED_RPS), "--seed", "7", gpu=bdf,
                                name=f"worker{index}")
        check(worker.wait(PATIENCE_S) == 0, "the worker ends by itself")
        after = m.card(index)
        energies.append(after["energy_j"] - before["energy_j"])
        daemon.terminate()
        check(daemon.wait(PATIENCE_S) == 0, "a clean stop exits 0")
    difference = abs(energies[0] / energies[1] - 1)
    print(f"energies {energies} J (simulated), {100 * difference:.2f} % apart")
    check(difference < 0.02, "within 2 %")


if __name__ == "__main__":
    main()
