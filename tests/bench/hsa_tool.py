# SPDX-License-Identifier: Apache-2.0
"""libcofris-hsa.so in an ordinary HIP program on the simulated card: from a directive's publishing
to its acknowledgement, and what the loaded tool costs 100 000 kernel launches. For run.py, below
cofris-sim."""

import os
import re
import statistics
import subprocess
import time

REQUESTS, KERNELS, ROUNDS = 100, 1000, 15
MASKS = ["4 8", "1 1", "2 15", "4 1", "0 0"] * 20


def environment(build, socket):
    return {**os.environ, "HSA_TOOLS_LIB": os.path.join(build, "lib", "libcofris-hsa.so"),
            "COFRIS_MODEL": "resnet50", "COFRIS_SOCKET": socket}


def launches(build, env):
    """Seconds from the first served request to the end of the program."""
    app = subprocess.Popen([os.path.join(build, "tests", "hip-app"), "--streams", "1", "--bytes",
                            "4096", "--kernels", str(KERNELS), "--requests", str(REQUESTS + 1)],
                           env=env, text=True, stdout=subprocess.PIPE)
    if app.stdout.readline() != "ready\n":
        raise RuntimeError("hip-app did not start")
    begin = time.monotonic()
    if not app.stdout.readline().startswith("requests="):
        raise RuntimeError("hip-app did not end")
    seconds = time.monotonic() - begin
    if app.wait() != 0:
        raise RuntimeError("hip-app failed")
    return seconds


def directives(build, folder):
    socket = os.path.join(folder, "publisher.sock")
    publisher = subprocess.Popen([os.path.join(build, "tests", "mask-publisher"), socket],
                                 text=True, bufsize=1, stdin=subprocess.PIPE,
                                 stdout=subprocess.PIPE)
    while not os.path.exists(socket):
        time.sleep(0.01)
    app = subprocess.Popen([os.path.join(build, "tests", "hip-app"), "--streams", "4"],
                           env=environment(build, socket), text=True, stdout=subprocess.PIPE)
    try:
        publisher.stdout.readline()
        if app.stdout.readline() != "ready\n":
            raise RuntimeError("hip-app did not start")
        waited = []
        for mask in MASKS:
            publisher.stdin.write(mask + "\n")
            line = publisher.stdout.readline()
            waited.append(int(re.search(r"waited_us=(\d+)", line)[1]))
        return {"median_us": statistics.median(waited), "max_us": max(waited),
                "p95_us": sorted(waited)[len(waited) * 95 // 100]}
    finally:
        app.terminate()
        app.wait()
        publisher.stdin.close()
        publisher.wait()


def measure(build, folder):
    """{} where HIP or the simulated HSA was not built."""
    if not os.path.exists(os.path.join(build, "tests", "hip-app")):
        return {}
    loaded_env = environment(build, os.path.join(folder, "none.sock"))
    plain_env = {k: v for k, v in os.environ.items() if k != "HSA_TOOLS_LIB"}
    plain, loaded = [], []
    launches(build, plain_env)
    for i in range(ROUNDS):
        pair = [(plain, plain_env), (loaded, loaded_env)]
        for times, env in pair if i % 2 == 0 else reversed(pair):
            times.append(launches(build, env))
    n = REQUESTS * KERNELS
    return {"directive": directives(build, folder),
            "plain_ns": min(plain) / n * 1e9, "loaded_ns": min(loaded) / n * 1e9,
            "plain_spread_pct": 100 * (max(plain) / min(plain) - 1),
            # Neighbours in time, as a busy machine drifts.
            "overhead_pct": 100 * (statistics.median(b / a for a, b in zip(plain, loaded)) - 1)}


def show(d):
    if not d:
        return
    q = d["directive"]
    print(f"  {'HSA tool':<34}{'median':>10}{'p95':>10}{'max':>10}")
    print(f"  {'directive to acknowledgement, us':<34}{q['median_us']:>10.0f}{q['p95_us']:>10.0f}"
          f"{q['max_us']:>10.0f}")
    print(f"  {'a kernel launch, ns':<34}{'without':>10}{'with':>10}{'more, %':>10}{'spread, %':>11}")
    print(f"  {str(ROUNDS) + ' x 100 000':<34}{d['plain_ns']:>10.0f}{d['loaded_ns']:>10.0f}"
          f"{d['overhead_pct']:>10.2f}{d['plain_spread_pct']:>11.1f}")
