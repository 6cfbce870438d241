# SPDX-License-Identifier: Apache-2.0
"""A bundle that cofrisctl debug bundle has made is a card of the simulator, file by file.

usage: test-capture.py (environment: COFRIS_BUILD, COFRIS_SOURCE)
"""

import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile

BUILD, SOURCE = os.environ["COFRIS_BUILD"], os.environ["COFRIS_SOURCE"]
SIM = os.path.join(BUILD, "bin", "cofris-sim")
CTL = os.path.join(BUILD, "bin", "cofrisctl")
WORKER = os.path.join(BUILD, "bin", "cofris-worker")
NO_BUS = "unix:path=/nonexistent/bus"

# What another card than the profiled one would show.
CHANGES = {"product": "Radeon Instinct MI60", "sclk_mhz": "700 925 1282 1800",
           "sclk_mv": "741 741 825 1058", "mclk_mhz": "350 1000", "vram_mib": "32752", "cus_per_array": "16", "cap_w": "250",
           "cap_max_w": "300", "throttle_c": "94", "emergency_c": "99"}

# Prints {file: text} of the first card, but for what moves.
LOOK = r"""
import json, os, sys
card = os.path.realpath("/sys/class/drm/card0/device")
found = {"bdf": os.path.basename(card)}
for folder, _, names in os.walk(card):
    for name in names:
        path = os.path.join(folder, name)
        if name.endswith(("_input", "_average", "_percent", "_used", "gpu_metrics", "unique_id")):
            continue
        if not os.path.islink(path):
            with open(path, errors="replace") as f:
                found[os.path.relpath(path, card)] = f.read()
nodes = "/sys/class/kfd/kfd/topology/nodes/1/properties"
with open(nodes) as f:
    found["kfd"] = [line for line in f.read().splitlines() if not line.startswith("unique_id")]
print(json.dumps(found))
"""


def check(condition, text):
    if not condition:
        sys.exit(text)


def run(*command, status=0):
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    check(done.returncode == status,
          f"{command[:4]}: exit status {done.returncode}: {done.stdout}{done.stderr}")
    return done


def look(*options):
    return json.loads(run(SIM, *options, "--", "/usr/bin/python3", "-c", LOOK).stdout)


def other_card(folder):
    """A profile of a card that is none of the shipped ones."""
    path = os.path.join(folder, "mi60.ini")
    with open(os.path.join(SOURCE, "profiles", "devices", "mi50.ini"), encoding="utf-8") as f:
        text = f.read()
    for key, value in CHANGES.items():
        text, n = re.subn(rf"(?m)^{key} = .*$", f"{key} = {value}", text)
        check(n == 1, f"{key} stands {n} times in mi50.ini")
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    return path


def bundle(folder, *options):
    """Made on a machine whose first card has another cap than by default."""
    path = os.path.join(folder, "bundle.tar")
    script = ('echo 150000000 > /sys/class/drm/card0/device/hwmon/hwmon3/power1_cap; '
              f'"{CTL}" --bus {NO_BUS} debug bundle "$1" --json')
    done = run(SIM, *options, "--", "sh", "-c", script, "sh", path)
    root = json.loads(done.stdout)
    check(root["schema"] == 1 and len(root["members"]) > 80, f"{root}")
    check(os.stat(path).st_mode & 0o777 == 0o600, "the bundle is its owner's alone")
    return path


def check_round_trip(folder):
    device = other_card(folder)
    path = bundle(folder, "--device", device, "--count", "2")
    found = look("--device", device)
    again = look("--capture", path)
    check(found["hwmon/hwmon3/power1_cap"] == "250000000\n", "the cap by default")
    found["hwmon/hwmon3/power1_cap"] = "150000000\n"
    different = {k: (found.get(k), again.get(k)) for k in found.keys() | again.keys()
                 if found.get(k) != again.get(k)}
    check(not different, f"not as captured: {different}")
    cards = json.loads(run(SIM, "--capture", path, "--", SIM, "stat", "--json").stdout)["cards"]
    check([c["bdf"] for c in cards] == ["0000:43:00.0", "0000:63:00.0"], "both cards are there")
    cards = json.loads(run(SIM, "--capture", path, "--count", "1", "--", SIM, "stat",
                           "--json").stdout)["cards"]
    check(len(cards) == 1, "or as many as asked for")
    with tarfile.open(path) as tar:
        everything = b"".join(tar.extractfile(m).read() for m in tar if m.isfile())
    check(b"unique_id" not in everything, "a unique id is in the bundle")
    return path


def changed(folder, path):
    """The bundle as of a machine with one card elsewhere, with another BIOS and a file less."""
    other = os.path.join(folder, "changed.tar")
    with tarfile.open(path) as old, tarfile.open(other, "w") as new:
        for member in old:
            if "0000:43:00.0/" not in member.name or member.name.endswith("/mem_busy_percent"):
                continue
            data = old.extractfile(member).read()
            if member.name.endswith("/vbios_version"):
                data = b"113-OF-ANOTHER\n"
                member.size = len(data)
            member.name = member.name.replace("0000:43:", "0000:0b:")
            with tempfile.TemporaryFile() as f:
                f.write(data)
                f.seek(0)
                new.addfile(member, f)
    return other


def check_elsewhere(folder, path):
    other = changed(folder, path)
    again = look("--capture", other)
    check(again["bdf"] == "0000:0b:00.0", "the card is at its own address")
    check(again["vbios_version"] == "113-OF-ANOTHER\n", "texts are the captured card's")
    done = run(SIM, "--capture", other, "--", "ls", "/sys/class/drm/card0/device")
    check("mem_busy_percent" not in done.stdout.split(), "what it does not have is not there")
    done = run(SIM, "--capture", other, "--", WORKER, "--engine", "plant", "--gpu", "0000:0b:00.0",
               "--model", "resnet50", "--rate", "50", "--duration", "0.3s")
    check(json.loads(done.stdout)["simulated"] is True, "work runs on it")


def check_refused(folder, path):
    keep = os.path.join(folder, "keep")
    done = run(SIM, "--capture", "/nonexistent.tar", "--", "true", status=125)
    check("/nonexistent.tar" in done.stderr, done.stderr)
    with open(path, "rb") as f:
        cut = f.read()[:3000]
    with open(os.path.join(folder, "cut.tar"), "wb") as f:
        f.write(cut)
    run(SIM, "--capture", f.name, "--runtime-dir", keep, "--", "true", status=125)
    run(SIM, "--capture", path, "--device", "none-of-these", "--", "true", status=125)
    run(SIM, "--capture", path, "--runtime-dir", keep, "--", "true")
    check(os.listdir(keep) == ["writes.log"], f"left behind: {os.listdir(keep)}")
    done = run(CTL, "--bus", NO_BUS, "debug", "bundle", path, status=1)
    check("File exists" in done.stderr, "a file that is there is not written over")


def check_hang(folder):
    """A file that is never answered costs its card, not the bundle."""
    path = os.path.join(folder, "hung.tar")
    done = run(SIM, "--device", "mi50", "--count", "2", "--fault", "hang:0:pp_dpm_sclk", "--",
               CTL, "--bus", NO_BUS, "debug", "bundle", path, "--json")
    missing = {m["what"]: m["why"] for m in json.loads(done.stdout)["missing"]}
    check("not answered" in missing.get("sysfs/0000:43:00.0", ""), f"{missing}")
    with tarfile.open(path) as tar:
        names = tar.getnames()
    check("cofris-bundle/sysfs/0000:43:00.0/pp_dpm_sclk" not in names, "the hung file is not in it")
    check("cofris-bundle/sysfs/0000:43:00.0/device" in names, "what came before it is")
    check("cofris-bundle/sysfs/0000:63:00.0/pp_dpm_sclk" in names, "the other card is")


def main():
    if os.geteuid() != 0 or not os.path.exists("/dev/fuse"):
        print("needs root and /dev/fuse")
        sys.exit(77)
    with tempfile.TemporaryDirectory() as folder:
        path = check_round_trip(folder)
        check_elsewhere(folder, path)
        check_refused(folder, path)
        check_hang(folder)


if __name__ == "__main__":
    main()
