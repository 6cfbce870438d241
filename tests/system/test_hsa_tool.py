# SPDX-License-Identifier: Apache-2.0
"""libcofris-hsa.so in an ordinary HIP program, on Debian's unmodified ROCr and HIP and a simulated
card. The program (tests/hip/hip-app.hip) knows nothing of cofris and has only its environment."""

import os
import re
import signal
import sys

sys.path.insert(0, os.path.join(os.environ["COFRIS_SOURCE"], "tests", "support"))
from machine import BUILD, PATIENCE_S, case, check, main, wait_for  # noqa: E402
from publisher import Publisher  # noqa: E402

LIBRARY = os.path.join(BUILD, "lib", "libcofris-hsa.so")
APP = os.path.join(BUILD, "tests", "hip-app")
# Shader engines and CUs in each, in turn wider and narrower; "0 0" is the whole card.
MASKS = ["4 8", "1 1", "2 15", "4 1", "0 0", "3 5", "1 15", "4 14", "2 2", "0 0"]

if not all(map(os.path.exists, (APP, os.path.join(BUILD, "lib", "sim", "libhsakmt.so.1")))):
    print("built without HIP or without the simulated HSA")
    sys.exit(77)


def start_app(m, *options, socket, env=None, library=LIBRARY):
    child = m.spawn("app", [APP, *options],
                    env={"HSA_TOOLS_LIB": library, "COFRIS_MODEL": "resnet50",
                         "COFRIS_SOCKET": socket, **(env or {})})
    return child


def counts_now(m, child):
    """A new line of counts, asked for by signal."""
    before = m.log("app").count("requests=")
    child.send_signal(signal.SIGUSR1)
    wait_for("counts", lambda: m.log("app").count("requests=") > before)
    return counts(m)


def counts(m):
    line = [x for x in m.log("app").splitlines() if x.startswith("requests=")][-1]
    return {k: int(v) for k, v in (x.split("=") for x in line.split())}


def ends_well(m, child):
    child.send_signal(signal.SIGTERM)
    check(child.wait(PATIENCE_S) == 0, f"the program ends well: {m.log('app')}")
    c = counts(m)
    check(c["wrong"] == 0 and c["errors"] == 0 and c["bytes"] > 0, f"every byte is right: {c}")
    return c


@case()
def an_unmodified_program_follows_ten_masks_under_load(m):
    needed = m.capture(["ldd", APP]).stdout
    check("libcofris" not in needed, f"the program is not linked to cofris: {needed}")
    publisher = Publisher(m)
    app = start_app(m, "--streams", "3", "--kernels", "10", "--bytes", "65536",
                    socket=publisher.socket)
    publisher.take_worker()
    wait_for("the program serves", lambda: "ready" in m.log("app"))
    served, waited = counts_now(m, app)["requests"], []
    for mask in MASKS:
        queues, us = publisher.publish(mask)
        check(queues >= 3, f"{mask}: a queue of each stream is changed, not {queues}")
        waited.append(us)
        # Each stream goes on under the new mask.
        wanted = served + 12
        wait_for(f"requests under {mask}",
                 lambda w=wanted: counts_now(m, app)["requests"] >= w, period=0.05)
        served = counts_now(m, app)["requests"]
    queues, _ = publisher.publish("0 0")
    check(queues == 0, f"nothing to change, yet {queues} queues changed")
    check(app.poll() is None, "the program still runs")
    total = ends_well(m, app)
    print(f"{len(MASKS)} masks, {total['requests']} requests, {total['bytes']} bytes compared; "
          f"acknowledged after {sorted(waited)[len(waited) // 2]} us, at most {max(waited)} us "
          "(simulated)")


def kernels_per_second(m, child):
    """Of device time, over at least half a second of it."""
    first, since = counts_now(m, child), m.card()["device_ns"]
    wait_for("half a second", lambda: m.card()["device_ns"] - since > 5e8)
    wait_for("requests", lambda: counts_now(m, child)["requests"] >= first["requests"] + 3)
    last, until = counts_now(m, child), m.card()["device_ns"]
    return (last["kernels"] - first["kernels"]) / ((until - since) / 1e9)


# Slowed down, so that it is the card that counts and not how fast the host launches.
@case(sim=["--time-scale", "4"])
def masks_reach_the_queues_and_go_with_the_publisher(m):
    publisher = Publisher(m)
    app = start_app(m, "--streams", "1", "--kernels", "400", "--bytes", str(1 << 20),
                    socket=publisher.socket)
    publisher.take_worker()
    wait_for("the program serves", lambda: "ready" in m.log("app"))
    whole = kernels_per_second(m, app)
    publisher.publish("1 1")
    one = kernels_per_second(m, app)
    check(one < whole / 3, f"one CU does less: {one:.0f} of {whole:.0f} kernels a second")
    # It hangs up; the program keeps its mask until the lease ends, and no longer.
    publisher.process.stdin.close()
    check(publisher.process.wait(PATIENCE_S) == 0, "the publisher ends")
    wait_for("all CUs again", lambda: kernels_per_second(m, app) > whole / 2)
    print(f"{whole:.0f} kernels a second on the card, {one:.0f} on one CU (simulated)")
    ends_well(m, app)


@case()
def loaded_without_a_model_or_a_daemon_it_does_nothing(m):
    for name, env in (("no model", {"COFRIS_MODEL": ""}), ("no daemon", {}),
                      ("twice", {"HSA_TOOLS_LIB": f"{LIBRARY} {LIBRARY}"})):
        app = start_app(m, "--requests", "20", socket=os.path.join(m.dir, "none"), env=env)
        check(app.wait(PATIENCE_S) == 0, f"{name}: the program ends well: {m.log('app')}")
        said = m.log("app").count("libcofris-hsa.so: COFRIS_MODEL is not set")
        check(said == 1, f"{name}: said once in all, not {said} times: {m.log('app')}")


@case()
def the_daemon_takes_a_follower_alone_at_its_rated_rate(m):
    m.setup(extra="gating = cu\n")
    app = start_app(m, "--streams", "2", socket=m.worker_socket, env={"COFRIS_INSTANCE": "app"})
    wait_for("the program serves", lambda: "ready" in m.log("app"))
    rated = float(re.search(r"rated ([0-9.]+)/s", m.log("cofrisd"))[1])

    def followed():
        gpu = m.status()["gpus"][0]
        model, worker = gpu["models"][0], gpu["worker_list"][0]
        check(model["input"] == "missing-input", f"nobody counts: {model}")
        return (worker["acknowledged"] and worker["instance"] == "app" and
                worker["pid"] == app.pid and worker["acknowledged"]["shape"] == model["shape"] and
                abs(model["demand_rps"] / rated - 1) < 0.01)

    wait_for("the plan for the rated rate is followed", followed)
    ends_well(m, app)


if __name__ == "__main__":
    main()
