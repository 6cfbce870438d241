# SPDX-License-Identifier: Apache-2.0
"""Whatever ends the services, and in whatever way, the cards come back as they were found."""

import glob
import os
import signal
import time

from booted import (ACTUATOR, DAEMON, PATIENCE_S, Failure, case, check, main, undisturbed, wait_for,
                    within)

LEASE_S = 2.0
REPORT = "/run/report.csv"
# A lease, and systemd's part in it.
SOON_S = LEASE_S + 1.5


def under_load(m, rate=40, **config):
    """Governed, with a lower clock; returns the card as it was before anything was started."""
    found = m.baseline()
    m.govern(**config)
    m.start_worker("--rate", str(rate), report=REPORT)
    wait_for("a lower clock limit", m.lowered)
    return found


def served():
    with open(REPORT) as f:
        return sum(line.rstrip().endswith(",ok") for line in f)


def goes_on(m):
    """Governed again, with no request failed."""
    wait_for("governed again", lambda: m.lowered() and m.state() == "governed")
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
    within(lambda: (m.systemctl("start", DAEMON), wait_for("a lower clock limit", m.lowered),
                    m.systemctl("stop", DAEMON)),
           ("baseline", 1, is_restored(m, found)))
    check(m.show(DAEMON, "Result") == "success", "a clean stop")
    check(m.active(ACTUATOR), "the actuator stays")
    m.systemctl("stop", ACTUATOR, "cofris-actuator.socket")
    ended = m.show(ACTUATOR, "ExecMainCode", "ExecMainStatus")
    check(ended == {"ExecMainCode": "1", "ExecMainStatus": "0"}, f"and exits with 0: {ended}")
    check(m.baseline() == found, "with nothing changed")


@case()
def a_stopped_actuator_gives_the_card_back_as_found(m):
    found = under_load(m)
    m.systemctl("stop", DAEMON, ACTUATOR)
    check(m.baseline() == found, "baseline as soon as it is gone")


@case()
def a_killed_daemon_is_followed_by_one_that_takes_over(m):
    under_load(m)
    before, pid = len(m.writes()), m.main_pid(DAEMON)
    m.kill(DAEMON)
    wait_for("a new daemon", lambda: m.main_pid(DAEMON) not in (0, pid) and m.active(DAEMON))
    goes_on(m)
    check(m.show(DAEMON, "NRestarts") == "1", "started once")
    print(m.writes()[before:])


@case()
def a_daemon_that_is_killed_for_good_leaves_the_card_as_found(m):
    m.drop_in(DAEMON, "[Service]\nRestart=no\n")
    found = under_load(m)
    within(lambda: (m.systemctl("start", DAEMON), wait_for("a lower clock limit", m.lowered),
                    m.kill(DAEMON)),
           ("baseline", SOON_S, is_restored(m, found)))


@case()
def a_killed_actuator_gives_the_card_back_before_the_next_one_starts(m):
    found = under_load(m)
    m.drop_in(ACTUATOR, "[Service]\nRestart=no\n")
    # Nobody may start it by the socket.
    m.systemctl("stop", "--no-block", "cofris-actuator.socket")
    m.kill(ACTUATOR)
    wait_for("it is gone", lambda: m.show(ACTUATOR, "ActiveState") == "failed")
    check(m.baseline() == found, "restored by ExecStopPost")


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


if __name__ == "__main__":
    main()
