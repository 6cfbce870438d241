# SPDX-License-Identifier: Apache-2.0
"""A simulated machine for system tests: cofris-sim with the real daemons inside.

A test file defines cases with @case(...) and ends with main(). Each case runs in a simulator of its
own: "test_x.py CASE" starts cofris-sim with itself as the command, and the copy inside runs the
case. Waiting is always for a condition, never for a time alone: wait_for() is patient, as a busy
host is no fault, and within() is for what must not take longer. Environment: COFRIS_BUILD (the
build folder), COFRIS_SOURCE.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

BUILD = os.environ["COFRIS_BUILD"]
SOURCE = os.environ["COFRIS_SOURCE"]
BIN = os.path.join(BUILD, "bin")
DAEMON_UID = 65534  # any unprivileged one
BDF = [f"0000:{bus}:00.0" for bus in ("43", "63", "83", "a3", "c3", "e3", "03", "23")]

# What is waited for has so long to come. No claim about how long it takes: that is within().
PATIENCE_S = 60

_cases = {}


def case(count=1, sim=()):
    """Registers a test; sim: further options of cofris-sim."""

    def register(function):
        _cases[function.__name__] = (function, count, list(sim))
        return function

    return register


def main():
    if len(sys.argv) == 2 and sys.argv[1] == "--list":
        print("\n".join(_cases))
        return
    if len(sys.argv) != 2 or sys.argv[1] not in _cases:
        sys.exit(f"usage: {sys.argv[0]} --list | CASE")
    function, count, options = _cases[sys.argv[1]]
    if "COFRIS_SIM" in os.environ:
        with Machine() as machine:
            function(machine)
        print(f"{function.__name__}: ok")
        return
    if os.geteuid() != 0 or not os.path.exists("/dev/fuse"):
        print("needs root and /dev/fuse")
        sys.exit(77)
    folder = tempfile.mkdtemp(prefix="cofris-test-")
    os.chmod(folder, 0o755)
    command = [os.path.join(BIN, "cofris-sim"), "--device", "mi50", "--count", str(count),
               "--runtime-dir", folder, *options, "--", "/usr/bin/python3", *sys.argv]
    try:
        sys.exit(subprocess.run(command, env={**os.environ, "COFRIS_TEST_DIR": folder}).returncode)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def needs_hip():
    """Skips a case where the build has no simulated HSA to run HIP on."""
    if not os.path.exists(os.path.join(BUILD, "lib", "sim", "libhsakmt.so.1")):
        print("built without the simulated HSA")
        sys.exit(77)


class Failure(AssertionError):
    pass


def check(condition, text):
    if not condition:
        raise Failure(text)


def wait_for(what, condition, timeout=PATIENCE_S, period=0.02):
    """Polls until condition() is true and returns its value; fails after timeout seconds."""
    deadline = time.monotonic() + timeout
    while True:
        # Looked at once more after the deadline: the host may have held up this very process.
        last = time.monotonic() > deadline
        value = condition()
        if value:
            return value
        if last:
            raise Failure(f"not within {timeout} s: {what}")
        time.sleep(period)


def within(arrange, *stages, runs=3):
    """A claim about time: after arrange() each of the stages (what, seconds, condition) comes in
    its turn within so many seconds. The quickest of a few runs is judged: a host that holds up one
    of the processes delays one run, a fault all. arrange() brings about what it needs each time."""
    for _ in range(runs):
        arrange()
        began, late = time.monotonic(), []
        for what, seconds, condition in stages:
            wait_for(what, condition)
            took = time.monotonic() - began
            if took > seconds:
                late.append(f"{what}: after {took:.2f} s, not within {seconds} s")
        if not late:
            return
        print("; ".join(late), flush=True)
    raise Failure(f"each of {runs} times: {'; '.join(late)}")


def undisturbed(function, runs=3):
    """The least disturbed of a few runs is judged, of what host time shows in: a host that holds up
    one of the processes disturbs one run, a fault all. function() checks what it has seen."""
    for left in reversed(range(runs)):
        try:
            return function()
        except Failure as e:
            if left == 0:
                raise
            print(f"{e}: once more", flush=True)


class Machine:
    """The inside of one simulator: starts programs, asks the simulator, cleans up."""

    def __init__(self):
        self.dir = os.environ["COFRIS_TEST_DIR"]
        self.children = []
        self.logs = {}
        self.bus_address = f"unix:path={self.dir}/bus"

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        for child in reversed(self.children):
            if child.poll() is None:
                try:
                    os.kill(child.pid, signal.SIGCONT)
                except ProcessLookupError:
                    pass
                child.kill()
            child.wait()
        if kind is not None:
            for name, path in self.logs.items():
                with open(path, errors="replace") as f:
                    text = f.read()[-4000:]
                print(f"---- {name}\n{text}", file=sys.stderr)

    # -- processes ---------------------------------------------------------------------------

    def spawn(self, name, command, env=None):
        log = os.path.join(self.dir, f"{name}.log")
        self.logs[name] = log
        with open(log, "ab") as out:
            child = subprocess.Popen(command, stdout=out, stderr=out, stdin=subprocess.DEVNULL,
                                     env={**os.environ, **(env or {})})
        self.children.append(child)
        return child

    def log(self, name):
        with open(self.logs[name], errors="replace") as f:
            return f.read()

    def capture(self, command, check_exit=True, timeout=2 * PATIENCE_S):
        result = subprocess.run(command, capture_output=True, text=True, timeout=timeout)
        if check_exit and result.returncode != 0:
            raise Failure(f"{command} exited {result.returncode}: {result.stderr}")
        return result

    def start_bus(self, name="bus"):
        config = os.path.join(self.dir, f"{name}.conf")
        with open(config, "w") as f:
            f.write(f"""<busconfig><type>custom</type><listen>unix:path={self.dir}/{name}</listen>
<auth>EXTERNAL</auth><policy context="default"><allow user="*"/><allow own="*"/>
<allow send_destination="*"/><allow receive_sender="*"/></policy></busconfig>""")
        child = self.spawn(name, ["dbus-daemon", f"--config-file={config}", "--nofork"])
        wait_for("the bus socket", lambda: os.path.exists(f"{self.dir}/{name}"))
        return child

    def start_actuator(self, *options, backend="rsmi", wait=True):
        """uid 0 with an empty capability set, as the unit runs it."""
        run = os.path.join(self.dir, "actuator")
        os.makedirs(run, exist_ok=True)
        os.chmod(run, 0o755)
        # Its 200 ms are for cards. The simulated one is a process, for which a busy host has no time.
        deadline = [] if "--deadline" in options else ["--deadline", "5000"]
        child = self.spawn("actuator", [
            "setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs",
            os.path.join(BIN, "cofris-actuator"), "--runtime-dir", run, "--allow-simulated",
            "--backend", backend, "--peer-uid", str(DAEMON_UID),
            *deadline, *options])
        if wait:
            wait_for("the actuator's socket", lambda: self.can_connect(f"{run}/control.sock"))
        return child

    def can_connect(self, path):
        import socket

        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
            try:
                s.connect(path)
            except OSError:
                return False
        return True

    @property
    def actuator_socket(self):
        return os.path.join(self.dir, "actuator", "control.sock")

    def surface(self, model="resnet50", scale=1):
        """A surface without a sweep, where the daemon looks for it."""
        folder = os.path.join(self.dir, "surfaces", "gfx906-60cu")
        os.makedirs(folder, exist_ok=True)
        path = os.path.join(folder, f"{model}.csv")
        self.capture([os.path.join(BUILD, "tests", "make-surface"),
                      f"{SOURCE}/profiles/devices/mi50.ini", f"{SOURCE}/profiles/models/{model}.ini",
                      path, str(scale)])
        os.chmod(path, 0o644)
        return path

    def write_config(self, text=None, gpu=BDF[0], model="resnet50", slo="2.0x", daemon="", extra="",
                     model_extra="", name="cofris"):
        path = os.path.join(self.dir, f"{name}.conf")
        if text is None:
            text = (f"[daemon]\nallow_simulated = yes\n{daemon}\n[gpu {gpu}]\nenabled = yes\n{extra}\n"
                    f"[model {model}]\nslo = {slo}\nallow = 0\n{model_extra}\n")
        with open(path, "w") as f:
            f.write(text)
        os.chmod(path, 0o644)
        return path

    def start_daemon(self, *options, wait=True, name="cofrisd", run="run", config="cofris",
                     bus="bus"):
        """An unprivileged uid with an empty capability set, as the unit runs it."""
        run = os.path.join(self.dir, run)
        state = os.path.join(self.dir, "state")
        for folder in (run, os.path.join(state, "daemon")):
            os.makedirs(folder, exist_ok=True)
            os.chown(folder, DAEMON_UID, DAEMON_UID)
        before = self.log(name).count("ready") if name in self.logs else 0
        child = self.spawn(name, [
            "setpriv", f"--reuid={DAEMON_UID}", f"--regid={DAEMON_UID}", "--clear-groups",
            "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs",
            os.path.join(BIN, "cofrisd"), "--runtime-dir", run, "--state-dir", state,
            "--config", os.path.join(self.dir, f"{config}.conf"),
            "--actuator", self.actuator_socket, "--surfaces", os.path.join(self.dir, "surfaces"),
            "--bus", f"unix:path={self.dir}/{bus}", *options])
        if wait:
            wait_for("cofrisd says ready", lambda: self.log(name).count("ready") > before)
        return child

    @property
    def worker_socket(self):
        return os.path.join(self.dir, "run", "worker.sock")

    def start_worker(self, *options, gpu=BDF[0], model="resnet50", governed=True, name="worker",
                     engine="plant", run="run"):
        socket = os.path.join(self.dir, run, "worker.sock")
        return self.spawn(name, [
            os.path.join(BIN, "cofris-worker"), "--model", model, "--engine", engine, "--gpu", gpu,
            "--socket", socket if governed else "/nonexistent/worker.sock", *options])

    def setup(self, backend="rsmi", scale=1, actuator_options=(), **config):
        """Bus, actuator, surface, configuration and daemon; scale: of the simulator's time."""
        self.start_bus()
        self.surface(config.get("model", "resnet50"), scale)
        self.write_config(**config)
        actuator = self.start_actuator(*actuator_options, backend=backend)
        return actuator, self.start_daemon()

    # -- what is seen ------------------------------------------------------------------------

    def stat(self):
        """What the simulator knows (hidden state included)."""
        return json.loads(self.capture([os.path.join(BIN, "cofris-sim"), "stat", "--json"]).stdout)

    def card(self, index=0):
        s = self.stat()
        return {**s["cards"][index], "device_ns": s["device_ns"]}

    def baseline(self, index=0):
        """The state that must come back: what restoring is judged by."""
        c = self.card(index)
        return {k: c[k] for k in ("perf_level", "cap_uw", "soft_low_mhz", "soft_high_mhz")}

    def fault(self, spec):
        self.capture([os.path.join(BIN, "cofris-sim"), "fault", spec])

    def heal(self):
        self.capture([os.path.join(BIN, "cofris-sim"), "heal"])

    def writes(self):
        path = os.path.join(self.dir, "writes.log")
        if not os.path.exists(path):
            return []
        with open(path) as f:
            return f.read().splitlines()

    def status(self):
        result = self.capture([os.path.join(BIN, "cofrisctl"), "--bus", self.bus_address,
                               "status", "--json"])
        return json.loads(result.stdout)
