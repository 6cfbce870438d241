#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What libcofris.so exports is what the header declares, and it needs libc alone.
# usage: test-libcofris-abi.sh LIBRARY HEADER
set -eu
library=$1
header=$2

exported=$(nm -D --defined-only "$library" | awk '$2 == "T" { sub(/@.*/, "", $3); print $3 }' | sort)
declared=$(tr '\n' ' ' <"$header" | grep -o 'COFRIS_API [^(]*(' | grep -o 'cofris_[a-z_]*($' |
	tr -d '(' | sort)
[ -n "$declared" ] || { echo "no declaration found in $header"; exit 1; }
if [ "$exported" != "$declared" ]; then
	echo "exported:" $exported
	echo "declared:" $declared
	exit 1
fi

needed=$(readelf -d "$library" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p')
for name in $needed; do
	case $name in
	libc.so.6) ;;
	lib[atu]*san.so.*) ;; # a build with a sanitizer
	*) echo "needs $name"; exit 1 ;;
	esac
done
readelf -d "$library" | grep -q 'SONAME.*\[libcofris\.so\.0\]' || { echo "wrong SONAME"; exit 1; }
echo "$(echo "$exported" | wc -l) functions; needs:" $needed
