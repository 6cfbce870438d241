# SPDX-License-Identifier: Apache-2.0
"""Whatever ends the services, and in whatever way, the cards come back as they were found."""

import glob
import os
import signal

from booted import ACTUATOR, DAEMON, case, check, main, wait_for, within

LEASE_S = 2.0
REPORT = "/run/report.csv"
# A lease, and systemd's part in it.
SOON_S = LEASE_S + 1.5


def under_load(m, rate=40):
    """Governed, with a lower clock and another cap; returns the card as it was before anything was
    started, which is not as it comes up: what is found must come back, and not a default."""
    (hwmon,) = glob.glob("/sys/class/drm/card0/device/hwmon/hwmon*")
    for path, text in (("/sys/class/drm/card0/device/power_dpm_force_performance_level", "high"),
                       (f"{hwmon}/power1_cap", "200000000")):
        with open(path, "w") as f:
            f.write(text)
    found = m.baseline()
    check(found["perf_level"] == "high" and found["cap_uw"] == 200000000, f"found so: {found}")
    m.govern(gpu_extra="power_cap = 180W")
    m.start_worker("--rate", str(rate), report=REPORT)
    wait_for("a lower clock limit and another cap", lambda: taken(m))
    return found


# What of the stopping is judged apart from how long the host takes to start a program.
PATIENT = "[Service]\nTimeoutStopSec=20\n"


def taken(m):
    return m.lowered() and m.card()["cap_uw"] == 180000000


def served():
    with open(REPORT) as f:
        return sum(line.rstrip().endswith(",ok") for line in f)


def goes_on(m):
    """Governed again, with no request failed."""
    wait_for("governed again", lambda: taken(m) and m.state() == "governed")
    before = served()
    wait_for("more requests", lambda: served() > before + 10)
    with open(REPORT) as f:
        rows = [line.strip() for line in f if not line.startswith("#")][1:]
    check(all(row.endswith("ok") for row in rows[:-1]), "no failed request")


def is_restored(m, found):
    return lambda: m.baseline() == found


@case()
def a_stop_gives_the_card_back_as_found(m):
    found = under_load(m)

    def stop():
        m.systemctl("start", DAEMON)
        wait_for("a lower clock limit", lambda: taken(m))
        m.systemctl("stop", DAEMON)

    within(stop, ("baseline", 1, is_restored(m, found)))
    check(m.show(DAEMON, "Result") == "success", "a clean stop")
    check(m.active(ACTUATOR), "the actuator stays")
    m.systemctl("stop", ACTUATOR, "cofris-actuator.socket")
    check("Main process exited" not in m.journal(ACTUATOR), "and exits with 0")
    check(m.baseline() == found, "with nothing changed")


@case()
def a_stopped_actuator_gives_the_card_back_as_found(m):
    m.drop_in(ACTUATOR, PATIENT)
    found = under_load(m)
    m.systemctl("stop", DAEMON, ACTUATOR)
    check(m.baseline() == found, "baseline as soon as it is gone")


@case()
def a_killed_daemon_is_followed_by_one_that_takes_over(m):
    under_load(m)
    pid = m.main_pid(DAEMON)
    m.kill(DAEMON)
    wait_for("a new daemon", lambda: m.main_pid(DAEMON) not in (0, pid) and m.active(DAEMON))
    goes_on(m)
    check(m.show(DAEMON, "NRestarts") == "1", "started once")
    check("adopted" in m.journal(ACTUATOR), "with the connection of the old one")


@case()
def a_daemon_that_is_killed_for_good_leaves_the_card_as_found(m):
    m.drop_in(DAEMON, "[Service]\nRestart=no\n")
    found = under_load(m)

    def kill():
        m.systemctl("start", DAEMON)
        wait_for("a lower clock limit", lambda: taken(m))
        m.kill(DAEMON)

    within(kill, ("baseline", SOON_S, is_restored(m, found)))


@case()
def a_killed_actuator_gives_the_card_back_before_the_next_one_starts(m):
    m.drop_in(ACTUATOR, PATIENT + "Restart=no\n")
    found = under_load(m)
    # So that nobody starts it by the socket.
    m.kill(DAEMON, signal.SIGSTOP)
    m.kill(ACTUATOR)
    wait_for("it is gone", lambda: m.show(ACTUATOR, "ActiveState") == "failed")
    check(m.baseline() == found, "restored by ExecStopPost")
    check("restored after a predecessor" in m.journal(ACTUATOR), "which says so")
    m.kill(DAEMON, signal.SIGCONT)


@case()
def after_a_killed_actuator_the_daemon_governs_on(m):
    under_load(m)
    for n in (1, 2):
        m.kill(ACTUATOR)
        wait_for("another one", lambda: int(m.show(ACTUATOR, "NRestarts")) >= n)
        goes_on(m)
    check(m.show(DAEMON, "NRestarts") == "0", "the daemon itself went through it")


@case()
def both_killed_at_once_come_back_governing(m):
    found = under_load(m)
    for unit in (DAEMON, ACTUATOR):
        m.drop_in(unit, "[Service]\nRestartSec=2s\n")
    pids = [m.main_pid(DAEMON), m.main_pid(ACTUATOR)]
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    wait_for("baseline", is_restored(m, found))
    goes_on(m)
    check(not set(pids) & {m.main_pid(DAEMON), m.main_pid(ACTUATOR)}, "both are new")


@case()
def the_watchdog_ends_a_daemon_whose_tick_hangs(m):
    found = under_load(m)
    pids = []

    def hang():
        wait_for("a lower clock limit", lambda: taken(m))
        pids.append(m.main_pid(DAEMON))
        m.kill(DAEMON, signal.SIGSTOP)

    within(hang, ("baseline", SOON_S, is_restored(m, found)))
    wait_for("a new daemon", lambda: m.main_pid(DAEMON) not in (0, pids[-1]) and m.active(DAEMON))
    check("Failed with result 'watchdog'" in m.journal(DAEMON), "it was the watchdog")
    goes_on(m)


@case()
def an_actuator_that_hangs_in_a_read_means_full_clocks_within_four_seconds(m):
    """In D state, where nothing ends it."""
    under_load(m)
    pids = []

    def hang():
        m.heal()
        wait_for("governed", lambda: taken(m) and m.state() == "governed")
        pids.append(m.main_pid(ACTUATOR))
        m.fault("hang:0:power1_average")

    within(hang, ("full range", 4, m.full_range))
    check(in_d_state(pids[-1]), "it hangs still")
    wait_for("another one beside it", lambda: m.main_pid(ACTUATOR) not in (0, pids[-1]))
    m.heal()
    goes_on(m)


def in_d_state(pid):
    states = []
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/stat") as f:
            states.append(f.read().rsplit(")", 1)[1].split()[0])
    return "D" in states


@case()
def the_watchdog_ends_an_actuator_whose_loop_hangs(m):
    found = under_load(m)

    def hang():
        wait_for("governed", lambda: taken(m) and m.state() == "governed")
        m.kill(ACTUATOR, signal.SIGSTOP)

    within(hang, ("baseline", 4, is_restored(m, found)))
    check("Failed with result 'watchdog'" in m.journal(ACTUATOR), "it was the watchdog")
    goes_on(m)


# Takes a group over its limit with memory that is no process's, so that of the two in the group the
# service is the larger.
HOG = """
import sys
with open(sys.argv[1] + "/cgroup.procs", "w") as f:
    f.write("0")
with open("/dev/shm/hog", "wb") as f:
    for _ in range(64):
        f.write(bytes(1 << 20))
"""


def out_of_memory(m, unit):
    """The kernel kills the service, as it does where memory ends."""
    group = m.show(unit, "ControlGroup")
    for top, usage, limit in (("memory", "memory.usage_in_bytes", "memory.limit_in_bytes"),
                              ("", "memory.current", "memory.max")):
        folder = f"/sys/fs/cgroup/{top}{group}"
        if os.path.exists(f"{folder}/{limit}"):
            break
    else:
        m.skip("no memory controller in this machine")
    pid = m.main_pid(unit)
    with open(f"{folder}/{usage}") as f:
        room = int(f.read()) + (8 << 20)
    with open(f"{folder}/{limit}", "w") as f:
        f.write(str(room))
    with open(f"/proc/{pid}/oom_score_adj", "w") as f:
        f.write("1000")
    hog = m.spawn("/usr/bin/python3", "-c", HOG, folder)
    wait_for("the kernel's choice", lambda: m.main_pid(unit) != pid)
    hog.kill()
    hog.wait()
    os.unlink("/dev/shm/hog")
    wait_for("another one", lambda: m.main_pid(unit) != 0 and m.active(unit))
    check("code=killed, status=9/KILL" in m.journal(unit), "killed")


@case()
def a_daemon_killed_out_of_memory_is_followed_by_another(m):
    under_load(m)
    out_of_memory(m, DAEMON)
    goes_on(m)


@case()
def an_actuator_killed_out_of_memory_gives_the_card_back(m):
    under_load(m)
    out_of_memory(m, ACTUATOR)
    check("restored after a predecessor" in m.journal(ACTUATOR), "given back")
    goes_on(m)


if __name__ == "__main__":
    main()
