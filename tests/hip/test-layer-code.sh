#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The worker's kernel as it was compiled for each card: its multiply-adds, loads and stores must not
# have been optimised away, as on a simulated card nobody would notice. How many of them a launch
# executes is counted by test-layer-kernel.
# usage: test-layer-code.sh BUNDLER OBJDUMP BUNDLE
set -eu
bundler=$1 objdump=$2 bundle=$3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Instructions of cofris_layer that match.
count()
{
	grep -Ec "^[[:space:]]*($1)[[:space:]]" "$work/layer" || true
}

# NAME FOUND LEAST
at_least()
{
	[ "$2" -ge "$3" ] || { echo "$target: $2 $1, not $3"; exit 1; }
}

targets=$("$bundler" --type=o --list --input="$bundle" | grep amdgcn)
[ -n "$targets" ] || { echo "no code in $bundle"; exit 1; }
for target in $targets; do
	"$bundler" --type=o --unbundle --targets="$target" --input="$bundle" --output="$work/code"
	"$objdump" -d "$work/code" | sed -n '/<cofris_layer>:/,/s_endpgm/p' >"$work/layer"
	# gfx90a does two at once.
	fma=$(count 'v_(fma|fmac)_f32[_a-z0-9]*')
	fma=$((fma + 2 * $(count 'v_pk_fma_f32')))
	# Eight accumulators, begun once and then in three places in a loop; four vectors of each of two streams read
	# and of one written.
	at_least 'multiply-adds' "$fma" 32
	at_least 'loads of a vector' "$(count 'global_load_dwordx4')" 8
	at_least 'stores of a vector' "$(count 'global_store_dwordx4')" 4
	at_least 'loops' "$(grep -Ec 's_cbranch_[a-z0-9]+ 65[0-9]{3}' "$work/layer")" 3
	echo "$target: $fma multiply-adds"
done
