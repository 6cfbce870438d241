#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The installed simulator and worker find their profiles where they are installed, without the
# source tree. In a mount namespace of its own: nothing of the host changes.
# usage: test-installed.sh CMAKE BUILD-DIR SOURCE-DIR BINDIR LIBDIR DATADIR
set -eu

if [ "${1-}" != --inside ]; then
	[ "$(id -u)" -eq 0 ] || { echo "needs root"; exit 77; }
	[ -c /dev/fuse ] || { echo "needs /dev/fuse"; exit 77; }
	destination=$(mktemp -d)
	trap 'rm -rf "$destination"' EXIT
	DESTDIR=$destination "$1" --install "$2" >/dev/null
	unshare --mount sh "$0" --inside "$destination" "$3" "$4" "$5" "$6"
	exit 0
fi

destination=$2 source=$3 bin=$2$4 lib=$2$5 data=$6
mount -t tmpfs tmpfs "$(dirname "$data")"
mkdir "$data"
mount --bind "$destination$data" "$data"
mount -t tmpfs tmpfs "$source/profiles"
export LD_LIBRARY_PATH="$lib"
result=$("$bin/cofris-sim" --device mi50 -- \
	"$bin/cofris-worker" --model resnet50 --rate 50 --duration 1s)
echo "$result"
case $result in
*'"simulated":true'* | *'"simulated": true'*) ;;
*) echo "no simulated run"; exit 1 ;;
esac

# HSA programs are led to the driver that was installed, in front of what was there.
path=$("$bin/cofris-sim" --device mi50 -- sh -c 'echo "$LD_LIBRARY_PATH"')
case $path in
"$(realpath "$destination")"/*/cofris/sim:"$lib") ;;
*) [ ! -e "$lib/cofris/sim/libhsakmt.so.1" ] || { echo "library path $path"; exit 1; } ;;
esac

# The test would prove nothing if they found them somewhere else.
umount "$data"
if "$bin/cofris-sim" --device mi50 -- true; then
	echo "cofris-sim found a profile of mi50 elsewhere"
	exit 1
fi
