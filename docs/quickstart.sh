#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The main job from nothing, on a simulated MI50: build, profile a model, govern it under a changing
# load beside an ungoverned twin (a second simulated card, same seed, same requests), and say what
# became of power and SLO. The last line on stdout is one JSON object.
#   sudo sh docs/quickstart.sh [--model NAME] [--slo 2.0x|20ms] [--gating none|se|cu] [--seed N]
#                              [--engine NAME] [--compression N] [--output DIR] [--build-dir DIR]
# Two runs on one surface and the same requests: on cards whose CU masks switch nothing off, as real
# ones, and on cards that gate every CU outside the mask (gating = cu, modelled). --gating: only one.
# --engine: what serves the model, hip (the default: Debian's own HIP runtime) or plant (the short way).
set -eu

usage() { sed -n '6,10s/^# \{0,1\}//p' "$0"; }
die() { echo "quickstart: $*" >&2; exit 1; }
say() { printf '\n== %s\n' "$*"; }

here=$(cd "$(dirname "$0")/.." && pwd)
model=resnet50 slo=2.0x gating='' engine=hip seed=1 compression=10 out=$here/build/quickstart
inside=no build=$here/build make=yes
while [ $# -gt 0 ]; do
	case $1 in
	--model) model=${2:?}; shift ;;
	--slo) slo=${2:?}; shift ;;
	--gating) gating=${2:?}; shift ;;
	--engine) engine=${2:?}; shift ;;
	--seed) seed=${2:?}; shift ;;
	--compression) compression=${2:?}; shift ;;
	--output) out=${2:?}; shift ;;
	--build-dir) build=${2:?}; shift ;;
	--no-build) make=no ;; # packages and programs are there (the tests)
	--inside) inside=yes ;;
	-h | --help) usage; exit 0 ;;
	*) usage >&2; die "unknown option '$1'" ;;
	esac
	shift
done
bin=$build/bin
# A real runtime for two cards at once is more than two cores serve in real time, so the simulated
# cards then run slower than it. Figures are in the cards' own time.
scale=1
[ "$engine" = plant ] || scale=4
governed=0000:43:00.0 twin=0000:63:00.0

prepare() {
	[ "$(id -u)" -eq 0 ] || die "needs root: the simulated card lives in a private mount namespace"
	[ -c /dev/fuse ] || die "no /dev/fuse: the simulated card's files are a FUSE tree"
	case $gating in '' | none | se | cu) ;; *) die "--gating '$gating': expected none, se or cu" ;; esac
	if [ $make = yes ]; then
		say "Packages and build"
		group=quickstart
		[ "$engine" != plant ] || group=quickstart-plant
		sh "$here/docs/dependencies.sh" build $group
		# The tests want more packages than the programs.
		cmake -S "$here" -B "$build" -G Ninja -DBUILD_TESTING=OFF >/dev/null
		cmake --build "$build" --target cofris-programs
	fi
	[ "$engine" != hip ] || [ -e "$build/lib/sim/libhsakmt.so.1" ] ||
		die "the build has no engine hip (see what cmake says of hipcc); --engine plant does without"
	rm -rf "$out"
	mkdir -p "$out"
	# Sockets live in a short path that an unprivileged daemon can reach.
	COFRIS_QUICKSTART_RUN=$(mktemp -d /tmp/cofris-quickstart.XXXXXX)
	export COFRIS_QUICKSTART_RUN
	trap 'rm -rf "$COFRIS_QUICKSTART_RUN"' EXIT
	trap 'exit 130' INT TERM
	chmod 755 "$COFRIS_QUICKSTART_RUN"
}

run_phase() { # GATING OUTPUT: a simulated machine with this script inside
	mkdir -p "$2" "$COFRIS_QUICKSTART_RUN/$1"
	"$bin/cofris-sim" --device mi50 --count 2 --gating "$1" --seed "$seed" --time-scale $scale \
		--runtime-dir "$COFRIS_QUICKSTART_RUN/$1/sim" -- \
		sh "$0" --inside --model "$model" --slo "$slo" --gating "$1" --engine "$engine" \
		--seed "$seed" --compression "$compression" --output "$2" --build-dir "$build"
}

if [ $inside = no ]; then
	prepare
	say "No AMD card is used: everything below runs on two simulated MI50s (real librocm_smi64 on a simulated sysfs)"
	[ $scale = 1 ] || echo "The model runs through Debian's own HIP and ROCr, on cards $scale times slower than real ones; but for the profile, figures are in the cards' time."
	if [ -n "$gating" ]; then
		run_phase "$gating" "$out"
		cat "$out/result.json"
		exit
	fi
	run_phase none "$out"
	say "Now with power gating, which no real MI50 has (modelled): same surface, same requests"
	run_phase cu "$out/modelled"
	jq -c -s '.[0] + (.[1] | {modelled_power_saved_pct: .power_saved_pct, modelled_min_cus: .min_cus,
		modelled_max_cus: .max_cus, modelled_excess_late_pct: .excess_late_pct,
		modelled_plot: "modelled/run.svg"})' "$out/result.json" "$out/modelled/result.json" \
		>"$out/both.json"
	mv "$out/both.json" "$out/result.json"
	cat "$out/result.json"
	exit
fi

# ---- inside the simulated machine ----
shared=$COFRIS_QUICKSTART_RUN
run=$shared/$gating
surface=$shared/surfaces/gfx906-60cu/$model.csv
bus=unix:path=$run/bus
note=simulated
[ "$gating" = none ] || note="simulated, gating = $gating modelled"
pids=
cleanup() {
	for pid in $pids; do kill "$pid" 2>/dev/null || true; done
	wait
}
trap cleanup EXIT
trap 'exit 130' INT TERM

wait_for() { # DESCRIPTION COMMAND...
	what=$1
	shift
	n=0
	until "$@" >/dev/null 2>&1; do
		n=$((n + 1))
		[ $n -lt 200 ] || { tail -n 20 "$out"/*.log >&2; die "timed out: $what"; }
		sleep 0.05
	done
}
now_ms() { echo $(($(date +%s%N) / 1000000)); }
stat() { "$bin/cofris-sim" stat --json; }
state() { stat | jq -cS '.cards[0] | {perf_level, cap_uw, soft_low_mhz, soft_high_mhz}'; }
is_as_found() { [ "$(state)" = "$found" ]; }

start_actuator() {
	mkdir -p "$run/actuator"
	setpriv --bounding-set=-all --inh-caps=-all --no-new-privs \
		"$bin/cofris-actuator" --runtime-dir "$run/actuator" --allow-simulated \
		--peer-uid 65534 >>"$out/cofris-actuator.log" 2>&1 &
	pids="$pids $!"
	wait_for "the actuator's socket" test -S "$run/actuator/control.sock"
}

start_bus() {
	cat >"$run/bus.conf" <<-CONF
		<busconfig><type>custom</type><listen>$bus</listen><auth>EXTERNAL</auth>
		<policy context="default"><allow user="*"/><allow own="*"/>
		<allow send_destination="*"/><allow receive_sender="*"/></policy></busconfig>
	CONF
	dbus-daemon --config-file="$run/bus.conf" --nofork >>"$out/bus.log" 2>&1 &
	pids="$pids $!"
	wait_for "the bus" test -S "$run/bus"
}

start_daemon() {
	cat >"$run/cofris.conf" <<-CONF
		[daemon]
		allow_simulated = yes

		[gpu $governed]
		enabled = yes
		gating = $gating

		[model $model]
		slo = $slo
	CONF
	mkdir -p "$run/cofris"
	chown 65534:65534 "$run/cofris"
	setpriv --reuid=65534 --regid=65534 --clear-groups --bounding-set=-all --inh-caps=-all \
		--no-new-privs "$bin/cofrisd" --runtime-dir "$run/cofris" --config "$run/cofris.conf" \
		--actuator "$run/actuator/control.sock" --surfaces "$shared/surfaces" --bus "$bus" \
		--record "$run/cofris/record" >>"$out/cofrisd.log" 2>&1 &
	daemon=$!
	pids="$pids $daemon"
	wait_for "cofrisd" "$bin/cofrisctl" --bus "$bus" status
}

start_worker() { # CARD SOCKET NAME
	"$bin/cofris-worker" --model "$model" --engine "$engine" --gpu "$1" --socket "$2" \
		--load "$here/profiles/loads/day.csv" --time-compression "$compression" \
		--rated-rps "$rated" --seed "$seed" --report "$out/$3.csv" \
		>"$out/$3.json" 2>>"$out/$3.log" &
	started=$!
	pids="$pids $started"
}

profile() {
	say "Profiling $model on the simulated card (real card: once per model, a few minutes)"
	mkdir -p "${surface%/*}"
	"$bin/cofris-profile" --model "$model" --engine "$engine" --gpu "$governed" --grid quick \
		--slo "$slo" --actuator "$run/actuator/control.sock" --output "$surface" 2>&1 |
		tee "$out/profile.log"
	[ -s "$surface" ] || die "the profile failed"
}

read_table() {
	cp "$surface" "$out/"
	table=$("$bin/cofris-profile" table "$surface" --slo "$slo" --gating "$gating" --json) ||
		die "no table follows from this surface (see above)"
	rated=$(printf '%s' "$table" | jq .rated_rps) # the worker's rates are in wall time
	slo_ms=$(printf '%s' "$table" | jq ".slo_ms / $scale")
}

# A line of run.tsv: time, rate, clock, CUs, mean power of the second just past for both cards (from
# the simulator's energy), p95, SLO.
second_line() {
	printf '%s\n%s\n%s\n' "$previous" "$now" "$status" | jq -rs --arg t $second --argjson slo "$slo_ms" \
		--argjson scale $scale '
		. as [$a, $b, $s]
		| def watts(i): ($b.cards[i].energy_j - $a.cards[i].energy_j)
			/ (($b.device_ns - $a.device_ns) / 1e9);
		$s.gpus[0] as $g | $g.models[0] as $m
		| [$t, $m.rate_rps * $scale, $b.cards[0].sclk_mhz, $m.cus, watts(0), watts(1),
			($m.p95_ms | if . then . / $scale else "NaN" end), $slo]
		| @tsv'
}

watch_run() {
	printf '%6s %8s %6s %4s %12s %12s %14s   (%s)\n' time rps MHz CUs 'W governed' 'W twin' \
		'p95/SLO ms' "$note"
	: >"$out/run.tsv"
	previous=$before
	begin_ms=$(now_ms)
	while kill -0 "$worker" 2>/dev/null; do
		# Where the host is too busy, a second is left out.
		left_ms=$((1000 - ($(now_ms) - begin_ms) % 1000))
		sleep "$((left_ms / 1000)).$(printf %03d $((left_ms % 1000)))"
		second=$((($(now_ms) - begin_ms) / 1000))
		now=$(stat)
		status=$("$bin/cofrisctl" --bus "$bus" status --json) || continue
		second_line >"$run/line" || continue
		previous=$now
		cat "$run/line" >>"$out/run.tsv"
		awk -F '\t' '{ printf "%5ds %8.1f %6d %4d %12.1f %12.1f %8s/%.2f\n", $1, $2, $3, $4, $5, $6,
			$7 == "NaN" ? "-" : sprintf("%.2f", $7), $8 }' "$run/line"
	done
}

serve_and_watch() {
	say "Governing $model under profiles/loads/day.csv, 15 min compressed $compression times ($note)"
	found=$(state)
	start_bus
	start_daemon
	before=$(stat)
	start_worker "$governed" "$run/cofris/worker.sock" governed
	worker=$started
	start_worker "$twin" /nonexistent/worker.sock ungoverned
	twin_worker=$started
	watch_run
	wait "$worker" || { cat "$out/governed.log" >&2; die "the governed worker failed"; }
	wait "$twin_worker" || { cat "$out/ungoverned.log" >&2; die "the twin's worker failed"; }
	after=$(stat)
}

stop_governor() {
	say "Stopping the governor"
	kill "$daemon"
	wait "$daemon" || die "cofrisd did not stop cleanly"
	restored=false
	wait_for "the card as found" is_as_found && restored=true
	cp "$run/cofris/record" "$out/record"
	"$bin/cofris-replay" --inputs "$out/record"
}

plot() {
	say "The run, as a plot"
	gnuplot <<-EOG
		set terminal svg size 960,720 background "white"
		set output "$out/run.svg"
		set multiplot layout 3,1 title "$model on a simulated MI50, governed beside its ungoverned twin ($note)"
		set datafile separator tab
		set grid; set key top left; set xrange [0:*]; set lmargin 10; set rmargin 10
		set ylabel "power, W"
		plot "$out/run.tsv" using 1:6 with lines lw 2 title "ungoverned twin", "" using 1:5 with lines lw 2 title "governed"
		set ylabel "sclk, MHz"; set y2label "CUs"; set y2tics; set y2range [0:64]
		plot "$out/run.tsv" using 1:3 with steps lw 2 title "sclk", "" using 1:4 axes x1y2 with steps lw 2 title "CUs"
		set y2label "requests/s"; set y2range [0:*]
		set ylabel "latency, ms"; set xlabel "time, s"
		plot "$out/run.tsv" using 1:7 with lines lw 2 title "p95", "" using 1:8 with lines title "SLO", "" using 1:2 axes x1y2 with lines title "requests/s"
		unset multiplot
	EOG
	echo "plot: $out/run.svg"
	echo "Power and latency above and below are of the simulated card ($engine engine), not measured on hardware."
}

# In device time; both reports have the same requests, in the order of their ends.
lateness() {
	for name in governed ungoverned; do
		grep -v '^#' "$out/$name.csv" | awk -F , -v slo="$slo_ms" '
			!n { for (i = 1; i <= NF; i++) column[$i] = i; n = 1; next }
			{
				ms = ($column["end_ns"] - $column["arrival_ns"]) / 1e6
				late = $column["status"] != "ok" || ms > slo
				print $1, late
			}' |
			sort -k 1,1 >"$run/$name.late"
	done
	join -a 1 -a 2 -o 0,1.2,2.2 "$run/governed.late" "$run/ungoverned.late" | awk '
		$2 == "" || $3 == "" { print "request " $1 " is in one report only" > "/dev/stderr"; exit 1 }
		{ n++; late += $2; excess += $2 && !$3 }
		END { if (!n) exit 1; printf "{\"n\":%d,\"late\":%d,\"excess\":%d}", n, late, excess }'
}

result() {
	late=$(lateness) || die "the two reports do not pair"
	printf '%s\n%s\n%s\n%s\n' "$before" "$after" "$late" "$(cat "$out/governed.json")" | jq -cs \
		--arg model "$model" --arg gating "$gating" --argjson slo_ms "$slo_ms" \
		--argjson restored $restored --rawfile run "$out/run.tsv" '
		. as [$a, $b, $l, $w]
		| (($b.device_ns - $a.device_ns) / 1e9) as $seconds
		| def watts(i): ($b.cards[i].energy_j - $a.cards[i].energy_j) / $seconds;
		def column(i): [$run | split("\n")[] | select(. != "") | split("\t")[i] | tonumber];
		def round_to(n): (. * n | round) / n;
		{simulated: true, engine: $w.engine, model: $model, gating: $gating,
		 modelled: ($gating != "none"), slo_ms: ($slo_ms | round_to(1000)),
		 requests: $l.n,
		 ungoverned_mean_power_w: (watts(1) | round_to(100)),
		 governed_mean_power_w: (watts(0) | round_to(100)),
		 power_saved_pct: (100 * (1 - watts(0) / watts(1)) | round_to(100)),
		 slo_attainment_pct: (100 * (1 - $l.late / $l.n) | round_to(1000)),
		 excess_late_pct: (100 * $l.excess / $l.n | round_to(1000)),
		 p95_ms: ($w.p95_ms | round_to(1000)),
		 min_cus: (column(3) | min), max_cus: (column(3) | max),
		 min_sclk_mhz: (column(2) | min), max_sclk_mhz: (column(2) | max),
		 baseline_restored: $restored, plot: "run.svg"}' >"$out/result.json"
}

start_actuator
[ -s "$surface" ] || profile
read_table
serve_and_watch
stop_governor
plot
result
