#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# test-sim-selftest.sh COFRIS-SIM TEST-PROGRAM
# The rules of the simulated cards (TEST-PROGRAM, run inside), then what a simulator does to the
# host it runs on: nothing, however it ends. Exit status 77: cannot be run here.
set -u
sim=$1 program=$2 failures=()
[ "$(id -u)" = 0 ] || { echo "skipped: root is needed"; exit 77; }
[ -c /dev/fuse ] || { echo "skipped: no /dev/fuse"; exit 77; }
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT

# What is waited for has so long to come, on a busy host too.
PATIENCE_S=30

check() { # check WHAT EXPECTED ACTUAL
	if [ "$2" = "$3" ]; then
		echo "ok: $1"
	else
		failures+=("$1: expected '$2', got '$3'")
		echo "FAILED: ${failures[-1]}"
	fi
}
# Runs a command again and again until it succeeds.
await() { # await COMMAND...
	local end=$((SECONDS + PATIENCE_S))
	until "$@"; do
		[ $SECONDS -lt $end ] || return 1
		sleep .01
	done
}
# What a simulator could leave behind.
host_state() {
	cat /proc/self/mountinfo
	ls -A /sys/class /dev/shm
}
# The first child of a process, once it is there.
child_of() {
	await pgrep -o -P "${1:-none}" || echo "no child of '$1'" >&2
}
runs() { # runs PID NAME
	[ "$(cat "/proc/$1/comm" 2>/dev/null)" = "$2" ]
}
# States of those of the processes that live (an orphan's zombie is its reaper's affair).
states() {
	local p
	for p; do
		sed -n "s/^State:\t\([^Z]\).*/$p is \1 /p" "/proc/$p/status" 2>/dev/null
	done
}
none_lives() {
	[ -z "$(states "$@")" ]
}
all_gone() {
	if await none_lives "$@"; then echo yes; else states "$@"; fi
}
cpu_ticks() {
	awk '{ print $14 + $15 }' "/proc/$1/stat"
}
now_ms() {
	echo $(($(date +%s%N) / 1000000))
}

before=$(host_state)

timeout 200 "$sim" --device mi50 --count 2 -- "$program"
check "the rules hold" 0 $?

# Exit statuses.
"$sim" --device mi50 -- sh -c 'exit 3'
check "the command's status passes through" 3 $?
"$sim" --device mi50 -- sh -c 'kill -9 $$'
check "a signal becomes 128 + its number" 137 $?
"$sim" --device mi50 -- "$work/none" 2>/dev/null
check "a command that is not there" 127 $?
for bad in "--device none" "--device mi50 --count 9" "--device mi50 --count 0" \
	"--device mi50 --time-scale 0" "--device mi50 --gating some" "--device mi50 --nonsense" \
	"--device mi50 --fault hang:7:pp_dpm_sclk" "--device mi50 --service-factor -1" \
	"--device mi50 --power-factor 9:1" "--count 1"; do
	# shellcheck disable=SC2086
	"$sim" $bad -- touch "$work/ran" 2>"$work/error"
	check "refused: $bad" 125 $?
	check "and says so: $bad" yes "$([ -s "$work/error" ] && echo yes)"
done
check "nothing was run then" no "$([ -e "$work/ran" ] && echo yes || echo no)"

# Signals.
"$sim" --device mi50 -- sh -c 'trap "exit 9" TERM; : >'"$work"'/up; while :; do sleep .02; done' &
sim_pid=$!
await test -e "$work/up"
kill -TERM $sim_pid
wait $sim_pid
check "TERM reaches the command" 9 $?

# What the command leaves running ends with it.
"$sim" --device mi50 --fault hang:0:gpu_busy_percent -- sh -c \
	'cat /sys/class/drm/card0/device/gpu_busy_percent >/dev/null & sleep 1000 &
	 while [ ! -e '"$work"'/go ]; do sleep .02; done; exit 5' &
sim_pid=$!
simulator=$(child_of $sim_pid) command=$(child_of "$simulator")
await runs "$(child_of "$command")" cat
: >"$work/go"
wait $sim_pid
check "the command ends with a reader that hangs" 5 $?
check "and everything in it" yes "$(all_gone "$simulator")"

# kill -9 of each of the processes, with a reader that hangs.
for victim in caller simulator command; do
	"$sim" --device mi50 --fault hang:0:gpu_busy_percent -- sh -c \
		'cat /sys/class/drm/card0/device/gpu_busy_percent >/dev/null & sleep 1000 & wait' \
		2>/dev/null &
	sim_pid=$!
	simulator=$(child_of $sim_pid) command=$(child_of "$simulator")
	reader=$(child_of "$command")
	await runs "$reader" cat
	disown $sim_pid
	case $victim in
	caller) kill -9 $sim_pid ;;
	simulator) kill -9 "$simulator" ;;
	command) kill -9 "$command" ;;
	esac
	check "kill -9 of the $victim ends all" yes \
		"$(all_gone $sim_pid "$simulator" "$command" "$reader")"
done

# And at any moment of the start.
pids=()
for i in {1..40}; do
	"$sim" --device mi50 -- sleep 1000 2>/dev/null &
	sim_pid=$!
	disown $sim_pid
	sleep ".0$((i / 10))$((i % 10))"
	simulator=$(pgrep -o -P $sim_pid)
	pids+=($sim_pid $simulator)
	if [ $((i % 2)) = 0 ]; then kill -9 $sim_pid; else kill -9 $simulator $sim_pid 2>/dev/null; fi
done
check "kill -9 while it starts ends all" yes "$(all_gone "${pids[@]}")"

# Side by side.
"$sim" --device mi50 --count 1 --runtime-dir "$work/one" -- sh -c \
	'echo low >/sys/class/drm/card0/device/power_dpm_force_performance_level
	 : >'"$work"'/one.up; while [ ! -e '"$work"'/two.done ]; do sleep .02; done' &
one=$!
await test -e "$work/one.up"
seen=$("$sim" --device mi50 --count 3 --runtime-dir "$work/two" -- sh -c \
	'cat /sys/class/drm/card0/device/power_dpm_force_performance_level
	 ls -d /sys/class/drm/card? | wc -l')
check "two simulators do not meet" "auto 3" "$(echo $seen)"
check "the control socket serves from outside" low \
	"$("$sim" stat --json --runtime-dir "$work/one" |
		sed -n 's/.*"perf_level": "\([a-z]*\)".*/\1/p')"
: >"$work/two.done"
wait $one
check "a runtime folder keeps the log alone" writes.log "$(ls "$work/one")"
check "with one line per write" 1 "$(wc -l <"$work/one/writes.log")"

# A slowed card: the command's half second is in its time, and its time is in the simulator's.
begin_ms=$(now_ms)
slow=$("$sim" --device mi50 --time-scale 10 -- sh -c "sleep .5; $sim stat --json" |
	sed -n 's/.*"device_ns": \([0-9]*\).*/\1/p')
end_ms=$(now_ms)
check "device time is slowed" yes "$([ "$slow" -ge 50000000 ] &&
	[ "$slow" -le $(((end_ms - begin_ms) * 100000)) ] && echo yes ||
	echo "$slow ns in $((end_ms - begin_ms)) ms")"

# An idle simulator sleeps, once it has started.
"$sim" --device mi50 --count 2 -- sleep 1000 2>/dev/null &
sim_pid=$!
simulator=$(child_of $sim_pid)
await runs "$(child_of "$simulator")" sleep
begin_ms=$(now_ms) begin_ticks=$(cpu_ticks "$simulator")
sleep 2.5
ticks=$(($(cpu_ticks "$simulator") - begin_ticks)) ms=$(($(now_ms) - begin_ms))
kill $sim_pid
wait $sim_pid
# One more for the one that had begun.
check "two idle cards cost less than 1 % of a core" yes \
	"$([ $((ticks * 1000 / $(getconf CLK_TCK))) -le $((ms / 100 + 10)) ] && echo yes ||
		echo "$ticks ticks in $ms ms")"

check "the host is as before" "$before" "$(host_state)"
if [ ${#failures[@]} -gt 0 ]; then
	printf '\n%d failed:\n' ${#failures[@]}
	printf '%s\n' "${failures[@]}"
	exit 1
fi
