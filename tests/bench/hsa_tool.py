# SPDX-License-Identifier: Apache-2.0
"""libcofris-hsa.so in an ordinary HIP program on the simulated card: from a directive's publishing
to its acknowledgement, and what the loaded tool costs kernel launches. For run.py, below
cofris-sim.

The cost is the launching thread's own CPU time, in blocks of 1000 launches with a synchronise
between, in many runs that take turns. A run stands for itself by its least block, which no neighbour
on a busy machine has disturbed; of the runs there is the least and the median. The time until all
have run is that of the simulated card as well and says little about 1 %."""

import contextlib
import json
import os
import re
import statistics
import subprocess
import time

BLOCKS, SIZE, RUNS = 100, 1000, 20
MASKS = ["4 8", "1 1", "2 15", "4 1", "0 0"] * 20


def environment(build, socket):
    return {**os.environ, "HSA_TOOLS_LIB": os.path.join(build, "lib", "libcofris-hsa.so"),
            "COFRIS_MODEL": "resnet50", "COFRIS_SOCKET": socket}


@contextlib.contextmanager
def publisher(build, folder):
    """A process that beats as the daemon does, for one worker."""
    socket = os.path.join(folder, "publisher.sock")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(socket)
    child = subprocess.Popen([os.path.join(build, "tests", "mask-publisher"), socket], text=True,
                             bufsize=1, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    while not os.path.exists(socket):
        if child.poll() is not None:
            raise RuntimeError("mask-publisher did not start")
        time.sleep(0.01)
    try:
        yield child, socket
    finally:
        child.stdin.close()
        child.wait()


def blocks(build, env):
    """ns per launch in each block."""
    client = os.path.join(build, "tests", "hsa", "hip-times")
    return json.loads(subprocess.run([client, "blocks", str(BLOCKS), str(SIZE)], env=env, text=True,
                                     check=True, stdout=subprocess.PIPE).stdout)


def plain_blocks(build, _):
    return blocks(build, {k: v for k, v in os.environ.items() if k != "HSA_TOOLS_LIB"})


def loaded_blocks(build, folder):
    with publisher(build, folder) as (child, socket):
        result = blocks(build, environment(build, socket))
        if child.stdout.readline() != "worker resnet50\n":
            raise RuntimeError("the tool did not connect")
    return result


def launches(build, folder):
    """ns per launch in the runs' least blocks, without and with the tool: least and median."""
    kinds = {"plain": plain_blocks, "loaded": loaded_blocks}
    found = {kind: {"cpu_ns": [], "wall_ns": []} for kind in kinds}
    for i in range(RUNS):
        for kind in sorted(kinds, reverse=i % 2 == 0):
            for name, values in kinds[kind](build, folder).items():
                found[kind][name].append(min(values))
    result = {}
    for name in ("cpu", "wall"):
        for what, of in (("least", min), ("median", statistics.median)):
            plain, loaded = (of(found[kind][name + "_ns"]) for kind in kinds)
            result[f"{name}_{what}"] = {"plain_ns": plain, "loaded_ns": loaded,
                                        "more_pct": 100 * (loaded / plain - 1)}
    return result


def directives(build, folder):
    with publisher(build, folder) as (child, socket):
        app = subprocess.Popen([os.path.join(build, "tests", "hip-app"), "--streams", "4"],
                               env=environment(build, socket), text=True, stdout=subprocess.PIPE)
        try:
            child.stdout.readline()
            if app.stdout.readline() != "ready\n":
                raise RuntimeError("hip-app did not start")
            waited = []
            for mask in MASKS:
                child.stdin.write(mask + "\n")
                line = child.stdout.readline()
                waited.append(int(re.search(r"waited_us=(\d+)", line)[1]))
        finally:
            app.terminate()
            app.wait()
    return {"median_us": statistics.median(waited), "max_us": max(waited),
            "p95_us": sorted(waited)[len(waited) * 95 // 100]}


def measure(build, folder):
    """{} where HIP or the simulated HSA was not built."""
    if not os.path.exists(os.path.join(build, "tests", "hip-app")):
        return {}
    return {"directive": directives(build, folder), "launch": launches(build, folder)}


ROWS = (("cpu_least", "CPU of the thread, least"), ("cpu_median", "CPU of the thread, median"),
        ("wall_least", "until all have run, least"), ("wall_median", "until all have run, median"))


def show(d):
    if not d:
        return
    q = d["directive"]
    print(f"  {'HSA tool':<34}{'median':>10}{'p95':>10}{'max':>10}")
    print(f"  {'directive to acknowledgement, us':<34}{q['median_us']:>10.0f}{q['p95_us']:>10.0f}"
          f"{q['max_us']:>10.0f}")
    print(f"  {'a kernel launch, ns':<34}{'without':>10}{'with':>10}{'more, %':>10}"
          f"   (of {RUNS} runs of {BLOCKS * SIZE} launches)")
    for key, text in ROWS:
        q = d["launch"][key]
        print(f"  {text:<34}{q['plain_ns']:>10.0f}{q['loaded_ns']:>10.0f}{q['more_pct']:>10.2f}")
