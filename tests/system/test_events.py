# SPDX-License-Identifier: Apache-2.0
"""What happens in a card's life, on idle and on governed cards: resets, drivers and devices that come
and go, memory errors, others' hands, files that fail, processes that die. After each the clock is
not left low while the fault lasts, and once it is healed the card is governed again.

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
    def __init__(self, name, begin, states, heal=None, idle=None, low=False):
        """states, idle: one of them comes, with and without a worker; None: nothing shows. low:
        what cannot be written may stay low until it is healed."""
        self.name, self.begin, self.heal = name, begin, heal
        self.states, self.idle, self.low = states, idle, low


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
          idle=None, low=True),
    Event("unbound and bound", all_of(fault("unbound"), tell("unbind", "pci")), GONE, idle=GONE,
          heal=heal("unbound", tell("bind", "pci"))),
    Event("removed and added", all_of(fault("removed"), tell("remove")), GONE, idle=GONE,
          heal=heal("removed", tell("add"))),
    Event("bound anew in no time", fault("rebind"), REFUSED),
    Event("every file gives ENODEV", fault("absent"), REFUSED, low=True,
          heal=heal("absent", tell("change"))),
    Event("another level by hand", by_hand("power_dpm_force_performance_level", "auto"), DRIFT),
    Event("a fixed level by hand", by_hand("power_dpm_force_performance_level", "high"), DRIFT),
    Event("a process that is no worker", strange_process, ["degraded foreign-load"],
          heal=end_stranger, idle=None),
    Event("the sensor of power fails", fault("errno:power1_average:EIO"), LOST,
          heal=heal("errno")),
    Event("the sensor of power is busy", fault("errno:power1_average:EBUSY"), LOST,
          heal=heal("errno")),
    Event("the level cannot be read or written", fault("errno:power_dpm_force_performance_level:EIO"),
          LOST, heal=heal("errno"), low=True),
    Event("the busy share is rubbish", fault("content:gpu_busy_percent:lots"), LOST,
          heal=heal("content")),
    Event("a read that hangs", fault("hang:power1_average"), NO_ANSWER, heal=heal("hang")),
    Event("the actuator is killed", to_actuator(signal.SIGKILL), RESTART),
    Event("the actuator aborts, as its library may", to_actuator(signal.SIGABRT), RESTART),
    Event("the actuator is restarted", to_actuator(signal.SIGTERM), RESTART),
]


def run_events(s, events, idle=False):
    for number, event in enumerate(events):
        i = number % s.cards
        states = event.idle if idle else event.states
        if idle and event.begin in (strange_process,):
            continue
        print(f"{event.name} (card {i})", flush=True)
        event.begin(s, i)
        if states:
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


@case(count=CARDS)
def events_on_governed_cards(m):
    s = Server(m, STEADY)
    run_events(s, EVENTS)
    s.end()


if __name__ == "__main__":
    main()
