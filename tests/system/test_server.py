# SPDX-License-Identifier: Apache-2.0
"""A server in Python that is not made for cofris, on Debian's unmodified ROCr and HIP and simulated
cards: HSA_TOOLS_LIB=libcofris-hsa.so COFRIS_MODEL=resnet50 python3 server.py. It follows masks by
its environment alone; where it is to be governed it counts its requests by libcofris.so."""

import ctypes
import os
import signal
import subprocess
import sys
import threading

sys.path.insert(0, os.path.join(os.environ["COFRIS_SOURCE"], "tests", "support"))
from machine import BDF, BIN, BUILD, PATIENCE_S, SOURCE, case, check, main, wait_for  # noqa: E402
from publisher import Publisher  # noqa: E402

TOOL = os.path.join(BUILD, "lib", "libcofris-hsa.so")
CLIENT = os.path.join(BUILD, "lib", "libcofris.so.0")
CODE = os.path.join(BUILD, "tests", "hsa", "kernels.co")
MASKS = ["4 8", "1 1", "2 15", "4 1", "0 0", "3 5", "1 15", "4 14", "2 2", "0 0"]
FULL_MHZ = 1725
LOAD = (8, 30, 60, 15)  # of 123 a second

if not all(map(os.path.exists, (CODE, os.path.join(BUILD, "lib", "sim", "libhsakmt.so.1")))):
    print("built without HIP or without the simulated HSA")
    sys.exit(77)


class Server:
    """tests/support/server.py"""

    def __init__(self, m, *options, socket, env=None, name="server"):
        self.m, self.name = m, name
        m.logs[name] = os.path.join(m.dir, f"{name}.log")
        with open(m.logs[name], "ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, os.path.join(SOURCE, "tests", "support", "server.py"), "--model",
                 os.path.join(SOURCE, "profiles", "models", "resnet50.ini"), "--code", CODE,
                 *options], text=True, bufsize=1, stdin=subprocess.PIPE, stdout=out, stderr=out,
                env={**os.environ, "HSA_TOOLS_LIB": TOOL, "COFRIS_MODEL": "resnet50",
                     "COFRIS_SOCKET": socket, **(env or {})})
        m.children.append(self.process)

    def tell(self, line):
        self.process.stdin.write(line + "\n")

    def lines(self):
        return [x for x in self.m.log(self.name).splitlines() if x.startswith("begun=")]

    def counts(self):
        before = len(self.lines())
        self.tell("counts")
        wait_for("counts", lambda: len(self.lines()) > before)
        return self.last_counts()

    def last_counts(self):
        return {k: int(v) for k, v in (x.split("=") for x in self.lines()[-1].split())}

    def wait_until_ready(self):
        wait_for("the server serves", lambda: "ready" in self.m.log(self.name)
                 or self.process.poll() is not None)
        check(self.process.poll() is None, f"the server ended: {self.m.log(self.name)}")

    def ends_well(self):
        self.process.send_signal(signal.SIGTERM)
        check(self.process.wait(PATIENCE_S) == 0, f"the server ends well: {self.m.log(self.name)}")
        c = self.last_counts()
        check(c["begun"] == c["ended"] > 0, f"no request is lost: {c}")
        check(c["wrong"] == c["errors"] == 0, f"every byte is right: {c}")
        return c


@case()
def a_python_server_follows_ten_masks_by_its_environment(m):
    publisher = Publisher(m)
    server = Server(m, socket=publisher.socket)
    publisher.take_worker()
    server.wait_until_ready()
    waited = []
    for mask in MASKS:
        queues, us = publisher.publish(mask)
        check(queues >= 1, f"{mask}: the stream's queue is changed")
        waited.append(us)
        wanted = server.counts()["ended"] + 5
        wait_for(f"requests under {mask}", lambda w=wanted: server.counts()["ended"] >= w, period=0.05)
    total = server.ends_well()
    print(f"{len(MASKS)} masks, {total['ended']} requests; acknowledged after "
          f"{sorted(waited)[len(waited) // 2]} us, at most {max(waited)} us (simulated)")


def gpus(m):
    return {g["bdf"]: g for g in m.status()["gpus"]}


def workers_of(m, bdf=BDF[0]):
    """The server's two connections to a card: what follows, and what counts."""
    both = gpus(m)[bdf]["worker_list"]
    return ([w for w in both if w["follows"] == ["cu-mask"]], [w for w in both if not w["follows"]])


def judged_rightly(m, server, bdf=BDF[0]):
    """Both connections are the server's, and neither keeps the other from being masked."""
    follows, counts = workers_of(m, bdf)
    check(len(follows) == 1 and len(counts) == 1, f"two connections: {follows} {counts}")
    for w in follows + counts:
        check(w["pid"] == server.process.pid and w["model"] == "resnet50", w)
        check(w["clock_alone"] is None, w)
    # What only counts has no mask to show, neither one nor all CUs.
    for key in ("wanted", "acknowledged"):
        check(counts[0][key] is None or counts[0][key]["shape"] is None, counts)
    return follows[0]


def is_followed(m, bdf=BDF[0]):
    """The directive that is wanted of the server and acknowledged by it, if it is one and the same."""
    return followed(gpus(m)[bdf]["worker_list"])


def followed(workers):
    w = next((w for w in workers if w["follows"] == ["cu-mask"]), None)
    ack = w and w["acknowledged"]
    return ack if ack and ack["epoch"] == w["wanted"]["epoch"] else None


def is_masked(m, bdf=BDF[0]):
    ack = is_followed(m, bdf)
    return ack and ack["cus"] < 60


def model(m, bdf=BDF[0]):
    return gpus(m)[bdf]["models"][0]


def settled(m, low, high):
    """The configuration with demand in between, planned for and followed; else None."""
    card = gpus(m)[BDF[0]]
    now, ack = card["models"][0], followed(card["worker_list"])
    planned = now["input"] == "ok" and now["reason"] in ("demand", "dwell")
    if planned and low < now["rate_rps"] < high and ack and card["max_mhz"]:
        return {"mhz": card["max_mhz"], "cus": ack["cus"], "rate": now["rate_rps"]}
    return None


def lowered(configuration):
    return configuration if configuration and configuration["mhz"] < FULL_MHZ else None


# Slowed down, so that a busy host, too, serves the load.
@case(sim=["--gating", "cu", "--time-scale", "2"])
def a_python_server_is_governed_by_clock_and_cus(m):
    _, daemon = m.setup(scale=2, extra="gating = cu\n", model_extra="policy = coordinated\n")
    found = m.baseline()
    server = Server(m, "--count", CLIENT, "--rate", "10", socket=m.worker_socket)
    server.wait_until_ready()
    seen = []
    for rate in LOAD:
        server.tell(f"rate {rate}")
        wait_for(f"{rate} requests a second", lambda r=rate: settled(m, 0.6 * r, 1.3 * r))
        since = gpus(m)[BDF[0]]["decisions"]
        wait_for("ten decisions", lambda s=since: gpus(m)[BDF[0]]["decisions"] > s + 10)
        seen.append(wait_for(f"{rate} a second with a lower clock",
                             lambda r=rate: lowered(settled(m, 0.6 * r, 1.3 * r))))
        judged_rightly(m, server)
    check(len({x["cus"] for x in seen}) > 2 and min(x["cus"] for x in seen) < 60,
          f"the CUs follow the load: {seen}")
    check("has not acknowledged" not in m.log("cofrisd"), m.log("cofrisd"))
    text = m.capture([os.path.join(BIN, "cofrisctl"), "--bus", m.bus_address, "status"]).stdout
    check("does not follow masks" not in text, text)
    total = server.ends_well()
    wait_for("no worker is left", lambda: model(m)["workers"] == 0)
    wait_for("the card as found", lambda: m.baseline() == found)
    daemon.terminate()
    check(daemon.wait(PATIENCE_S) == 0, "a clean stop exits 0")
    print(f"{total['ended']} requests: {seen} (simulated)")


@case(count=2, sim=["--gating", "cu"])
def a_python_server_on_two_cards_follows_on_both(m):
    sections = "".join(f"[gpu {bdf}]\nenabled = yes\ngating = cu\n" for bdf in BDF[:2])
    m.setup(text="[daemon]\nallow_simulated = yes\n" + sections
            + "[model resnet50]\nslo = 2.0x\nallow = 0\npolicy = coordinated\n")
    found = [m.baseline(i) for i in range(2)]
    server = Server(m, "--cards", "0,1", "--count", CLIENT, "--rate", "60", socket=m.worker_socket)
    server.wait_until_ready()
    for bdf in BDF[:2]:
        wait_for(f"fewer CUs on {bdf}", lambda b=bdf: is_masked(m, b))
        judged_rightly(m, server, bdf)
    server.ends_well()
    wait_for("both cards as found", lambda: [m.baseline(i) for i in range(2)] == found)


def documented():
    """What libcofris-hsa(7) shows a server in Python to do."""
    with open(os.path.join(SOURCE, "docs", "libcofris-hsa.7.scd")) as f:
        code = next(x for x in f.read().split("```\n") if x.startswith("import ctypes"))
    ctypes.CDLL(CLIENT)  # so that its soname alone is enough
    names = {}
    exec(code, names)
    return names


def count(serve, stop):
    """Some 60 requests a second, of the 246 that are rated."""
    while not stop.wait(1 / 60):
        serve(lambda: None)


@case(sim=["--gating", "cu"])
def a_program_beside_the_server_may_count_for_it(m):
    m.setup(extra="gating = cu\n", model_extra="policy = coordinated\n")
    server = Server(m, "--rate", "60", socket=m.worker_socket)
    server.wait_until_ready()
    wait_for("the rated rate, as nobody counts", lambda: model(m)["input"] == "missing-input"
             and is_followed(m))
    os.environ["COFRIS_SOCKET"] = m.worker_socket
    names, stop = documented(), threading.Event()
    thread = threading.Thread(target=count, args=(names["serve"], stop))
    thread.start()
    try:
        wait_for("fewer CUs", lambda: model(m)["input"] == "ok" and is_masked(m))
        follows, counts = workers_of(m)
        check(follows[0]["pid"] == server.process.pid and counts[0]["pid"] == os.getpid(), counts)
        check(follows[0]["clock_alone"] is None and counts[0]["clock_alone"] is None, counts)
    finally:
        stop.set()
        thread.join()
        names["cofris"].cofris_close(names["channel"])
    wait_for("the rated rate again", lambda: model(m)["input"] == "missing-input")
    server.ends_well()


if __name__ == "__main__":
    main()
