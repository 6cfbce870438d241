# SPDX-License-Identifier: Apache-2.0
"""docs/tutorial.md: every command that it shows is run, in its order, on a machine that has nothing
but the packages; what it says comes out does.

Commands are in blocks "sh", run by one shell that ends at the first failure. A block "text" behind
one is what it printed: its lines come in this order, possibly with others between. Dots stand for any
text, and each number of more than one digit for any number. Where a block only asks (cofrisctl), the
reader would look again, and so does the test.
"""

import os
import re
import shutil
import subprocess

from booted import BUILD, SOURCE, Failure, case, check, main, wait_for
from test_packages import the_packages

PAGE = os.path.join(SOURCE, "docs", "tutorial.md")
FIGURE = re.compile(r"(?<![\w.:])(?:\d\d+|\d+\.\d+)(?![\w.:]*\w)")
DONE = "-- that was the block"


def blocks():
    """[(number of the line, language, text)]"""
    found, start, language, lines = [], 0, None, []
    with open(PAGE, encoding="utf-8") as f:
        for number, line in enumerate(f, 1):
            if not line.startswith("```"):
                lines.append(line)
            elif language is None:
                start, language, lines = number, line[3:].strip(), []
            else:
                found.append((start, language, "".join(lines)))
                language = None
    return found


def pattern(shown):
    """Of a line of the page; blanks are as many as a table needs."""
    text = FIGURE.sub("\0", " ".join(shown.split()))
    return re.compile(re.escape(text).replace("\0", r"[\d.]+").replace(re.escape("..."), ".*"))


def missing(shown, output):
    """The first line of what is shown that the output lacks, or None."""
    lines = iter(output.splitlines())
    for wanted in shown.splitlines():
        if not any(pattern(wanted).fullmatch(" ".join(line.split())) for line in lines):
            return wanted
    return None


class Shell:
    """What is typed into one, a block at a time."""

    def __init__(self, folder):
        self.process = subprocess.Popen(["/bin/bash"], cwd=folder, stdin=subprocess.PIPE, text=True,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self._send("set -e")

    def _send(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def run(self, number, text, may_fail=False):
        """Returns what it printed; or None where a command fails that may."""
        path = "/run/block"
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        # On the left of || the shell does not end at a failure.
        self._send(f". {path} </dev/null{' || echo no' if may_fail else ''}; echo '{DONE}'")
        output = ""
        for line in self.process.stdout:
            output += line
            if output.endswith(DONE + "\n"):
                output = output[:-len(DONE) - 1]
                return None if may_fail and output.endswith("no\n") else output
        raise Failure(f"{PAGE}:{number}: a command fails:\n{text}\n{output}")

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def only_asks(text):
    return re.fullmatch(r"cofrisctl (status|health|verify|explain)\n", text)


def run_and_compare(shell, number, text, shown):
    if not only_asks(text):
        output = shell.run(number, text)
        lacks = missing(shown, output)
        check(lacks is None, f"{PAGE}:{number}: no line '{lacks}' in its place:\n{text}\n{output}")
    else:
        output = wait_for(f"{PAGE}:{number}: success of {text}with {shown}", lambda: asked(
            shell, number, text, shown), period=0.2)
    print(f"{text}{output}", flush=True)


def asked(shell, number, text, shown):
    """What was answered, if it is what is shown."""
    output = shell.run(number, text, may_fail=True)
    return output if output is not None and missing(shown, output) is None else None


@case(installed=False, timeout=280)
def tutorial(_m):
    the_packages()
    if os.path.exists("/var/lib/man-db/auto-update"):
        os.unlink("/var/lib/man-db/auto-update")
    # There the reader begins.
    shutil.copytree(BUILD + "/packages", "/root/packages")
    shell, page, commands = Shell("/root/packages"), blocks(), 0
    for i, (number, language, text) in enumerate(page):
        check(language in ("sh", "text"), f"{PAGE}:{number}: a block of what is not run")
        if language == "text":
            check(i > 0 and page[i - 1][1] == "sh", f"{PAGE}:{number}: of no command")
            continue
        following = page[i + 1] if i + 1 < len(page) else (0, "", "")
        run_and_compare(shell, number, text, following[2] if following[1] == "text" else "")
        commands += 1
    shell.close()
    check(commands > 10, f"only {commands} blocks of commands were found")


if __name__ == "__main__":
    main()
