# SPDX-License-Identifier: Apache-2.0
"""docs/security.md against the tests: each that it names is there, and each answer names one.

usage: test-security-doc.py --ctest PROGRAM --build DIR

A test is named as ctest does, in backticks: `system-a_second_hello_is_an_error`; one function of a
unit test by `test-channel/a_second_hello_is_an_error`.
"""

import argparse
import glob
import json
import os
import re
import subprocess
import sys

SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PAGE = os.path.join(SOURCE, "docs", "security.md")
NAME = re.compile(r"`((?:test|system|systemd|actuator-program|replay|fuzz)-[\w*-]+(?:/\w+)?)`")


def names_of(ctest, build):
    done = subprocess.run([ctest, "--test-dir", build, "--show-only=json-v1"], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
    return {test["name"] for test in json.loads(done.stdout)["tests"]}


def has_case(test, case):
    """Whether a source of that test, in C or Python, has the function."""
    for path in glob.glob(os.path.join(SOURCE, "tests", "*", f"{test}.*")):
        with open(path, encoding="utf-8") as f:
            if re.search(rf"(?m)^(?:static void|def) (?:test_)?{case}\(", f.read()):
                return True
    return False


def rows(text):
    """(heading, cells) of each table whose last column is "shown by"."""
    heading, inside = None, False
    for line in text.splitlines():
        if line.startswith("#"):
            heading = line.lstrip("# ")
        cells = [c.strip() for c in line.strip("|").split("|")]
        if not line.startswith("|"):
            inside = False
        elif cells[-1] == "shown by":
            inside = True
        elif inside and not set(line) <= set("|- "):
            yield heading, cells


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--ctest", required=True)
    parser.add_argument("--build", required=True)
    args = parser.parse_args()
    with open(PAGE, encoding="utf-8") as f:
        text = f.read()
    known = names_of(args.ctest, args.build)
    problems = []
    answers = list(rows(text))
    if len(answers) < 30:
        problems.append(f"{len(answers)} threats with an answer: the tables are not found")
    for heading, cells in answers:
        if len(cells) != 3:
            problems.append(f"{heading}: '{cells[0]}' has not three columns")
        elif not NAME.search(cells[-1]):
            problems.append(f"{heading}: '{cells[0]}' names no test")
    for name in sorted(set(NAME.findall(text))):
        test, _, case = name.partition("/")
        if test not in known:
            problems.append(f"{name}: ctest knows no {test}")
        elif case and not has_case(test, case):
            problems.append(f"{name}: {test} has no such case")
    for problem in problems:
        print(f"docs/security.md: {problem}", file=sys.stderr)
    print(f"{len(answers)} answers, {len(set(NAME.findall(text)))} tests")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
