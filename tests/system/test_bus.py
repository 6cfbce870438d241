# SPDX-License-Identifier: Apache-2.0
"""org.cofris1 on a bus of the test's own: who may steer, what orders do and when they end, what is
signalled, and that docs/dbus.md tells what is there."""

import json
import os
import re
import subprocess
import sys
import threading
import xml.etree.ElementTree

sys.path.insert(0, os.path.join(os.environ["COFRIS_SOURCE"], "tests", "support"))

from machine import (BDF, BUILD, DAEMON_UID, SOURCE, case, check, main,  # noqa: E402
                     undisturbed, wait_for)

# The bus turns away whom it cannot look up: Debian's daemon, bin and sys.
ADMIN, WORKER, NOBODY = 1, 2, 3
MANAGER = ("org.cofris1", "/org/cofris1", "org.cofris1.Manager")
DENIED = "error org.freedesktop.DBus.Error.AccessDenied"


class Peer:
    """A connection to the bus, of a user."""

    def __init__(self, m, *arguments, uid=0, bus="bus"):
        self.child = subprocess.Popen(
            ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "--",
             os.path.join(BUILD, "tests", "bus-peer"), f"unix:path={m.dir}/{bus}", *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        m.children.append(self.child)

    def send(self, line):
        self.child.stdin.write(line + "\n")
        self.child.stdin.flush()

    def read(self):
        return self.child.stdout.readline().rstrip("\n")

    def ask(self, line):
        self.send(line)
        return self.read()

    def leave(self, kill=False):
        if kill:
            self.child.kill()
        else:
            self.child.stdin.close()
        self.child.wait()


def client(m, uid=0, *arguments):
    return Peer(m, "client", *arguments, uid=uid)


class Polkit(Peer):
    def __init__(self, m):
        super().__init__(m, "polkit")
        check(self.read() == "ready", "polkit does not start")

    def answers(self, mode):
        """Sets it, and returns what was asked until then."""
        self.send(mode)
        lines = []
        while (line := self.read()) != "ready":
            lines.append(line)
        return lines


def start(m, **config):
    """Bus, actuator and daemon, with a folder for what outlives it."""
    m.start_bus()
    m.surface()
    m.write_config(**config)
    state = os.path.join(m.dir, "state")
    os.makedirs(state, exist_ok=True)
    os.chown(state, DAEMON_UID, DAEMON_UID)
    m.start_actuator()
    return start_daemon(m)


def start_daemon(m):
    child = m.start_daemon("--state-dir", os.path.join(m.dir, "state"))
    wait_for("the daemon's name on the bus", lambda: client_ok(m))
    return child


def client_ok(m):
    one = client(m)
    reply = one.ask("GetStatus")
    one.leave()
    return reply.startswith("ok")


def gpu(m, index=0):
    return m.status()["gpus"][index]


def decisions(m, number=0):
    """Those after the one of this number."""
    reply = m.capture(["busctl", f"--address={m.bus_address}", "--json=short", "call", *MANAGER,
                       "GetDecisions", "ssu", "*", "*", "1000"])
    document = json.loads(json.loads(reply.stdout)["data"][0])
    return [d for d in document["gpus"][0]["decisions"] if d["number"] > number]


def hold(peer, line):
    reply = peer.ask(line)
    check(reply.startswith("ok "), f"{line}: {reply}")
    return int(reply.split()[1])


# -- who may steer ----------------------------------------------------------------------------------


def calls(cookie):
    return ["Reload", f"SetPowerCap {BDF[0]} 0", "Hold resnet50 why full-speed",
            f"Release {cookie}", f"Pause {BDF[0]} why no 0", f"Pause {BDF[0]} why yes 0",
            f"Resume {BDF[0]}"]


def judge_user(m, uid, allowed, mode):
    """Each method by a connection of its own, all at once, as some are slow."""
    owner = client(m)
    cookie = hold(owner, "Hold * the-owner's rated")
    answers = {}

    def one(line):
        peer = client(m, uid)
        answers[line] = peer.ask(line)
        peer.leave()

    threads = [threading.Thread(target=one, args=(line,)) for line in calls(cookie)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for line, answer in answers.items():
        wanted = "ok" if allowed else DENIED
        check(answer.startswith(wanted), f"polkit {mode}, uid {uid}, {line}: {answer}")
    if not allowed:
        status = m.status()
        check([h["cookie"] for h in status["holds"]] == [cookie], f"denied, yet {status['holds']}")
        check(status["pauses"] == [], f"denied, yet {status['pauses']}")
    # Allowed ones came in any order.
    check(owner.ask("Resume *") == "ok", "resumed")
    owner.leave()


@case()
def who_may_steer(m):
    start(m)
    polkit = None
    for mode, users in ((None, ()), ("no", ()), ("challenge", ()), ("error", ()), ("garbage", ()),
                        ("slow", ()), (str(ADMIN), (ADMIN,)), ("yes", (ADMIN, WORKER, NOBODY))):
        if mode and not polkit:
            polkit = Polkit(m)
        if mode:
            polkit.answers(mode)
        # Which takes 5 s.
        for uid in (ADMIN, NOBODY) if mode == "slow" else (ADMIN, WORKER, NOBODY, DAEMON_UID):
            judge_user(m, uid, uid in users or mode == "yes", mode)
            # Anyone may look, whatever polkit thinks.
            peer = client(m, uid)
            for line in ("GetStatus", "Verify *", "GetTable resnet50"):
                check(peer.ask(line).startswith("ok "), f"uid {uid} may not {line}")
            peer.leave()
    for mode in ("no", "slow", "error"):
        polkit.answers(mode)
        judge_user(m, 0, True, mode)
        check(not [x for x in polkit.answers("no") if x.startswith("asked")], "root was asked for")


@case()
def only_who_wants_is_asked_for_a_password(m):
    start(m)
    polkit = Polkit(m)
    polkit.answers("challenge")
    peer = client(m, ADMIN)
    check(peer.ask("Reload").startswith(DENIED), "without a password")
    asked = polkit.answers("challenge")
    check([x.split()[2] for x in asked] == ["0"], f"asked {asked}")
    peer = client(m, ADMIN, "interactive")
    check(peer.ask("Reload") == "ok", "with a password")
    asked = polkit.answers("no")
    check([x.split()[2] for x in asked] == ["0", "1"], f"asked {asked}")
    check(peer.ask("Reload").startswith(DENIED), "a password would not do")
    check(len(polkit.answers("no")) == 1, "asked again")


@case()
def a_slow_polkit_holds_up_nobody_else(m):
    start(m)
    m.start_worker("--rate", "40")
    wait_for("governed", lambda: gpu(m)["state"] == "governed" and gpu(m)["decisions"] > 3)
    polkit = Polkit(m)
    polkit.answers("slow")
    waiting = client(m, WORKER)
    waiting.send("flood 20 Hold * why full-speed")
    wait_for("polkit is asked", lambda: "asked" in polkit.read())
    before = gpu(m)["decisions"]
    other = client(m, ADMIN)
    other.send("Hold * why full-speed")
    wait_for("two more decisions", lambda: gpu(m)["decisions"] >= before + 2)
    root = client(m)
    check(root.ask("Hold * why rated").startswith("ok"), "root waits for polkit")
    # 8 of a connection wait, the rest is refused at once.
    ok, errors, first = waiting.read().split()[1:]
    check((ok, errors, first) == ("0", "20", "org.cofris1.Error.TooMany"), f"{ok} {errors} {first}")
    check(other.read().startswith(DENIED), "refused in the end")
    # Each question is taken back.
    for _ in range(9):
        wait_for("a cancelled question", lambda: polkit.read() == "cancelled")
    # And 8 of a user, however many connections it has.
    peers = [client(m, WORKER) for _ in range(10)]
    for peer in peers:
        peer.send("Hold * why full-speed")
    replies = sorted(peer.read().split(":")[0].split(".")[-1] for peer in peers)
    check(replies == ["AccessDenied"] * 8 + ["TooMany"] * 2, str(replies))
    check(m.log("cofrisd").count(f"Refused Hold to uid {WORKER} ") == 1, "told once of a user")
    polkit.answers("yes")
    check(other.ask("Hold * why full-speed").startswith("ok"), "and it works again")


@case()
def callers_and_buses_that_vanish(m):
    daemon = start(m)
    polkit = Polkit(m)
    polkit.answers("slow")
    peer = client(m, ADMIN)
    peer.send("Hold * why full-speed")
    wait_for("polkit is asked", lambda: "asked" in polkit.read())
    peer.leave(kill=True)
    polkit.leave(kill=True)
    check(client_ok(m), "after a caller and polkit have vanished")
    check(m.status()["holds"] == [], "a hold of nobody")
    # One that polkit allows when it is not there any more.
    polkit = Polkit(m)
    polkit.answers("later")
    peer = client(m, ADMIN)
    peer.send("Hold * why full-speed")
    wait_for("polkit is asked", lambda: "asked" in polkit.read())
    peer.leave(kill=True)
    polkit.answers("yes")
    check(client(m, ADMIN).ask("Reload") == "ok", "polkit has answered")
    check(m.status()["holds"] == [], "a hold of nobody")
    polkit.answers("slow")
    peer, owner = client(m, ADMIN), client(m)
    peer.send("Hold * why full-speed")
    wait_for("polkit is asked", lambda: "asked" in polkit.read())
    hold(owner, "Hold * why full-speed")
    bus = [c for c in m.children if "dbus-daemon" in c.args[0]][-1]
    bus.kill()
    bus.wait()
    wait_for("what was held by it has ended", lambda: "full speed for * has ended" in m.log("cofrisd"))
    os.unlink(f"{m.dir}/bus")
    m.start_bus()
    wait_for("back on the bus", lambda: client_ok(m))
    check(daemon.poll() is None, "the daemon has died")
    check(m.status()["holds"] == [], "a hold has outlived the bus")


# -- what orders do ---------------------------------------------------------------------------------


@case()
def orders_end_with_their_caller(m):
    start(m)
    before = m.baseline()
    m.start_worker("--rate", "40")
    wait_for("a lower clock", lambda: (gpu(m)["max_mhz"] or 9999) < 1725)
    for kill in (False, True):
        peer = client(m)
        hold(peer, "Hold resnet50 a-benchmark full-speed")
        wait_for("full speed", lambda: gpu(m)["max_mhz"] == 1725 and gpu(m)["reason"] == "hold")
        peer.leave(kill)
        wait_for("a lower clock again", lambda: (gpu(m)["max_mhz"] or 9999) < 1725)
        peer = client(m)
        hold(peer, f"Pause {BDF[0]} a-measurement no 0")
        wait_for("as found", lambda: m.baseline() == before)
        check(gpu(m)["state"] == "yielding" and gpu(m)["state_reason"] == "paused", str(gpu(m)))
        peer.leave(kill)
        wait_for("governed again", lambda: gpu(m)["state"] == "governed" and gpu(m)["max_mhz"])
    owner, other = client(m), client(m, WORKER)
    cookie = hold(owner, "Hold * why rated")
    reply = other.ask(f"Release {cookie}")
    check(reply.startswith(DENIED), f"released by a stranger: {reply}")
    check(other.ask("Release 4000000000").startswith("error org.cofris1.Error.NoSuchCookie"), "?")
    wait_for("the rated rate", lambda: gpu(m)["reason"] == "held-rated")
    check(owner.ask(f"Release {cookie}") == "ok", "released by its owner")
    for line, error in (("Hold resnet5 why rated", "NoSuchModel"), ("Hold * why fast",
                        "InvalidArgument"), (f"Hold * {'x' * 201} rated", "InvalidArgument"),
                        (f"Hold * {chr(27)}[2J rated", "InvalidArgument"),
                        ("Pause 0000:99:00.0 why no 0", "NoSuchGPU"),
                        (f"Pause {BDF[0]} why no 18446744073709551615", "InvalidArgument"),
                        ("Resume 0000:99:00.0", "NoSuchGPU"), ("Verify x", "NoSuchGPU")):
        reply = owner.ask(line)
        check(reply.startswith(f"error org.cofris1.Error.{error}"), f"{line}: {reply}")
    for _ in range(64):
        hold(owner, "Hold * why rated")
    check(owner.ask("Hold * why rated").startswith("error org.cofris1.Error.TooMany"), "65")
    owner.leave(kill=True)
    wait_for("all 64 have ended", lambda: m.status()["holds"] == [])


@case()
def a_kept_pause_outlives_the_daemon(m):
    daemon = start(m)
    before = m.baseline()
    m.start_worker("--rate", "40")
    wait_for("a lower clock", lambda: (gpu(m)["max_mhz"] or 9999) < 1725)
    peer = client(m)
    check(peer.ask(f"Pause {BDF[0]} moving yes 0") == "ok 0", "paused")
    peer.leave()
    wait_for("as found", lambda: m.baseline() == before)
    writes = len(m.writes())
    for number in (9, 15):
        daemon.send_signal(number)
        daemon.wait()
        daemon = start_daemon(m)
        wait_for("the worker is back", lambda: gpu(m)["workers"] == 1 and gpu(m)["decisions"] > 5)
        pause, = m.status()["pauses"]
        check(pause["gpu"] == BDF[0] and pause["persistent"] and pause["left_s"] is None
              and pause["reason"] == "moving" and pause["uid"] == 0, str(pause))
        check(gpu(m)["state"] == "yielding" and gpu(m)["reason"] == "paused", str(gpu(m)))
    check(len(m.writes()) == writes, f"written while paused: {m.writes()[writes:]}")
    peer = client(m)
    check(peer.ask("Resume *") == "ok", "resumed")
    wait_for("governed again", lambda: (gpu(m)["max_mhz"] or 9999) < 1725)
    check(peer.ask("Pause * shortly yes 1000000") == "ok 0", "paused for a second")
    check(peer.ask(f"Resume {BDF[0]}").startswith("error org.cofris1.Error.InvalidArgument"), "*")
    wait_for("it ends by itself", lambda: m.status()["pauses"] == [])
    wait_for("governed again", lambda: gpu(m)["state"] == "governed")


@case()
def verify_finds_what_differs(m):
    start(m)
    m.start_worker("--rate", "40")
    wait_for("a lower clock", lambda: (gpu(m)["max_mhz"] or 9999) < 1725)
    peer = client(m, NOBODY)

    def verify():
        reply = peer.ask("Verify *")
        check(reply.startswith("ok "), reply)
        return json.loads(reply[3:])

    wait_for("all as wanted", lambda: verify()["ok"])
    card = verify()["gpus"][0]
    whats = {c["what"]: c for c in card["checks"]}
    check(card["bdf"] == BDF[0] and card["simulated"], str(card))
    check(whats["perf_level"]["found"] == "manual", str(whats))
    check(whats["max_mhz"]["wanted"] == whats["max_mhz"]["found"] == gpu(m)["max_mhz"], str(whats))
    set_level("auto")
    found = wait_for("a difference", lambda: (v := verify()) and not v["ok"] and v)
    bad = [c["what"] for c in found["gpus"][0]["checks"] if not c["ok"]]
    check("perf_level" in bad or "write" in bad, str(found))
    wait_for("set again, and as wanted", lambda: verify()["ok"])


def set_level(level):
    with open("/sys/class/drm/card0/device/power_dpm_force_performance_level", "w") as f:
        f.write(level)


# -- floods -----------------------------------------------------------------------------------------


@case()
def floods_delay_no_tick(m):
    start(m)
    m.start_worker("--rate", "40")
    wait_for("governed", lambda: gpu(m)["decisions"] > 3)
    Polkit(m).answers("no")

    def run():
        first = decisions(m)[-1]["number"]
        peers = [client(m, uid) for uid in (WORKER, WORKER, NOBODY)]
        for peer, line in zip(peers, ("flood 3000 GetStatus", "flood 1000 Hold * why rated",
                                      "flood 1000 Verify *")):
            peer.send(line)
        # Root is answered in the midst of it.
        check(client(m).ask("Reload") == "ok", "root is not answered")
        for peer in peers:
            check(peer.read().startswith("ok "), "no answers")
            peer.leave()
        wait_for("two decisions", lambda: len(decisions(m, first)) >= 2)
        longest = max(d["interval_s"] for d in decisions(m, first))
        check(longest < 1.0, f"an interval of {longest} s instead of 0.5 s")

    undisturbed(run)


# -- what is told -----------------------------------------------------------------------------------


def introspect(m, path):
    """{interface: {member: (kind, types, annotation)}} of an object."""
    text = m.capture(["busctl", f"--address={m.bus_address}", "introspect", "--xml-interface",
                      "org.cofris1", path]).stdout
    found = {}
    for interface in xml.etree.ElementTree.fromstring(text).findall("interface"):
        name = interface.get("name")
        if not name.startswith("org.cofris1."):
            continue
        members = found.setdefault(name, {})
        for p in interface.findall("property"):
            emits = {a.get("name"): a.get("value") for a in p.findall("annotation")}.get(
                "org.freedesktop.DBus.Property.EmitsChangedSignal", "true")
            check(p.get("access") == "read", f"{name}.{p.get('name')} can be written")
            members[p.get("name")] = ("property", p.get("type"),
                                      {"true": "signalled", "const": "never", "false": ""}[emits])
        for p in interface.findall("method"):
            ways = [" ".join(f"{a.get('type')} {a.get('name')}" for a in p.findall("arg")
                             if a.get("direction") == way) for way in ("in", "out")]
            members[p.get("name")] = ("method", *ways)
        for p in interface.findall("signal"):
            members[p.get("name")] = ("signal",)
    return found


def documented():
    """The same of docs/dbus.md."""
    found, kind = {}, None
    with open(os.path.join(SOURCE, "docs", "dbus.md"), encoding="utf-8") as f:
        for line in f:
            cells = [c.strip() for c in line.strip().strip("|").split("|")]
            if line.startswith("### org.cofris1."):
                members = found.setdefault(line.split()[1], {})
            elif line.startswith("#"):
                members = None
            elif line.startswith(("| property |", "| method |")):
                kind = cells[0]
            elif not line.startswith("|"):
                kind = None
            elif kind and members is not None and not line.startswith("|---"):
                for name in re.findall(r"`(\w+)`", cells[0]):
                    members[name] = row(kind, cells)
    return found


def row(kind, cells):
    if kind == "property":
        return ("property", cells[1].strip("`"), cells[2])
    return ("method", *(cell.replace("`", "").replace(",", "") for cell in cells[1:3]))


@case()
def the_page_tells_what_is_there(m):
    start(m)
    wait_for("a card's object", lambda: gpu(m)["name"])
    there = {}
    for path in ("/org/cofris1", "/org/cofris1/gpu/_30000_3a43_3a00_2e0",
                 "/org/cofris1/model/resnet50"):
        there.update(introspect(m, path))
    page = documented()
    check(set(page) == set(there), f"{set(page)} are told of, {set(there)} are there")
    for interface, members in there.items():
        check(len(members) > 5, f"{interface}: {members}")
        for name in sorted(set(members) | set(page[interface])):
            check(page[interface].get(name) == members.get(name),
                  f"{interface}.{name}: docs/dbus.md has {page[interface].get(name)}, "
                  f"the daemon {members.get(name)}")


class Watch:
    """PropertiesChanged of the daemon: {path: [{property: value}]}."""

    def __init__(self, m):
        self.child = subprocess.Popen(
            ["busctl", f"--address={m.bus_address}", "--json=short", "monitor",
             "--match=type='signal',interface='org.freedesktop.DBus.Properties'"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        m.children.append(self.child)
        self.child.stderr.readline()  # "Monitoring bus message stream."
        self.seen = []
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        for line in self.child.stdout:
            message = json.loads(line)
            changed = {k: v["data"] for k, v in message["payload"]["data"][1].items()}
            self.seen.append((message["path"], message["payload"]["data"][0], changed,
                              message.get("timestamp-realtime", 0)))

    def last(self, interface, name):
        values = [c[name] for _, i, c, _ in list(self.seen) if i == interface and name in c]
        return values[-1] if values else None


@case()
def changes_are_signalled(m):
    start(m)
    wait_for("a card", lambda: gpu(m)["name"])
    watch = Watch(m)
    m.start_worker("--rate", "40")
    wait_for("governed", lambda: watch.last("org.cofris1.GPU", "MaxMHz"))
    wait_for("the rate", lambda: (watch.last("org.cofris1.Model", "Rps") or 0) > 10)
    peer = client(m)
    cookie = hold(peer, "Hold resnet50 a-benchmark full-speed")
    wait_for("the hold", lambda: watch.last("org.cofris1.Manager", "Holds")
             == [[cookie, "resnet50", "full-speed", "a-benchmark", 0, "bus-peer"]])
    wait_for("its effect", lambda: watch.last("org.cofris1.GPU", "Reason") == "hold")
    check(peer.ask(f"Pause {BDF[0]} why yes 0") == "ok 0", "paused")
    wait_for("the pause", lambda: watch.last("org.cofris1.Manager", "Paused") is True
             and watch.last("org.cofris1.GPU", "StateReason") == "paused")
    check(peer.ask("Resume *") == "ok", "resumed")
    wait_for("its end", lambda: watch.last("org.cofris1.Manager", "Paused") is False)
    # Only what has changed: of a property no value comes twice running.
    before = {}
    for path, interface, changed, _ in list(watch.seen):
        check(changed, f"{interface}: a signal of nothing")
        for name, value in changed.items():
            check(before.get((path, name), ...) != value, f"{interface}.{name}: {value} again")
            before[path, name] = value


@case()
def changes_are_signalled_between_ticks_that_are_far_apart(m):
    start(m, daemon="poll_interval = 2500ms")
    wait_for("a card", lambda: gpu(m)["name"])
    watch = Watch(m)
    peer = client(m)
    check(peer.ask(f"Pause {BDF[0]} why yes 0") == "ok 0", "paused")
    wait_for("the pause", lambda: watch.last("org.cofris1.Manager", "Paused") is True
             and watch.last("org.cofris1.GPU", "StateReason") == "paused")


@case()
def a_reload_of_no_text_is_answered(m):
    """A file's bytes are quoted in the answer, and a bus carries UTF-8 alone."""
    start(m)
    peer = client(m)
    path = m.write_config()
    with open(path, "rb") as f:
        good = f.read()
    for line in (b"pol\xf6 = 1", b"mode = " + 39 * b"x" + 21 * "\u00f6".encode(), b"mode = \x1b[31m"):
        with open(path, "wb") as f:
            f.write(good.replace(b"allow_simulated", line + b"\nallow_simulated"))
        answer = peer.ask("Reload")
        check(answer.startswith("error org.cofris1.Error.Config: "), f"{line}: {answer}")
        error = m.status()["config_error"]
        check(f"{path}:2: " in error and error.isascii() and error.isprintable(), error)
    with open(path, "wb") as f:
        f.write(good)
    check(peer.ask("Reload") == "ok", "a good one again")
    check(m.status()["config_error"] is None, "no error any more")


if __name__ == "__main__":
    main()
