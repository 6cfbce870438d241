# SPDX-License-Identifier: Apache-2.0
"""The life of the packages under a real systemd: installed, upgraded while a card is governed,
removed, purged; and installed where services may not be started or the configuration is bad.

usage: test-packages-life.py CASE --build DIR --packages DIR
Versions to upgrade to are the same packages under a higher number; of one of them the actuator is
another program. The inside is a copy of this file that imports nothing of the source tree.
"""

import argparse
import glob
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
SIMULATOR = "/run/cofris-sim"
MODEL = "resnet50"
SURFACE = f"/var/lib/cofris/surfaces/gfx906-60cu/{MODEL}.csv"
ACTUATOR, DAEMON, SOCKET = "cofris-actuator.service", "cofrisd.service", "cofris-actuator.socket"
CONFIGURATION = f"""[daemon]
allow_simulated = yes

[gpu *]
enabled = yes

[model {MODEL}]
slo = 2.0x
"""
# Whom a simulated card may be given to, the actuator says on its command line.
DROP_IN = """[Service]
ExecStart=
ExecStart=/usr/sbin/cofris-actuator --peer-any-of-socket --allow-simulated
"""

CASES = {}


def case(function):
    CASES[function.__name__] = function
    return function


class Failure(AssertionError):
    pass


def check(condition, text):
    if not condition:
        raise Failure(text)


def wait_for(what, condition, timeout=60):
    deadline = time.monotonic() + timeout
    while True:
        last = time.monotonic() > deadline
        value = condition()
        if value:
            return value
        if last:
            raise Failure(f"not within {timeout} s: {what}")
        time.sleep(0.02)


def try_run(*command):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=120)
    print("+", *command, f"({done.returncode})", done.stdout.strip(), flush=True)
    return done.returncode, done.stdout


def run(*command):
    code, out = try_run(*command)
    check(code == 0, f"{' '.join(command)}: exit status {code}: {out}")
    return out


def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)


def read(path):
    with open(path, encoding="utf-8") as f:
        return f.read()


# -- what is asked inside ------------------------------------------------------------------------


def install(folder, *names):
    """Returns what dpkg said. It must be content."""
    debs = [glob.glob(f"{folder}/{name}_*.deb")[0] for name in names]
    out = run("dpkg", "--install", *debs)
    check(run("dpkg", "--audit") == "", "dpkg has something left to do")
    return out


def show(unit, name):
    return run("systemctl", "show", "--property", name, "--value", unit).strip()


def is_active(unit):
    return try_run("systemctl", "is-active", unit)[0] == 0


def is_enabled(unit):
    return run("systemctl", "is-enabled", unit).strip() == "enabled"


def complaints():
    """What our programs, their units and the bus have to say above notice since the boot. The bus
    is told of the policy when it is unpacked, before the package could make the user."""
    out = run("journalctl", "--boot", "--priority", "warning", "--output", "cat", "--no-pager",
              "--unit", "cofrisd", "--unit", "cofris-actuator", "--unit", "dbus")
    return [line for line in out.splitlines() if line and line != "-- No entries --" and
            "Failed to set fd limit" not in line and 'Unknown username "cofris"' not in line]


def status():
    code, out = try_run("cofrisctl", "status", "--json")
    return json.loads(out) if code == 0 else {}


def state_of_card():
    gpus = status().get("gpus", [])
    return gpus[0]["state"] if gpus else None


def card():
    """What the simulator knows of it."""
    out = run("cofris-sim", "stat", "--json", "--runtime-dir", SIMULATOR)
    return {key: json.loads(out)["cards"][0][key]
            for key in ("perf_level", "cap_uw", "soft_low_mhz", "soft_high_mhz")}


def levels_written():
    """The performance levels that were written to the card, in their order."""
    return re.findall(r"\tpower_dpm_force_performance_level\t\d+\t0\t\"(\w+)\"",
                      read(SIMULATOR + "/writes.log"))


def start_card():
    run("systemd-run", "--unit=cofris-sim", "cofris-sim", "--device", "mi50", "--shared",
        "--runtime-dir", SIMULATOR, "--", "sleep", "infinity")
    wait_for("the simulated card", lambda: os.path.exists("/sys/class/drm/card0/device") and
             try_run("cofris-sim", "stat", "--runtime-dir", SIMULATOR)[0] == 0)


def start_server():
    run("systemd-run", "--unit=server", f"--setenv=COFRIS_SIM={SIMULATOR}/machine",
        "cofris-worker", "--model", MODEL, "--engine", "plant", "--gpu", "0000:43:00.0",
        "--rate", "60")


def is_governed():
    return state_of_card() == "governed" and card()["perf_level"] == "manual"


def files():
    """Everything that a package or a service might leave."""
    found = set()
    for top in ("/etc", "/usr", "/var", "/run", "/home", "/root"):
        for folder, folders, names in os.walk(top):
            folders[:] = [f for f in folders if not os.path.ismount(os.path.join(folder, f))]
            found |= {os.path.join(folder, name) for name in folders + names}
    return found


# -- cases ---------------------------------------------------------------------------------------


@case
def installed_upgraded_removed_purged(folder):
    before = files()
    install_first(folder)
    as_found = govern(folder)
    upgrade_of_the_same_programs(folder)
    upgrade_of_the_actuator(folder)
    remove(as_found)
    install_again(folder)
    purge(before)


def install_first(folder):
    # One that runs already has to be told of the policy.
    run("systemctl", "start", "dbus.service")
    install(f"{folder}/old", "libcofris0", "cofris-tools", "cofris")
    for unit in (DAEMON, SOCKET):
        check(is_active(unit) and is_enabled(unit), f"{unit} is not active and enabled")
    check(show(DAEMON, "NRestarts") == "0", "the first start of cofrisd failed")
    check("no [model] section" in run("cofrisctl", "status"), "cofrisd is not on the bus")
    check(complaints() == [], f"complaints after the installation: {complaints()}")
    check(run("dpkg-query", "--show", "--showformat=${Conffiles}", "cofris") == "",
          "the package has configuration files")
    main = show(DAEMON, "MainPID")
    check(re.search(r"(?m)^CapEff:\s*0+$", read(f"/proc/{main}/status")), "cofrisd has capabilities")
    check(run("stat", "--format=%U", f"/proc/{main}").strip() == "cofris", "cofrisd's user")


def govern(folder):
    """Returns the card's state as it was found."""
    start_card()
    as_found = card()
    write(f"/etc/systemd/system/{ACTUATOR}.d/simulated.conf", DROP_IN)
    run("systemctl", "daemon-reload")
    run("systemctl", "restart", ACTUATOR)
    write("/etc/cofris.conf", CONFIGURATION)
    write(SURFACE, read(f"{folder}/surface.csv"))
    run("systemctl", "reload", DAEMON)
    start_server()
    wait_for("the card is governed", is_governed)
    check(card() != as_found, f"nothing was set: {as_found}")
    return as_found


def is_governed_again(daemon):
    """By another process than this one."""
    return show(DAEMON, "MainPID") not in ("0", daemon) and is_governed()


def upgrade_of_the_same_programs(folder):
    daemon, actuator = show(DAEMON, "MainPID"), show(ACTUATOR, "MainPID")
    levels = levels_written()
    install(f"{folder}/new", "libcofris0", "cofris-tools", "cofris")
    wait_for("the card is governed after the upgrade", lambda: is_governed_again(daemon))
    check(show(ACTUATOR, "MainPID") == actuator, "the actuator was restarted for nothing")
    check("auto" not in levels_written()[len(levels):], "the upgrade gave the card back")
    check(show(DAEMON, "NRestarts") == "0", "cofrisd had to be started more than once")
    check(not os.path.exists("/run/cofris-actuator.sums"), "the checksums are left")


def upgrade_of_the_actuator(folder):
    daemon, actuator = show(DAEMON, "MainPID"), show(ACTUATOR, "MainPID")
    install(f"{folder}/other", "libcofris0", "cofris-tools", "cofris")
    wait_for("the card is governed after the upgrade", lambda: is_governed_again(daemon))
    check(show(ACTUATOR, "MainPID") not in ("0", actuator), "the old actuator runs on")
    check(show(ACTUATOR, "NRestarts") == "0", "the actuator had to be started more than once")
    check(is_active("server"), "the worker did not live through it")


def remove(as_found):
    run("dpkg", "--remove", "cofris")
    check(card() == as_found, f"after removal the card is {card()}, it was {as_found}")
    for unit in (DAEMON, SOCKET, ACTUATOR):
        check(not is_active(unit), f"{unit} runs without its package")
        check(show(unit, "LoadState") in ("not-found", "masked"), f"{unit} is known")
    check(os.path.exists(SURFACE), "removal took what was measured")
    check(os.path.exists("/etc/cofris.conf"), "removal took the configuration")
    check(is_active("server"), "the worker did not live through the removal")


def install_again(folder):
    install(f"{folder}/other", "cofris")
    wait_for("the card is governed after another installation", is_governed)
    check(is_enabled(DAEMON), "cofrisd is not enabled")


def purge(before):
    for unit in ("server", "cofris-sim"):
        run("systemctl", "stop", unit)
    run("dpkg", "--purge", "cofris", "cofris-tools", "libcofris0")
    # What this test has put there; users stay.
    os.unlink("/etc/cofris.conf")
    for folder in (f"/etc/systemd/system/{ACTUATOR}.d", SIMULATOR):
        shutil.rmtree(folder)
    left = {path for path in files() - before
            if "cofris" in path and not path.startswith("/run/systemd/transient/")}
    check(not left, f"left after the purge: {sorted(left)}")
    check("cofris:" in run("getent", "passwd", "cofris"), "the user is gone")


@case
def without_services_and_with_a_bad_configuration(folder):
    """Where the host forbids services, where an operator does, and where the file is bad."""
    write("/usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n")
    os.chmod("/usr/sbin/policy-rc.d", 0o755)
    install(f"{folder}/old", "libcofris0", "cofris")
    check(not is_active(DAEMON) and not is_active(SOCKET), "started against policy-rc.d")
    os.unlink("/usr/sbin/policy-rc.d")

    # What an operator has switched off stays off.
    run("systemctl", "disable", DAEMON)
    install(f"{folder}/new", "libcofris0", "cofris")
    for unit in (DAEMON, SOCKET): # the one names the other in Also=
        check(not is_active(unit), f"an upgrade has started {unit}, which is disabled")
        check(try_run("systemctl", "is-enabled", unit)[1].strip() == "disabled", "enabled again")

    # Packages can be configured whatever stands in /etc; what is wrong is in the journal.
    run("systemctl", "enable", "--now", DAEMON)
    write("/etc/cofris.conf", "[daemon]\nmodus = govern\n")
    out = install(f"{folder}/other", "libcofris0", "cofris")
    check("journalctl -u cofrisd" in out, f"dpkg does not say that cofrisd did not start: {out}")
    check("/etc/cofris.conf:2" in run("journalctl", "-u", "cofrisd", "--no-pager"),
          "the journal does not name the line")
    os.unlink("/etc/cofris.conf")
    run("systemctl", "start", DAEMON)


# -- outside -------------------------------------------------------------------------------------


def repacked(deb, folder, version, change=None):
    with tempfile.TemporaryDirectory() as tree:
        run("dpkg-deb", "--raw-extract", deb, tree)
        control = f"{tree}/DEBIAN/control"
        text = re.sub(r"(?m)^Version: .*$", f"Version: {version}", read(control))
        # Of each other they want the very version.
        write(control, re.sub(r"(libcofris0 \(= )[^)]*\)", rf"\g<1>{version})", text))
        if change:
            change(tree)
        run("dpkg-deb", "--root-owner-group", "-Zgzip", "--build", tree, folder)


def another_actuator(tree):
    """Behind an ELF file's sections nothing is read."""
    path = tree + "/usr/sbin/cofris-actuator"
    if os.path.exists(path):
        with open(path, "ab") as f:
            f.write(b"\0")


def prepare(args, folder):
    os.chmod(folder, 0o755)
    for name in ("old", "new", "other"):
        os.mkdir(f"{folder}/{name}")
    for deb in glob.glob(args.packages + "/*.deb"):
        if "-dev_" not in deb:
            shutil.copy(deb, folder + "/old")
            repacked(deb, folder + "/new", "99-1")
            repacked(deb, folder + "/other", "99-2", another_actuator)
    profiles = os.path.join(os.path.dirname(os.path.dirname(HERE)), "profiles")
    run(args.build + "/tests/make-surface", profiles + "/devices/mi50.ini",
        f"{profiles}/models/{MODEL}.ini", folder + "/surface.csv")
    shutil.copy(os.path.abspath(__file__), folder + "/inside.py")


def inside(name, folder):
    # Its index of the host's manual takes most of the time.
    if os.path.exists("/var/lib/man-db/auto-update"):
        os.unlink("/var/lib/man-db/auto-update")
    CASES[name](folder)
    print(f"{name}: ok")


def outside(args):
    sys.path.insert(0, HERE + "/systemd")
    import boot  # pylint: disable=import-outside-toplevel

    why = boot.why_not()
    if why or not glob.glob(args.packages + "/*.deb"):
        print(why or "this build is not packaged")
        sys.exit(77)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(125))
    with tempfile.TemporaryDirectory(prefix="cofris-life-") as folder:
        prepare(args, folder)
        machine = boot.Boot(["/usr/bin/python3", folder + "/inside.py", args.case, "--inside",
                             folder], visible=[folder])
        status_ = machine.run()
        print(machine.console)
        if status_ != 0:
            print(machine.journal)
        sys.exit(status_)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("case", choices=sorted(CASES))
    parser.add_argument("--build")
    parser.add_argument("--packages")
    parser.add_argument("--inside")
    args = parser.parse_args()
    if args.inside:
        inside(args.case, args.inside)
    else:
        outside(args)


if __name__ == "__main__":
    main()
