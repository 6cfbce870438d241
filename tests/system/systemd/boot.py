# SPDX-License-Identifier: Apache-2.0
"""Boots a real systemd for one case of a test, and leaves nothing behind.

It is the first process of PID, mount, cgroup, UTS, IPC and network namespaces of its own. Its root
is an overlay of the host's, so whatever it writes goes away with it; /run, /tmp, /dev and /proc are
new. The build folder is visible where it is, and is all that a case needs beside the programs that
it has installed (see booted.py, which is what tests import).

The cgroups: the version 2 hierarchy, and beside it the version 1 hierarchies of the controllers
that the host has there (systemd's "hybrid" layout), so that MemoryMax= is enforced either way.
"""

import contextlib
import ctypes
import fcntl
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE, MS_SHARED = 1 << 5, 1 << 12, 1 << 14, 1 << 18, 1 << 20
MNT_DETACH = 2
CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS = 1 << 17, 1 << 25, 1 << 26
CLONE_NEWIPC, CLONE_NEWPID, CLONE_NEWNET = 1 << 27, 1 << 29, 1 << 30
PR_SET_PDEATHSIG, PR_CAPBSET_DROP = 1, 24
# Of all that the host would notice: its modules, its I/O ports, its clock, its power switch.
CAPABILITIES_DROPPED = (16, 17, 22, 25)
SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41, "riscv64": 41, "ppc64le": 203, "s390x": 217}
NO_TESTS = 77
TIME_LIMIT = 124

# Version 1 controllers that are worth having; the named one is where systemd itself counts.
V1_CONTROLLERS = ("memory", "pids", "devices")
SYSTEMD = next((p for p in ("/lib/systemd/systemd", "/usr/lib/systemd/systemd")
                if os.path.exists(p)), None)

_libc = ctypes.CDLL(None, use_errno=True)


def _call(name, *arguments):
    if getattr(_libc, name)(*arguments) < 0:
        e = ctypes.get_errno()
        raise OSError(e, f"{name}{arguments}: {os.strerror(e)}")


def mount(source, target, kind=None, flags=0, data=None):
    texts = [None if t is None else os.fsencode(t) for t in (source, target, kind, data)]
    _call("mount", texts[0], texts[1], texts[2], ctypes.c_ulong(flags), texts[3])


def bind(source, target, read_only=False):
    mount(source, target, None, MS_BIND | MS_REC)
    if read_only:
        mount(None, target, None, MS_REMOUNT | MS_BIND | MS_RDONLY)


def why_not():
    """What is missing to boot, or nothing."""
    if os.geteuid() != 0:
        return "needs root"
    if not SYSTEMD:
        return "needs systemd (Debian's package systemd)"
    if not os.path.exists("/dev/fuse"):
        return "needs /dev/fuse"
    if os.uname().machine not in SYS_PIVOT_ROOT:
        return f"does not know pivot_root() of {os.uname().machine}"
    return None


# -- cgroups -------------------------------------------------------------------------------------


class Cgroups:
    """A group of this case in every hierarchy, reached by mounts of its own."""

    def __init__(self, folder, name):
        self.paths = {}
        os.mkdir(folder)
        mount("tmpfs", folder, "tmpfs", 0, "mode=755")
        with open("/proc/self/cgroup") as f:
            v1 = {c: line.split(":")[1] for line in f for c in line.split(":")[1].split(",") if c}
        self.v1 = {"systemd": "none,name=systemd"} if "name=systemd" in v1 else {}
        self.v1.update({c: v1[c] for c in V1_CONTROLLERS if c in v1})
        if "systemd" not in self.v1:  # version 2 alone
            self.v1 = {}
        self._add(folder, name, "unified", "cgroup2", None)
        for controller, options in self.v1.items():
            self._add(folder, name, controller, "cgroup", options)

    def _add(self, folder, name, hierarchy, kind, options):
        top = os.path.join(folder, hierarchy)
        os.mkdir(top)
        mount(kind, top, kind, 0, options)
        if kind == "cgroup2":
            self._delegate(top)
        self.paths[hierarchy] = os.path.join(top, name)
        os.mkdir(self.paths[hierarchy])

    @staticmethod
    def _delegate(top):
        """Where version 2 has the memory controller, it goes down to the case as well."""
        with open(os.path.join(top, "cgroup.controllers")) as f:
            wanted = {"memory", "pids"} & set(f.read().split())
        path = os.path.join(top, "cgroup.subtree_control")
        with contextlib.suppress(OSError), open(path, "w") as f:
            f.write(" ".join(f"+{c}" for c in wanted))

    def join(self):
        for path in self.paths.values():
            with open(os.path.join(path, "cgroup.procs"), "w") as f:
                f.write("0")

    def mount_inside(self, folder):
        """In the cgroup namespace, whose roots the groups are."""
        flags = MS_NOSUID | MS_NODEV | MS_NOEXEC
        if not self.v1:
            mount("cgroup2", folder, "cgroup2", flags)
            return
        mount("tmpfs", folder, "tmpfs", flags, "mode=755")
        for hierarchy, kind, options in [("unified", "cgroup2", None),
                                         *((c, "cgroup", o) for c, o in self.v1.items())]:
            top = os.path.join(folder, hierarchy)
            os.mkdir(top)
            mount(kind, top, kind, flags, options)

    def remove(self):
        deadline = time.monotonic() + 20
        with contextlib.suppress(OSError), open(f"{self.paths['unified']}/cgroup.kill", "w") as f:
            f.write("1")
        for path in self.paths.values():
            while not self._remove_tree(path):
                if time.monotonic() > deadline:
                    print(f"left behind: cgroup {path}", file=sys.stderr)
                    return False
                time.sleep(0.02)
        return True

    @staticmethod
    def _remove_tree(path):
        try:
            for folder, _, _ in os.walk(path, topdown=False):
                os.rmdir(folder)
        except OSError:
            return False
        return True


# -- the root folder -----------------------------------------------------------------------------


def _write(path, text, mode=0o644):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as f:
        f.write(text)
    os.chmod(path, mode)


def _mount_proc(root):
    mount("proc", f"{root}/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    for name in ("sys", "irq", "bus", "sysrq-trigger"):
        if os.path.exists(f"{root}/proc/{name}"):
            bind(f"{root}/proc/{name}", f"{root}/proc/{name}", read_only=True)


def _mount_dev(root):
    mount("tmpfs", f"{root}/dev", "tmpfs", MS_NOSUID, "mode=755")
    nodes = (("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9),
             ("tty", 5, 0), ("fuse", 10, 229))
    for name, major, minor in nodes:
        os.mknod(f"{root}/dev/{name}", 0o666 | stat.S_IFCHR, os.makedev(major, minor))
        os.chmod(f"{root}/dev/{name}", 0o666)
    os.mkdir(f"{root}/dev/pts")
    mount("devpts", f"{root}/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC,
          "newinstance,ptmxmode=0666,mode=620")
    os.mkdir(f"{root}/dev/shm")
    mount("tmpfs", f"{root}/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777")
    for name, target in (("ptmx", "pts/ptmx"), ("fd", "/proc/self/fd"), ("stdin", "fd/0"),
                         ("stdout", "fd/1"), ("stderr", "fd/2")):
        os.symlink(target, f"{root}/dev/{name}")


# What belongs to the host and not to a machine that was just made.
FOREIGN = ("var/log/journal", "usr/sbin/policy-rc.d", "etc/init.d", "etc/fstab",
           "lib/systemd/system/timers.target.wants", "var/lib/cofris", "etc/cofris.conf",
           "etc/cofris.conf.d", "run/cofris")

JOURNAL = """[Journal]
Storage=volatile
RateLimitIntervalSec=0
Audit=no
"""

MANAGER = """[Manager]
DefaultTimeoutStopSec=10s
LogTarget=journal
ShowStatus=no
"""

SERVICE = """[Unit]
Requires=basic.target
Wants=dbus.socket
After=basic.target dbus.socket
SuccessAction=exit
FailureAction=exit

[Service]
Type=exec
ExecStart={command}
StandardOutput=append:/out/console
StandardError=inherit
{environment}
RuntimeMaxSec={timeout}
ExecStopPost=-sh -c 'journalctl --sync; journalctl -o short-monotonic --no-pager >/out/journal'
"""


def _clear_the_hosts(root):
    for name in FOREIGN:
        path = f"{root}/{name}"
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        else:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
    units = f"{root}/etc/systemd/system"
    for name in os.listdir(units):
        if name.endswith((".wants", ".requires")):
            shutil.rmtree(f"{units}/{name}")
    sysinit = f"{root}/lib/systemd/system/sysinit.target.wants"
    for name in os.listdir(sysinit):
        if name.endswith((".mount", ".automount")) or "udev" in name:
            os.unlink(f"{sysinit}/{name}")
    os.makedirs(f"{root}/etc/init.d")
    _write(f"{root}/etc/fstab", "")
    _write(f"{root}/etc/machine-id", "")


def _quote(word):
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%") + '"'


class Boot:
    """command runs as root in the booted machine; its exit status is what run() returns.

    files: {path: text} to be there before systemd starts; visible: folders of the host that stay
    where they are, although /tmp or /run may hide them; above: a folder laid over the host's root.
    """

    def __init__(self, command, environment=None, files=None, visible=(), above=None, timeout=120):
        self.command, self.environment = command, environment or {}
        self.files, self.visible, self.above = files or {}, visible, above
        self.timeout = timeout
        self.console = self.journal = ""

    # In the first process of the new PID namespace.

    def _build_root(self, folder, out, cgroups):
        root = f"{folder}/root"
        for name in ("work", "root"):
            os.mkdir(f"{folder}/{name}")
        # Not a layer of its own: it may be a folder of the other one's, which overlayfs refuses.
        if self.above:
            shutil.copytree(self.above, f"{folder}/upper", symlinks=True)
        else:
            os.mkdir(f"{folder}/upper")
        mount("overlay", root, "overlay", 0,
              f"lowerdir=/,upperdir={folder}/upper,workdir={folder}/work")
        _mount_proc(root)
        mount("sysfs", f"{root}/sys", "sysfs", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC)
        cgroups.mount_inside(f"{root}/sys/fs/cgroup")
        _mount_dev(root)
        mount("tmpfs", f"{root}/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=755")
        mount("tmpfs", f"{root}/tmp", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777")
        for source, target in [(out, "/out"), *((v, v) for v in self.visible)]:
            os.makedirs(f"{root}{target}", exist_ok=True)
            bind(source, f"{root}{target}")
        _clear_the_hosts(root)
        self._write_files(root)
        return root

    def _write_files(self, root):
        environment = "\n".join(f"Environment={_quote(f'{k}={v}')}"
                                for k, v in self.environment.items())
        _write(f"{root}/etc/systemd/journald.conf.d/case.conf", JOURNAL)
        _write(f"{root}/etc/systemd/system.conf.d/case.conf", MANAGER)
        _write(f"{root}/etc/systemd/system/case.service", SERVICE.format(
            command=" ".join(_quote(word) for word in self.command), environment=environment,
            timeout=self.timeout))
        for path, text in self.files.items():
            _write(f"{root}{path}", text)

    def _become_systemd(self, folder, out, cgroups):
        cgroups.join()
        _call("unshare", CLONE_NEWCGROUP)
        root = self._build_root(folder, out, cgroups)
        os.chdir(root)
        os.makedirs("run/old", exist_ok=True)
        number = SYS_PIVOT_ROOT[os.uname().machine]
        _call("syscall", ctypes.c_long(number), b".", b"run/old")
        os.chdir("/")
        mount(None, "/", None, MS_SHARED | MS_REC)
        _call("umount2", b"/run/old", MNT_DETACH)
        os.rmdir("/run/old")
        for capability in CAPABILITIES_DROPPED:
            _call("prctl", PR_CAPBSET_DROP, capability, 0, 0, 0)
        null = os.open("/dev/null", os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(null, fd)
        os.execve(SYSTEMD, [SYSTEMD, "--system", "--unit=case.service"],
                  {"container": "cofris-test", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})

    # In a process with a mount namespace of its own, which ends when all is gone.

    def _supervise(self, folder, out):
        _call("unshare", CLONE_NEWNS)
        mount(None, "/", None, MS_PRIVATE | MS_REC)
        mount("tmpfs", folder, "tmpfs", 0, "mode=755")
        cgroups = Cgroups(f"{folder}/cgroups", f"cofris-test.{os.getpid()}")
        try:
            status = self._run_systemd(folder, out, cgroups)
        finally:
            removed = cgroups.remove()
        return status if removed else 125

    def _run_systemd(self, folder, out, cgroups):
        _call("unshare", CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET)
        pid = os.fork()
        if pid == 0:
            try:
                _call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
                _call("unshare", CLONE_NEWNS)
                self._become_systemd(folder, out, cgroups)
            except BaseException as e:  # noqa: B902: nothing may get past the fork
                print(f"cannot boot: {e}", file=sys.stderr)
            os._exit(125)
        # By then systemd has ended the command itself and written the journal.
        deadline = time.monotonic() + self.timeout + 30
        while True:
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                return os.waitstatus_to_exitcode(status)
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                return TIME_LIMIT
            time.sleep(0.01)

    def run(self):
        folder = tempfile.mkdtemp(prefix="cofris-boot-")
        out = tempfile.mkdtemp(prefix="cofris-out-")
        os.chmod(out, 0o755)
        sys.stdout.flush()
        try:
            pid = os.fork()
            if pid == 0:
                status = 125
                try:
                    _call("prctl", PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
                    signal.signal(signal.SIGTERM, lambda *_: sys.exit(125))
                    status = self._supervise(folder, out)
                except SystemExit as e:
                    status = e.code
                except BaseException as e:  # noqa: B902
                    print(f"cannot boot: {e}", file=sys.stderr)
                sys.stderr.flush()
                os._exit(status if 0 <= status < 256 else 125)
            status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            self.console, self.journal = (self._read(f"{out}/{n}") for n in ("console", "journal"))
            return status
        finally:
            shutil.rmtree(out, ignore_errors=True)
            os.rmdir(folder)

    @staticmethod
    def _read(path):
        try:
            with open(path, errors="replace") as f:
                return f.read()
        except FileNotFoundError:
            return ""


# -- what is installed ---------------------------------------------------------------------------


def cache_value(build, name):
    with open(os.path.join(build, "CMakeCache.txt")) as f:
        for line in f:
            if line.startswith(f"{name}:"):
                return line.rstrip("\n").split("=", 1)[1]
    raise KeyError(name)


def _merge(source, target):
    os.makedirs(target, exist_ok=True)
    for name in os.listdir(source):
        a, b = os.path.join(source, name), os.path.join(target, name)
        if os.path.isdir(a) and not os.path.islink(a):
            _merge(a, b)
        else:
            os.replace(a, b)


def stage(build):
    """The build, installed into a folder to be laid over the root: made once, then only what has
    changed. Returns the folder."""
    folder = os.path.join(build, "tests", "systemd-stage")
    os.makedirs(os.path.dirname(folder), exist_ok=True)
    with open(f"{folder}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        result = subprocess.run([cache_value(build, "CMAKE_COMMAND"), "--install", build],
                                env={**os.environ, "DESTDIR": folder}, capture_output=True,
                                text=True)
        if result.returncode != 0:
            raise RuntimeError(f"cannot install the build: {result.stdout}{result.stderr}")
        # A folder would hide the host's link to the one below /usr.
        for name in ("bin", "sbin", "lib"):
            if os.path.isdir(f"{folder}/{name}") and os.path.islink(f"/{name}"):
                _merge(f"{folder}/{name}", f"{folder}/usr/{name}")
                shutil.rmtree(f"{folder}/{name}")
        # Which polkit reads nowhere else.
        prefix, actions = cache_value(build, "CMAKE_INSTALL_PREFIX"), "share/polkit-1/actions"
        if prefix != "/usr" and os.path.isdir(f"{folder}{prefix}/{actions}"):
            shutil.copytree(f"{folder}{prefix}/{actions}", f"{folder}/usr/{actions}",
                            dirs_exist_ok=True)
    return folder
