#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What libcofris.so exports is what the headers declare, and it needs glibc alone.
# usage: test-libcofris-abi.sh LIBRARY HEADER...
set -eu
library=$1
shift

exported=$(nm -D --defined-only "$library" | awk '$2 == "T" { sub(/@.*/, "", $3); print $3 }' | sort)
declared=$(cat "$@" | tr '\n' ' ' | grep -o 'COFRIS_API [^(]*(' | grep -o 'cofris_[a-z_]*($' |
	tr -d '(' | sort)
[ -n "$declared" ] || { echo "no declaration found in $*"; exit 1; }
if [ "$exported" != "$declared" ]; then
	echo "exported:" $exported
	echo "declared:" $declared
	exit 1
fi

needed=$(readelf -d "$library" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p')
for name in $needed; do
	case $name in
	# In an older glibc, threads and the loader's calls are in the other two.
	libc.so.6 | libpthread.so.0 | libdl.so.2) ;;
	lib[atu]*san.so.*) ;; # a build with a sanitizer
	*) echo "needs $name"; exit 1 ;;
	esac
done
readelf -d "$library" | grep -q 'SONAME.*\[libcofris\.so\.0\]' || { echo "wrong SONAME"; exit 1; }
echo "$(echo "$exported" | wc -l) functions; needs:" $needed
