# SPDX-License-Identifier: Apache-2.0
"""Floods by strangers, over the bus and over the workers' socket: the ticks keep their rhythm,
memory and descriptors are bounded, and whoever is served stays served."""

import os
import socket
import struct
import sys
import time

sys.path.insert(0, os.path.join(os.environ["COFRIS_SOURCE"], "tests", "support"))
from bus_client import BusClient, BusError  # noqa: E402
from machine import BDF, case, check, main, undisturbed, wait_for  # noqa: E402
from raw_worker import (HELLO_SIZE, REFUSE, WELCOME, connect, hello, receive,  # noqa: E402
                        skip_announcements)
from watcher import (STRANGER_UID, Watcher, descriptors, end_flood, memory_kb,  # noqa: E402
                     start_flood)

POLL_S = 0.1
WATCHED_S = 3


def lowered(m):
    card = m.card()
    return card["perf_level"] == "manual" and card["soft_high_mhz"] < 1725


def governed(m, **config):
    config.setdefault("daemon", f"poll_interval = {int(POLL_S * 1000)}ms")
    _, daemon = m.setup(**config)
    worker = m.start_worker("--rate", "40", "--duration", "600s")
    watcher = Watcher(m)

    def settled():
        watcher.beat()
        return lowered(m) and m.status()["gpus"][0]["models"][0]["workers"] == 2

    wait_for("a governed worker", settled)
    return daemon, worker, watcher


def outlast_bus_flood(m, mode, connections=8):
    daemon, worker, watcher = governed(m)

    def compare():
        quiet, _ = watcher.watch(WATCHED_S)
        kb, n_fds = memory_kb(daemon.pid), descriptors(daemon.pid)
        flood = start_flood(m, f"{m.dir}/bus", mode, connections)
        flooded, longest = watcher.watch(WATCHED_S)
        grown = memory_kb(daemon.pid) - kb
        counts = end_flood(flood)
        print(f"{mode}: {counts[0]} calls, {counts[1]} answered in {WATCHED_S} s; ticks {quiet} -> "
              f"{flooded}, {longest * 1000:.0f} ms without; {grown} KiB more")
        check(flooded >= 0.8 * quiet, f"the ticks keep their rhythm: {quiet} -> {flooded}")
        check(grown < 8192, f"memory is bounded: {grown} KiB more")
        check(descriptors(daemon.pid) == n_fds, "no descriptor more")
        return counts

    counts = undisturbed(compare)
    watcher.beat()
    check(daemon.poll() is None and worker.poll() is None, "both live")
    check(lowered(m), "governed all the while")
    return counts


@case()
def a_flood_of_questions_on_the_bus_delays_no_tick(m):
    _, answered, errors = outlast_bus_flood(m, "read")
    check(answered > 100 and errors > 0, "questions are answered, wrong ones by errors")


@case()
def a_flood_of_denied_orders_on_the_bus_delays_no_tick(m):
    found = m.stat()["cards"][0]["cap_uw"]
    _, answered, errors = outlast_bus_flood(m, "denied")
    check(answered > 100, "orders are answered")
    check(errors == answered, f"each with an error: {errors} of {answered}")
    check(m.stat()["cards"][0]["cap_uw"] == found, "the power cap is as found")
    check("Configuration loaded again" not in m.log("cofrisd"), "nothing was loaded")


@case()
def callers_that_read_no_answer_cost_the_daemon_nothing(m):
    daemon, worker, watcher = governed(m)

    def compare():
        quiet, _ = watcher.watch(WATCHED_S)
        flood = start_flood(m, f"{m.dir}/bus", "deaf", 16)
        flooded, longest = watcher.watch(WATCHED_S)
        kb = memory_kb(daemon.pid)
        watcher.watch(2 * WATCHED_S)
        grown = memory_kb(daemon.pid) - kb
        sent = end_flood(flood)[0]
        print(f"{sent} calls; ticks {quiet} -> {flooded}, {longest * 1000:.0f} ms without; "
              f"{grown} KiB more")
        check(sent > 1000, "it was a flood")
        check(flooded >= 0.8 * quiet, f"the ticks keep their rhythm: {quiet} -> {flooded}")
        # What waits for the bus is bounded: it grows no more.
        check(grown < 1024, f"memory grows: {grown} KiB more")

    undisturbed(compare)
    with BusClient(f"{m.dir}/bus") as bus:

        def answers():
            # The bus first takes what it had been left to.
            try:
                return bus.call("GetStatus")
            except BusError:
                return None

        wait_for("it answers as before", answers)
    check(daemon.poll() is None and worker.poll() is None, "both live")


HOSTILE_TEXTS = ["", "*", "x" * 39 + "\u00e9", "x" * 40 + "\u00e9", "\x1b[31mred", "\u202e", "a\nb",
                 "../../etc/passwd", "%s%n", "0000:43:00.0\x01", "r" * 1000000]


@case()
def hostile_texts_on_the_bus_are_answered(m):
    daemon, _, watcher = governed(m)
    n_errors = 0
    with BusClient(f"{m.dir}/bus") as bus:
        for text in HOSTILE_TEXTS:
            for member, signature, args in (
                    ("GetTable", "s", (text,)), ("Explain", "ssd", ("*", text, 1.0)),
                    ("Explain", "ssd", (text, "*", 1.0)), ("GetDecisions", "ssu", (text, "*", 1)),
                    ("SetPowerCap", "st", (text, 1)), ("Explain", "ssd", ("*", "*", float("inf"))),
                    ("GetTable", "u", (1,)), ("NoSuchMethod", "s", (text,))):
                watcher.beat()
                try:
                    bus.call(member, signature, args)
                    check(text == "*", f"{member}({text[:50]!r}) is an error")
                except BusError as e:
                    n_errors += 1
                    check(all(c.isprintable() and c.isascii() for c in e.args[1] or ""),
                          f"nothing of it is repeated: {e}")
        check(n_errors > 7 * len(HOSTILE_TEXTS), f"errors: {n_errors}")
        check(bus.call("GetStatus"), "and then an answer")
    check(daemon.poll() is None, "the daemon lives")


@case()
def huge_messages_on_the_bus_are_not_kept(m):
    daemon, worker, watcher = governed(m)
    size = 8 << 20
    before = memory_kb(daemon.pid)
    buses = [BusClient(f"{m.dir}/bus") for _ in range(4)]
    for _ in range(5):
        for bus in buses:
            watcher.beat()
            try:
                bus.call("GetTable", "s", ("r" * size,))
                check(False, "no such model")
            except BusError as e:
                check(e.args[0] == "org.cofris1.Error.NoSuchModel", str(e))
    grown = memory_kb(daemon.pid) - before
    # One at a time is read, into a buffer that grows with it.
    check(grown < 3 * size >> 10, f"one message at most: {grown} KiB more")
    check(daemon.poll() is None and worker.poll() is None, "both live")


# channel/channel-layout.h: where the shards and their histograms are, and how long each is.
SHARDS, SHARD_AT, SHARD_SIZE, HISTOGRAMS_AT, MEMORY_SIZE = 64, 8192, 256, 24832, 884 * 4096


@case()
def workers_that_touch_every_page_delay_no_tick(m):
    """All connections that a user may have, each with counts in every shard and every bucket."""
    daemon, worker, watcher = governed(m)

    def compare():
        quiet, _ = watcher.watch(WATCHED_S)
        kb = memory_kb(daemon.pid, "RssAnon")
        hogs = [Watcher(m) for _ in range(62)]
        full = struct.pack("<Q", 1) * ((MEMORY_SIZE - HISTOGRAMS_AT) // 8)
        for hog in hogs:
            os.pwrite(hog.memory, full, HISTOGRAMS_AT)

        def serve():
            for hog in hogs:
                counts = struct.pack("<7Q", *([served] * 3), 0, 0, served, served * 1000000)
                for shard in range(SHARDS):
                    os.pwrite(hog.memory, counts, SHARD_AT + shard * SHARD_SIZE)
                hog.beat()

        served = 1
        serve()
        busy, longest = watcher.watch(WATCHED_S / 2)
        served = 2
        serve()
        rest, longest2 = watcher.watch(WATCHED_S / 2)
        busy += rest
        grown = memory_kb(daemon.pid, "RssAnon") - kb
        shared = memory_kb(daemon.pid, "RssShmem")
        for hog in hogs:
            hog.leave()
        print(f"ticks {quiet} -> {busy}, {max(longest, longest2) * 1000:.0f} ms without; {grown} KiB "
              f"more, {shared} KiB shared")
        check(busy >= 0.8 * quiet, f"the ticks keep their rhythm: {quiet} -> {busy}")
        check(grown < 8192, f"memory of its own is bounded: {grown} KiB more")
        check(shared <= 64 * MEMORY_SIZE >> 10, f"shared memory is what was given: {shared} KiB")

        def as_before():
            watcher.beat()
            return m.status()["workers"] == 2

        wait_for("as before", as_before)

    undisturbed(compare)
    check(daemon.poll() is None and worker.poll() is None, "both live")
    wait_for("a lowered clock", lambda: (watcher.beat(), lowered(m))[1])


def strangers_and_friends(m):
    return governed(m, text="[daemon]\nallow_simulated = yes\n"
                    f"poll_interval = {POLL_S * 1000:.0f}ms\n"
                    "max_connections = 40\nmax_connections_per_user = 8\n"
                    f"[gpu {BDF[0]}]\n[model resnet50]\nallow = 2 3\n")


def as_user(uid, function):
    """Runs function in a child of that user; it must return bytes."""
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.setgroups([])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
            os.write(w, function())
            status = 0
        finally:
            os._exit(status)
    os.close(w)
    with os.fdopen(r, "rb") as f:
        result = f.read()
    check(os.waitpid(pid, 0)[1] == 0, f"the child of uid {uid}")
    return result


def connect_as(m, uid, n):
    """n connections of that user, which stay open in this process."""
    ours, theirs = socket.socketpair()

    def connections():
        for _ in range(n):
            s = connect(m)
            socket.send_fds(theirs, [b"x"], [s.fileno()])
            s.close()
        return b"done"

    check(as_user(uid, connections) == b"done", "connected")
    found = []
    for _ in range(n):
        fd = socket.recv_fds(ours, 1, 1)[1][0]
        found.append(socket.socket(fileno=fd))
        found[-1].settimeout(60)
    return found


@case()
def strangers_leave_room_for_workers(m):
    """However many users they are, and however often they come again."""
    daemon, worker, watcher = strangers_and_friends(m)
    n_fds = descriptors(daemon.pid)
    strangers = [s for uid in range(10, 18) for s in connect_as(m, uid, 8)]
    # Who is allowed comes after them all, and is served before they have been thrown out.
    friends = connect_as(m, 2, 8) + connect_as(m, 3, 8)
    for s in friends:
        s.send(hello())
        kind, _, fds = receive(s)
        for fd in fds:
            os.close(fd)
        check(kind == WELCOME, "a worker of an allowed user is welcome")
    more = connect_as(m, 2, 1)[0]
    check(skip_announcements(more)[0] == REFUSE, "but no more than its share")
    watcher.beat()
    for s in strangers:
        check(receive(s)[0] in (0, REFUSE), "strangers are refused or hung up on")
    check(m.log("cofrisd").count("Refused a connection") < 16, "the journal is not flooded")
    for s in strangers + friends + [more]:
        s.close()

    def as_before():
        watcher.beat()
        return m.status()["workers"] == 2 and descriptors(daemon.pid) == n_fds

    wait_for("as before", as_before)
    check(daemon.poll() is None and worker.poll() is None, "both live")


def storm(m, uid, seconds):
    """As many connections as it can make, each with a message of another kind."""
    def connections():
        messages = [b"x", hello(), hello(model=b"unknown"), hello()[:100], b"\xff" * HELLO_SIZE]
        until, n = time.monotonic() + seconds, 0
        held = []
        while time.monotonic() < until:
            s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            s.setblocking(False)
            try:
                s.connect(m.worker_socket)
                s.send(messages[n % len(messages)])
                n += 1
            except OSError:
                pass
            held.append(s)
            if len(held) > 64:
                held.pop(0).close()
        return str(n).encode()

    return as_user(uid, connections)


@case()
def a_storm_of_connections_delays_no_tick(m):
    daemon, worker, watcher = governed(m)

    def compare():
        quiet, _ = watcher.watch(WATCHED_S)
        kb, n_fds, log = memory_kb(daemon.pid), descriptors(daemon.pid), len(m.log("cofrisd"))
        r, w = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.write(w, storm(m, STRANGER_UID, WATCHED_S + 1))
            os._exit(0)
        os.close(w)
        flooded, longest = watcher.watch(WATCHED_S)
        grown = memory_kb(daemon.pid) - kb
        os.waitpid(pid, 0)
        with os.fdopen(r) as f:
            n = int(f.read())
        print(f"{n} connections; ticks {quiet} -> {flooded}, {longest * 1000:.0f} ms without; "
              f"{grown} KiB more")
        check(n > 300, "it was a storm")
        check(flooded >= 0.8 * quiet, f"the ticks keep their rhythm: {quiet} -> {flooded}")
        check(grown < 4096, f"memory is bounded: {grown} KiB more")
        check(len(m.log("cofrisd")) - log < 4096, "so is what is written to the journal")

        def as_before():
            watcher.beat()
            return descriptors(daemon.pid) <= n_fds

        wait_for("all descriptors closed", as_before)

    undisturbed(compare)
    watcher.beat()
    check(daemon.poll() is None and worker.poll() is None, "both live")
    check(lowered(m), "governed all the while")


if __name__ == "__main__":
    main()
