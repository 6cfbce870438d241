#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs what is needed, builds, and runs every test; ctest's summary comes last.
#   sudo sh tests/run.sh [--build-dir DIR] [--sanitize address|thread] [--cc COMPILER] [--unit]
#   sudo sh tests/run.sh --bench [--json FILE]
#   sudo sh tests/run.sh --agreement    virtual time held against real time, 25 minutes
set -eu

usage() { sed -n '3,6s/^# \{0,1\}//p' "$0"; }
die() { echo "run.sh: $*" >&2; exit 2; }

here=$(cd "$(dirname "$0")/.." && pwd)
build=$here/build cc=gcc sanitize='' bench=no agreement=no json='' unit=no
while [ $# -gt 0 ]; do
	case $1 in
	--build-dir) build=${2:?}; shift ;;
	--sanitize) sanitize=${2:?}; shift ;;
	--cc) cc=${2:?}; shift ;;
	--unit) unit=yes ;;
	--bench) bench=yes ;;
	--agreement) agreement=yes ;;
	--json) json=${2:?}; shift ;;
	-h | --help) usage; exit 0 ;;
	*) usage >&2; die "unknown option '$1'" ;;
	esac
	shift
done

if [ $unit = no ]; then
	[ "$(id -u)" -eq 0 ] || die "needs root: the simulated card lives in a private mount namespace"
	[ -c /dev/fuse ] || die "no /dev/fuse: the simulated card's files are a FUSE tree"
fi
groups="build test"
[ "$cc" = gcc ] || groups="$groups lint"
[ $bench = no ] || groups="$groups bench"
# shellcheck disable=SC2086 # a list of words
sh "$here/docs/dependencies.sh" $groups

cmake -S "$here" -B "$build" -G Ninja -DCMAKE_C_COMPILER="$cc" -DCOFRIS_SANITIZE="$sanitize" \
	-DBUILD_TESTING=ON -DCMAKE_INSTALL_PREFIX=/usr \
	-DCOFRIS_BENCH="$([ $bench = yes ] && echo ON || echo OFF)" >/dev/null
cmake --build "$build"

# Of half a core each, as tests have them (cofris_test in CMakeLists.txt).
halves=$((2 * $(nproc)))
if [ $bench = yes ]; then
	exec /usr/bin/python3 "$here/tests/bench/run.py" --build-dir "$build" ${json:+--json "$json"}
fi
if [ $agreement = yes ]; then
	status=0
	for policy in "cofris --gating none" "coordinated --gating cu"; do
		# shellcheck disable=SC2086 # words
		/usr/bin/python3 "$here/tests/replay/live.py" --build-dir "$build" \
			--policy $policy || status=$?
	done
	exit $status
fi
cd "$build"
if [ $unit = yes ]; then
	exec ctest -j "$halves" --output-on-failure --no-tests=error -LE 'system|hardware'
fi
exec ctest -j "$halves" --output-on-failure --no-tests=error
