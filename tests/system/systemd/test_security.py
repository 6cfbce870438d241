# SPDX-License-Identifier: Apache-2.0
"""What docs/security.md says of the installed services: what they may, what strangers may, and that
neither reloads nor floods by strangers disturb them."""

import errno
import os
import pwd
import re
import signal
import socket
import sys

from booted import (ACTUATOR, DAEMON, Failure, case, check, main, undisturbed,  # noqa: F401
                    wait_for)

sys.path.insert(0, os.path.join(os.environ["COFRIS_SOURCE"], "tests", "support"))
import small_surface  # noqa: E402
from bus_client import BusClient, BusError  # noqa: E402
from watcher import Watcher, descriptors, end_flood, memory_kb, start_flood  # noqa: E402

SYSTEM_BUS = "/run/dbus/system_bus_socket"
CONTROL = "/run/cofris-actuator/control.sock"
WATCHED_S = 3


def under_load(m, **config):
    m.govern(**config)
    worker = m.start_worker("--rate", "40")
    wait_for("a lower clock limit", m.lowered)
    return worker


def as_user(uid, gid, groups, function):
    """Runs function as that user, in a child, and returns the text that it returns."""
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.setgroups(groups)
            os.setresgid(gid, gid, gid)
            os.setresuid(uid, uid, uid)
            os.write(w, str(function()).encode())
            status = 0
        finally:
            os._exit(status)
    os.close(w)
    with os.fdopen(r) as f:
        text = f.read()
    check(os.waitpid(pid, 0)[1] == 0, f"the child of uid {uid}")
    return text


def as_named(name, function):
    entry = pwd.getpwnam(name)
    return as_user(entry.pw_uid, entry.pw_gid, os.getgrouplist(name, entry.pw_gid), function)


def connects(path, kind=socket.SOCK_SEQPACKET):
    """'yes', or the errno's name."""
    with socket.socket(socket.AF_UNIX, kind) as s:
        try:
            s.connect(path)
        except OSError as e:
            return errno.errorcode[e.errno]
    return "yes"


def tries(function, *arguments):
    """'yes', or the errno's name."""
    try:
        function(*arguments)
    except OSError as e:
        return errno.errorcode[e.errno]
    return "yes"


def owns(name):
    """Whether the bus gives a name, or the error's."""
    with BusClient(SYSTEM_BUS) as bus:
        try:
            bus.call("RequestName", "su", (name, 4), destination="org.freedesktop.DBus",
                     path="/org/freedesktop/DBus", interface="org.freedesktop.DBus")
        except BusError as e:
            return e.args[0].rsplit(".", 1)[1]
    return "yes"


@case()
def strangers_have_the_open_doors_alone(m):
    under_load(m)
    pids = [m.main_pid(DAEMON), m.main_pid(ACTUATOR)]
    stranger, operator = m.add_user("stranger"), m.add_user("operator", "cofris-admin")

    def refused(what, function, *arguments):
        found = as_named(stranger, lambda: tries(function, *arguments))
        check(found in ("EACCES", "EPERM"), f"{what}: {found}")

    check(as_named(stranger, lambda: connects("/run/cofris/worker.sock")) == "yes", "a door")
    check(as_named(stranger, lambda: connects(CONTROL)) == "EACCES", "the actuator's socket")
    check(as_named(operator, lambda: connects(CONTROL)) == "yes", "which is an operator's")
    for path in ("/run/cofris-actuator/state", "/var/lib/cofris/daemon/pauses",
                 *(f"/proc/{pid}/mem" for pid in pids)):
        refused(f"reading {path}", open, path, "rb")
    for folder in ("/run/cofris", "/run/cofris-actuator", "/var/lib/cofris/surfaces/gfx906-60cu",
                   "/var/lib/cofris/daemon", "/etc/cofris.conf.d"):
        os.makedirs(folder, exist_ok=True)
        refused(f"a link in {folder}", os.symlink, "/etc/passwd", f"{folder}/state.new")
    refused("the socket's removal", os.unlink, "/run/cofris/worker.sock")
    refused("the configuration", open, "/etc/cofris.conf", "r+b")
    for pid in pids:
        refused(f"a signal to {pid}", os.kill, pid, signal.SIGTERM)
    # Neither can pose as the daemon, or as polkit towards it.
    for name in ("org.cofris1", "org.freedesktop.PolicyKit1"):
        found = as_named(stranger, lambda name=name: owns(name))
        check(found == "AccessDenied", f"the name {name}: {found}")
    check([m.main_pid(DAEMON), m.main_pid(ACTUATOR)] == pids, "both live")
    check(m.lowered(), "and govern")


def status_fields(pid):
    with open(f"/proc/{pid}/status") as f:
        return dict(line.split(":\t", 1) for line in f.read().splitlines() if ":\t" in line)


def mounted_read_only(pid, path):
    """By the mount that path is on, in the process's own namespace."""
    best = ("", "")
    with open(f"/proc/{pid}/mountinfo") as f:
        for line in f:
            words = line.split()
            point = words[4]
            if (path == point or path.startswith(point.rstrip("/") + "/")) and \
                    len(point) >= len(best[0]):
                best = (point, words[5])
    return "ro" in best[1].split(",")


@case()
def the_services_have_no_more_than_they_need(m):
    under_load(m)
    users = {DAEMON: pwd.getpwnam("cofris").pw_uid, ACTUATOR: 0}
    for unit, uid in users.items():
        pid = m.main_pid(unit)
        fields = status_fields(pid)
        check(fields["Uid"].split() == [str(uid)] * 4, f"{unit}: {fields['Uid']}")
        for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            check(int(fields[name], 16) == 0, f"{unit}: {name} {fields[name]}")
        check(fields["NoNewPrivs"] == "1" and fields["Seccomp"] == "2", f"{unit}: {fields}")
        for path in ("/", "/usr", "/etc", "/var", "/boot"):
            check(mounted_read_only(pid, path), f"{unit}: {path} is read-only")
    check(mounted_read_only(m.main_pid(DAEMON), "/sys"), "the daemon cannot write a card")
    pid = m.main_pid(ACTUATOR)
    check(os.readlink(f"/proc/{pid}/ns/net") != os.readlink("/proc/self/ns/net"),
          "the actuator has no network")
    # So that what a stranger puts there is not what the library finds.
    check(os.stat(f"/proc/{pid}/root/dev/shm").st_dev != os.stat("/dev/shm").st_dev,
          "the actuator has a /dev/shm of its own")


@case()
def reloads_by_systemctl_leave_nothing_behind(m):
    m.configure()
    m.surface()
    small_surface.shrink("/var/lib/cofris/surfaces/gfx906-60cu/resnet50.csv")
    m.systemctl("start", DAEMON)
    worker = m.start_worker("--rate", "40")
    wait_for("a lower clock limit", m.lowered)
    pid = m.main_pid(DAEMON)

    def reload(times):
        for _ in range(times):
            m.systemctl("reload", DAEMON)
        return memory_kb(pid, "RssAnon"), descriptors(pid)

    kb, n_fds = reload(5)
    after_kb, after_fds = reload(25)
    print(f"anonymous memory: {kb} KiB after 5 reloads, {after_kb} KiB after 30")
    check(after_kb <= kb + 128, f"memory grows: {kb} -> {after_kb} KiB")
    check(after_fds == n_fds, f"descriptors: {n_fds} -> {after_fds}")
    check(m.main_pid(DAEMON) == pid and m.show(DAEMON, "NRestarts") == "0", "the same daemon")
    check(worker.poll() is None and m.lowered(), "which governs")


def outlast(m, mode):
    under_load(m, daemon="poll_interval = 100ms")
    m.worker_socket = "/run/cofris/worker.sock"
    watcher = Watcher(m)
    pid = m.main_pid(DAEMON)

    def compare():
        quiet, _ = watcher.watch(WATCHED_S)
        kb, n_fds = memory_kb(pid), descriptors(pid)
        flood = start_flood(m, SYSTEM_BUS, mode, 8)
        flooded, longest = watcher.watch(WATCHED_S)
        grown = memory_kb(pid) - kb
        sent, answered, errors = end_flood(flood)
        print(f"{mode}: {sent} calls, {answered} answered, {errors} errors; ticks {quiet} -> "
              f"{flooded}, {longest * 1000:.0f} ms without; {grown} KiB more")
        check(answered > 100, "it was a flood")
        check(flooded >= 0.8 * quiet, f"the ticks keep their rhythm: {quiet} -> {flooded}")
        check(grown < 8192, f"memory is bounded: {grown} KiB more")
        check(descriptors(pid) == n_fds, "no descriptor more")
        return answered, errors

    result = undisturbed(compare)
    watcher.beat()
    check(m.main_pid(DAEMON) == pid and m.show(DAEMON, "NRestarts") == "0", "the same daemon")
    check(m.show(DAEMON, "Result") == "success", "nobody had to end it")
    return result


@case()
def a_flood_of_questions_on_the_system_bus_delays_no_tick(m):
    outlast(m, "read")


@case()
def a_flood_of_denied_orders_with_polkit_delays_no_tick(m):
    answered, errors = outlast(m, "denied")
    check(errors == answered, f"each is refused: {errors} of {answered}")
    check(m.active("polkit.service"), "by polkit, which was asked")
    check("Configuration loaded again" not in m.journal(DAEMON), "nothing was loaded")


if __name__ == "__main__":
    main()
