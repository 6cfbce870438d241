# SPDX-License-Identifier: Apache-2.0
"""Man pages and README against the programs: options, configuration keys, functions, examples.

usage: test-docs.py --programs DIR --config-keys PROGRAM --library FILE --cc CC --cxx CXX
                    [--cflags FLAGS] [CHECK...]
"""

import argparse
import os
import glob
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree

SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DOCS = os.path.join(SOURCE, "docs")
HEADERS = [os.path.join(SOURCE, "include", "cofris", name) for name in ("cofris.h", "hip.h")]

# Further help texts of programs with several.
COMMANDS = {"cofris-profile": [["table"]]}
# Words in italics or bold in front of "(N)" that are pages of other projects.
OWN_PAGES = re.compile(r"\*((?:lib)?cofris[a-z.-]*)\*\((\d)\)")

CHECKS = []
problems = []


def check(function):
    CHECKS.append(function)
    return function


def problem(text):
    problems.append(text)


def read(path):
    with open(path, encoding="utf-8") as f:
        return f.read()


def run(*command, **options):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=120, **options)
    return done.returncode, done.stdout


def pages():
    """{"cofrisd.8": text}"""
    found = {name[:-4]: read(os.path.join(DOCS, name))
             for name in sorted(os.listdir(DOCS)) if name.endswith(".scd")}
    if not found:
        problem("no page in docs/")
    return found


def page_of(name):
    for full, text in pages().items():
        if full[:-2] == name:
            return full, text
    return None, ""


def literal_blocks(text, section=None):
    """What stands between ``` in a page or README, or in one section of it."""
    blocks, block, here = [], None, None
    for line in text.splitlines(keepends=True):
        if line.startswith("```"):
            if block is not None and section in (None, here):
                blocks.append("".join(block))
            block = [] if block is None else None
        elif block is not None:
            block.append(line)
        elif line.startswith("# "):
            here = line[2:].strip()
    return blocks


def long_options(words):
    return set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", words))


def help_options(text):
    """Options that a help text defines: at the begin of a line, not too far to the right."""
    found = set()
    for line in text.splitlines():
        # The description is two blanks or more to the right.
        defined = re.match(r" {1,8}(?:-\w, )?(--\S.*?)(?:  |$)", line)
        if defined:
            found |= long_options(defined.group(1))
    return found


def page_options(text):
    """Options that a page defines: lines that begin with one in bold."""
    found = set()
    for line in text.splitlines():
        if re.match(r"\*-", line):
            found |= long_options(line)
    return found


@check
def options_match(args):
    """Every long option of --help has an entry in the man page, and the other way round."""
    programs = sorted(os.listdir(args.programs))
    if not programs:
        problem(f"no program in {args.programs}")
    for program in programs:
        name, text = page_of(program)
        if not name:
            problem(f"{program} has no man page in docs/")
            continue
        helped, mentioned = set(), set()
        for words in [[]] + COMMANDS.get(program, []):
            code, out = run(os.path.join(args.programs, program), *words, "--help")
            if code != 0:
                problem(f"{program} {' '.join(words)} --help: exit status {code}")
            helped |= help_options(out)
            # "stat [--json]": of a command, so somewhere in the page.
            mentioned |= set(re.findall(r"\[(--[a-z-]+)", out))
        if not helped:
            problem(f"{program} --help names no option")
        for option in sorted(helped - page_options(text)):
            problem(f"docs/{name}.scd has no entry for {option}, which --help names")
        for option in sorted(page_options(text) - helped - mentioned):
            problem(f"docs/{name}.scd has an entry for {option}, which --help does not name")
        for option in sorted(mentioned - long_options(text)):
            problem(f"docs/{name}.scd does not mention {option}, which --help does")


@check
def versions_match(args):
    """Every program says its name and the project's version."""
    version = re.search(r"project\(cofris VERSION ([0-9.]+)",
                        read(os.path.join(SOURCE, "CMakeLists.txt"))).group(1)
    for program in sorted(os.listdir(args.programs)):
        code, out = run(os.path.join(args.programs, program), "--version")
        if code != 0 or out.split() != [program, version]:
            problem(f"{program} --version: {out.strip()!r}, exit status {code}")


@check
def config_keys_match(args):
    """Every configuration key has an entry with its default, and no other key has one."""
    code, out = run(args.config_keys)
    keys = [line.split("\t") for line in out.splitlines()]
    if code != 0 or len(keys) < 10:
        problem(f"{args.config_keys}: {out!r}")
    name, text = page_of("cofris.conf")
    if not name:
        problem("no page cofris.conf(5)")
        return
    # An entry lasts until the next line that is not indented and not empty.
    entries = {}
    for line in re.finditer(r"(?m)^\*([a-z_]+)\*(?!\().*\n(?:(?:\t.*)?\n)*", text):
        entries.setdefault(line.group(1), line.group(0))
    for section, key, fallback in keys:
        if key not in entries:
            problem(f"docs/{name}.scd has no entry for {key} of [{section}]")
        elif fallback and fallback not in re.sub(r"\\(.)", r"\1", entries[key]):
            problem(f"docs/{name}.scd: the entry of {key} lacks its default, {fallback}")
    for key in sorted(set(entries) - {key for _, key, _ in keys}):
        problem(f"docs/{name}.scd has an entry for {key}, which is no key")


@check
def config_examples_are_valid(args):
    """Configurations shown in README and cofris.conf(5) pass cofrisctl config check."""
    texts = [("README.md", read(os.path.join(SOURCE, "README.md")))]
    texts.append(("docs/cofris.conf.5.scd", page_of("cofris.conf")[1]))
    for name, text in texts:
        blocks = [b for b in literal_blocks(text) if re.match(r"(#.*\n)*\[", b)]
        if not blocks:
            problem(f"{name} shows no configuration")
        for block in blocks:
            check_config(args, name, block)


def check_config(args, name, text):
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as f:
        f.write(text)
        f.flush()
        code, out = run(os.path.join(args.programs, "cofrisctl"), "config", "check", f.name)
    if code != 0:
        problem(f"{name}: a configuration that it shows is refused: {out.strip()}")


@check
def bus_is_documented(_args):
    """dbus.md has a row for each property, method and signal of each object."""
    text = read(os.path.join(DOCS, "dbus.md"))
    members = re.findall(r'SD_BUS_(?:PROPERTY|METHOD|SIGNAL)\w*\(\s*"(\w+)"',
                         "".join(map(read, sorted(glob.glob(
                             os.path.join(SOURCE, "src", "daemon", "bus*.c"))))))
    # A row may be of several: "| `A`, `B` |".
    rows = re.findall(r"`([A-Z]\w+)`",
                      "\n".join(re.findall(r"(?m)^\|((?: `[A-Z]\w+`,?)+) \|", text)))
    if not members:
        problem("no member found in bus*.c")
    for name in sorted(set(members + rows)):
        if members.count(name) != rows.count(name):
            problem(f"docs/dbus.md has {rows.count(name)} rows for {name}, bus*.c have "
                    f"{members.count(name)}")


@check
def references_exist(_args):
    """Pages of this project that a page names exist, and each page has what man(1) needs."""
    all_pages = pages()
    for name, text in all_pages.items():
        if text.split("\n", 1)[0] != f"{name[:-2]}({name[-1]})":
            problem(f"docs/{name}.scd: expected {name[:-2]}({name[-1]}) as the first line")
        if not re.search(rf"(?m)^# NAME\n\n{re.escape(name[:-2])} - \S", text):
            problem(f"docs/{name}.scd: expected NAME to be '{name[:-2]} - ...'")
        for page, section in OWN_PAGES.findall(text):
            if f"{page}.{section}" not in all_pages:
                problem(f"docs/{name}.scd names {page}({section}), which is no page")


@check
def picture_says_simulated(_args):
    """README shows docs/top.svg, which is a picture of a simulated card and says so."""
    if "(docs/top.svg)" not in read(os.path.join(SOURCE, "README.md")):
        problem("README.md does not show docs/top.svg")
    try:
        root = xml.etree.ElementTree.parse(os.path.join(DOCS, "top.svg")).getroot()
    except (OSError, xml.etree.ElementTree.ParseError) as e:
        problem(f"docs/top.svg: {e}")
        return
    texts = " ".join(root.itertext())
    for word in ("SIMULATED", "governed", "MHZ", "resnet50"):
        if word not in texts:
            problem(f"docs/top.svg does not show '{word}'")


@check
def surface_example_loads(args):
    """The example of cofris-surface(5) is taken, and its keys and columns are explained."""
    name, text = page_of("cofris-surface")
    block, = literal_blocks(text, "EXAMPLE")
    with tempfile.TemporaryDirectory() as folder:
        path = os.environ["PATH"]
        code, out = run("sh", "-eu", "-c", block, cwd=folder,
                        env={**os.environ, "PATH": f"{args.programs}:{path}"})
        surface = read(os.path.join(folder, "example.csv")) if code == 0 else ""
    if code != 0 or "(simulated)" not in out:
        problem(f"docs/{name}.scd: the example fails: {out.strip()}")
    header = dict(re.findall(r"(?m)^# (\S+) = (.*)$", surface))
    wanted = set(header) - {"cofris-surface"}
    for columns in ("cell_columns", "load_columns"):
        wanted |= set(header.get(columns, "missing").split(","))
    for word in sorted(wanted):
        # "*cells*, *loads*" explains both.
        if not re.search(rf"(?m)^\*(?:.*\*)?{re.escape(word)}\*", text):
            problem(f"docs/{name}.scd does not explain {word}")


@check
def library_is_documented(_args):
    """libcofris(3) lists every function of the headers, and no other."""
    name, text = page_of("libcofris")
    declared = set(re.findall(r"COFRIS_API [^(;]*?\b(cofris_\w+)\(",
                              "".join(map(read, HEADERS))))
    synopsis = text[text.index("# SYNOPSIS"):text.index("# DESCRIPTION")]
    listed = set(re.findall(r"\b(cofris_\w+)\(", synopsis))
    if not declared or declared != listed:
        problem(f"docs/{name}.scd: the synopsis and the headers differ in "
                f"{sorted(declared ^ listed)}")


@check
def library_example_runs(args):
    """The example of libcofris(3) compiles without a warning, links and runs without a daemon."""
    name, text = page_of("libcofris")
    example, = [b for b in literal_blocks(text, "EXAMPLE") if "main(" in b]
    with tempfile.TemporaryDirectory() as folder:
        source, program = os.path.join(folder, "worker.c"), os.path.join(folder, "worker")
        with open(source, "w", encoding="utf-8") as f:
            f.write(example)
        code, out = run(args.cc, "-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror",
                        *args.cflags.split(), "-I" + os.path.join(SOURCE, "include"), source,
                        "-o", program, args.library,
                        "-Wl,-rpath," + os.path.dirname(args.library))
        if code == 0:
            code, out = run(program, env={**os.environ, "COFRIS_SOCKET": folder + "/none"})
    if code != 0 or not re.search(r"(?m)^[1-9]\d* requests served$", out):
        problem(f"docs/{name}.scd: the example fails: {out.strip()}")
    if "not governed: " not in out:
        problem(f"docs/{name}.scd: the example does not say that no daemon is there: {out}")


@check
def header_stands_alone(args):
    """Each installed header compiles by itself, as C11, C17 and C++17."""
    for header in HEADERS:
        for compiler, language, standard in ((args.cc, "c", "c11"), (args.cc, "c", "c17"),
                                             (args.cxx, "c++", "c++17")):
            code, out = run(compiler, "-x", language, "-std=" + standard, "-fsyntax-only", "-Wall",
                            "-Wextra", "-Wpedantic", "-Werror",
                            "-I" + os.path.join(SOURCE, "include"), "-include", header,
                            "/dev/null")
            if code != 0:
                problem(f"{os.path.basename(header)} as {standard} by {compiler}: {out.strip()}")


def main():
    parser = argparse.ArgumentParser()
    for option in ("--programs", "--config-keys", "--library", "--cc", "--cxx"):
        parser.add_argument(option, required=True)
    parser.add_argument("--cflags", default="")
    parser.add_argument("checks", nargs="*", help="only these")
    args = parser.parse_args()
    for function in CHECKS:
        if args.checks and function.__name__ not in args.checks:
            continue
        before = len(problems)
        function(args)
        print("ok  " if len(problems) == before else "FAIL", function.__doc__.split("\n")[0])
    for text in problems:
        print(text, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
