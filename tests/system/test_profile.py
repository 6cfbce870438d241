# SPDX-License-Identifier: Apache-2.0
"""cofris-profile: whole sweeps against the plant's own truth, choices that fail under load, and the
card, the files and the words on every way out."""

import csv
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time

sys.path.insert(0, os.path.join(os.environ["COFRIS_SOURCE"], "tests", "support"))
from machine import BDF, BIN, PATIENCE_S, case, check, main, undisturbed, wait_for  # noqa: E402

QUICK = ["--grid", "quick", "--cell-time", "100ms", "--verify-time", "500ms", "--engine", "plant"]


def output(m):
    return os.path.join(m.dir, "out", "resnet50.csv")


def command(m, *options, model="resnet50"):
    os.makedirs(os.path.dirname(output(m)), exist_ok=True)
    # Others of this machine have their folders in /tmp.
    os.environ["XDG_RUNTIME_DIR"] = os.path.dirname(output(m))
    return [os.path.join(BIN, "cofris-profile"), "--model", model, "--actuator", m.actuator_socket,
            "--output", output(m), *QUICK, *options]


def profile(m, *options, **keys):
    return m.capture(command(m, *options, **keys), check_exit=False, timeout=120)


def refused(m, word, *options, **keys):
    """A profile that fails with a clear word and leaves the card alone."""
    found = m.baseline()
    began = time.monotonic()
    result = profile(m, *options, **keys)
    check(result.returncode == 1, f"fails: {result.returncode}")
    check(word in result.stderr, f"'{word}' in: {result.stderr}")
    check(m.baseline() == found, "the card is as found")
    check(not os.path.exists(output(m)), "no surface")
    return result, time.monotonic() - began


def header(path):
    with open(path) as f:
        return dict(line[2:].rstrip("\n").split(" = ", 1) for line in f if line.startswith("# "))


def rows(path, kind):
    """The rows of a surface as dictionaries; the many quantiles stay out."""
    columns = header(path)[f"{kind}_columns"].split(",")
    with open(path) as f:
        return [dict(zip(columns, row[1:])) for row in csv.reader(f) if row and row[0] == kind]


def shape_of(cell):
    return tuple(int(cell[k]) for k in ("max_mhz", "n_se", "cus_per_se"))


def profiler_folders(m):
    return [f for f in os.listdir(os.path.dirname(output(m))) if f.startswith("cofris-profile.")]


def table_command(path):
    return [os.path.join(BIN, "cofris-profile"), "table", path]


def profile_and_compare(m, truth_path):
    """A quick profile, held against the plant's own truth; its summary."""
    found, path = m.baseline(), output(m)
    began = time.monotonic()
    result = profile(m, "--cell-time", "400ms", "--json")
    check(result.returncode == 0, result.stderr)
    summary = json.loads(result.stdout)
    check(summary["simulated"] and summary["struck"] == 0 and summary["loads"] >= 3, str(summary))
    check(summary["seconds"] <= time.monotonic() - began, "the time that it says")
    check("\x1b" not in result.stderr and "\r" not in result.stderr, "plain lines into a pipe")
    steps = re.findall(r"^\[(\d+)/25, \d+s left\] .+$", result.stderr, re.MULTILINE)
    check([int(s) for s in steps] == list(range(1, 26)), f"one for each step: {result.stderr}")
    check(m.baseline() == found, "the card is as found")
    check(not os.path.exists(path + ".partial"), "nothing is left of the partial file")

    truth = {shape_of(c): c for c in rows(truth_path, "cell")}
    cells = rows(path, "cell")
    whole = [c for c in cells if shape_of(c)[1:] == (4, 15)]
    # 925 and 930 MHz are one level.
    check([int(c["max_mhz"]) for c in whole] == [930, 1032, 1143, 1282, 1386, 1485, 1606, 1725],
          f"the clocks: {whole}")
    for c in cells:
        true = truth[shape_of(c)]
        ratio = float(c["capacity_rps"]) / float(true["capacity_rps"])
        check(abs(ratio - 1) < 0.03, f"capacity at {shape_of(c)}: {ratio}")
        power, true_power = float(c["power_w"]), float(true["power_w"])
        check(abs(power - true_power) < max(2, 0.03 * true_power),
              f"power at {shape_of(c)}: {power} W, {true_power} W in truth")
        check(c["flags"] == "-", f"no flags at {shape_of(c)}: {c['flags']}")
    ratio = float(header(path)["t0_ns"]) / float(header(truth_path)["t0_ns"])
    check(abs(ratio - 1) < 0.1, f"T0: {ratio}")
    check(header(path)["source"] == "simulated", "says that it is simulated")
    table = json.loads(m.capture([*table_command(path), "--json"]).stdout)
    truth = json.loads(m.capture([*table_command(truth_path), "--json"]).stdout)
    for key, mhz in (("idle_w", [930, 1386, 1725]),
                     ("active_idle_w", [930, 1143, 1386, 1606, 1725])):
        measured = [level for level in table["levels"] if level[key] is not None]
        check([level["mhz"] for level in measured] == mhz, f"{key} at its clocks: {measured}")
        for level in measured:
            true_w = next(t[key] for t in truth["levels"] if t["mhz"] == level["mhz"])
            check(abs(level[key] - true_w) < max(2, 0.03 * true_w), f"{key}: {level}, {true_w}")
    return summary


@case()
def a_quick_profile_agrees_with_the_plant_and_governs(m):
    m.start_bus()
    m.start_actuator()
    path, truth_path = output(m), m.surface()
    # A host that stops the worker for a moment lowers what the sensor shows of the card.
    summary = undisturbed(lambda: profile_and_compare(m, truth_path))

    view = table_command(path)
    table = json.loads(m.capture([*view, "--json"]).stdout)
    text = m.capture(view).stdout
    check(re.search(r"^active idle: [0-9.]+ W at 930 MHz, ", text, re.MULTILINE), text)
    check(not table["modelled"] and "modelled" not in text, "without gating nothing is modelled")
    gated = m.capture([*view, "--gating", "cu"]).stdout
    check(gated.count("modelled") > len(table["rows"]) / 2, gated)
    check(abs(table["rated_rps"] / summary["rated_rps"] - 1) < 1e-6, "the same R")
    check(len(table["rows"]) >= 40, f"rows: {len(table['rows'])}")
    # The daemon takes it, too.
    os.replace(path, truth_path)
    m.write_config()
    m.start_daemon()
    m.start_worker("--rate", "40", "--duration", "60s")
    wait_for("governed by the measured surface",
             lambda: m.status()["gpus"][0]["models"][0]["table"] == "ok"
             and m.card()["soft_high_mhz"] < 1725)


def wrapper(m, text):
    """A worker for --worker: a script that gets the load's options as "$@"."""
    path = os.path.join(m.dir, "wrapper.sh")
    with open(path, "w") as f:
        f.write(f"worker='{BIN}/cofris-worker --engine plant --model resnet50 --gpu {BDF[0]} "
                f"--drain 0s'\n{text}\n")
    return ["--worker", f"sh {path}"]


@case()
def a_choice_that_fails_under_load_is_struck_and_another_made(m):
    m.start_actuator()
    found = m.baseline()
    # In the first run near R (one far below may well bear it) services take half as long again as
    # in the closed loop.
    slow_once = wrapper(m, f"""
if [ "$1" = --rate ] && [ "${{2%.*}}" -ge 150 ] && [ ! -e {m.dir}/slowed ]; then
	echo "$2" > {m.dir}/slowed
	set -- "$@" --stall-share 1 --stall-factor 1.5
fi
exec $worker "$@"
""")
    result = profile(m, "--verify-time", "1500ms", *slow_once)
    check(result.returncode == 0, result.stderr)
    check("1 struck" in result.stdout, result.stdout)
    check(result.stderr.count("too many") == 1, result.stderr)
    path = output(m)
    struck = [c for c in rows(path, "cell") if "struck" in c["flags"]]
    check(len(struck) == 1, f"one cell has the flag: {struck}")
    with open(f"{m.dir}/slowed") as f:
        slowed_rps = float(f.read())
    loads = rows(path, "load")
    # Runs stand in their order; what replaces the struck cell is run at the same rate again.
    failed = next(r for r in loads if abs(float(r["offered_rps"]) - slowed_rps) < 1e-3)
    others = [r for r in loads if r is not failed]
    check(shape_of(failed) == shape_of(struck[0]), "the one that was slowed")

    def table(file):
        rows_ = json.loads(m.capture([os.path.join(BIN, "cofris-profile"), "table", file,
                                      "--json"]).stdout)["rows"]
        return [(r["max_mhz"], r["ses"], r["cus"] // r["ses"]) for r in rows_], rows_

    chosen, chosen_rows = table(path)
    check(shape_of(struck[0]) not in chosen, "the table avoids it")
    # It would be chosen, had it not failed.
    with open(path) as f:
        text = f.read()
    check(text.count(",struck,") == 1, "one struck cell in the file")
    with open(path + ".unstruck", "w") as f:
        f.write(text.replace(",struck,", ",-,"))
    check(shape_of(struck[0]) in table(path + ".unstruck")[0], "but for the flag")
    # What is chosen instead has been run at its highest rate.
    for shape in set(chosen) - {(1725, 4, 15)}:
        highest = max(r["rate_rps"] for s, r in zip(chosen, chosen_rows) if s == shape)
        run = [float(r["offered_rps"]) for r in others if shape_of(r) == shape]
        check(run and max(run) > 0.999 * highest, f"{shape} was run at {highest}: {run}")
    check(m.baseline() == found, "the card is as found")


@case()
def a_clock_that_no_longer_obeys_is_found_under_load(m):
    m.start_actuator()
    found, out = m.baseline(), output(m)
    child = m.spawn("profile", command(m, "--verify-time", "1500ms"))
    wait_for("the verification", lambda: "Verifying" in m.log("profile"))
    # From here on the card stays at the lowest clock, where the sweep has left it.
    m.fault("drop-writes:0:pp_dpm_sclk")
    check(child.wait(PATIENCE_S) == 0, "the profile ends")
    m.heal()
    struck = {shape_of(c) for c in rows(out, "cell") if "struck" in c["flags"]}
    loads = rows(out, "load")
    # At 930 MHz the whole card serves 231 requests/s.
    beyond = [r for r in loads if float(r["offered_rps"]) > 225 and shape_of(r) != (1725, 4, 15)]
    check(len(beyond) >= 2, f"runs that need a higher clock: {loads}")
    check(all(shape_of(r) in struck for r in beyond), f"all of them are struck: {struck}")
    # A cell may be tried at several rates.
    late = {shape_of(r) for r in loads if float(r["p95_ns"]) > 2 * float(header(out)["t0_ns"])}
    check(struck <= late, f"nothing else is: {struck - late}")
    wait_for("the card is as found", lambda: m.baseline() == found)


@case()
def a_cell_disturbed_for_a_moment_is_measured_again(m):
    m.start_actuator()
    child = m.spawn("profile", command(m, "--cell-time", "600ms"))
    for cell in range(4, 16):
        wait_for("a cell", lambda: f"[{cell}/" in m.log("profile"))
        pid = int(m.capture(["pgrep", "-f", "cofris-worker"]).stdout.split()[0])
        # At a later moment of each cell, until one is in the window and not in the settling.
        time.sleep(0.05 * cell)
        os.kill(pid, signal.SIGSTOP)
        time.sleep(0.3)
        os.kill(pid, signal.SIGCONT)
        if "unstable, measured again" in m.log("profile"):
            break
    check(child.wait(PATIENCE_S) == 0, "the profile ends")
    check("unstable, measured again" in m.log("profile"), m.log("profile"))
    flags = [c["flags"] for c in rows(output(m), "cell")]
    check(flags.count("-") == len(flags), f"no cell is unstable in the end: {flags}")


def interrupted(m, how, status):
    """A sweep that ends early: the old surface stays, the cells are kept, the card is given back."""
    m.start_actuator()
    found = m.baseline()
    path = output(m)
    os.makedirs(os.path.dirname(path))
    with open(path, "w") as f:
        f.write("old\n")
    child = m.spawn("profile", command(m, "--cell-time", "500ms"))
    wait_for("some cells", lambda: "[7/" in m.log("profile"))
    check(m.card()["perf_level"] == "manual", "the card is in use")
    how(child)
    check(child.wait(PATIENCE_S) == status, f"ends with {child.returncode}")
    # A hang-up is enough: the card is not left to its lease of 15 s.
    wait_for("the card is as found", lambda: m.baseline() == found, timeout=10)
    with open(path) as f:
        check(f.read() == "old\n", "the old surface stays")
    cells = rows(path + ".partial", "cell")
    check(len(cells) >= 5, f"the cells are kept: {len(cells)}")
    check(shape_of(cells[0]) == (1725, 4, 15), "the baseline first")
    wait_for("no worker is left", lambda: subprocess.run(
        ["pgrep", "-f", "cofris-worker"], stdout=subprocess.DEVNULL).returncode == 1)
    return path, m.log("profile")


def sends(number):
    return lambda child: child.send_signal(number)


@case()
def sigint_gives_the_card_back_and_keeps_the_cells(m):
    path, log = interrupted(m, sends(signal.SIGINT), 1)
    check("Stopped by SIGINT" in log and path + ".partial" in log, log)
    check(not profiler_folders(m), "no folder is left")
    # The next whole sweep replaces the partial file, and then the old surface; cells are not thrown
    # away for an SLO that the card cannot hold.
    result = profile(m, "--slo", "1ms")
    check(result.returncode == 0, result.stderr)
    check("No table for this SLO" in result.stderr and "unverified" in result.stderr, result.stderr)
    check(not rows(path, "load"), "nothing was run under load")
    check(not os.path.exists(path + ".partial"), "the partial file is gone")
    check(len(rows(path, "cell")) == 23, "the new surface is whole")


@case()
def sigterm_gives_the_card_back_and_keeps_the_cells(m):
    _, log = interrupted(m, sends(signal.SIGTERM), 1)
    check("Stopped by SIGTERM" in log, log)


@case()
def a_killed_profiler_loses_the_card_and_its_worker(m):
    interrupted(m, sends(signal.SIGKILL), -signal.SIGKILL)
    check(len(profiler_folders(m)) == 1, "its folder is left")
    check(profile(m).returncode == 0, "the next one runs")
    check(not profiler_folders(m), "and cleans up after it")


@case()
def a_stopped_profiler_loses_the_card_with_its_lease(m):
    m.start_actuator()
    found = m.baseline()
    child = m.spawn("profile", command(m, "--cell-time", "500ms"))
    wait_for("some cells", lambda: "[5/" in m.log("profile"))
    child.send_signal(signal.SIGSTOP)
    wait_for("the card is as found", lambda: m.baseline() == found)
    child.send_signal(signal.SIGCONT)
    check(child.wait(PATIENCE_S) == 1, "it does not go on without the card")
    check(m.baseline() == found, "nor sets it again")
    log = m.log("profile")
    check("Stopped for longer than the lease" in log and "cells are kept" in log, log)


@case()
def a_killed_worker_ends_the_sweep(m):
    def kill(_):
        pid = int(m.capture(["pgrep", "-f", "cofris-worker"]).stdout.split()[0])
        os.kill(pid, signal.SIGKILL)

    _, log = interrupted(m, kill, 1)
    check("The worker was killed by SIGKILL" in log, log)


@case()
def a_killed_actuator_ends_the_sweep_and_its_next_start_gives_the_card_back(m):
    actuator = m.start_actuator()
    found = m.baseline()
    child = m.spawn("profile", command(m, "--cell-time", "500ms"))
    wait_for("some cells", lambda: "[5/" in m.log("profile"))
    actuator.kill()
    check(child.wait(PATIENCE_S) == 1, "the profile fails")
    check("cofris-actuator has hung up" in m.log("profile"), m.log("profile"))
    check(m.card()["perf_level"] == "manual", "nobody has restored the card yet")
    m.start_actuator()
    wait_for("the card is as found", lambda: m.baseline() == found)


@case()
def workers_that_do_not_work_are_named(m):
    m.start_actuator()
    # At once, and not when its time to connect is over; where the host does not hold it up.
    seconds = min(refused(m, "The worker ended with status 3", "--worker", "exit 3;:")[1]
                  for _ in range(2))
    check(seconds < 5, f"at once: {seconds} s")
    refused(m, "The worker was killed by SIGSEGV", "--worker", "kill -SEGV $$;:")
    refused(m, "not found", "--worker", "/nonexistent/worker")
    refused(m, "another model is being profiled", "--worker",
            f"{BIN}/cofris-worker --engine plant --model shufflenet --gpu {BDF[0]}")
    refused(m, "No model 'nonesuch'", model="nonesuch")
    refused(m, "Unknown engine 'nonesuch'", "--engine", "nonesuch")
    check(not profiler_folders(m), "no folder is left")


@case()
def a_worker_that_never_connects_is_given_up(m):
    m.start_actuator()
    _, seconds = refused(m, "The worker has not connected to COFRIS_SOCKET within 15 s", "--worker",
                         "sleep 1000;:")
    check(seconds < 25, f"after {seconds} s")
    check(subprocess.run(["pgrep", "-x", "sleep"], stdout=subprocess.DEVNULL).returncode == 1,
          "and not left behind")


@case()
def cards_that_cannot_be_had_are_named(m):
    refused(m, "Cannot reach cofris-actuator")
    m.start_actuator()
    refused(m, "No card at 0000:99:00.0", "--gpu", "0000:99:00.0")
    owner = m.spawn("owner", command(m, "--output", os.path.join(m.dir, "other.csv")))
    wait_for("the card is claimed", lambda: m.card()["perf_level"] == "manual")
    result = profile(m)
    check(result.returncode == 1, "a second one fails")
    check(f"in use by cofris-profile (pid {owner.pid}, uid 0): stop it first" in result.stderr,
          result.stderr)
    check(owner.poll() is None, "the first goes on")
    owner.terminate()
    owner.wait(PATIENCE_S)


@case()
def a_foreign_setting_is_not_taken_over_unasked(m):
    m.fault("foreign-manual:0:2:4")
    m.start_actuator()
    refused(m, "--take-over takes it all the same")
    child = m.spawn("profile", command(m, "--take-over"))
    wait_for("a cell", lambda: "[3/" in m.log("profile"))
    child.terminate()
    check(child.wait(PATIENCE_S) == 1, "stopped")
    wait_for("given back as auto", lambda: m.card()["perf_level"] == "auto")


@case()
def an_output_that_cannot_be_written_is_named_before_the_sweep(m):
    m.start_actuator()
    path = os.path.join(m.dir, "nowhere", "resnet50.csv")
    for word, output in ((f"Cannot write {path}.partial: No such file", path),
                         (f"Cannot write {m.dir}: Is a directory", m.dir)):
        result, _ = refused(m, word, "--output", output)
        check("[1/" not in result.stderr, f"before the sweep: {result.stderr}")
    check(m.card()["writes"] == 0, "and before anything is set")


@case(count=2)
def with_two_cards_one_must_be_named(m):
    m.start_actuator()
    found = m.baseline(0)
    refused(m, "There are 2 cards: name one by --gpu")
    child = m.spawn("profile", command(m, "--gpu", BDF[1]))
    wait_for("a cell", lambda: "[3/" in m.log("profile"))
    check(m.card(1)["perf_level"] == "manual", "the one that was named")
    child.terminate()
    check(child.wait(PATIENCE_S) == 1, "stopped")
    check(m.baseline(0) == found and m.baseline(1) == found, "both are as found")
    check(not any(f"\t{BDF[0]}\t" in line for line in m.writes()), "the other was never written")


def run_on_terminal(command_line, columns=200, stop_at=None):
    """(exit status, all that it has drawn on its terminal); interrupts it once stop_at is there."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    child = subprocess.Popen(command_line, stdin=slave, stdout=slave, stderr=slave)
    os.close(slave)
    drawn = b""
    deadline = time.monotonic() + 2 * PATIENCE_S
    while time.monotonic() < deadline and select.select([master], [], [], PATIENCE_S)[0]:
        try:
            data = os.read(master, 65536)
        except OSError:  # the other side has closed
            break
        if not data:
            break
        drawn += data
        if stop_at and stop_at in drawn:
            child.send_signal(signal.SIGINT)
            stop_at = None
    os.close(master)
    return child.wait(PATIENCE_S), drawn.decode()


def screen(drawn):
    """The lines that stay, each as it was after its last clearing."""
    return [line.split("\r\x1b[K")[-1] for line in drawn.split("\r\n")]


@case()
def a_terminal_gets_a_bar(m):
    m.start_actuator()
    status, drawn = run_on_terminal(command(m))
    check(status == 0, drawn)
    bars = re.findall(r"\r\x1b\[K\[([#.]{24})\] (\d+)/(\d+), (\d+):(\d\d) left  ", drawn)
    sweep = [b for b in bars if b[2] == "25"]
    check([int(b[1]) for b in sweep] == list(range(1, 26)), f"each step of the sweep: {bars}")
    filled = [b[0].count("#") for b in sweep]
    check(filled == sorted(filled) and filled[-1] == 24, f"the bar grows to its end: {filled}")
    check(all(b[0] == "#" * f + "." * (24 - f) for b, f in zip(sweep, filled)), "from the left")
    check(sweep[-1][3:] == ("0", "00"), f"no time is left at the end: {sweep[-1]}")
    check(len(bars) > len(sweep), "the verification has its own")
    lines = screen(drawn)
    check("Verifying the chosen cells under load" in lines, f"notes have their own lines: {lines}")
    check(not any("left" in line for line in lines), f"no bar stays: {lines}")
    check(any(line.startswith("written to ") for line in lines), f"the result does: {lines}")


@case()
def a_bar_on_a_narrow_terminal_leaves_nothing_behind(m):
    m.start_actuator()
    status, drawn = run_on_terminal(command(m), columns=60, stop_at=b" 6/25, ")
    check(status == 1, drawn)
    bars = re.findall(r"\x1b\[K(\[[#.]{24}\][^\r]*)", drawn)
    check(len(bars) >= 6 and all(len(b) < 60 for b in bars), f"bars of one line: {bars}")
    # A busy host may have made a cell unstable: notes may stay.
    lines = [line for line in screen(drawn) if line and not line.endswith("measured again")]
    check(all(line.startswith("cofris-profile: ") for line in lines), f"only the log stays: {lines}")
    check("cofris-profile: Stopped by SIGINT" in lines, f"whole: {lines}")


if __name__ == "__main__":
    main()
