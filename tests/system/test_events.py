# SPDX-License-Identifier: Apache-2.0
"""What happens in a card's life, on idle and on governed cards: resets, drivers and devices that
come and go, memory errors, others' hands, files that fail, processes that die. After each the clock
is not left low while the fault lasts, and once it is healed the card is governed again.

Most events are put on cards in turn, one after the other, while the other cards are governed: with
each further failure of one card its quarantine is twice as long.
"""

import os
import signal
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.environ["COFRIS_SOURCE"], "tests", "support"))
import uevent  # noqa: E402
from machine import BDF, BIN, PATIENCE_S, case, check, main, wait_for, within  # noqa: E402

CARDS = 4
TOP_MHZ = 1725


class Keeper(threading.Thread):
    """The service manager's part: whoever ends is cleaned up after and started again."""

    def __init__(self, m, backend):
        super().__init__(daemon=True)
        self.m, self.backend = m, backend
        self.ending = False
        self.child = self.start_actuator(wait=True)
        self.start()

    def start_actuator(self, wait):
        return self.m.start_actuator("--deadline", "1000", backend=self.backend, wait=wait)

    def run(self):
        while True:
            self.child.wait()
            if self.ending:
                return
            self.m.capture([os.path.join(BIN, "cofris-actuator"), "--restore", "--allow-simulated",
                            "--runtime-dir", os.path.dirname(self.m.actuator_socket)],
                           check_exit=False)
            time.sleep(0.2)  # the unit's RestartSec
            self.child = self.start_actuator(wait=False)

    def stop(self):
        self.ending = True
        self.child.terminate()
        self.join()


class Server:
    """Daemon and actuator for all cards, each with a worker or with none."""

    def __init__(self, m, load=None, backend="auto", cards=CARDS, extra="", udev=True):
        self.m, self.cards = m, cards
        if udev:
            uevent.udev_runs(m.dir)
        m.start_bus()
        m.surface()
        m.write_config(gpu="*", extra=extra)
        self.found = [m.baseline(i) for i in range(cards)]
        self.keeper = Keeper(m, backend)
        self.daemon = m.start_daemon()
        self.workers = []
        if load:
            self.serve(load)

    def serve(self, load):
        self.workers = [self.m.start_worker(*load, "--seed", str(i), gpu=BDF[i], name=f"worker{i}")
                        for i in range(self.cards)]
        for i in range(self.cards):
            self.wait_governed(i)

    def gpu(self, i):
        found = [g for g in self.m.status()["gpus"] if g["bdf"] == BDF[i]]
        return found[0] if found else {"state": "unknown", "state_reason": ""}

    def state(self, i):
        gpu = self.gpu(i)
        return " ".join([gpu["state"], gpu["state_reason"]]).strip()

    def card(self, i):
        return self.m.card(i)

    def low(self, i):
        c = self.card(i)
        return c["perf_level"] == "manual" and c["soft_high_mhz"] < TOP_MHZ

    def wait_state(self, i, states):
        seen = []

        def is_one():
            state = self.state(i)
            if state not in seen:
                seen.append(state)
            return state in states

        try:
            wait_for(f"one of {states}", is_one)
        except Exception:
            print(f"seen instead: {seen}", flush=True)
            raise

    def wait_governed(self, i):
        self.wait_state(i, ["governed"])
        wait_for(f"card {i}: its clock lowered", lambda: self.low(i))

    def end(self):
        """Everything comes back."""
        for worker in self.workers:
            check(worker.poll() is None, "the workers never noticed")
            worker.terminate()
        for worker in self.workers:
            check(worker.wait(PATIENCE_S) == 0, "a worker exits 0")
        for i in range(self.cards):
            wait_for(f"card {i}: as found", lambda i=i: self.m.baseline(i) == self.found[i])
            self.wait_state(i, ["governed idle"])
        check(self.daemon.poll() is None, "the daemon lives")
        self.daemon.terminate()
        check(self.daemon.wait(PATIENCE_S) == 0, "the daemon exits 0")
        self.keeper.stop()
        check([self.m.baseline(i) for i in range(self.cards)] == self.found, "all as found")


# ---- the events ----

class Event:
    def __init__(self, name, begin, states, heal=None, idle=None, low=False, ours=False):
        """states, idle: one of them comes, with and without a worker; None: nothing shows. low:
        what cannot be written may stay low until it is healed. ours: means nothing on a card
        that is not governed."""
        self.name, self.begin, self.heal = name, begin, heal
        self.states, self.idle, self.low, self.ours = states, idle, low, ours


def fault(spec):
    """Put on the card in question, whose number is the specification's second part."""
    kind, _, rest = spec.partition(":")
    return lambda s, i: s.m.fault(f"{kind}:{i}:{rest}" if rest else f"{kind}:{i}")


def heal(kind, *events):
    def run(s, i):
        s.m.capture([os.path.join(BIN, "cofris-sim"), "heal", f"{kind}:{i}"])
        for event in events:
            event(s, i)

    return run


def tell(action, subsystem="drm", **properties):
    return lambda s, i: uevent.send(action, BDF[i], subsystem, **properties)


def all_of(*steps):
    def run(s, i):
        for step in steps:
            step(s, i)

    return run


def by_hand(file, text):
    """As somebody with a shell does it."""
    def run(s, i):
        with open(f"/sys/class/drm/card{i}/device/{file}", "w") as f:
            f.write(text)

    return run


def to_actuator(number):
    return lambda s, i: s.keeper.child.send_signal(number)


def strange_process(s, i):
    s.stranger = s.m.start_worker("--rate", "20", "--duration", "600s", gpu=BDF[i],
                                  governed=False, name="stranger")


def end_stranger(s, i):
    s.stranger.kill()
    s.stranger.wait()


LEVEL = "power_dpm_force_performance_level"
to_auto = by_hand(LEVEL, "auto")

RESET, WEDGED = ["quarantined reset"], ["quarantined wedged"]
NO_ANSWER, GONE = ["quarantined no-answer"], ["absent"]
DRIFT, LOST = ["degraded drift"], ["degraded sensors-lost", "degraded readback-failed"]
# Between the death of an actuator and its restart.
RESTART = ["probing no-actuator", "probing", *NO_ANSWER]
# A card that refuses everything is not listed by the actuator's next start.
REFUSED = [*RESET, *NO_ANSWER, *GONE]

EVENTS = [
    Event("the kernel tells of a reset", tell("change", RESET=1), RESET, idle=RESET),
    Event("a reset is over", tell("change", WEDGED="none"), RESET, idle=RESET),
    Event("wedged, and bound anew", tell("change", WEDGED="rebind"), WEDGED, idle=WEDGED,
          heal=tell("bind", "pci", DRIVER="amdgpu")),
    Event("a reset of which nobody tells", fault("reset"), DRIFT),
    Event("a reset that takes its time", fault("resetting"), REFUSED, heal=heal("resetting"),
          low=True),
    Event("unbound and bound", all_of(fault("unbound"), tell("unbind", "pci")), GONE, idle=GONE,
          heal=heal("unbound", tell("bind", "pci"))),
    Event("removed and added", all_of(fault("removed"), tell("remove")), GONE, idle=GONE,
          heal=heal("removed", tell("add"))),
    Event("bound anew in no time", fault("rebind"), REFUSED),
    Event("every file gives ENODEV", fault("absent"), REFUSED, low=True,
          heal=heal("absent", tell("change"))),
    Event("another level by hand", to_auto, DRIFT, ours=True),
    Event("a fixed level by hand", by_hand(LEVEL, "high"), DRIFT, ours=True),
    Event("a process that is no worker", strange_process, ["degraded foreign-load"],
          heal=end_stranger, ours=True),
    Event("the sensor of power fails", fault("errno:power1_average:EIO"), LOST,
          heal=heal("errno")),
    Event("the sensor of power is busy", fault("errno:power1_average:EBUSY"), LOST,
          heal=heal("errno")),
    Event("the level cannot be read or written", fault(f"errno:{LEVEL}:EIO"),
          LOST, heal=heal("errno"), low=True),
    Event("the busy share is rubbish", fault("content:gpu_busy_percent:lots"), LOST,
          heal=heal("content")),
    *[Event(f"levels that answer {name}", all_of(fault(f"errno:pp_dpm_sclk:{name}"), to_auto),
            [*DRIFT, *LOST, *REFUSED], heal=heal("errno"), ours=True)
      for name in ("EBUSY", "EINVAL", "EPERM")],
    Event("a read that hangs", fault("hang:power1_average"), NO_ANSWER, heal=heal("hang")),
    Event("the actuator is killed", to_actuator(signal.SIGKILL), RESTART),
    Event("the actuator aborts, as its library may", to_actuator(signal.SIGABRT), RESTART),
    Event("the actuator is restarted", to_actuator(signal.SIGTERM), RESTART),
]


def run_events(s, events, idle=False, changing=False):
    for number, event in enumerate(events):
        i = number % s.cards
        states = event.idle if idle else event.states
        if idle and event.ours:
            continue
        print(f"{event.name} (card {i})", flush=True)
        event.begin(s, i)
        # A limit that is written at that moment takes the card back before anybody has looked.
        if states and not (changing and states == DRIFT):
            s.wait_state(i, states)
        if not event.low:
            wait_for(f"{event.name}: not low", lambda: not s.low(i), period=0.005)
        if event.heal:
            event.heal(s, i)
        if idle:
            s.wait_state(i, ["governed idle"])
            wait_for(f"{event.name}: as found", lambda: s.m.baseline(i) == s.found[i])
        else:
            s.wait_governed(i)
    if not idle:
        for i in range(s.cards):
            s.wait_governed(i)


STEADY = ("--rate", "40", "--duration", "900s")


def changing(m):
    """A burst every five seconds: boosts, and writes all the time."""
    path = os.path.join(m.dir, "bursts.csv")
    with open(path, "w") as f:
        f.write("t_s,load\n")
        for t in range(0, 900, 5):
            f.write(f"{t},0.1\n{t + 3.999},0.1\n{t + 4},0.7\n{t + 4.999},0.7\n")
    return ("--load", path, "--rated-rps", "246")


def of(*words):
    """Those whose names have one of the words."""
    return [e for e in EVENTS if any(word in e.name for word in words)]


@case(count=CARDS)
def events_on_governed_cards(m):
    s = Server(m, STEADY)
    run_events(s, EVENTS)
    s.end()


@case(count=CARDS)
def events_on_cards_whose_load_changes(m):
    s = Server(m, changing(m))
    run_events(s, EVENTS, changing=True)
    s.end()


@case(count=CARDS)
def events_on_idle_cards(m):
    s = Server(m)
    run_events(s, EVENTS, idle=True)
    s.serve(STEADY)
    s.end()


@case(count=CARDS)
def events_through_the_cards_own_files(m):
    s = Server(m, STEADY, backend="sysfs")
    run_events(s, of("a reset", "bound", "ENODEV", "hangs", "level", "sensor"))
    s.end()


# ---- what takes more than one step ----

@case(count=1)
def a_card_that_comes_later_is_governed_without_a_restart(m):
    """Nobody tells of it, as in a container."""
    m.fault("removed:0")
    s = Server(m, cards=0, udev=False)
    s.cards = 1
    check(s.state(0) == "unknown", "there is no card")
    check("no card" in m.status()["status"], f"the status says so: {m.status()['status']}")
    m.heal()
    s.wait_state(0, ["governed idle"])
    s.found = [m.baseline()]
    s.serve(STEADY)
    m.fault("removed:0")
    s.wait_state(0, GONE)
    m.heal()
    s.wait_governed(0)
    s.end()


@case(count=1)
def a_configured_card_is_taken_at_its_uevent(m):
    """Sooner than it would be asked for."""
    uevent.udev_runs(m.dir)
    m.fault("removed:0")
    m.start_bus()
    m.surface()
    m.write_config()
    keeper = Keeper(m, "auto")
    m.start_daemon()

    def state():
        return m.status()["gpus"][0]["state"]

    def come():
        m.fault("removed:0")
        uevent.send("remove", BDF[0])
        wait_for("absent", lambda: state() == "absent")
        m.heal()
        uevent.send("add", BDF[0])

    within(come, ("there", 4, lambda: state() == "governed"))
    keeper.stop()


@case(count=1)
def a_flood_of_uevents_disturbs_nobody(m):
    s = Server(m, STEADY, cards=1)
    before = s.gpu(0)["decisions"]
    for _ in range(40):
        uevent.send("change", BDF[0], count=250)
        uevent.send("change", "0000:99:00.0", count=5, RESET=1)
    wait_for("further decisions", lambda: s.gpu(0)["decisions"] > before + 4)
    check(s.state(0) == "governed", "governed throughout")
    uevent.send("change", BDF[0], RESET=1)
    s.wait_state(0, RESET)
    s.wait_governed(0)
    s.end()


@case(count=1)
def memory_errors_mean_full_speed_and_then_quarantine(m):
    s = Server(m, STEADY, cards=1)
    m.fault("ras:0:umc:0:5")  # corrected
    before = s.gpu(0)["decisions"]
    wait_for("more than two seconds", lambda: s.gpu(0)["decisions"] > before + 6)
    check(s.state(0) == "governed", "corrected errors are none")
    m.fault("ras:0:gfx:1:0")
    s.wait_state(0, ["degraded ras"])
    wait_for("full speed", lambda: not s.low(0))
    m.fault("ras:0:umc:2:0")
    s.wait_state(0, ["quarantined ras"])
    wait_for("as found", lambda: m.baseline() == s.found[0])
    s.wait_state(0, ["degraded ras"])
    check("2 new uncorrectable memory errors (3 since" in m.log("cofrisd"), "the journal counts")
    wait_for("governed a minute later", lambda: s.state(0) == "governed", timeout=2 * PATIENCE_S)
    s.wait_governed(0)
    s.end()


def set_cap(i, watts):
    with open(f"/sys/class/hwmon/hwmon{3 + i}/power1_cap", "w") as f:
        f.write(str(watts * 1000000))


@case(count=1)
def a_cap_by_hand_is_theirs_unless_ours_is_set(m):
    s = Server(m, STEADY, cards=1)
    set_cap(0, 180)
    before = s.gpu(0)["decisions"]
    wait_for("further decisions", lambda: s.gpu(0)["decisions"] > before + 2)
    check(s.state(0) == "governed" and m.card()["cap_uw"] == 180000000, "left to them")
    s.found[0]["cap_uw"] = 180000000
    s.end()


@case(count=1)
def a_cap_by_hand_over_ours_is_written_anew(m):
    s = Server(m, STEADY, cards=1, extra="power_cap = 150W")
    wait_for("our cap", lambda: m.card()["cap_uw"] == 150000000)
    set_cap(0, 100)
    s.wait_state(0, ["degraded drift"])
    wait_for("our cap again", lambda: m.card()["cap_uw"] == 150000000)
    s.wait_governed(0)
    check("a power cap of 100 W was set over our 150 W" in m.log("cofrisd"), "the journal says it")
    s.end()


@case(count=1)
def drift_that_is_yielded_to_lasts_until_a_reload_or_a_reset(m):
    s = Server(m, STEADY, cards=1, extra="on_drift = yield")
    set_high = by_hand(LEVEL, "high")
    for end in (lambda: s.daemon.send_signal(signal.SIGHUP),
                lambda: uevent.send("change", BDF[0], RESET=1)):
        set_high(s, 0)
        s.wait_state(0, ["yielding drift"])
        wait_for("as found", lambda: m.baseline() == s.found[0])
        before = s.gpu(0)["decisions"]
        wait_for("further decisions", lambda: s.gpu(0)["decisions"] > before + 2)
        check(s.state(0) == "yielding drift", "left alone")
        end()
        s.wait_governed(0)
    s.end()


@case(count=1)
def drift_of_which_is_only_told_stands(m):
    s = Server(m, STEADY, cards=1, extra="on_drift = alert")
    by_hand(LEVEL, "high")(s, 0)
    s.wait_state(0, ["degraded drift"])
    before = s.gpu(0)["decisions"]
    wait_for("further decisions", lambda: s.gpu(0)["decisions"] > before + 2)
    check(m.log("cofrisd").count("another performance level was set") == 1, "told once")
    check("full speed for a doubt" not in m.log("cofrisd"), "and no more")
    s.end()


@case(count=1)
def a_culprit_is_named(m):
    s = Server(m, STEADY, cards=1)
    program = os.path.join(m.dir, "corectrl_helper")
    os.symlink("/usr/bin/sleep", program)
    stranger = m.spawn("stranger", [program, "600"])
    by_hand(LEVEL, "high")(s, 0)
    s.wait_state(0, ["degraded drift"])
    check(f"likely by corectrl_helper (pid {stranger.pid})" in m.log("cofrisd"), "named")
    s.wait_governed(0)
    s.end()


@case(count=1)
def a_clock_that_follows_nothing_is_drift(m):
    s = Server(m, ("--rate", "150", "--duration", "900s"), cards=1)
    m.fault("stuck-clock:0")
    s.wait_state(0, ["degraded drift"])
    m.heal()
    s.wait_governed(0)
    m.fault("drop-writes:0:pp_dpm_sclk")
    to_auto(s, 0)
    s.wait_state(0, ["degraded drift"])
    m.heal()
    s.wait_governed(0)
    s.end()


if __name__ == "__main__":
    main()
