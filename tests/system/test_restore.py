# SPDX-License-Identifier: Apache-2.0
"""Whatever dies or hangs, the card comes back as it was found and no request is lost."""

import os
import signal
import sys

sys.path.insert(0, os.path.join(os.environ["COFRIS_SOURCE"], "tests", "support"))
from machine import BIN, PATIENCE_S, case, check, main, needs_hip, wait_for, within  # noqa: E402

LEASE_S = 2.0


def lowered(m):
    return m.card()["perf_level"] == "manual" and m.card()["soft_high_mhz"] < 1725


def under_load(m, rate=40, model="resnet50", **options):
    actuator, daemon = m.setup(model=model, **options)
    found = m.baseline()
    worker = m.start_worker("--rate", str(rate), "--duration", "600s", "--seed", "1",
                            "--report", os.path.join(m.dir, "report.csv"), model=model)
    wait_for("a lower clock limit", lambda: lowered(m))
    return actuator, daemon, worker, found


def served(m):
    path = os.path.join(m.dir, "report.csv")
    if not os.path.exists(path):  # the worker has yet to begin
        return 0
    with open(path) as f:
        return sum(line.rstrip().endswith(",ok") for line in f)


def finish(m, worker):
    """After some more requests the worker ends with nothing failed."""
    before = served(m)
    wait_for("more requests", lambda: served(m) > max(200, before + 20))
    worker.terminate()
    check(worker.wait(PATIENCE_S) == 0, "the worker exits 0")
    with open(os.path.join(m.dir, "report.csv")) as f:
        rows = [line.strip() for line in f if not line.startswith("#")]
    check(all(row.endswith("ok") for row in rows[1:]), "no failed request")


def under_a_mask(m):
    """Both knobs: near its rated rate shufflenet's table wants a low clock and 30 CUs."""
    result = under_load(m, rate=400, model="shufflenet")
    wait_for("a lower clock and a narrower mask", lambda: lowered(m) and not all_cus(m))
    return result


def full_range(m):
    c = m.card()
    return c["perf_level"] != "manual" or c["soft_high_mhz"] == 1725


def all_cus(m):
    return m.card()["fewest_cus"] == 60


def restored(m, found):
    """What must come within a lease: first all that the worker can use, then the card as found."""
    return (("full range and all CUs", LEASE_S + 0.5, lambda: full_range(m) and all_cus(m)),
            ("baseline", LEASE_S + 1.5, lambda: m.baseline() == found))


def kill_a_governing_daemon(m, daemons):
    """The one that governs, or the next one once it does."""
    if daemons[-1].poll() is not None:
        daemons.append(m.start_daemon())
    wait_for("a lower clock and a narrower mask", lambda: lowered(m) and not all_cus(m))
    daemons[-1].kill()
    daemons[-1].wait()


@case()
def killed_daemon_restores_within_one_lease(m):
    _, daemon, worker, found = under_a_mask(m)
    daemons = [daemon]
    within(lambda: kill_a_governing_daemon(m, daemons), *restored(m, found))
    finish(m, worker)


@case(sim=["--gating", "cu", "--time-scale", "4"])
def through_hip_a_killed_daemon_leaves_all_cus_until_the_next_takes_over(m):
    needs_hip()
    _, daemon = m.setup(scale=4, extra="gating = cu")
    found = m.baseline()
    worker = m.start_worker("--rate", "25", "--duration", "600s", "--seed", "1", "--report",
                            os.path.join(m.dir, "report.csv"), engine="hip")
    daemons = [daemon]
    within(lambda: kill_a_governing_daemon(m, daemons), *restored(m, found))
    before = served(m)
    wait_for("requests on all CUs", lambda: served(m) > before + 20)
    check(all_cus(m), "on all of them still")
    m.start_daemon()
    wait_for("governed again by both knobs", lambda: lowered(m) and not all_cus(m))
    finish(m, worker)


@case()
def stopped_daemon_restores_within_one_lease(m):
    _, daemon, worker, found = under_a_mask(m)

    def stop():
        daemon.send_signal(signal.SIGCONT)
        wait_for("a lower clock and a narrower mask", lambda: lowered(m) and not all_cus(m))
        daemon.send_signal(signal.SIGSTOP)

    within(stop, *restored(m, found))
    finish(m, worker)
    daemon.send_signal(signal.SIGCONT)
    daemon.terminate()
    check(daemon.wait(PATIENCE_S) == 0, "it stops cleanly when it goes on")
    check(m.baseline() == found, "and leaves the card alone")


@case()
def killed_actuators_next_start_restores(m):
    actuator, daemon, worker, found = under_load(m)
    daemon.kill()
    actuator.kill()
    actuator.wait()
    check(m.card()["perf_level"] == "manual", "nobody was there to restore")
    m.start_actuator()
    wait_for("baseline", lambda: m.baseline() == found)
    finish(m, worker)


@case()
def restore_program_restores_without_the_library(m):
    actuator, daemon, worker, found = under_load(m)
    daemon.kill()
    actuator.kill()
    actuator.wait()
    restore = [os.path.join(BIN, "cofris-actuator"), "--restore", "--allow-simulated",
               "--runtime-dir", os.path.dirname(m.actuator_socket)]
    m.capture(restore)
    check(m.baseline() == found, "baseline at once")
    m.capture(restore)
    check(m.baseline() == found, "and it may run twice")
    finish(m, worker)


@case()
def daemon_governs_again_after_the_actuators_restart(m):
    actuator, _, worker, _ = under_load(m)
    actuator.kill()
    actuator.wait()
    m.start_actuator()
    wait_for("governed again", lambda: m.card()["perf_level"] == "manual"
             and m.card()["soft_high_mhz"] < 1725 and m.status()["gpus"][0]["state"] == "governed")
    finish(m, worker)


@case()
def a_hanging_read_means_full_range_within_four_seconds(m):
    actuator, _, worker, _ = under_load(m, actuator_options=("--deadline", "1000"))
    hung = []

    def hang():
        nonlocal actuator
        if hung:
            m.heal()
            actuator.wait()
            actuator = m.start_actuator("--deadline", "1000")
            wait_for("governed again", lambda: lowered(m))
        hung.append(m.fault("hang:0:power1_average"))

    within(hang, ("full range", 4, lambda: full_range(m)))
    finish(m, worker)
    m.heal()


@case()
def a_terminated_actuator_restores(m):
    actuator, _, worker, found = under_load(m)
    actuator.terminate()
    check(actuator.wait(PATIENCE_S) == 0, "a clean stop exits 0")
    check(m.baseline() == found, "baseline before it is gone")
    finish(m, worker)


def residue(m):
    """What a process with work on the card could leave in this machine."""
    c = m.card()
    return {"processes": c["processes"], "queues": c["queues"], "vram": vram_used(),
            "shm": sorted(os.listdir("/dev/shm")),
            "kfd": sorted(os.listdir("/sys/class/kfd/kfd/proc")), "mounts": mounts()}


def vram_used():
    with open("/sys/class/drm/card0/device/mem_info_vram_used") as f:
        return int(f.read())


def mounts():
    with open("/proc/self/mountinfo") as f:
        return sorted(line.split()[4] for line in f)


def killed_in_mid_kernel(m, engine):
    m.start_bus()
    empty = residue(m)
    # An execution of vgg19 takes some 8 ms, one after the other: it is always in the middle of one.
    for attempt in range(3):
        worker = m.start_worker("--closed-loop", "4", model="vgg19", governed=False, engine=engine,
                                name=f"killed-{attempt}")
        wait_for("work on the card", lambda: m.card()["queues"] > 0 and m.card()["busy"])
        worker.kill()
        worker.wait()
        wait_for("nothing is left", lambda: residue(m) == empty and not m.card()["busy"])
    report = os.path.join(m.dir, "report.csv")
    worker = m.start_worker("--rate", "40", "--duration", "600s", "--report", report, engine=engine,
                            governed=False, name="next")
    finish(m, worker)
    check(residue(m) == empty, "the next run leaves nothing either")


@case()
def a_worker_killed_in_mid_kernel_leaves_nothing(m):
    killed_in_mid_kernel(m, "plant")


@case(sim=["--time-scale", "4"])
def a_hip_worker_killed_in_mid_kernel_leaves_nothing(m):
    needs_hip()
    killed_in_mid_kernel(m, "hip")


if __name__ == "__main__":
    main()
