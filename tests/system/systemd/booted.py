# SPDX-License-Identifier: Apache-2.0
"""System tests on a machine with a real systemd, the installed build and simulated cards.

A test file defines cases with @case(...) and ends with main(). "test_x.py CASE" boots a machine of
its own (boot.py) in which it runs again, as root, and runs the case. To add tests, add a file
test_*.py: CMake finds it, and each of its cases is a test named systemd-CASE.

    from booted import case, check, main, wait_for

    @case()
    def it_starts(m):
        m.govern()                      # configuration, surface, simulated card, both services
        worker = m.start_worker("--rate", "40", user="nobody")
        wait_for("a lower clock", m.lowered)

The machine begins with the build installed as its package would (sysusers and tmpfiles applied, the
bus told) and nothing started. The units are those of the build, byte for byte; what a simulated
card needs beside them are drop-ins and /etc/cofris.conf. cofris-sim is a service, too
(cofris-sim.service), and what it mounts is seen by all services, those that run already included.

@case(count=2, sim=[...]) gives the simulator options, cards=False leaves it for m.start_cards(),
installed=False begins on a machine where cofris is not (for packages), timeout is in seconds.
Waiting is for conditions: wait_for() and within(), see machine.py. A failed case prints the
journal. Environment: COFRIS_BUILD, COFRIS_SOURCE.
"""

import contextlib
import json
import os
import pwd
import signal
import subprocess
import sys
import time

import boot
from boot import cache_value

BUILD = os.environ["COFRIS_BUILD"]
SOURCE = os.environ["COFRIS_SOURCE"]
sys.path.insert(0, os.path.join(SOURCE, "tests", "support"))
from machine import BDF, PATIENCE_S, Failure, check, undisturbed, wait_for, within  # noqa: E402

__all__ = ["BDF", "BUILD", "PATIENCE_S", "SOURCE", "Failure", "Machine", "case", "check", "main",
           "undisturbed", "wait_for", "within"]

PREFIX = cache_value(BUILD, "CMAKE_INSTALL_PREFIX")
SIM_DIR = "/run/cofris-sim"
ACTUATOR, DAEMON, SIMULATOR = "cofris-actuator.service", "cofrisd.service", "cofris-sim.service"
UNIT_FOLDERS = ["/lib/systemd/system", f"{PREFIX}/lib/systemd/system"]
FULL_MHZ = 1725  # of the MI50

_cases = {}


def case(count=1, sim=(), cards=True, installed=True, timeout=100):
    def register(function):
        _cases[function.__name__] = (function, {"count": count, "sim": list(sim), "cards": cards,
                                                "installed": installed, "timeout": timeout})
        return function

    return register


def main():
    if sys.argv[1:] == ["--list"]:
        print("\n".join(_cases))
        return
    if len(sys.argv) != 2 or sys.argv[1] not in _cases:
        sys.exit(f"usage: {sys.argv[0]} --list | CASE")
    function, options = _cases[sys.argv[1]]
    if "COFRIS_BOOTED" in os.environ:
        with Machine(options) as machine:
            function(machine)
        print(f"{function.__name__}: ok")
    else:
        sys.exit(_boot(options))


def _boot(options):
    reason = boot.why_not()
    if reason:
        print(reason)
        return boot.NO_TESTS
    machine = boot.Boot(
        [sys.executable, os.path.abspath(sys.argv[0]), sys.argv[1]],
        environment={"COFRIS_BOOTED": "1", "COFRIS_BUILD": BUILD, "COFRIS_SOURCE": SOURCE,
                     "HOME": "/root", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1",
                     "LANG": "C.UTF-8"},
        files=_files(options) if options["installed"] else {},
        visible=(BUILD, SOURCE), above=boot.stage(BUILD) if options["installed"] else None,
        timeout=options["timeout"])
    began = time.monotonic()
    status = machine.run()
    print(machine.console, end="")
    if status not in (0, boot.NO_TESTS):
        if time.monotonic() - began > options["timeout"]:
            print(f"not done after {options['timeout']} s")
        print("---- journal", *machine.journal.splitlines()[-400:], sep="\n", file=sys.stderr)
    return status


# -- what is there before systemd starts ----------------------------------------------------------


def _setting(text, key):
    return [line.split("=", 1)[1] for line in text.splitlines() if line.startswith(f"{key}=")]


def shipped_unit(name, root=""):
    """The path of a unit as it was installed, of which there must be one."""
    found = [p for folder in UNIT_FOLDERS if os.path.exists(p := f"{root}{folder}/{name}")]
    return found[0]


def _simulated_actuator():
    """The drop-in: the shipped command with what a simulated card needs besides."""
    with open(os.path.join(BUILD, "systemd", ACTUATOR)) as f:
        command = _setting(f.read(), "ExecStart")[-1]
    # Its 200 ms are for cards. The simulated one is a process, for which a busy host has no time.
    return (f"[Service]\nExecStart=\nExecStart={command} --allow-simulated --deadline 1000\n"
            "ReadWritePaths=-/sys/class\n")


def _files(options):
    program = os.path.join(PREFIX, cache_value(BUILD, "CMAKE_INSTALL_BINDIR"), "cofris-sim")
    command = " ".join([program, "--shared", "--device", "mi50", "--count", str(options["count"]),
                        "--runtime-dir", SIM_DIR, *options["sim"], "--", "/bin/sh", "-c",
                        "'systemd-notify --ready; exec sleep infinity'"])
    return {
        f"/etc/systemd/system/{SIMULATOR}":
            f"[Service]\nType=notify\nNotifyAccess=all\nExecStart={command}\n",
        f"/etc/systemd/system/{ACTUATOR}.d/simulated.conf": _simulated_actuator(),
    }


# -- the machine ---------------------------------------------------------------------------------


class Machine:
    def __init__(self, options):
        self.options = options
        self.children = []

    def __enter__(self):
        if self.options["installed"]:
            self.run("systemd-sysusers", "cofris.conf")
            self.run("systemd-tmpfiles", "--create", "cofris.conf")
            self.systemctl("reload-or-restart", "dbus.service")
        if self.options["installed"] and self.options["cards"]:
            self.start_cards()
        return self

    def __exit__(self, kind, *_):
        for child in reversed(self.children):
            if child.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child.pid, signal.SIGCONT)
                child.kill()
            child.wait()
        if kind is None:
            return
        with contextlib.suppress(Exception):
            print(*("\t".join(w) for w in self.writes()[-40:]), sep="\n", file=sys.stderr)
            print(json.dumps(self.status(), indent=1), file=sys.stderr)

    # -- commands --------------------------------------------------------------------------------

    def run(self, *command, check_exit=True, user=None, timeout=2 * PATIENCE_S, env=None):
        """Runs to its end, as root or as user, and returns what subprocess.run() does."""
        result = subprocess.run(command, capture_output=True, text=True, timeout=timeout,
                                stdin=subprocess.DEVNULL, env={**os.environ, **(env or {})},
                                **self._as_user(user))
        if check_exit and result.returncode != 0:
            raise Failure(f"{command} exited {result.returncode}: {result.stdout}{result.stderr}")
        return result

    @staticmethod
    def _as_user(user):
        if not user:
            return {}
        entry = pwd.getpwnam(user)
        return {"user": entry.pw_uid, "group": entry.pw_gid,
                "extra_groups": os.getgrouplist(user, entry.pw_gid)}

    def spawn(self, *command, user=None, env=None, log=None):
        """A child that ends with the case at the latest."""
        out = open(log, "ab") if log else subprocess.DEVNULL
        child = subprocess.Popen(command, stdout=out, stderr=out, stdin=subprocess.DEVNULL,
                                 env={**os.environ, **(env or {})}, **self._as_user(user))
        self.children.append(child)
        return child

    def add_user(self, name, *groups):
        """A user of the case's own, as an operator (cofris-admin) or a worker has one."""
        path = "/run/sysusers-case.conf"
        lines = [f"u {name} - \"case\" /nonexistent", *(f"m {name} {g}" for g in groups)]
        with open(path, "w") as f:
            f.write("\n".join(lines) + "\n")
        self.run("systemd-sysusers", path)
        return name

    # -- systemd ---------------------------------------------------------------------------------

    def systemctl(self, *arguments, check_exit=True):
        return self.run("systemctl", *arguments, check_exit=check_exit)

    def show(self, unit, *names):
        """The properties of a unit; of one name its value alone."""
        lines = self.systemctl("show", unit, *(f"--property={n}" for n in names)).stdout
        values = dict(line.split("=", 1) for line in lines.splitlines() if "=" in line)
        return values[names[0]] if len(names) == 1 else values

    def main_pid(self, unit):
        return int(self.show(unit, "MainPID"))

    def active(self, unit):
        return self.show(unit, "ActiveState") == "active"

    def kill(self, unit, number=signal.SIGKILL):
        """Signals the main process, as whatever kills it would."""
        pid = self.main_pid(unit)
        check(pid > 0, f"{unit} runs")
        os.kill(pid, number)

    @staticmethod
    def skip(reason):
        """Ends the case, as what it needs is not here."""
        print(reason)
        sys.exit(boot.NO_TESTS)

    def journal(self, unit=None, *arguments):
        """The messages so far, of a unit (and systemd about it) or of all."""
        self.run("journalctl", "--sync")
        unit = ["--unit", unit] if unit else []
        return self.run("journalctl", "-o", "cat", "--no-pager", *unit, *arguments).stdout

    def drop_in(self, unit, text, name="case"):
        folder = f"/etc/systemd/system/{unit}.d"
        os.makedirs(folder, exist_ok=True)
        with open(f"{folder}/{name}.conf", "w") as f:
            f.write(text)
        self.systemctl("daemon-reload")

    # -- the daemons -----------------------------------------------------------------------------

    def configure(self, text=None, gpu=BDF[0], model="resnet50", slo="2.0x", allow="root",
                  daemon="", gpu_extra="", model_extra="", path="/etc/cofris.conf"):
        if text is None:
            text = (f"[daemon]\nallow_simulated = yes\n{daemon}\n[gpu {gpu}]\nenabled = yes\n"
                    f"{gpu_extra}\n[model {model}]\nslo = {slo}\nallow = {allow}\n{model_extra}\n")
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as f:
            f.write(text)
        os.chmod(path, 0o644)

    def surface(self, model="resnet50", scale=1):
        """A surface without a sweep, where the daemon looks for it."""
        path = f"/var/lib/cofris/surfaces/gfx906-60cu/{model}.csv"
        os.makedirs(os.path.dirname(path), exist_ok=True)
        self.run(f"{BUILD}/tests/make-surface", f"{SOURCE}/profiles/devices/mi50.ini",
                 f"{SOURCE}/profiles/models/{model}.ini", path, str(scale))
        os.chmod(path, 0o644)

    def govern(self, model="resnet50", **config):
        """All that it takes to govern the first card."""
        self.configure(model=model, **config)
        self.surface(model)
        self.systemctl("start", DAEMON)

    def start_worker(self, *options, model="resnet50", gpu=BDF[0], user=None, log=None,
                     report=None):
        """cofris-worker of the installation as this user; report: a CSV with a line a request."""
        lib = os.path.join(PREFIX, cache_value(BUILD, "CMAKE_INSTALL_LIBDIR"))
        program = os.path.join(PREFIX, cache_value(BUILD, "CMAKE_INSTALL_BINDIR"), "cofris-worker")
        report = ["--report", report] if report else []
        return self.spawn(program, "--model", model, "--engine", "plant", "--gpu", gpu,
                          "--duration", "600s", "--seed", "1", *report, *options, user=user,
                          log=log, env={"COFRIS_SIM": f"{SIM_DIR}/machine", "LD_LIBRARY_PATH": lib})

    def cofrisctl(self, *arguments, user=None, check_exit=True):
        program = os.path.join(PREFIX, cache_value(BUILD, "CMAKE_INSTALL_BINDIR"), "cofrisctl")
        return self.run(program, *arguments, user=user, check_exit=check_exit)

    def status(self):
        return json.loads(self.cofrisctl("status", "--json").stdout)

    def state(self, index=0):
        """Of a card, by the daemon; nothing while it does not answer."""
        result = self.cofrisctl("status", "--json", check_exit=False)
        return json.loads(result.stdout)["gpus"][index]["state"] if result.returncode == 0 else ""

    def busctl(self, *arguments, user=None, check_exit=True):
        """busctl on the system bus, as "call", "org.cofris1", ..."""
        return self.run("busctl", "--system", *arguments, user=user, check_exit=check_exit)

    # -- the cards ---------------------------------------------------------------------------------

    def start_cards(self):
        self.systemctl("start", SIMULATOR)

    def stop_cards(self):
        self.systemctl("stop", SIMULATOR)

    def sim(self, *arguments):
        program = os.path.join(PREFIX, cache_value(BUILD, "CMAKE_INSTALL_BINDIR"), "cofris-sim")
        environment = {"COFRIS_SIM_CONTROL": f"{SIM_DIR}/control"}
        return self.run(program, *arguments, env=environment).stdout

    def stat(self):
        """What the simulator knows (hidden state included)."""
        return json.loads(self.sim("stat", "--json"))

    def card(self, index=0):
        s = self.stat()
        return {**s["cards"][index], "device_ns": s["device_ns"]}

    def baseline(self, index=0):
        """The state that must come back: what restoring is judged by."""
        c = self.card(index)
        return {k: c[k] for k in ("perf_level", "cap_uw", "soft_low_mhz", "soft_high_mhz")}

    def lowered(self, index=0):
        c = self.card(index)
        return c["perf_level"] == "manual" and c["soft_high_mhz"] < FULL_MHZ

    def full_range(self, index=0):
        c = self.card(index)
        return c["perf_level"] != "manual" or c["soft_high_mhz"] == FULL_MHZ

    def fault(self, spec):
        self.sim("fault", spec)

    def heal(self, *spec):
        self.sim("heal", *spec)

    def writes(self):
        """The simulator's log of every write to a card, lists of fields: device ns, wall ns
        (CLOCK_MONOTONIC), card, file, pid, error, text."""
        with open(f"{SIM_DIR}/writes.log") as f:
            return [line.split("\t") for line in f.read().splitlines()]
