# SPDX-License-Identifier: Apache-2.0
"""The services as they are shipped: started, reloaded, restarted, and with nothing to do."""

import json
import os
import time

from booted import (ACTUATOR, BUILD, DAEMON, SOURCE, case, check, main, shipped_unit, undisturbed,
                    wait_for)

MOST_EXPOSED = 13  # a score of 1.3


@case()
def the_units_are_those_of_the_build(m):
    for unit, source in ((DAEMON, BUILD), (ACTUATOR, BUILD), ("cofris-actuator.socket", SOURCE)):
        path = m.show(unit, "FragmentPath")
        check(path == shipped_unit(unit), f"{unit} is read from {path}")
        with open(path, "rb") as a, open(f"{source}/systemd/{unit}", "rb") as b:
            check(a.read() == b.read(), f"{unit} is installed as it was built")
        m.run("systemd-analyze", "verify", "--man=no", unit)
    for unit in (DAEMON, ACTUATOR):
        m.run("systemd-analyze", "security", f"--threshold={MOST_EXPOSED}", unit)


@case()
def it_starts_and_says_what_it_does(m):
    found = m.baseline()
    m.govern()
    check(m.show(DAEMON, "StatusText") == "governing 0 of 1 card", "a status line")
    check(m.writes() == [], "nothing is written without a worker")
    m.start_worker("--rate", "40")
    wait_for("a lower clock limit", m.lowered)
    wait_for("the status line", lambda: m.show(DAEMON, "StatusText") == "governing 1 of 1 card")
    check(m.state() == "governed", "the same from cofrisctl")
    for unit, uid in ((DAEMON, "cofris"), (ACTUATOR, "root")):
        process = process_status(m.main_pid(unit))
        check(process["CapEff"] == process["CapBnd"] == "0000000000000000", f"{unit}: capabilities")
        check(process["Seccomp"] == "2" and process["NoNewPrivs"] == "1", f"{unit}: sandbox")
        name = m.run("id", "-nu", process["Uid"].split()[0]).stdout.strip()
        check(name == uid, f"{unit} runs as {name}")
    check(m.show(DAEMON, "NFileDescriptorStore") == "1", "the connection is kept")
    m.systemctl("stop", DAEMON)
    wait_for("baseline", lambda: m.baseline() == found)


def process_status(pid):
    with open(f"/proc/{pid}/status") as f:
        return dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)


def ticks(m, n):
    """Waits for so many pings of the watchdog, each of which is a finished tick."""
    for _ in range(n):
        before = m.show(DAEMON, "WatchdogTimestampMonotonic")
        wait_for("a tick", lambda: m.show(DAEMON, "WatchdogTimestampMonotonic") != before)


@case()
def nothing_is_written_until_there_is_a_worker(m):
    m.govern()
    wait_for("the card", lambda: m.state() == "governed")
    ticks(m, 2)
    m.systemctl("restart", ACTUATOR)
    wait_for("the card again", lambda: m.state() == "governed")
    ticks(m, 1)
    m.systemctl("stop", DAEMON, ACTUATOR)
    check(m.writes() == [], f"nothing was written: {m.writes()}")


@case()
def the_state_of_another_boot_is_thrown_away(m):
    m.govern()
    m.start_worker("--rate", "40")
    wait_for("a lower clock limit", m.lowered)
    path = "/run/cofris-actuator/state"
    with open(path) as f:
        state = f.read().splitlines()
    check(state[1].startswith("boot "), "a boot's id")
    m.systemctl("stop", DAEMON, ACTUATOR)
    found, before = m.baseline(), len(m.writes())
    # As of the boot before, when the card had been found at another power cap.
    with open(path, "w") as f:
        other = state[1][:-4] + ("0000" if state[1][-4:] != "0000" else "1111")
        lines = [state[0], other, *state[2:]]
        f.write("\n".join(lines).replace(f"cap_uw={found['cap_uw']}", "cap_uw=150000000") + "\n")
    os.chmod(path, 0o600)
    with open(path) as f:
        check("150000000" in f.read(), "the file says something else")
    m.systemctl("start", ACTUATOR)
    check(len(m.writes()) == before and m.baseline() == found, "nothing is written")
    check(not os.path.exists(path), "and the file is gone")
    m.systemctl("stop", ACTUATOR)
    check(len(m.writes()) == before, "nor at its end")


@case(sim=["--fault", "removed:0"])
def a_card_that_comes_later_is_governed_without_a_restart(m):
    m.govern()
    m.start_worker("--rate", "40")
    check("card is present" in m.show(DAEMON, "StatusText"), "the status says that there is none")
    ticks(m, 1)
    m.heal()
    wait_for("a lower clock limit", m.lowered)
    check(m.show(DAEMON, "NRestarts") == "0", "the same daemon")


@case(cards=False)
def without_any_driver_it_runs_until_there_is_one(m):
    m.govern()
    ticks(m, 1)
    check(m.active(DAEMON), "it runs")
    m.start_cards()
    m.start_worker("--rate", "40")
    wait_for("a lower clock limit", m.lowered)
    check(m.show(DAEMON, "NRestarts") == "0", "the same daemon")


@case()
def a_bad_configuration_makes_the_reload_fail_and_changes_nothing(m):
    m.govern()
    m.start_worker("--rate", "40")
    wait_for("a lower clock limit", m.lowered)
    pid, before = m.main_pid(DAEMON), m.status()["gpus"][0]["models"][0]["slo_ms"]
    with open("/etc/cofris.conf") as f:
        good = f.read()
    bad = good.replace("slo = 2.0x", "slo = 3.0x\nsloo = 1.0x")
    m.configure(bad)
    line = bad.splitlines().index("sloo = 1.0x") + 1
    result = m.systemctl("reload", DAEMON, check_exit=False)
    check(result.returncode != 0, "the reload fails")
    check(f"/etc/cofris.conf:{line}" in m.journal(DAEMON), "the journal has file and line")
    check(m.main_pid(DAEMON) == pid and m.active(DAEMON), "the same daemon runs")
    check(m.status()["gpus"][0]["models"][0]["slo_ms"] == before, "with the objective it had")
    check(m.lowered(), "and governs")
    m.configure(good.replace("slo = 2.0x", "slo = 3.0x"))
    m.systemctl("reload", DAEMON)
    after = m.status()["gpus"][0]["models"][0]["slo_ms"]
    check(abs(after - before * 1.5) < 0.01 * before, f"a good one is taken: {after}")


@case()
def a_bad_configuration_at_the_start_is_not_tried_again(m):
    m.configure("[daemon]\npoll = 1s\n")
    check(m.systemctl("start", DAEMON, check_exit=False).returncode != 0, "it does not start")
    check(m.show(DAEMON, "ExecMainStatus") == "78", "EX_CONFIG")
    check("/etc/cofris.conf:2" in m.journal(DAEMON), "the journal has file and line")
    check(m.show(DAEMON, "NRestarts") == "0" and m.show(DAEMON, "ActiveState") == "failed",
          "and it stays so")
    m.govern()
    check(m.active(DAEMON), "until the file is right")


@case()
def a_restart_under_load_is_not_seen_on_the_card(m):
    m.govern()
    m.start_worker("--rate", "40")
    wait_for("a lower clock limit", m.lowered)

    def restart():
        wait_for("governed", lambda: m.lowered() and m.state() == "governed")
        m.systemctl("restart", DAEMON)
        ended_ns = 1000 * int(m.show(DAEMON, "InactiveEnterTimestampMonotonic"))
        decided_ns = first_decision_ns(m)
        check(decided_ns > ended_ns > 0, "in this order")
        between = [w for w in m.writes() if ended_ns < int(w[1]) < decided_ns]
        print(f"{(decided_ns - ended_ns) / 1e9:.2f} s without a decision, {len(between)} writes")
        check(between == [], f"nothing is written from the one to the other: {between}")
        check(m.lowered(), "and the limit is as it was")

    undisturbed(restart)
    check("restored" not in m.journal(ACTUATOR), "never given back")


@case()
def a_restart_gives_a_card_back_that_is_governed_no_more(m):
    found = m.baseline()
    m.govern()
    m.start_worker("--rate", "40")
    wait_for("a lower clock limit", m.lowered)
    with open("/etc/cofris.conf") as f:
        m.configure(f.read().replace("enabled = yes", "enabled = no"))
    m.systemctl("restart", DAEMON)
    wait_for("baseline", lambda: m.baseline() == found)
    wait_for("no claim on it", lambda: "restored (released)" in m.journal(ACTUATOR))


def first_decision_ns(m):
    """When the daemon that runs decided for the first time."""

    def decisions():
        now_ns = time.monotonic_ns()
        found = json.loads(m.cofrisctl("explain", "--last", "1000", "--json").stdout)
        ages = [(d["number"], d["age_s"]) for d in found["gpus"][0]["decisions"]]
        return ages and now_ns - int(min(ages)[1] * 1e9)

    return wait_for("a decision", decisions)


if __name__ == "__main__":
    main()
