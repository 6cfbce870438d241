# SPDX-License-Identifier: Apache-2.0
"""cofrisctl on the system bus: what only a machine with a real systemd has."""

import json
import os
import tarfile

from booted import BDF, DAEMON, PREFIX, case, check, main, wait_for

BUNDLE = "/tmp/bundle.tar"


def member(tar, name):
    return tar.extractfile(f"cofris-bundle/{name}").read().decode(errors="replace")


@case()
def a_bundle_has_journal_and_configuration(m):
    m.govern()
    with open("/etc/cofris.conf", "a", encoding="utf-8") as f:
        f.write("; of somebody's own: hunter2\n")
    root = json.loads(m.cofrisctl("debug", "bundle", BUNDLE, "--json").stdout)
    check(not root["missing"], f"missing: {root['missing']}")
    check(root["cofrisd"] == root["cofrisctl"], f"{root['cofrisd']}")
    with tarfile.open(BUNDLE) as tar:
        check("cofrisd" in member(tar, "journal.txt"), "the journal of the daemon")
        check("cofris-actuator" in member(tar, "journal.txt"), "and of the actuator")
        config = member(tar, "config/etc/cofris.conf")
        check("[model resnet50]" in config and "hunter2" not in config, config)
        check(json.loads(member(tar, "verify.json"))["ok"] is True, "the card was verified")
    os.remove(BUNDLE)
    # Who may not read the journal gets the rest.
    nobody = m.add_user("somebody")
    root = json.loads(m.cofrisctl("debug", "bundle", BUNDLE, "--json", user=nobody).stdout)
    check(f"sysfs/{BDF[0]}/pp_dpm_sclk" in root["members"], f"{root['members']}")


@case()
def a_pause_of_cofrisctl_survives_a_restart(m):
    m.govern()
    m.start_worker("--rate", "40")
    wait_for("a lower clock limit", m.lowered)
    before = m.card()["cap_uw"]
    m.cofrisctl("pause", "--for", "2h", "--reason", "new fan")
    wait_for("the card's full range", m.full_range)
    m.systemctl("restart", DAEMON)
    health = wait_for("health to say so", lambda: (h := m.cofrisctl(
        "health", check_exit=False)).returncode == 1 and h.stdout)
    check("paused: * by uid 0: new fan" in health, health)
    check(m.card()["perf_level"] == "auto" and m.card()["cap_uw"] == before, "left alone")
    m.cofrisctl("resume")
    wait_for("a lower clock limit", m.lowered)
    wait_for("all to be well", lambda: m.cofrisctl("health", check_exit=False).returncode == 0)


@case(cards=False)
def completion_is_where_bash_looks(m):
    path = f"{PREFIX}/share/bash-completion/completions/cofrisctl"
    done = m.run("bash", "--norc", "-c",
                 f'source {path}; COMP_WORDS=(cofrisctl deb) COMP_CWORD=1; _cofrisctl; '
                 'echo "${COMPREPLY[@]}"')
    check(done.stdout.split() == ["debug"], f"{done}")


if __name__ == "__main__":
    main()
