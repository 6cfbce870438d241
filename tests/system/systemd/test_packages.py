# SPDX-License-Identifier: Apache-2.0
"""The life of the Debian packages: installed, upgraded while a card is governed, removed, purged;
and installed where services may not be started or the configuration is bad.

They are those of the build (test-packages.py has made them). Versions to upgrade to are the same
under a higher number; of one of them the actuator is another program.
"""

import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile

from booted import ACTUATOR, BUILD, DAEMON, SIM_DIR, case, check, main, wait_for

SOCKET = "cofris-actuator.socket"
SURFACE = "/var/lib/cofris/surfaces/gfx906-60cu/resnet50.csv"
SUMS = "/run/cofris-actuator.sums"
# What a simulated card needs beside the shipped unit.
SIMULATED = """[Service]
ExecStart=
ExecStart=/usr/sbin/cofris-actuator --peer-any-of-socket --allow-simulated --deadline 1000
ReadWritePaths=-/sys/class
"""


def read(path):
    with open(path, encoding="utf-8") as f:
        return f.read()


def write(path, text, mode=0o644):
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    os.chmod(path, mode)


# -- packages --------------------------------------------------------------------------------------


def the_packages():
    found = {os.path.basename(deb).split("_")[0]: deb for deb in glob.glob(BUILD + "/packages/*.deb")}
    if not found:
        print("this build is not packaged (system-packages-build says why)")
        sys.exit(77)
    return found


def repacked(deb, folder, version, change=lambda tree: None):
    """The same package under another number, and changed."""
    with tempfile.TemporaryDirectory() as tree:
        subprocess.run(["dpkg-deb", "--raw-extract", deb, tree], check=True)
        control = f"{tree}/DEBIAN/control"
        text = re.sub(r"(?m)^Version: .*$", f"Version: {version}", read(control))
        # Of each other they want the very version.
        write(control, re.sub(r"(libcofris0 \(= )[^)]*\)", rf"\g<1>{version})", text))
        change(tree)
        os.makedirs(folder, exist_ok=True)
        subprocess.run(["dpkg-deb", "--root-owner-group", "-Znone", "--build", tree, folder],
                       check=True, stdout=subprocess.DEVNULL)


def another_actuator(tree):
    """Behind the sections of an ELF file nothing is read."""
    with open(tree + "/usr/sbin/cofris-actuator", "ab") as f:
        f.write(b"\0")


def newer(version, *names, **changes):
    """The files of a newer version; changes: of a package with this name."""
    folder = f"/var/tmp/cofris-{version}"
    for name in names:
        repacked(the_packages()[name], folder, version, changes.get(name, lambda tree: None))
    return sorted(glob.glob(folder + "/*.deb"))


def install(m, debs):
    """Returns what dpkg said. It must be content, and have nothing left to do."""
    # The index of the host's manual pages takes longer than all else.
    if os.path.exists("/var/lib/man-db/auto-update"):
        os.unlink("/var/lib/man-db/auto-update")
    done = m.run("dpkg", "--install", *debs)
    check(m.run("dpkg", "--audit").stdout == "", "dpkg has something left to do")
    return done.stdout + done.stderr


def is_enabled(m, unit):
    return m.systemctl("is-enabled", unit, check_exit=False).stdout.strip() == "enabled"


def complaints(m):
    """What the bus, our programs and units had to say above notice. A bus reads the policy when it
    is unpacked, before the package could make the user; a machine of a test may not set limits."""
    lines = []
    for unit in (DAEMON, ACTUATOR, SOCKET, "dbus.service"):
        lines += m.journal(unit, "--priority", "warning").splitlines()
    return [line for line in lines if line and line != "-- No entries --" and
            "Failed to set fd limit" not in line and 'Unknown username "cofris"' not in line]


def files():
    """Everything that a package or a service might leave."""
    found = set()
    for top in ("/etc", "/usr", "/var", "/run"):
        for folder, folders, names in os.walk(top):
            folders[:] = [f for f in folders if not os.path.ismount(os.path.join(folder, f))]
            found |= {os.path.join(folder, name) for name in folders + names
                      if "cofris" in folder or "cofris" in name}
    return found


# -- from the first installation to the last trace ---------------------------------------------------


@case(installed=False, timeout=250)
def packages_from_installation_to_purge(m):
    # A bus that runs already has to be told of the policy.
    m.systemctl("start", "dbus.service")
    before = files()
    packages = the_packages()
    install(m, [packages[name] for name in ("libcofris0", "cofris-tools", "cofris")])
    starts_at_the_first_try(m)
    as_found = govern(m)
    upgrade_leaves_the_card_alone(m)
    upgrade_of_the_actuator_restarts_it(m)
    upgrade_keeps_a_pause(m, as_found)
    remove_gives_the_card_back(m, as_found)
    install(m, newer("99-3", "cofris"))
    wait_for("a governed card after a new installation", m.lowered)
    purge_leaves_nothing(m, before)


def starts_at_the_first_try(m):
    for unit in (DAEMON, SOCKET):
        check(m.active(unit) and is_enabled(m, unit), f"{unit} is not active and enabled")
    check(m.show(DAEMON, "NRestarts") == "0", "the first start of cofrisd failed")
    check("no [model] section" in m.cofrisctl("status").stdout, "cofrisd is not on the bus")
    check(complaints(m) == [], f"after the installation: {complaints(m)}")
    conffiles = m.run("dpkg-query", "--show", "--showformat=${Conffiles}", "cofris").stdout
    check(conffiles == "", f"the package has configuration files: {conffiles}")
    pid = m.main_pid(DAEMON)
    for path in ("/etc/cofris.conf", "/usr/lib/cofris/cofris.conf"):
        said = m.run("nsenter", "--target", str(pid), "--mount", "touch", path, check_exit=False)
        check("Read-only file system" in said.stderr, f"cofrisd could write {path}: {said}")
    process = read(f"/proc/{pid}/status")
    uid = m.run("id", "--user", "cofris").stdout.strip()
    check(re.search(rf"(?m)^Uid:\t{uid}\t", process), "cofrisd runs as another user")


def govern(m):
    """Returns what the card was before."""
    m.run("systemd-run", "--unit=cofris-sim", "--property=Type=notify",
          "--property=NotifyAccess=all", "cofris-sim", "--device", "mi50", "--shared",
          "--runtime-dir", SIM_DIR, "--", "sh", "-c", "systemd-notify --ready && exec sleep infinity")
    as_found = m.baseline()
    m.drop_in(ACTUATOR, SIMULATED)
    m.systemctl("restart", ACTUATOR)
    m.configure()
    m.surface()
    m.systemctl("reload", DAEMON)
    m.worker = m.start_worker("--rate", "40")
    wait_for("a lower clock", m.lowered)
    return as_found


def levels_written(m):
    """The performance levels in the order in which they were written to the card."""
    return [text for _, _, _, file, _, error, text in m.writes()
            if file == "power_dpm_force_performance_level" and error == "0"]


def wait_for_another(m, daemon):
    wait_for("a governed card under another daemon",
             lambda: m.main_pid(DAEMON) not in (0, daemon) and m.status()["gpus"] and
             m.status()["gpus"][0]["state"] == "governed" and m.lowered())


def upgrade_leaves_the_card_alone(m):
    daemon, actuator, levels = m.main_pid(DAEMON), m.main_pid(ACTUATOR), levels_written(m)
    install(m, newer("99-1", "libcofris0", "cofris-tools", "cofris"))
    wait_for_another(m, daemon)
    check(m.main_pid(ACTUATOR) == actuator, "the actuator was restarted for nothing")
    check(set(levels_written(m)[len(levels):]) <= {'"manual"'}, "the upgrade gave the card back")
    check(m.show(DAEMON, "NRestarts") == "0", "cofrisd had to be started more than once")
    check(not os.path.exists(SUMS), "the actuator's checksums are left")


def upgrade_of_the_actuator_restarts_it(m):
    daemon, actuator = m.main_pid(DAEMON), m.main_pid(ACTUATOR)
    install(m, newer("99-2", "libcofris0", "cofris-tools", "cofris", cofris=another_actuator))
    wait_for_another(m, daemon)
    check(m.main_pid(ACTUATOR) not in (0, actuator), "the old actuator runs on")
    check(m.show(ACTUATOR, "NRestarts") == "0", "the actuator had to be started more than once")
    check(m.worker.poll() is None, "the worker did not live through it")


def upgrade_keeps_a_pause(m, as_found):
    m.cofrisctl("pause", "--reason", "upgrade")
    wait_for("the card is left alone", lambda: m.baseline() == as_found)
    daemon = m.main_pid(DAEMON)
    install(m, newer("99-3", "libcofris0", "cofris-tools", "cofris", cofris=another_actuator))
    wait_for("the next daemon", lambda: m.main_pid(DAEMON) not in (0, daemon))
    reasons = [pause["reason"] for pause in m.status()["pauses"]]
    check(reasons == ["upgrade"], f"pauses after the upgrade: {reasons}")
    check(m.baseline() == as_found, f"a paused card is {m.baseline()} after the upgrade")
    m.cofrisctl("resume")
    wait_for("a lower clock after the pause", m.lowered)


def remove_gives_the_card_back(m, as_found):
    m.run("dpkg", "--remove", "cofris")
    check(m.baseline() == as_found, f"the card is {m.baseline()} and was {as_found}")
    for unit in (DAEMON, SOCKET, ACTUATOR):
        check(not m.active(unit), f"{unit} runs without its package")
    check(os.path.exists(SURFACE), "removal took what was measured")
    check(os.path.exists("/etc/cofris.conf"), "removal took the configuration")
    check(m.worker.poll() is None, "the worker did not live through it")


def purge_leaves_nothing(m, before):
    m.worker.kill()
    m.worker.wait()
    m.systemctl("stop", "cofris-sim.service")
    m.run("dpkg", "--purge", "cofris", "cofris-tools", "libcofris0")
    # What this test has put there.
    os.unlink("/etc/cofris.conf")
    for folder in (f"/etc/systemd/system/{ACTUATOR}.d", SIM_DIR, *glob.glob("/var/tmp/cofris-*")):
        shutil.rmtree(folder)
    left = {path for path in files() - before if not path.startswith("/run/systemd/transient/")}
    check(not left, f"left after the purge: {sorted(left)}")
    # Whose files may be elsewhere, too.
    m.run("getent", "passwd", "cofris")


# -- where services do not start -----------------------------------------------------------------------


@case(installed=False)
def packages_where_services_may_not_start(m):
    packages = the_packages()
    write("/usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n", 0o755)
    install(m, [packages["libcofris0"], packages["cofris"]])
    check(not m.active(DAEMON) and not m.active(SOCKET), "started against policy-rc.d")
    os.unlink("/usr/sbin/policy-rc.d")

    # What an operator has switched off stays off; the one unit names the other in Also=.
    m.systemctl("disable", DAEMON)
    install(m, newer("99-1", "libcofris0", "cofris"))
    for unit in (DAEMON, SOCKET):
        check(not m.active(unit), f"an upgrade has started {unit}, which is disabled")
        check(not is_enabled(m, unit), f"an upgrade has enabled {unit}")


@case(installed=False)
def packages_whatever_stands_in_etc(m):
    """They can always be configured; what is wrong is said, and is in the journal."""
    packages = the_packages()
    write("/etc/cofris.conf", "[daemon]\nmodus = govern\n")
    said = install(m, [packages["libcofris0"], packages["cofris"]])
    check("journalctl -u cofrisd" in said, f"dpkg does not say that cofrisd did not start: {said}")
    check("/etc/cofris.conf:2" in m.journal(DAEMON), "the journal does not name the line")
    os.unlink("/etc/cofris.conf")
    m.systemctl("start", DAEMON)
    m.cofrisctl("status")
    # Nor are they ours to take away.
    write("/etc/cofris.conf", "[daemon]\n")
    m.run("dpkg", "--purge", "cofris")
    check(os.path.exists("/etc/cofris.conf"), "the operator's own file is gone")


if __name__ == "__main__":
    main()
