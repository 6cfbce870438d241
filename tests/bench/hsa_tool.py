# SPDX-License-Identifier: Apache-2.0
"""libcofris-hsa.so in an ordinary HIP program on the simulated card: from a directive's publishing
to its acknowledgement, and what the loaded tool costs kernel launches. For run.py, below
cofris-sim.

Two processes, without and with the tool, take turns of 1000 launches a few milliseconds apart and
on the same CPU, so that what else the machine does meets both, and each pair of turns gives a
ratio; several pairs of processes, as their memory lies differently. What is compared is the
launching thread's own CPU time. The time until all have run is that of the simulated card as well
and says little about 1 %."""

import contextlib
import os
import re
import statistics
import subprocess
import time

TURNS, SIZE, PAIRS = 100, 1000, 10
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


class Launcher:
    """hip-times: a process that launches when told."""

    def __init__(self, build, env, cpu):
        client = os.path.join(build, "tests", "hsa", "hip-times")
        self.process = subprocess.Popen(["taskset", "-c", str(cpu), client, "block", str(SIZE)],
                                        env=env, text=True, bufsize=1, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE)

    def turn(self):
        """ns of CPU and until all had run, of a launch."""
        self.process.stdin.write("\n")
        return [float(x) for x in self.process.stdout.readline().split()]

    def end(self):
        self.process.stdin.close()
        if self.process.wait() != 0:
            raise RuntimeError("hip-times failed")


def turns(build, folder, cpu):
    """Pairs of turns, without and with the tool."""
    with publisher(build, folder) as (child, socket):
        plain = Launcher(build, {k: v for k, v in os.environ.items() if k != "HSA_TOOLS_LIB"},
                         cpu)
        loaded = Launcher(build, environment(build, socket), cpu)
        # The first fills caches and pools.
        plain.turn(), loaded.turn()
        if child.stdout.readline() != "worker resnet50\n":
            raise RuntimeError("the tool did not connect")
        for i in range(TURNS):
            if i % 2 == 0:
                a, b = plain.turn(), loaded.turn()
            else:
                b, a = loaded.turn(), plain.turn()
            yield a, b
        plain.end(), loaded.end()


def more_pct(pairs, i):
    return 100 * (statistics.median(b[i] / a[i] for a, b in pairs) - 1)


def launches(build, folder):
    cpus = sorted(os.sched_getaffinity(0))
    found = [list(turns(build, folder, cpus[i % len(cpus)])) for i in range(PAIRS)]
    pairs = sum(found, [])
    result = {}
    for i, name in enumerate(("cpu", "wall")):
        plain, loaded = [a[i] for a, _ in pairs], [b[i] for _, b in pairs]
        result[name] = {
            "plain_least_ns": min(plain), "loaded_least_ns": min(loaded),
            "plain_median_ns": statistics.median(plain),
            "loaded_median_ns": statistics.median(loaded),
            "more_pct": more_pct(pairs, i),
            "more_of_processes_pct": sorted(more_pct(some, i) for some in found)}
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


ROWS = (("cpu", "CPU time of the thread"), ("wall", "until all have run"))


def show(d):
    if not d:
        return
    q = d["directive"]
    print(f"  {'HSA tool':<34}{'median':>10}{'p95':>10}{'max':>10}")
    print(f"  {'directive to acknowledgement, us':<34}{q['median_us']:>10.0f}{q['p95_us']:>10.0f}"
          f"{q['max_us']:>10.0f}")
    print(f"  {'a kernel launch, ns':<34}{'least':>10}{'with':>10}{'median':>10}{'with':>10}"
          f"{'more, %':>10}{'from':>8}{'to':>8}")
    for key, text in ROWS:
        q = d["launch"][key]
        print(f"  {text:<34}{q['plain_least_ns']:>10.0f}{q['loaded_least_ns']:>10.0f}"
              f"{q['plain_median_ns']:>10.0f}{q['loaded_median_ns']:>10.0f}{q['more_pct']:>10.2f}"
              f"{q['more_of_processes_pct'][0]:>8.1f}{q['more_of_processes_pct'][-1]:>8.1f}")
    print(f"  ({PAIRS} pairs of processes, {TURNS} turns of {SIZE} launches each; more: the median of\n"
          "  the turns' ratios, and that of the pairs of processes furthest apart)")
