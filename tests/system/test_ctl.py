# SPDX-License-Identifier: Apache-2.0
"""cofrisctl beside the real daemon on simulated cards: each command as an operator has it."""

import json
import os
import re
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(os.environ["COFRIS_SOURCE"], "tests", "support"))
from machine import BDF, BIN, SOURCE, case, check, main, wait_for  # noqa: E402

CTL = os.path.join(BIN, "cofrisctl")


def ctl(m, *words, status=0, **options):
    """stdout of one command, whose exit status must be as said."""
    done = subprocess.run([CTL, "--bus", m.bus_address, *words], capture_output=True, text=True,
                          timeout=120, **options)
    check(done.returncode == status,
          f"cofrisctl {' '.join(words)}: exit status {done.returncode}: {done.stderr}")
    return done.stdout


def document(m, *words, status=0):
    root = json.loads(ctl(m, *words, "--json", status=status))
    check(root["schema"] == 1, f"{words}: schema {root.get('schema')}")
    return root


def governed(m, **config):
    """A daemon and a worker, once its rate is known and the clock is low."""
    m.setup(**config)
    m.start_worker("--rate", "40", "--duration", "600s", "--seed", "1")
    wait_for("a governed card", lambda: m.card()["perf_level"] == "manual"
             and m.card()["soft_high_mhz"] < 1725 and m.status()["gpus"][0]["models"][0].get("rate_rps"))


class Terminal:
    """tmux, as the terminal that a person sits at."""

    def __init__(self, m, *command, width=100, height=30):
        self.socket = os.path.join(m.dir, "tmux")
        self.tmux("-f", "/dev/null", "new-session", "-d", "-x", str(width), "-y", str(height),
                  # Stays when the command has ended, so that its exit status can be seen.
                  "sh", "-c", '"$@"; echo "exit=$?"; exec cat', "sh", *command)

    def tmux(self, *words):
        done = subprocess.run(["tmux", "-S", self.socket, *words], capture_output=True, text=True,
                              timeout=60, env={**os.environ, "LC_ALL": "C.UTF-8"})
        check(done.returncode == 0, f"tmux {words}: {done.stderr}")
        return done.stdout

    def screen(self, *options):
        return self.tmux("capture-pane", "-p", *options)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.tmux("kill-server")


# -- OpenMetrics -------------------------------------------------------------------------------

SAMPLE = re.compile(r'([a-z_]+)(?:\{((?:[a-z_]+="(?:[^"\\\n]|\\[\\"n])*",?)*)\})? '
                    r"(-?[0-9.]+(?:e[+-]?[0-9]+)?)")


def check_metrics(text):
    """The rules of the text format that what we write could break. {name: {labels: value}}"""
    check(text.endswith("# EOF\n"), "the text ends with # EOF")
    lines = text.removesuffix("# EOF\n").splitlines()
    found, kind, family, seen = {}, None, None, set()
    for line in lines:
        if line.startswith("# "):
            keyword, name, rest = line[2:].split(" ", 2)
            if keyword == "TYPE":
                check(name not in seen, f"{name} stands in one place only")
                check(rest in ("gauge", "counter"), f"{line}: both formats know the type")
                seen.add(name)
                family, kind = name, rest
            check(name == family, f"{line}: metadata stand before their samples")
            check(keyword != "UNIT" or name.endswith(f"_{rest}"), f"{line}: the name has the unit")
            continue
        match = SAMPLE.fullmatch(line)
        check(match, f"no sample: {line}")
        name, labels, value = match.groups()
        check(name == family + ("_total" if kind == "counter" else ""), f"{line}: of {family}")
        check(name.startswith("cofris_"), name)
        check(kind != "counter" or float(value) >= 0, f"{line}: a counter")
        check((labels or "") not in found.setdefault(name, {}), f"{line}: twice")
        found[name][labels or ""] = float(value)
    return found


@case()
def metrics_are_openmetrics(m):
    governed(m)
    wait_for("a latency", lambda: m.status()["gpus"][0]["models"][0]["tail_ms"])
    found = check_metrics(ctl(m, "metrics"))
    labels = f'gpu="{BDF[0]}",simulated="true"'
    check(0.9e9 < found["cofris_gpu_clock_hertz"][labels] < 1.8e9, "the clock is in hertz")
    check(10 < found["cofris_gpu_power_watts"][labels] < 300, "power is in watts")
    latency = found["cofris_model_latency_seconds"][f'{labels},model="resnet50",percentile="95"']
    check(0.0005 < latency < 1, "latency is in seconds")
    with open(os.path.join(SOURCE, "docs", "cofrisctl.1.scd"), encoding="utf-8") as f:
        named = set(re.findall(r"\*(cofris_\w+)\*", f.read()))
    check(set(found) <= named, f"the man page lacks {sorted(set(found) - named)}")
    # Without a limit or a cap, or where the decision is one beside the table, there is no sample.
    rare = {"cofris_gpu_clock_limit_hertz", "cofris_gpu_power_cap_ordered_watts"}
    wait_for("the others that the man page has",
             lambda: named - set(check_metrics(ctl(m, "metrics"))) <= rare)
    wait_for("the same as JSON", lambda: [f["name"] for f in document(m, "metrics")["families"]]
             == re.findall("# TYPE ([a-z_]+) ", ctl(m, "metrics")))


@case()
def top_shows_what_is_governed(m):
    governed(m)
    command = [CTL, "--bus", m.bus_address, "top"]
    with Terminal(m, *command) as terminal:
        screen = wait_for("the model and its decision", lambda: re.search(
            r"resnet50 .* \[[#-]+\] +[\d.-]+ (?:demand|idle|dwell)", s := terminal.screen()) and s)
        check("SIMULATED" in screen, "the screen says that the card is simulated")
        line = next(x for x in screen.splitlines() if x.startswith(BDF[0]))
        mhz, limit, cus, watts = re.search(r"governed +(\d+) +(\d+) +(\d+/60) +([\d.]+) ",
                                           line).groups()
        check(900 <= int(mhz) <= 1725 and 925 <= int(limit) <= 1725, f"MHz: {line}")
        check(10 < float(watts) < 300 and cus, f"W: {line}")
        wait_for("the last decisions", lambda: "WHAT CHANGED" in terminal.screen())
        # Live: what is ordered shows without a key being pressed.
        ctl(m, "cap", "140W")
        wait_for("the new cap", lambda: re.search(rf"(?m)^{BDF[0]}.* 140 ", terminal.screen()))
        terminal.tmux("resize-window", "-x", "60", "-y", "6")
        wait_for("a smaller screen", lambda: max(map(
            len, (s := terminal.screen()).splitlines())) <= 60 and BDF[0] in s)
        check("WHAT CHANGED" not in terminal.screen(), "there is no room for the decisions")
        terminal.tmux("send-keys", "Down", "Down", "PageDown")
        wait_for("what is further down", lambda: "WHAT CHANGED" in (s := terminal.screen())
                 and "SIMULATED" not in s)
        terminal.tmux("send-keys", "PageUp", "PageUp")
        wait_for("the top again", lambda: "SIMULATED" in terminal.screen())
        terminal.tmux("resize-window", "-x", "140", "-y", "40")
        wait_for("wider bars", lambda: re.search(r"resnet50 .*\[[#-]{20}\]", terminal.screen()))
        terminal.tmux("send-keys", "q")
        wait_for("its end", lambda: "exit=0" in terminal.screen())


@case()
def top_outlives_the_daemon(m):
    _, daemon = m.setup()
    with Terminal(m, CTL, "--bus", m.bus_address, "top") as terminal:
        wait_for("the card", lambda: BDF[0] in terminal.screen())
        daemon.terminate()
        wait_for("the error", lambda: "cofrisd is not on this bus" in terminal.screen())
        m.start_daemon()
        wait_for("the card again", lambda: BDF[0] in (s := terminal.screen())
                 and "not on this bus" not in s)
        terminal.tmux("send-keys", "C-c")
        wait_for("its end", lambda: "exit=0" in terminal.screen())


@case()
def top_ends_beside_a_daemon_that_hangs(m):
    _, daemon = m.setup()
    with Terminal(m, CTL, "--bus", m.bus_address, "top") as terminal:
        wait_for("the card", lambda: BDF[0] in terminal.screen())
        daemon.send_signal(signal.SIGSTOP)
        wait_for("the error", lambda: "cofrisd does not answer" in terminal.screen())
        check(BDF[0] in terminal.screen(), "the last state is still there")
        terminal.tmux("send-keys", "q")
        wait_for("its end", lambda: "exit=0" in terminal.screen())
    # What is wanted just then is had without the daemon.
    root = document(m, "debug", "bundle", os.path.join(m.dir, "bundle.tar"))
    check("status.json" in {x["what"] for x in root["missing"]} and root["cofrisd"] is None
          and f"sysfs/{BDF[0]}/pp_dpm_sclk" in root["members"], f"{root}")
    daemon.send_signal(signal.SIGCONT)


@case()
def top_without_a_terminal_is_text(m):
    governed(m)
    with Terminal(m, "env", "TERM=unheard-of", CTL, "--bus", m.bus_address, "top") as terminal:
        wait_for("a word about it", lambda: "exit=1" in (s := terminal.screen())
                 and "'unheard-of' is not known" in s)
    text = ctl(m, "top", "--once")
    check("\x1b" not in text and BDF[0] in text and "SIMULATED" in text, text)
    check(document(m, "top", "--once")["gpus"][0]["bdf"] == BDF[0], "as JSON it is the status")


@case()
def health_tells_what_is_wrong(m):
    actuator, daemon = m.setup()
    m.start_worker("--rate", "40", "--duration", "600s", "--seed", "1")
    line = wait_for("good", lambda: m.status()["gpus"][0]["decisions"] > 5 and (
        done := subprocess.run([CTL, "--bus", m.bus_address, "health"], capture_output=True,
                               text=True)).returncode == 0 and done.stdout)
    check(line == "cofris OK: 1 card governed (simulated)\n", line)
    stranger = m.start_worker("--rate", "5", "--duration", "600s", governed=False, name="stranger")
    wait_for("a warning", lambda: subprocess.run([CTL, "--bus", m.bus_address, "health"],
                                                 capture_output=True).returncode == 1)
    check(f"{BDF[0]}: " in ctl(m, "health", status=1), "it names the card")
    stranger.kill()
    actuator.kill()
    actuator.wait()
    line = wait_for("critical", lambda: (done := subprocess.run(
        [CTL, "--bus", m.bus_address, "health"], capture_output=True,
        text=True)).returncode == 2 and done.stdout)
    check(line.startswith("cofris CRITICAL: ") and "no actuator" in line, line)
    check(line.count("\n") == 1, "one line")
    daemon.terminate()
    daemon.wait()
    check(ctl(m, "health", status=3) == "cofris UNKNOWN: cofrisd is not on this bus\n",
          "no daemon is said on stdout, too")


def orders(m, kind):
    return m.status()[kind]


@case()
def hold_lasts_as_long_as_its_command(m):
    governed(m)
    gone = os.path.join(m.dir, "done")
    script = f"until test -e {gone}; do sleep 0.05; done; exit 7"
    held = m.spawn("hold", [CTL, "--bus", m.bus_address, "hold", "resnet50", "--reason", "demo",
                            "--json", "--", "sh", "-c", script])
    hold, = wait_for("the hold", lambda: orders(m, "holds"))
    wait_for("full speed", lambda: m.card()["soft_high_mhz"] == 1725)
    check((hold["model"], hold["level"], hold["reason"], hold["pid"]) ==
          ("resnet50", "full-speed", "demo", held.pid), f"{hold}")
    root = json.loads(m.log("hold").splitlines()[0])
    check(root["schema"] == 1 and root["cookie"] == hold["cookie"], f"{root}")
    check("demo" in ctl(m, "status"), "status shows it")
    with open(gone, "w"):
        pass
    check(held.wait(60) == 7, "the exit status is the command's")
    wait_for("its end", lambda: not orders(m, "holds"))
    wait_for("a lower clock", lambda: m.card()["soft_high_mhz"] < 1725)


@case()
def hold_ends_with_its_process_and_survives_the_daemons(m):
    _, daemon = m.setup()
    held = m.spawn("hold", [CTL, "--bus", m.bus_address, "hold", "*", "--level", "rated"])
    wait_for("a hold", lambda: orders(m, "holds"))
    daemon.kill()
    daemon.wait()
    m.start_daemon()
    hold, = wait_for("it again, by a new daemon", lambda: orders(m, "holds"))
    check(hold["level"] == "rated" and hold["reason"] == "by hand", f"{hold}")
    held.terminate()
    check(held.wait(60) == 0, "a signal is its end")
    wait_for("no hold", lambda: not orders(m, "holds"))
    held = m.spawn("hold", [CTL, "--bus", m.bus_address, "hold", "*"])
    wait_for("a hold", lambda: orders(m, "holds"))
    held.kill()
    wait_for("no hold of a killed process", lambda: not orders(m, "holds"))
    done = subprocess.run([CTL, "--bus", m.bus_address, "hold", "resnet5", "--", "echo", "ran"],
                          capture_output=True, text=True)
    check(done.returncode == 1 and not done.stdout and "resnet50" in done.stderr, f"{done}")
    check(ctl(m, "hold", "*", "--", "sh", "-c", "kill -9 $$", status=137) == "", "128 and a signal")
    ctl(m, "hold", "*", "--", "/nonexistent", status=127)


@case()
def hold_is_taken_again_on_another_bus_and_says_once_what_refuses_it(m):
    m.surface("resnet50", 1)
    m.write_config()
    bus = m.start_bus()
    m.start_actuator()
    daemon = m.start_daemon()
    held = m.spawn("hold", [CTL, "--bus", m.bus_address, "hold", "resnet50"])
    wait_for("a hold", lambda: orders(m, "holds"))
    bus.kill()
    bus.wait()
    wait_for("its loss is said", lambda: "the bus is gone" in m.log("hold"))
    os.unlink(os.path.join(m.dir, "bus"))
    m.start_bus()
    wait_for("it again, on another bus", lambda: "held again" in m.log("hold"))
    hold, = orders(m, "holds")
    check(hold["pid"] == held.pid, f"{hold}")
    # This connection is watched, too.
    daemon.kill()
    daemon.wait()
    wait_for("the daemon's end is said", lambda: "cofrisd has left the bus" in m.log("hold"))
    m.write_config(model="vgg19")
    m.start_daemon()
    m.spawn("monitor", ["dbus-monitor", "--address", m.bus_address, "member='Hold'"])
    wait_for("that it is tried again", lambda: m.log("monitor").count("member=Hold") >= 3)
    refusal = "not held, tried again each second: no section [model resnet50]"
    check(refusal in m.log("hold"), m.log("hold"))
    m.write_config()
    ctl(m, "reload")
    wait_for("held again", lambda: m.log("hold").count("held again") == 2)
    check(m.log("hold").count(refusal) == 1, m.log("hold"))
    held.terminate()
    check(held.wait(60) == 0, "a signal is its end")
    wait_for("no hold", lambda: not orders(m, "holds"))


@case()
def names_that_control_a_terminal_are_not_printed(m):
    m.setup()
    # A process has the name of its file.
    name = os.path.join(m.dir, "\x1b[2J\x07")
    os.symlink(CTL, name)
    m.spawn("hold", [name, "--bus", m.bus_address, "hold", "*"])
    hold, = wait_for("a hold", lambda: orders(m, "holds"))
    check("[2J" in hold["comm"], f"{hold}")
    for words in (["status"], ["status", "--json"], ["top", "--once"]):
        text = ctl(m, *words)
        check("[2J" in text and "\x1b" not in text and "\x07" not in text, f"{words}: {text!r}")


@case()
def pause_and_resume(m):
    governed(m)
    found = m.baseline()
    root = document(m, "pause", BDF[0], "--for", "2h", "--reason", "new fan")
    check(root["for_s"] == 7200 and root["gpu"] == BDF[0], f"{root}")
    wait_for("the card as found", lambda: m.card()["perf_level"] == "auto")
    pause, = orders(m, "pauses")
    check(pause["persistent"] and 7000 < pause["left_s"] <= 7200, f"{pause}")
    gpu = wait_for("its state", lambda: (g := m.status()["gpus"][0])["state"] == "yielding" and g)
    check(gpu["state_reason"] == "paused", f"{gpu['state_reason']}")
    for text in (ctl(m, "status"), ctl(m, "health", status=1), ctl(m, "top", "--once")):
        check("new fan" in text and "paused" in text, text)
    check("cofris_pauses 1\n" in ctl(m, "metrics"), "metrics count it")
    check(document(m, "resume", BDF[0])["ok"], "resume says so")
    check(not orders(m, "pauses"), "no pause stands")
    wait_for("a governed card", lambda: m.card()["perf_level"] == "manual")
    check(found["cap_uw"] == m.baseline()["cap_uw"], "the cap is as it was")
    check("0000:99:00.0" in subprocess.run([CTL, "--bus", m.bus_address, "pause", "0000:99:00.0"],
                                           capture_output=True, text=True).stderr, "no such card")


@case()
def verify_tells_when_the_card_differs(m):
    governed(m)

    def verdict():
        done = subprocess.run([CTL, "--bus", m.bus_address, "verify", "--json"],
                              capture_output=True, text=True)
        check(done.returncode in (0, 1), done.stderr)
        return done.returncode, json.loads(done.stdout)

    wait_for("all as it should be", lambda: verdict()[0] == 0)
    text = ctl(m, "verify", BDF[0])
    check(f"{BDF[0]}: as it should be" in text and "perf_level" in text, text)
    # Somebody else writes; the daemon may put it right at once.
    m.fault("drop-writes:0:pp_dpm_sclk")
    m.fault("foreign-manual:0:0:0")
    m.fault("content:0:power_dpm_force_performance_level:high\\n")
    code, root = wait_for("a difference", lambda: (v := verdict())[0] == 1 and v)
    bad = [c["what"] for c in root["gpus"][0]["checks"] if not c["ok"]]
    check(root["ok"] is False and bad, f"{root}")
    ctl(m, "verify", "0000:99:00.0", status=1)


@case()
def every_command_has_a_document(m):
    m.setup()
    wait_for("the card", lambda: m.status()["gpus"][0]["state"] == "governed")
    for words in (["status"], ["table", "resnet50"], ["explain"], ["verify"], ["cap"],
                  ["cap", BDF[0], "150W"], ["reload"], ["metrics"], ["top", "--once"], ["version"],
                  ["help"], ["health"], ["config", "check", os.path.join(m.dir, "cofris.conf")],
                  ["resume"], ["explain", "--last", "3"]):
        document(m, *words)
    bundle = os.path.join(m.dir, "bundle.tar")
    root = document(m, "debug", "bundle", bundle)
    for member in ("status.json", "explain.json", "decisions.json", "verify.json",
                   "table-resnet50.json", f"sysfs/{BDF[0]}/pp_dpm_sclk"):
        check(member in root["members"], f"{member} is not in {root['members']}")
    inside = subprocess.run(["tar", "-xOf", bundle, "cofris-bundle/status.json"],
                            capture_output=True, text=True, check=True).stdout
    check(json.loads(inside)["gpus"][0]["bdf"] == BDF[0], "the status is the daemon's")


@case()
def reload_of_a_bad_file_names_its_line(m):
    m.setup()
    wait_for("the card", lambda: m.status()["gpus"][0]["state"] == "governed")
    before = m.status()["gpus"][0]["state"]
    m.write_config(text="[daemon]\nallow_simulated = yes\nmode = goven\n")
    done = subprocess.run([CTL, "--bus", m.bus_address, "reload"], capture_output=True, text=True)
    check(done.returncode == 1 and "cofris.conf:3: " in done.stderr, done.stderr)
    check(m.status()["gpus"][0]["state"] == before, "nothing has changed")
    check("configuration not loaded" in ctl(m, "top", "--once"), "top says it")
    check("configuration not loaded" in ctl(m, "health", status=1), "health says it")


if __name__ == "__main__":
    main()
