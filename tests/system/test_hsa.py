# SPDX-License-Identifier: Apache-2.0
"""Unmodified HIP programs on Debian's unmodified ROCr and HIP, on simulated cards.

Bytes that copies and fills move are checked by the client (tests/hsa/hip-client.hip); results of
kernels are not, for no GPU instruction is executed.
"""

import os
import re
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(os.environ["COFRIS_SOURCE"], "tests", "support"))
from machine import BDF, BIN, BUILD, DAEMON_UID, case, check, main, wait_for  # noqa: E402

HSA = os.path.join(BUILD, "tests", "hsa")
CLIENT = os.path.join(HSA, "hip-client")
PACKAGES = ["libhsa-runtime64-1", "libamdhip64-5", "libhsakmt1"]
PROC = "/sys/class/kfd/kfd/proc"
FAULT_ADDRESS = "0x7f0012345000"
LIMIT = 100  # seconds that a case may take on a busy machine


def client(*arguments, env=None, uid=None, status=0):
    """Runs a case of the client, which must end with this status; returns its output."""
    result = subprocess.run([CLIENT, *arguments], capture_output=True, text=True, timeout=LIMIT,
                            env={**os.environ, **(env or {})}, user=uid,
                            group=uid, extra_groups=None if uid is None else [])
    check(result.returncode == status,
          f"{arguments} exited {result.returncode}: {result.stdout}{result.stderr}")
    if status == 0:
        check(result.stdout.endswith("done\n"), f"{arguments} did not finish: {result.stdout}")
    return result.stdout + result.stderr


def sim(machine, *arguments):
    return machine.capture([os.path.join(BIN, "cofris-sim"), *arguments]).stdout


def cards_of(text):
    """The client's list of cards, as lists of fields."""
    return [line[5:].split("|") for line in text.splitlines() if line.startswith("card ")]


def check_list(count):
    text = client("list")
    cards = cards_of(text)
    check(len(cards) == count, f"{count} cards, not {cards}")
    for i, card in enumerate(cards):
        check(card[0] == BDF[i], f"address {card[0]} of card {i}")
        check(card[1:] == ["Radeon Instinct MI50 16GB", "gfx906:sramecc+:xnack-", "60", "16384",
                           "1725000", "4096", "1"], f"card {i}: {card}")
    return text


@case()
def hip_lists_the_card(machine):
    text = check_list(1)
    libraries = sorted(set(re.findall(r"^library (.*)$", text, re.M)))
    check(any(x.startswith("/usr/lib/") and "libamdhip64.so.5" in x for x in libraries),
          f"libamdhip64 is not Debian's: {libraries}")
    check(os.path.join(os.path.realpath(BUILD), "lib/sim/libhsakmt.so.1") in libraries,
          f"libhsakmt is not the simulated one: {libraries}")


@case(count=2)
def hip_lists_two_cards(machine):
    check_list(2)


@case()
def the_libraries_are_as_debian_made_them(machine):
    result = machine.capture(["dpkg", "-V", *PACKAGES], check_exit=False)
    check(result.returncode == 0 and result.stdout == "", f"dpkg -V: {result.stdout}")
    result = machine.capture(["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n",
                              *PACKAGES])
    check(result.stdout.count(" installed\n") == len(PACKAGES), result.stdout)


@case()
def every_function_that_rocr_needs_is_there(machine):
    """By name and version, and no other name goes out."""
    def names(option, path):
        text = machine.capture(["nm", "-D", option, path]).stdout
        return {x.split()[-1].replace("@@", "@") for x in text.splitlines()}

    runtime = "/usr/lib/x86_64-linux-gnu/libhsa-runtime64.so.1"
    needed = {x for x in names("--undefined-only", runtime) if x.startswith("hsaKmt")}
    given = names("--defined-only", os.path.join(BUILD, "lib/sim/libhsakmt.so.1"))
    check(len(needed) == 42, f"{len(needed)} functions are needed")
    check(needed <= given, f"missing: {needed - given}")
    check(all(x.startswith("hsaKmt") or x == "HSAKMT_1" for x in given), f"too much: {given}")


@case(count=2)
def rocminfo_reports_the_cards(machine):
    """rocminfo looks for the driver's module and device file by itself."""
    folder = os.path.join(machine.dir, "bin")
    os.mkdir(folder)
    with open(os.path.join(folder, "lsmod"), "w") as f:
        f.write("#!/bin/sh\necho 'amdgpu 1 0'\n")
    os.chmod(f.name, 0o755)
    result = subprocess.run(["rocminfo"], capture_output=True, text=True, timeout=LIMIT, env={
        **os.environ, "PATH": f"{folder}:{os.environ['PATH']}",
        "LD_PRELOAD": os.path.join(HSA, "libopen-kfd.so")})
    check(result.returncode == 0, f"rocminfo: {result.stdout[-500:]}{result.stderr}")
    text = result.stdout
    for pattern, n in [(r"Device Type: +GPU", 2), (r"Name: +gfx906 *\n", 2),
                       (r"Marketing Name: +Radeon Instinct MI50 16GB", 2),
                       (r"Compute Unit: +60", 2), (r"Shader Engines: +4", 2),
                       (r"Chip ID: +26273\(0x66a1\)", 2), (r"BDFID: +17152", 1),
                       (r"BDFID: +25344", 1), (r"Size: +16777216\(0x1000000\) KB", 2)]:
        check(len(re.findall(pattern, text)) >= n, f"{pattern} in {text}")


@case(count=2)
def copies_and_fills_move_every_byte(machine):
    client("copies")


@case()
def copies_without_sdma(machine):
    client("copies", env={"HSA_ENABLE_SDMA": "0"})


@case()
def copies_without_interrupts(machine):
    client("copies", env={"HSA_ENABLE_INTERRUPT": "0"})


@case()
def copies_by_a_plain_user(machine):
    client("copies", uid=DAEMON_UID)


@case()
def a_masked_stream_is_slower(machine):
    client("masks")


@case()
def a_mask_by_environment_holds_for_all_streams(machine):
    """ROCr applies HSA_CU_MASK when it makes a queue."""
    def time(env):
        return float(re.search(r"alone ([0-9.]+) ms", client("alone", env=env)).group(1))

    ratio = time({"HSA_CU_MASK": "0:0-29"}) / time({})
    check(1.7 < ratio < 2.3, f"on half of the CUs a kernel takes {ratio} times as long")


@case()
def events_order_streams(machine):
    client("events")


@case()
def callbacks_are_called(machine):
    client("callbacks")


@case()
def threads_with_masked_streams(machine):
    client("threads")


@case()
def a_module_is_loaded_and_launched(machine):
    client("module", os.path.join(HSA, "kernels.co"))


@case()
def a_kernel_is_compiled_at_run_time(machine):
    client("rtc")


@case()
def a_graph_is_replayed(machine):
    client("graph")


@case()
def a_cooperative_kernel_is_launched(machine):
    client("cooperative")


@case()
def memory_ends_with_the_card(machine):
    text = client("memory")
    pieces = int(re.search(r"pieces (\d+)", text).group(1))
    # 64 pieces of 256 MiB are the card; ROCr has some of it for itself.
    check(60 <= pieces < 64, f"{pieces} pieces")
    sim(machine, "fault", "vram-oom:0:2147483648")
    pieces = int(re.search(r"pieces (\d+)", client("memory")).group(1))
    check(5 <= pieces < 8, f"{pieces} pieces of 2 GiB")
    sim(machine, "heal", "vram-oom")
    pieces = int(re.search(r"pieces (\d+)", client("memory")).group(1))
    check(60 <= pieces < 64, f"{pieces} pieces")


@case()
def another_process_has_the_same_memory(machine):
    client("ipc")


@case()
def another_process_of_a_plain_user(machine):
    client("ipc", uid=DAEMON_UID)


@case()
def a_process_may_fork(machine):
    client("forks")


def start_holding(machine):
    child = subprocess.Popen([CLIENT, "hold"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True)
    machine.children.append(child)
    line = child.stdout.readline()
    check(line == "holding\n", f"the client said '{line}'")
    return child


@case(count=2)
def a_page_fault_ends_the_process(machine):
    child = start_holding(machine)
    # The other card's is not this process's.
    sim(machine, "fault", f"gpu-fault:1:{FAULT_ADDRESS}")
    child.stdin.write("x")
    child.stdin.flush()
    check(child.poll() is None, "the other card's fault ended the process")
    sim(machine, "fault", f"gpu-fault:0:{FAULT_ADDRESS}")
    # Its input stays open: at an end of that it would leave by itself.
    child.wait(timeout=LIMIT)
    errors = child.stderr.read()
    check(child.returncode == -signal.SIGABRT, f"exit status {child.returncode}: {errors}")
    check("Memory access fault by GPU node-1" in errors and FAULT_ADDRESS in errors, errors)


def read_number(path):
    with open(path) as f:
        return int(f.read())


@case()
def the_files_show_processes_until_they_are_killed(machine):
    used = "/sys/class/drm/card0/device/mem_info_vram_used"
    check(read_number(used) == 0, "VRAM is used before anyone came")
    child = start_holding(machine)
    folder = f"{PROC}/{child.pid}"
    check(len(os.listdir(f"{folder}/queues")) > 0, "no queues are shown")
    vram = [x for x in os.listdir(folder) if x.startswith("vram_")]
    check(len(vram) == 1, f"{vram}")
    check(read_number(f"{folder}/{vram[0]}") >= 64 << 20, "the memory is not shown")
    check(read_number(used) >= 64 << 20, "the card's memory is not shown")
    child.kill()
    child.wait()
    wait_for("the process to be forgotten", lambda: not os.path.exists(folder))
    wait_for("its memory to be free", lambda: read_number(used) == 0)
    client("memory")


@case()
def programs_come_and_go(machine):
    for _ in range(5):
        check(len(cards_of(client("list"))) == 1, "a card is missing")
    wait_for("no process to be left", lambda: os.listdir(PROC) == [])


if __name__ == "__main__":
    main()
