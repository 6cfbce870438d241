# SPDX-License-Identifier: Apache-2.0
"""org.cofris1 on the system bus, with the policies that are shipped: who may steer while polkit is
there, is not, or does not answer; and what outlives the service."""

import os
import pwd
import signal
import stat
import subprocess
import threading

from booted import BDF, BUILD, DAEMON, case, check, main, wait_for

POLKIT = "polkit.service"
DENIED = "error org.freedesktop.DBus.Error.AccessDenied"


class Peer:
    def __init__(self, m, user):
        entry = pwd.getpwnam(user)
        self.child = subprocess.Popen(
            [os.path.join(BUILD, "tests", "bus-peer"), "unix:path=/run/dbus/system_bus_socket",
             "client"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
            user=entry.pw_uid, group=entry.pw_gid,
            extra_groups=os.getgrouplist(user, entry.pw_gid))
        m.children.append(self.child)

    def ask(self, line):
        self.child.stdin.write(line + "\n")
        self.child.stdin.flush()
        return self.child.stdout.readline().rstrip("\n")

    def leave(self):
        self.child.stdin.close()
        self.child.wait()


def steer(m, users):
    """What each of the methods answers each of the users, all at once: {(user, method): reply}."""
    owner = Peer(m, "root")
    answers, threads = {}, []

    def one(user, line):
        peer = Peer(m, user)
        answers[user, line.split()[0], line] = peer.ask(line)
        peer.leave()

    for user in users:
        cookie = owner.ask("Hold * the-owner's rated").split()[1]
        for line in ("Reload", f"SetPowerCap {BDF[0]} 0", "Hold resnet50 why full-speed",
                     f"Release {cookie}", f"Pause {BDF[0]} why no 0",
                     f"Pause {BDF[0]} why yes 0", f"Resume {BDF[0]}"):
            threads.append(threading.Thread(target=one, args=(user, line)))
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    holds = len(m.status()["holds"])
    owner.leave()
    return answers, holds


def judge(m, allowed, denied, how):
    """holds: those of the owner that nobody was allowed to release."""
    for users, wanted in ((denied, DENIED), (allowed, "ok")):
        if not users:
            continue
        answers, holds = steer(m, users)
        for (user, method, line), answer in answers.items():
            check(answer.startswith(wanted), f"polkit {how}: {user}, {line}: {answer}")
        if users is denied:
            check(holds == len(users), f"{holds} holds are left of {len(users)}")
            check(m.status()["pauses"] == [], "denied, yet paused")
    check(Peer(m, "root").ask("Resume *") == "ok", "resumed")
    for user in allowed + denied:
        peer = Peer(m, user)
        for line in ("GetStatus", "Verify *", "GetTable resnet50"):
            check(peer.ask(line).startswith("ok "), f"{user} may not {line}")
        peer.leave()


@case()
def orders_by_those_whom_polkit_knows(m):
    m.add_user("operator", "cofris-admin")
    m.add_user("server")
    m.govern()
    wait_for("the card", lambda: m.status()["gpus"][0]["name"])
    judge(m, ["root", "operator"], ["server", "nobody", "cofris"], "present")
    check(m.active(POLKIT), "polkit was not asked")

    polkit = m.main_pid(POLKIT)
    os.kill(polkit, signal.SIGSTOP)
    try:
        judge(m, ["root"], ["operator", "nobody"], "slow")
    finally:
        os.kill(polkit, signal.SIGCONT)
    judge(m, ["root", "operator"], [], "present again")

    m.systemctl("mask", "--runtime", "--now", POLKIT)
    judge(m, ["root"], ["operator", "server", "nobody"], "absent")


@case()
def a_pause_outlives_the_service(m):
    before = m.baseline()
    m.govern()
    m.start_worker("--rate", "40")
    wait_for("a lower clock limit", m.lowered)
    check(Peer(m, "root").ask(f"Pause {BDF[0]} moving yes 0") == "ok 0", "paused")
    wait_for("as found", lambda: m.baseline() == before)
    file = os.stat("/var/lib/cofris/daemon/pauses")
    folder = os.stat("/var/lib/cofris/daemon")
    cofris = pwd.getpwnam("cofris").pw_uid
    check((file.st_uid, stat.S_IMODE(file.st_mode)) == (cofris, 0o600), str(file))
    check((folder.st_uid, stat.S_IMODE(folder.st_mode)) == (cofris, 0o700), str(folder))
    writes = len(m.writes())
    for command in (["restart", DAEMON], ["kill", "--signal=KILL", DAEMON]):
        pid = m.main_pid(DAEMON)
        m.systemctl(*command)
        wait_for("another daemon", lambda p=pid: m.main_pid(DAEMON) not in (0, p)
                 and m.active(DAEMON))
        # Who asks before the daemon is on the bus has to ask again.
        wait_for("its worker is back", lambda: m.cofrisctl("status", check_exit=False).returncode
                 == 0 and m.status()["gpus"][0]["workers"] == 1)
        gpu = m.status()["gpus"][0]
        check(gpu["state"] == "yielding" and gpu["state_reason"] == "paused", str(gpu))
        check("1 paused" in m.show(DAEMON, "StatusText"), m.show(DAEMON, "StatusText"))
    check(len(m.writes()) == writes, f"written while paused: {m.writes()[writes:]}")
    check(Peer(m, "root").ask("Resume *") == "ok", "resumed")
    wait_for("a lower clock limit again", m.lowered)


if __name__ == "__main__":
    main()
