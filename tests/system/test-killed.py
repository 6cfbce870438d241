# SPDX-License-Identifier: Apache-2.0
"""kill -9 of the simulator and of its command while a worker, a daemon and an actuator are at work
inside: all of it ends, the host is as before, and the next run is clean.

test-killed.py ENGINE"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.environ["COFRIS_SOURCE"], "tests", "support"))
from machine import BIN, PATIENCE_S, Machine, check, needs_hip, wait_for  # noqa: E402

ENGINE = sys.argv[1]


def inside():
    """Governed work until somebody ends it; or, with "once", a short clean run."""
    with Machine() as m:
        m.setup()
        found = m.baseline()
        once = os.environ["COFRIS_TEST_RUN"] == "once"
        worker = m.start_worker("--rate", "100", "--duration", "3s" if once else "600s",
                                engine=ENGINE)
        wait_for("a governed card with work on it", lambda: m.card()["queues"] > 0
                 and m.card()["perf_level"] == "manual"
                 and m.status()["gpus"][0]["state"] == "governed")
        with open(os.path.join(m.dir, "up"), "w"):
            pass
        check(worker.wait() == 0, f"the worker exits 0: {m.log('worker')}")
        wait_for("the card as found", lambda: m.baseline() == found)


def host_state():
    with open("/proc/self/mountinfo") as f:
        return f.read(), sorted(os.listdir("/dev/shm")), sorted(os.listdir("/sys/class"))


def live_processes(folder):
    """Those that have the folder in their environment; zombies, which hold nothing, do not count."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/environ", "rb") as f:
                if f"COFRIS_TEST_DIR={folder}".encode() in f.read().split(b"\0"):
                    found.append(int(pid))
        except OSError:
            pass
    return found


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as f:
        return [int(word) for word in f.read().split()]


def start(folder, how):
    return subprocess.Popen(
        [os.path.join(BIN, "cofris-sim"), "--device", "mi50", "--runtime-dir", folder, "--",
         "/usr/bin/python3", *sys.argv],
        env={**os.environ, "COFRIS_TEST_DIR": folder, "COFRIS_TEST_RUN": how})


def run(victim):
    folder = tempfile.mkdtemp(prefix="cofris-test-")
    os.chmod(folder, 0o755)
    try:
        caller = start(folder, "forever" if victim else "once")
        if victim:
            wait_for("work in the machine", lambda: os.path.exists(f"{folder}/up")
                     or caller.poll() is not None, timeout=2 * PATIENCE_S)
            check(caller.poll() is None, "it is at work")
            simulator = children(caller.pid)[0]
            pid = {"caller": caller.pid, "simulator": simulator,
                   "command": children(simulator)[0]}[victim]
            os.kill(pid, signal.SIGKILL)
        status = caller.wait(PATIENCE_S)
        check(victim or status == 0, f"a clean run: {status}")
        wait_for(f"nothing lives after the {victim or 'clean run'}",
                 lambda: not live_processes(folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main():
    if "COFRIS_SIM" in os.environ:
        inside()
        return
    if os.geteuid() != 0 or not os.path.exists("/dev/fuse"):
        print("needs root and /dev/fuse")
        sys.exit(77)
    if ENGINE == "hip":
        needs_hip()
    before = host_state()
    for victim in ("simulator", "command", "caller"):
        run(victim)
        check(host_state() == before, f"the host is as before the {victim} was killed")
        print(f"ok: {victim}")
    run(None)
    check(host_state() == before, "the host is as before")


if __name__ == "__main__":
    main()
