#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs from Debian's archive what cofris needs: sh docs/dependencies.sh GROUP...
# Groups: build (compile and run), hip (engine and tests on HIP), package (make packages),
# quickstart, quickstart-plant (it without HIP), test, lint, bench.
# Needs root only if something is missing.
set -eu

build="gcc libc6-dev cmake ninja-build pkg-config libsystemd-dev libinih-dev libcmocka-dev
libfuse3-dev libjansson-dev libncurses-dev libarchive-dev libsmartcols-dev librocm-smi-dev scdoc
libhsakmt-dev libhsa-runtime-dev"
hip="hipcc libamdhip64-dev"
package="dpkg-dev file"
run="fuse3 librocm-smi64-1 dbus util-linux"
quickstart_plant="$run gnuplot-nox jq"
quickstart="$quickstart_plant $hip"
test="$quickstart $package python3 g++ procps rocminfo chromium lintian tmux polkitd systemd"
lint="clang clang-format clang-tidy libclang-rt-14-dev git"
bench="$run python3 g++ prometheus-cpp-dev"

wanted=
for group in "$@"; do
	case $group in
	quickstart-plant) wanted="$wanted $quickstart_plant" ;;
	build | hip | package | quickstart | test | lint | bench) eval "wanted=\"\$wanted \$$group\"" ;;
	*) echo "dependencies.sh: unknown group '$group'" >&2; exit 2 ;;
	esac
done

missing=
for name in $wanted; do
	dpkg-query -W -f '${Status}' "$name" 2>/dev/null | grep -q 'ok installed' ||
		missing="$missing $name"
done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" -ne 0 ]; then
	echo "dependencies.sh: missing packages:$missing; run as root, or install them first" >&2
	exit 1
fi
echo "installing:$missing"
export DEBIAN_FRONTEND=noninteractive
apt-get -qq -o DPkg::Lock::Timeout=600 update
# shellcheck disable=SC2086 # a list of words
apt-get -qq -o DPkg::Lock::Timeout=600 install -y --no-install-recommends $missing >/dev/null
