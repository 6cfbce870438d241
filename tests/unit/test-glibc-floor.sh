#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Libraries that workers load need no symbol of a newer glibc than the documented one, no other
# library than glibc's, and export what they should.
# usage: test-glibc-floor.sh FLOOR LIBRARY...
set -eu
floor=$1
shift
for library in "$@"; do
	versions=$(objdump -T "$library" | grep -o 'GLIBC_[0-9][0-9.]*' | sed 's/GLIBC_//' | sort -Vu)
	[ -n "$versions" ] || { echo "$library: no version of a symbol found"; exit 1; }
	newest=$(printf '%s\n' "$versions" | tail -n 1)
	if [ "$(printf '%s\n%s\n' "$newest" "$floor" | sort -V | tail -n 1)" != "$floor" ]; then
		echo "$library needs glibc $newest, documented is $floor:"
		objdump -T "$library" | grep "GLIBC_$newest"
		exit 1
	fi
	for needed in $(readelf -d "$library" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p'); do
		case $needed in
		libc.so.6 | libpthread.so.0 | libdl.so.2) ;;
		*) echo "$library needs $needed"; exit 1 ;;
		esac
	done
	# Where threads were a library of their own, it must be asked for.
	readelf -d "$library" | grep -q 'NEEDED.*libpthread\.so\.0' ||
		{ echo "$library does not ask for libpthread.so.0"; exit 1; }
	echo "$library: glibc $newest of $floor"
done
