# SPDX-License-Identifier: Apache-2.0
"""What cmake --install leaves: it is complete, and what refers to a path finds it there.

usage: test-install.py --cmake CMAKE --build DIR --prefix DIR --cc CC [--cflags FLAGS] [--man]
"""

import argparse
import glob
import os
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree

SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROGRAMS = {"bin": ["cofris-profile", "cofris-replay", "cofris-sim", "cofris-worker", "cofrisctl"],
            "sbin": ["cofris-actuator", "cofrisd"]}

problems = []


def check(condition, text):
    if not condition:
        problems.append(text)


def run(*command, **options):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=120, **options)
    return done.returncode, done.stdout


def sources(pattern):
    found = glob.glob(os.path.join(SOURCE, pattern))
    check(found, f"nothing matches {pattern}")
    return [os.path.basename(path) for path in found]


def units_folder(root):
    """Debian's packages have units in /lib."""
    above = os.path.dirname(root) if os.path.basename(root) == "usr" else root
    return os.path.join(above, "lib/systemd/system")


def check_files(root, man):
    """Everything that the source tree has for installing is there."""
    wanted = [f"{folder}/{name}" for folder, names in PROGRAMS.items() for name in names]
    wanted += [f"share/cofris/{kind}/{name}" for kind, pattern in
               (("devices", "*.ini"), ("devices", "*.csv"), ("models", "*.ini"), ("loads", "*.csv"))
               for name in sources(f"profiles/{kind}/{pattern}")]
    if man:
        wanted += [f"share/man/man{name[-5]}/{name[:-4]}.gz" for name in sources("docs/*.scd")]
    check(glob.glob(root + "/lib/**/libcofris-hsa.so", recursive=True),
          "libcofris-hsa.so is not installed")
    wanted += ["include/cofris/cofris.h", "include/cofris/hip.h"]
    wanted += ["share/doc/cofris/LICENSE", "share/doc/cofris/README.md"]
    wanted += ["share/bash-completion/completions/cofrisctl"]
    wanted += [os.path.join(units_folder(root), name.removesuffix(".in")) for name in
               sources("systemd/*.service*") + sources("systemd/*.socket*")]
    wanted += ["lib/sysusers.d/cofris.conf", "lib/tmpfiles.d/cofris.conf", "lib/cofris/cofris.conf"]
    for path in wanted:
        check(os.path.exists(os.path.join(root, path)), f"{path} is not installed")
    for folder, _, names in os.walk(root):
        for name in names:
            check(not name.endswith((".py", ".scd", ".in", ".txt")), f"{folder}/{name} is")


def check_hsakmt(build, root):
    """The simulated driver, wherever it was built: not in an instrumented build."""
    if os.path.exists(os.path.join(build, "lib/sim/libhsakmt.so.1")):
        found = glob.glob(os.path.join(root, "**/cofris/sim/libhsakmt.so.1"), recursive=True)
        check(len(found) == 1, f"libhsakmt.so.1 is installed as {found}")


def check_units(destination, root):
    """Programs that units start are installed where they say."""
    started = 0
    for unit in glob.glob(units_folder(root) + "/*"):
        with open(unit, encoding="utf-8") as f:
            text = f.read()
        for path in re.findall(r"(?m)^Exec\w+=[-@:+!]*(/\S*cofris\S*)", text):
            started += 1
            check(os.access(destination + path, os.X_OK),
                  f"{os.path.basename(unit)} starts {path}, which is not installed")
        for page, section in re.findall(r"man:([\w.-]+)\((\d)\)", text):
            check(os.path.exists(os.path.join(SOURCE, "docs", f"{page}.{section}.scd")),
                  f"{os.path.basename(unit)} names {page}({section}), which is no page")
    check(started >= 2, "the units start no program")


def check_policy(destination):
    found = {kind: glob.glob(f"{destination}/**/{kind}", recursive=True)
             for kind in ("dbus-1/system.d/org.cofris1.conf", "polkit-1/actions/org.cofris1.policy",
                          "polkit-1/rules.d/org.cofris1.rules")}
    for kind, paths in found.items():
        check(len(paths) == 1, f"{kind} is installed as {paths}")
    for path in (path for paths in found.values() for path in paths if not path.endswith("rules")):
        try:
            xml.etree.ElementTree.parse(path)
        except xml.etree.ElementTree.ParseError as e:
            check(False, f"{path}: {e}")


def example():
    with open(os.path.join(SOURCE, "docs", "libcofris.3.scd"), encoding="utf-8") as f:
        blocks = re.findall(r"(?ms)^```\n(.*?)^```$", f.read())
    return next(b for b in blocks if "main(" in b)


def check_library(args, destination):
    """The example of libcofris(3) builds with what pkg-config says, and runs."""
    files = glob.glob(destination + "/**/pkgconfig/cofris.pc", recursive=True)
    if len(files) != 1:
        check(False, f"cofris.pc: found {files}")
        return
    environment = {**os.environ, "PKG_CONFIG_SYSROOT_DIR": destination,
                   "PKG_CONFIG_LIBDIR": os.path.dirname(files[0]),
                   # As if this were not the system's own folder.
                   "PKG_CONFIG_ALLOW_SYSTEM_CFLAGS": "1", "PKG_CONFIG_ALLOW_SYSTEM_LIBS": "1"}
    code, flags = run("pkg-config", "--cflags", "--libs", "cofris", env=environment)
    check(code == 0 and "-lcofris" in flags, f"pkg-config: {flags}")
    source, program = destination + "/worker.c", destination + "/worker"
    with open(source, "w", encoding="utf-8") as f:
        f.write(example())
    code, out = run(args.cc, "-std=c17", "-Wall", "-Wextra", "-Wpedantic", "-Werror",
                    *args.cflags.split(), source, "-o", program, *flags.split())
    check(code == 0, f"the example does not build: {out}")
    libraries = os.path.dirname(os.path.dirname(files[0]))
    if code == 0:
        code, out = run(program, env={**os.environ, "LD_LIBRARY_PATH": libraries,
                                      "COFRIS_SOCKET": destination + "/none"})
        check(code == 0 and "requests served" in out, f"the example fails: {out}")


def check_programs(root, destination):
    """Each one starts with the installed library."""
    libraries = os.path.dirname(glob.glob(destination + "/**/libcofris.so", recursive=True)[0])
    for folder, names in PROGRAMS.items():
        for name in names:
            code, out = run(os.path.join(root, folder, name), "--version",
                            env={**os.environ, "LD_LIBRARY_PATH": libraries})
            check(code == 0 and out.startswith(name), f"{name} --version: {out}")


def main():
    parser = argparse.ArgumentParser()
    for option in ("--cmake", "--build", "--prefix", "--cc"):
        parser.add_argument(option, required=True)
    parser.add_argument("--cflags", default="")
    parser.add_argument("--man", action="store_true", help="man pages are built")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as destination:
        root = destination + args.prefix
        code, out = run(args.cmake, "--install", args.build,
                        env={**os.environ, "DESTDIR": destination})
        if code != 0:
            print(out, file=sys.stderr)
            return 1
        print(out)
        check_files(root, args.man)
        check_hsakmt(args.build, root)
        check_units(destination, root)
        check_policy(destination)
        check_programs(root, destination)
        check_library(args, destination)
    for text in problems:
        print(text, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
