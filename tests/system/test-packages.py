# SPDX-License-Identifier: Apache-2.0
"""The Debian packages: they are built, have every file that cmake --install has, and lintian is
content with them.

usage: test-packages.py build|contents|lintian --build DIR --packages DIR
"""

import argparse
import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile

NAMES = ("cofris", "cofris-tools", "libcofris-dev", "libcofris0")
# For Debian's own archive; these packages are not uploaded there.
NOT_FOR_US = "initial-upload-closes-no-bugs"
# Where a package has its own instead: of the licence its file "copyright".
ONLY_INSTALLED = {"/usr/share/doc/cofris/LICENSE"}
OWN_DOCUMENTS = re.compile(
    rf"/usr/share/(doc/({'|'.join(NAMES)})/(copyright|changelog\.Debian\.gz)|lintian/overrides/\S+)")

problems = []


def check(condition, text):
    if not condition:
        problems.append(text)


def run(*command, **options):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=150, **options)
    return done.returncode, done.stdout


def cached(build, name):
    with open(os.path.join(build, "CMakeCache.txt"), encoding="utf-8") as f:
        return re.search(rf"(?m)^{name}:\w+=(.*)$", f.read()).group(1)


def skip_unless_packaged(build):
    prefix = cached(build, "CMAKE_INSTALL_PREFIX")
    why = ""
    if cached(build, "COFRIS_SANITIZE"):
        why = "an instrumented build is not packaged"
    elif prefix != "/usr":
        why = f"built for {prefix}, packages need /usr (-DCMAKE_INSTALL_PREFIX=/usr)"
    if why:
        print(why)
        sys.exit(77)


def packages(folder):
    return sorted(glob.glob(folder + "/*.deb"))


def test_build(args):
    shutil.rmtree(args.packages, ignore_errors=True)
    code, out = run("cpack", "--config", args.build + "/CPackConfig.cmake", "-B", args.packages)
    print(out)
    check(code == 0, "cpack fails")
    shutil.rmtree(args.packages + "/_CPack_Packages", ignore_errors=True)
    found = sorted(os.path.basename(path).split("_")[0] for path in packages(args.packages))
    check(found == list(NAMES), f"packages: {found}")


def installed_files(build):
    """{path: mode} as cmake --install has them."""
    with tempfile.TemporaryDirectory() as destination:
        code, out = run("cmake", "--install", build, env={**os.environ, "DESTDIR": destination})
        check(code == 0, out)
        found = {}
        for folder, _, names in os.walk(destination):
            for name in names:
                path = os.path.join(folder, name)
                found[path[len(destination):]] = os.lstat(path).st_mode & 0o777
        return found


def packed_files(deb):
    """{path: mode}"""
    _, out = run("dpkg-deb", "--contents", deb)
    found = {}
    for line in out.splitlines():
        kind, owner, _, _, _, path = line.split(None, 5)
        check(owner == "root/root", f"{deb}: {line}")
        check(kind[0] != "d" or kind == "drwxr-xr-x", f"{deb}: {line}")
        if kind[0] != "d":
            bits = "".join("1" if c != "-" else "0" for c in kind[1:])
            found[path.split(" -> ")[0][1:]] = int(bits, 2)
    return found


def test_contents(args):
    """Each file is in one package, none is forgotten, and none is added but what policy wants."""
    wanted = installed_files(args.build)
    owner = {}
    for deb in packages(args.packages):
        for path, mode in packed_files(deb).items():
            check(path not in owner, f"{path} is in {deb} and in {owner.get(path)}")
            owner[path] = deb
            if not OWN_DOCUMENTS.fullmatch(path):
                check(wanted.get(path) == mode,
                      f"{path}: mode {mode:o}, by cmake --install {wanted.get(path, 0):o}")
    for path in sorted(set(wanted) - set(owner) - ONLY_INSTALLED):
        check(False, f"{path} is in no package")
    check(len(owner) > 60, f"only {len(owner)} files")
    for deb in packages(args.packages):
        check_package(deb)


def check_package(deb):
    name = os.path.basename(deb).split("_")[0]
    _, out = run("dpkg-deb", "--info", deb)
    fields = dict(re.findall(r"(?m)^ ([A-Z][\w-]+): (.*)$", out))
    check(fields.get("Package") == name, f"{deb} says it is {fields.get('Package')}")
    for path in [p for p in packed_files(deb) if p.startswith("/etc/")]:
        check(False, f"{path} would be a configuration file of the package")
    if name in ("cofris-tools", "libcofris-dev"):
        check(f"libcofris0 (= {fields['Version']})" in fields["Depends"],
              f"{name} does not depend on its own libcofris0: {fields['Depends']}")
    if name in ("cofris", "cofris-tools"):
        check("libjansson4" in fields["Depends"], f"{name} depends on {fields['Depends']}")


def test_lintian(args):
    code, out = run("lintian", "--allow-root", "--fail-on", "error,warning", "--display-info",
                    "--suppress-tags", NOT_FOR_US, *packages(args.packages))
    print(out)
    check(code == 0, "lintian has found something")


def main():
    tests = {"build": test_build, "contents": test_contents, "lintian": test_lintian}
    parser = argparse.ArgumentParser()
    parser.add_argument("test", choices=sorted(tests))
    parser.add_argument("--build", required=True)
    parser.add_argument("--packages", required=True)
    args = parser.parse_args()
    skip_unless_packaged(args.build)
    tests[args.test](args)
    for text in problems:
        print(text, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
