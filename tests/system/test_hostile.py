# SPDX-License-Identifier: Apache-2.0
"""Bad input from workers, files and the card's own sysfs: a clear error, and nothing lost."""

import os
import resource
import socket
import struct
import sys

sys.path.insert(0, os.path.join(os.environ["COFRIS_SOURCE"], "tests", "support"))
from machine import BDF, BIN, PATIENCE_S, Failure, case, check, main, wait_for, within  # noqa: E402
from raw_worker import (HELLO_SIZE, REFUSE, WELCOME, Liar, connect, hello, receive,  # noqa: E402
                        skip_announcements)

def governed(m):
    """A daemon with a good worker that must not notice anything."""
    _, daemon = m.setup()
    worker = m.start_worker("--rate", "40", "--duration", "600s")
    wait_for("a governed worker", lambda: m.status()["gpus"][0]["models"][0]["workers"] == 1
             and m.card()["soft_high_mhz"] < 1725)
    return daemon, worker


def still_fine(m, daemon, worker):
    gpu = m.status()["gpus"][0]
    before = gpu["decisions"]
    wait_for("further decisions", lambda: m.status()["gpus"][0]["decisions"] > before + 1)
    check(daemon.poll() is None, "the daemon lives")
    check(worker.poll() is None, "the good worker lives")
    check(m.status()["gpus"][0]["models"][0]["workers"] == 1, "only the good worker counts")


@case()
def workers_that_send_garbage_are_cut_off(m):
    daemon, worker = governed(m)
    for text in (b"x", b"\0" * HELLO_SIZE, os.urandom(HELLO_SIZE), hello()[:-1], hello() + b"\0",
                 hello(magic=1), hello(model=b"../../etc/passwd"), hello(model=b""),
                 hello(model=b"r" * 64), hello(slots=0), hello(slots=1 << 31),
                 hello(bdf=b"zzzz:43:00.0"), hello(size=1)):
        with connect(m) as s:
            s.send(text)
            kind, _, fds = receive(s)
            check(kind in (0, REFUSE) and not fds, f"cut off: {text[:40]}")
    still_fine(m, daemon, worker)


@case()
def a_wrong_version_is_named(m):
    daemon, worker = governed(m)
    with connect(m) as s:
        s.send(hello(version=9))
        kind, data, _ = receive(s)
        check(kind == REFUSE and b"version" in data, f"the refusal says why: {data}")
    still_fine(m, daemon, worker)


@case()
def an_unknown_model_and_card_are_refused_with_the_reason(m):
    daemon, worker = governed(m)
    for text, word in ((hello(model=b"unknown"), b"model"), (hello(bdf=b"0000:99:00.0"), b"99")):
        with connect(m) as s:
            s.send(text)
            kind, data, _ = receive(s)
            check(kind == REFUSE and word in data, f"the refusal says why: {data}")
    still_fine(m, daemon, worker)


@case()
def no_hello_within_a_second_is_a_hang_up(m):
    daemon, worker = governed(m)
    silent = []
    within(lambda: silent.append(connect(m)),
           ("hung up", 4, lambda: receive(silent[-1])[0] in (0, REFUSE)))
    for s in silent:
        s.close()
    still_fine(m, daemon, worker)


@case()
def a_second_hello_is_an_error(m):
    daemon, worker = governed(m)
    with connect(m) as s:
        s.send(hello())
        kind, _, fds = receive(s)
        check(kind == WELCOME and len(fds) == 2, "the first is welcome")
        for fd in fds:
            os.close(fd)
        s.send(hello())
        kind, _, _ = skip_announcements(s)
        check(kind in (0, REFUSE), "the second is not")
    still_fine(m, daemon, worker)


@case()
def a_punched_page_is_missing_input_not_zero_load(m):
    import ctypes

    daemon, worker = governed(m)
    libc = ctypes.CDLL(None, use_errno=True)
    with connect(m) as s:
        s.send(hello())
        kind, _, fds = receive(s)
        check(kind == WELCOME, "welcome")
        size = os.fstat(fds[0]).st_size
        # Page 1 is the worker's: a beat that moves, then a hole where it was.
        os.pwrite(fds[0], b"\1" * 8, 4096)
        wait_for("two workers", lambda: m.status()["gpus"][0]["models"][0]["workers"] == 2)
        os.pwrite(fds[0], b"\7" * 4096, 8192)
        r = libc.fallocate(fds[0], 3, ctypes.c_long(0), ctypes.c_long(size))
        check(r == 0, f"punched: errno {ctypes.get_errno()}")
        wait_for("missing input", lambda: m.status()["gpus"][0]["models"][0]["reason"]
                 == "missing-input")
        for fd in fds:
            os.close(fd)
    wait_for("its counts gone", lambda: m.status()["gpus"][0]["models"][0]["workers"] == 1)
    still_fine(m, daemon, worker)


@case()
def a_worker_that_wakes_for_nothing_is_named_and_ignored(m):
    m.setup()
    liar = Liar(m)

    def model():
        liar.beat()
        return m.status()["gpus"][0]["models"][0]

    def limit():
        liar.beat()
        return m.card()["soft_high_mhz"]

    wait_for("a lower clock", lambda: limit() < 1725)
    check(model()["wakes_ignored"] is None, "believed at first")
    liar.wake()
    wait_for("a boost", lambda: limit() == 1725, period=0.001)

    def lie():
        liar.wake()
        return model()["wakes_ignored"]

    blamed = wait_for("disbelief", lie, timeout=30)
    check(blamed == {"pid": os.getpid(), "instance": "hostile"}, f"it is named: {blamed}")
    worker = m.status()["gpus"][0]["worker_list"][0]
    check(worker["doubt"] == "its wakes contradict its counts", f"in the list: {worker}")
    text = m.capture([os.path.join(BIN, "cofrisctl"), "--bus", m.bus_address, "status"]).stdout
    check(f"pid {os.getpid()} (hostile)" in text, f"and in words: {text}")
    wait_for("the lower clock", lambda: limit() < 1725)
    for _ in range(20):
        liar.wake()
        check(limit() < 1725, "its wakes count no more")
    check(m.log("cofrisd").count("wakes count no more") == 1, "the journal says so once")
    liar.leave()
    wait_for("no worker", lambda: m.status()["gpus"][0]["models"][0]["input"] == "no-worker")
    m.start_worker("--rate", "40", "--duration", "600s")
    wait_for("others are believed", lambda: m.status()["gpus"][0]["models"][0]["workers"] == 1
             and m.status()["gpus"][0]["models"][0]["wakes_ignored"] is None)


@case()
def a_worker_whose_late_requests_have_no_latencies_is_named(m):
    daemon, worker = governed(m)
    liar = Liar(m)

    def model():
        liar.serve_late()
        return m.status()["gpus"][0]["models"][0]

    check(model()["late_ignored"] is None, "believed at first")
    blamed = wait_for("disbelief", lambda: model()["late_ignored"], timeout=30)
    check(blamed == {"pid": os.getpid(), "instance": "hostile"}, f"it is named: {blamed}")
    doubts = {w["pid"]: w["doubt"] for w in m.status()["gpus"][0]["worker_list"]}
    check(sorted(doubts.values(), key=str) == [None, "its late counts contradict its latencies"],
          f"and nobody else: {doubts}")
    text = m.capture([os.path.join(BIN, "cofrisctl"), "--bus", m.bus_address, "status"]).stdout
    check(f"pid {os.getpid()} (hostile)" in text, f"and in words: {text}")
    check(m.log("cofrisd").count("late requests count no more") == 1, "the journal says so once")
    liar.leave()
    wait_for("its counts gone", lambda: m.status()["gpus"][0]["models"][0]["workers"] == 1)
    # All that are left were there with it.
    check(m.status()["gpus"][0]["models"][0]["late_ignored"] is not None, "still")
    still_fine(m, daemon, worker)


@case()
def a_worker_that_claims_saturation_costs_power_and_nothing_else(m):
    daemon, worker = governed(m)
    found = m.baseline()
    for claims in (1000, 10**6, 10**12):
        liar = Liar(m)

        def full_speed():
            liar.serve(claims)
            model = m.status()["gpus"][0]["models"][0]
            return model["reason"] == "overload" and m.card()["soft_high_mhz"] == 1725

        wait_for(f"full speed for {claims} at once", full_speed)
        check(m.card()["cap_uw"] == found["cap_uw"], "the power cap is as found")
        liar.leave()
        wait_for("its counts gone", lambda: m.status()["gpus"][0]["models"][0]["workers"] == 1)
        wait_for("a lower clock without it", lambda: m.card()["soft_high_mhz"] < 1725)
    still_fine(m, daemon, worker)


@case()
def a_worker_with_invalid_counts_is_named(m):
    daemon, worker = governed(m)
    liar = Liar(m)

    def doubt():
        liar.beat()
        found = {w["pid"]: w["doubt"] for w in m.status()["gpus"][0]["worker_list"]}
        return found.get(os.getpid())

    # The first shard's page, full of counts that contradict each other.
    os.pwrite(liar.memory, b"\7" * 4096, 8192)
    wait_for("doubt", lambda: doubt() == "its counts are invalid")
    check(m.log("cofrisd").count(f"pid {os.getpid()} ('hostile')") == 1, "and once in the journal")
    liar.leave()
    wait_for("its counts gone", lambda: m.status()["gpus"][0]["models"][0]["workers"] == 1)
    still_fine(m, daemon, worker)


@case()
def three_hundred_connections_leave_the_daemon_alone(m):
    daemon, worker = governed(m)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024))
    sockets = []
    refused = 0
    for _ in range(300):
        try:
            s = connect(m)
        except OSError:
            refused += 1
            continue
        try:
            s.send(hello())
        except OSError:
            pass
        sockets.append(s)
    kinds = [skip_announcements(s)[0] for s in sockets]
    welcome = kinds.count(WELCOME)
    check(welcome <= 64, f"at most 64 connections of one user: {welcome}")
    check(refused + len(kinds) == 300, "every connection was answered")
    for s in sockets:
        s.close()
    wait_for("only the good worker", lambda: m.status()["gpus"][0]["models"][0]["workers"] == 1)
    still_fine(m, daemon, worker)
    check(len(os.listdir(f"/proc/{daemon.pid}/fd")) < 40, "no descriptor is left behind")


MALFORMED = [
    ("pp_dpm_sclk", "S: 132Mhz *\\n"),
    ("pp_dpm_sclk", "unavailable\\n"),
    ("pp_dpm_sclk", "garbage\\n"),
    ("pp_dpm_sclk", ""),
    ("pp_dpm_sclk", "".join(f"{i}: {900 + i}Mhz \\n" for i in range(40))),
    ("power1_average", ""),
    ("power1_average", "lots"),
    ("power_dpm_force_performance_level", ""),
    ("power_dpm_force_performance_level", "sideways"),
    ("gpu_busy_percent", ""),
    ("gpu_busy_percent", "200"),
    ("gpu_metrics", "xx"),
    ("power1_cap", "-1"),
    ("temp2_label", "elbow"),
]


CARDS = len(MALFORMED) // 2


def survives_malformed_files(m, backend):
    """Each content on a card of its own while it is governed: the actuator must not die of it, and
    the daemon governs again once the file is whole."""
    m.start_bus()
    m.surface()
    m.write_config(gpu="*")
    actuator = m.start_actuator(backend=backend)
    daemon = m.start_daemon()
    workers = [m.start_worker("--rate", "40", "--duration", "600s", gpu=bdf, name=f"worker{i}")
               for i, bdf in enumerate(BDF[:CARDS])]

    def gpus():
        by_bdf = {g["bdf"]: g for g in m.status()["gpus"]}
        return [by_bdf[bdf] for bdf in BDF[:CARDS]]

    def not_governed():
        return [i for i, (card, gpu) in enumerate(zip(m.stat()["cards"], gpus()))
                if card["perf_level"] != "manual" or card["soft_high_mhz"] == 1725
                or gpu["models"][0]["reason"] not in ("demand", "dwell", "idle")]

    wait_for("governed", lambda: not not_governed())
    for contents in (MALFORMED[:CARDS], MALFORMED[CARDS:]):
        for i, (file, content) in enumerate(contents):
            m.fault(f"content:{i}:{file}:{content}")
            check(actuator.poll() is None, f"the actuator survives {file} = '{content[:20]}'")
        before = [g["decisions"] for g in gpus()]
        wait_for(f"three decisions for each with {contents}",
                 lambda: all(g["decisions"] >= n + 3 for g, n in zip(gpus(), before)))
        check(actuator.poll() is None, f"the actuator survives each of {contents}")
        check(daemon.poll() is None, "so does the daemon")
        m.heal()
        try:
            wait_for("governed again", lambda: not not_governed())
        except Failure:
            raise Failure(f"not governed again after {[contents[i] for i in not_governed()]}")
    check(all(w.poll() is None for w in workers), "the workers never noticed")


@case(count=CARDS)
def malformed_card_files_do_not_kill_the_rsmi_backend(m):
    survives_malformed_files(m, "rsmi")


@case(count=CARDS)
def malformed_card_files_do_not_kill_the_sysfs_backend(m):
    survives_malformed_files(m, "sysfs")


# actuator/protocol.h
ACTUATOR_MAGIC, LIST, CLAIM, SET = 0x52464F43, 1, 2, 3


def ask_actuator(s, operation, size=56, magic=ACTUATOR_MAGIC):
    """Sends one request and returns the reply's error, or None if hung up on."""
    s.send(struct.pack("<IHHII16sIIIIQ", magic, 1, operation, 1, 0, BDF[0].encode(), 0, 0, 1282,
                       5000, 0)[:size])
    try:
        data = s.recv(4096)
    except ConnectionResetError:
        return None
    return struct.unpack_from("<IHHIi", data)[4] if data else None


def actuator(m):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.settimeout(PATIENCE_S)
    s.connect(m.actuator_socket)
    return s


@case()
def malformed_files_at_start_do_not_kill_the_actuator(m):
    # auto: rsmi, or sysfs where the library cannot start (it refuses an unknown temperature label).
    for backend in ("sysfs", "auto"):
        for file, content in MALFORMED:
            m.fault(f"content:0:{file}:{content}")
            child = m.start_actuator(backend=backend)
            with actuator(m) as s:
                for operation in (LIST, CLAIM, SET):
                    check(ask_actuator(s, operation) is not None,
                          f"{backend} answers with {file} = '{content[:20]}'")
            check(child.poll() is None, f"{backend} survives {file} = '{content[:20]}'")
            child.terminate()
            check(child.wait(PATIENCE_S) == 0, "and stops cleanly")
            m.heal()


HOLD_MUTEX = """
import ctypes, mmap, os, signal
os.setresgid(1, 1, 1), os.setresuid(1, 1, 1)
libc = ctypes.CDLL(None)
os.umask(0)
fd = os.open("/dev/shm/rocm_smi_card0", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
os.ftruncate(fd, 40)
mutex = (ctypes.c_char * 40).from_buffer(mmap.mmap(fd, 40))
kind = ctypes.create_string_buffer(64)
assert libc.pthread_mutexattr_init(kind) == 0
assert libc.pthread_mutexattr_settype(kind, 1) == 0       # recursive
assert libc.pthread_mutexattr_setpshared(kind, 1) == 0
assert libc.pthread_mutexattr_setrobust(kind, 1) == 0
assert libc.pthread_mutex_init(mutex, kind) == 0
assert libc.pthread_mutex_lock(mutex) == 0
print("held", flush=True)
signal.pause()
"""


@case()
def a_stranger_who_holds_the_librarys_mutex_stops_nothing(m):
    holder = m.spawn("holder", ["/usr/bin/python3", "-c", HOLD_MUTEX])
    wait_for("the mutex", lambda: "held" in m.log("holder"))
    m.start_bus()
    m.surface()
    m.write_config()
    actuator = m.start_actuator(backend="auto")
    found = m.baseline()
    wait_for("sysfs", lambda: "using sysfs" in m.log("actuator"))
    daemon = m.start_daemon()
    worker = m.start_worker("--rate", "40", "--duration", "600s")
    wait_for("governed", lambda: m.card()["soft_high_mhz"] < 1725)
    check(holder.poll() is None, "the mutex is held all the while")
    actuator.terminate()
    check(actuator.wait(PATIENCE_S) == 0, "and it stops cleanly")
    check(m.baseline() == found, "with the card as found")
    check(daemon.poll() is None and worker.poll() is None, "both live")


@case()
def garbage_on_the_actuators_socket_harms_nobody(m):
    child = m.start_actuator()
    found = m.baseline()
    with actuator(m) as owner:
        check(ask_actuator(owner, CLAIM) == 0 and ask_actuator(owner, SET) == 0, "an owner")
        for kind in ({"size": 55}, {"size": 1}, {"magic": 1}):
            with actuator(m) as s:
                check(ask_actuator(s, LIST, **kind) is None, f"hung up on: {kind}")
        with actuator(m) as s:
            check(ask_actuator(s, 99) in (None, -22), "an unknown operation")
        with actuator(m) as s:
            check(ask_actuator(s, CLAIM) == -16, "a second claim gets EBUSY")
            check(ask_actuator(s, SET) not in (0, None), "and may not set")
        check(m.card()["perf_level"] == "manual", "the owner keeps its setting")
    wait_for("baseline after the owner's hang-up", lambda: m.baseline() == found)
    check(child.poll() is None, "the actuator lives")


@case()
def bad_surfaces_are_refused_with_file_and_line(m):
    path = m.surface()
    m.start_bus()
    m.write_config()
    m.start_actuator()
    with open(path) as f:
        good = f.readlines()
    first_row = next(i for i, line in enumerate(good) if line.startswith("cell,"))
    variants = {
        "truncated": good[:first_row + 1] + [good[first_row + 1][:40]],
        "foreign": [line.replace("gfx906", "gfx90a") for line in good],
        "version": [line.replace("cofris-surface = 1", "cofris-surface = 99") for line in good],
        "nan": good[:first_row] + [good[first_row].replace(good[first_row].split(",")[5], "nan", 1)]
        + good[first_row + 1:],
        "duplicate": good + [good[first_row]],
        "huge": good + ["#" + "x" * 200 + "\n"] * 200000,
    }
    daemon = m.start_daemon()
    worker = m.start_worker("--rate", "40", "--duration", "600s")
    wait_for("governed", lambda: m.card()["soft_high_mhz"] < 1725)
    for name, lines in variants.items():
        with open(path, "w") as f:
            f.writelines(lines)
        result = m.capture([os.path.join(BIN, "cofrisctl"), "--bus", m.bus_address, "reload"],
                           check_exit=False)
        check(result.returncode != 0, f"{name}: the reload fails")
        check(path in result.stderr, f"{name}: the file is named: {result.stderr}")
        check(m.status()["gpus"][0]["models"][0]["table"] == "ok", f"{name}: the old table stays")
    check(daemon.poll() is None and worker.poll() is None, "all live")


@case()
def a_full_disk_keeps_the_old_surface(m):
    disk = os.path.join(m.dir, "disk")
    os.mkdir(disk)
    m.capture(["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", disk])
    path = os.path.join(disk, "resnet50.csv")
    with open(path, "w") as f:
        f.write("old\n")
    with open(os.path.join(disk, "filler"), "wb") as f:
        f.write(b"x" * 8192)
    m.start_actuator()
    found = m.baseline()
    result = m.capture([os.path.join(BIN, "cofris-profile"), "--model", "shufflenet", "--gpu", BDF[0],
                        "--actuator", m.actuator_socket, "--grid", "quick", "--cell-time", "100ms",
                        "--output", path], check_exit=False, timeout=170)
    check(result.returncode != 0, "the profile fails")
    check("No space left" in result.stderr and path in result.stderr, result.stderr[-500:])
    with open(path) as f:
        check(f.read() == "old\n", "the old file stays whole")
    check(m.baseline() == found, "the card is as found")


if __name__ == "__main__":
    main()
