# SPDX-License-Identifier: Apache-2.0
"""What bash offers while a cofrisctl command is typed, and the man page against the command table.

usage: test-ctl-completion.py CTL SCRIPT
"""

import json
import os
import re
import subprocess
import sys
import tempfile

SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

# Asks the function as bash does: the words split at its COMP_WORDBREAKS.
DRIVER = r"""
source "$1"
shift
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
$(complete -p cofrisctl | sed -E 's/.*-F ([^ ]+) .*/\1/')
printf '%s\n' "${COMPREPLY[@]}"
"""

# In place of a daemon's answers.
FAKE = """#!/bin/sh
case "$*" in
"--bus unix:path=/b completion gpus") echo 0000:03:00.0 ;;
*"completion gpus") echo 0000:43:00.0; echo 0000:63:00.0 ;;
*"completion models") echo resnet50; echo vgg19 ;;
esac
"""


def check(condition, text):
    if not condition:
        sys.exit(text)


def split(word):
    """At ':' and '=', which stay words of their own."""
    return [part for part in re.split(r"([:=])", word) if part] or [""]


def complete(script, folder, line):
    """What is offered for the last word of the line."""
    words = [part for word in line.split(" ") for part in split(word)]
    done = subprocess.run(["bash", "--norc", "-c", DRIVER, "bash", script, *words],
                          capture_output=True, text=True, timeout=30,
                          env={**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"})
    check(done.returncode == 0 and not done.stderr, f"'{line}': {done.stderr}")
    return set(done.stdout.split())


def check_completion(ctl, script, commands):
    names = {c["name"].split()[0] for c in commands}
    with tempfile.TemporaryDirectory() as folder:
        fake = os.path.join(folder, "cofrisctl")
        with open(fake, "w", encoding="utf-8") as f:
            f.write(FAKE)
        os.chmod(fake, 0o755)
        cases = {
            "cofrisctl ": names,
            "cofrisctl --json ": names,
            "cofrisctl ex": {"explain"},
            "cofrisctl config ": {"check"},
            "cofrisctl debug b": {"bundle"},
            "cofrisctl table ": {"resnet50", "vgg19"},
            "cofrisctl hold v": {"vgg19"},
            "cofrisctl hold resnet50 --level ": {"full-speed", "rated"},
            "cofrisctl hold resnet50 --level=r": {"rated"},
            "cofrisctl explain --model ": {"resnet50", "vgg19"},
            "cofrisctl explain --rps 5 ": {"0000:43:00.0", "0000:63:00.0"},
            # What stands before the last colon is not replaced.
            "cofrisctl pause 0000:4": {"43:00.0"},
            "cofrisctl cap 0000:43:00.0 o": {"off"},
            "cofrisctl --bus unix:path=/b verify ": {"0000:03:00.0"},
            "cofrisctl pause --for 8": {"8h"},
            "cofrisctl help re": {"resume", "reload"},
            "cofrisctl hold resnet50 -- tmu": None,
        }
        for line, wanted in cases.items():
            found = complete(script, folder, line)
            if wanted is not None:
                check(found == wanted, f"'{line}' offers {sorted(found)}, not {sorted(wanted)}")
        for command in commands:
            found = complete(script, folder, f"cofrisctl {command['name']} --")
            check(found == set(command["options"]),
                  f"{command['name']}: options {sorted(found)}, not {command['options']}")
    made = subprocess.run([ctl, "completion", "bash"], capture_output=True, text=True, timeout=30)
    with open(script, encoding="utf-8") as f:
        check(made.stdout == f.read(), f"{script} is not what the program makes")


def entries(page):
    """{"hold": text}: of each command in COMMANDS."""
    text = page[page.index("# COMMANDS"):page.index("# OPTIONS")]
    found = {}
    for entry in re.split(r"(?m)^(?=\*[a-z])", text)[1:]:
        name = re.match(r"\*([a-z ]+)\*", entry).group(1)
        found[name] = found.get(name, "") + entry
    return found


def check_page(commands):
    with open(os.path.join(SOURCE, "docs", "cofrisctl.1.scd"), encoding="utf-8") as f:
        page = f.read()
    found = entries(page)
    wanted = {c["name"]: c for c in commands}
    check(set(found) == set(wanted),
          f"the man page's commands differ in {sorted(set(found) ^ set(wanted))}")
    every = set.intersection(*(set(c["options"]) for c in commands))
    for name, command in wanted.items():
        for option in set(command["options"]) - every:
            check(f"*{option}*" in found[name], f"the man page's entry of {name} lacks {option}")
    for option in every:
        check(re.search(rf"(?m)^\*{option}\*", page), f"the man page has no entry for {option}")


def main():
    ctl, script = sys.argv[1:]
    done = subprocess.run([ctl, "help", "--json"], capture_output=True, text=True, timeout=30)
    commands = json.loads(done.stdout)["commands"]
    check(len(commands) > 10, f"{len(commands)} commands")
    check_completion(ctl, script, commands)
    check_page(commands)


if __name__ == "__main__":
    main()
