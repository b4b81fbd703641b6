#!/usr/bin/env bash
# How fast the dlq tool is: stats over many dead letters, a plan applied without a limit, and one applied at a rate. On
# the Kafka of KAFKA_BOOTSTRAP_SERVERS, or on one of its own that is gone afterwards. Prints a table (Markdown).
#
# What is measured is real: orders of the producer, dead letters of the tracker, replays into the topic that they came
# from. `seconds` of an apply are from the first record that is sent to the last status that is noted; `whole` is the
# command from its start to its end.
set -euo pipefail
umask 077

LETTERS=${LETTERS:-1000000} # dead letters that stats counts
PLAN=${PLAN:-100000}        # of them, in the plan that is applied as fast as it goes
RATED=${RATED:-20000}       # and in the plan that is applied at RATE a second
RATE=${RATE:-1000}
RUNS=${RUNS:-3}             # of stats and of the fast apply
PARTITIONS=${PARTITIONS:-3}
# TOPIC: orders whose LETTERS dead letters are in TOPIC-dlq already; none is made then.

root=$(cd "$(dirname "$0")/.." && pwd)
BIN_DIR=${BIN_DIR:-} # where producer, tracker and dlq are, built with --release

say() { printf 'bench: %s\n' "$*" >&2; }

dir=$(mktemp -d "${TMPDIR:-/tmp}/bench-dlq.XXXXXX")
own=
cleanup() {
  local code=$?
  trap - EXIT INT TERM
  [[ -z $own ]] || "$root/scripts/kafka.sh" stop >/dev/null 2>&1 || true
  rm -rf "$dir"
  exit "$code"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

if [[ -z $BIN_DIR ]]; then
  (cd "$root" && cargo build --release --locked --features producer,tracker,dlq >&2)
  BIN_DIR=${CARGO_TARGET_DIR:-$root/target}/release
fi
for program in producer tracker dlq; do
  [[ -x $BIN_DIR/$program ]] || { say "there is no $BIN_DIR/$program"; exit 2; }
done

if [[ -z ${KAFKA_BOOTSTRAP_SERVERS:-} ]]; then
  export KAFKA_HOME_DIR=$dir/kafka KAFKA_PORT=${KAFKA_PORT:-29392}
  export KAFKA_JVM_OPTS=${KAFKA_JVM_OPTS:--Xmx1g -XX:TieredStopAtLevel=4}
  own=1
  "$root/scripts/kafka.sh" start >&2
  KAFKA_BOOTSTRAP_SERVERS=127.0.0.1:$KAFKA_PORT
fi
export KAFKA_BOOTSTRAP_SERVERS

name=${TOPIC:-bench-$$-$(date +%s)}
cd "$dir"
# Open dead letters, so many, into a plan.
plan() { # COUNT FILE
  "$BIN_DIR/dlq" --topic "$name-dlq" --quiet plan --status open --limit "$1" -o "$2" >/dev/null 2>err || { cat err >&2; exit 1; }
}

# Runs a command; its seconds, user and system seconds, and peak MiB go to the file `cost`, its output to `out`.
measured() {
  python3 - "$@" <<'PYTHON'
import os, subprocess, sys, time
begun = time.monotonic()
with open("out", "wb") as out, open("err", "wb") as err:
    child = subprocess.Popen(sys.argv[1:], stdout=out, stderr=err, stdin=subprocess.DEVNULL)
_, status, used = os.wait4(child.pid, 0)
code = os.waitstatus_to_exitcode(status)
with open("cost", "w") as cost:
    print(f"{time.monotonic() - begun:.2f} {used.ru_utime:.1f} {used.ru_stime:.1f} {used.ru_maxrss / 1024:.0f}", file=cost)
if code:
    sys.stderr.write(open("err").read())
sys.exit(code)
PYTHON
}

field() { python3 -c 'import json, sys; print(json.load(open("out"))[sys.argv[1]])' "$1"; }
# Replays of an earlier run may be newer states of some orders: those are left out, and nothing else is.
whole_plan() { # SENT PLANNED
  local superseded
  superseded=$(python3 -c 'import json; print(json.load(open("out"))["left_out"].get("superseded", 0))')
  (($1 + superseded == $2)) || { say "apply sent $1 of $2"; exit 1; }
}
calc() { python3 -c 'import sys; print(eval(sys.argv[1]))' "$1"; }

if [[ -z ${TOPIC:-} ]]; then
  say "making $LETTERS dead letters"
  "$BIN_DIR/producer" --quiet --topic "$name" --topic-partitions "$PARTITIONS" --count "$LETTERS" --rate max --seed 1 \
    --invalid-ratio 0.7 --malformed-ratio 0.3 >&2
  "$BIN_DIR/tracker" --quiet --topic "$name" --group "$name" --dlq-topic "$name-dlq" --exit-at-end \
    --max-in-flight-bytes 128MiB
  rm -f tracker.events*
fi

printf '| what | result | whole command | CPU, user + system | peak memory |\n|---|---|---|---|---|\n'
row() { # WHAT RESULT
  local whole user system peak
  read -r whole user system peak <cost
  printf '| %s | %s | %s s | %s + %s s | %s MiB |\n' "$1" "$2" "$whole" "$user" "$system" "$peak"
}

for ((run = 1; run <= RUNS; run++)); do
  measured "$BIN_DIR/dlq" --topic "$name-dlq" --quiet stats --json
  count=$(field dead_letters)
  [[ $count == "$LETTERS" ]] || { say "stats counts $count"; exit 1; }
  row "\`stats\` of $LETTERS" "$(cut -d' ' -f1 cost) s"
done

for ((run = 1; run <= RUNS; run++)); do
  plan "$PLAN" "fast-$run.json"
  measured "$BIN_DIR/dlq" --topic "$name-dlq" --quiet apply "fast-$run.json" --yes --json
  sent=$(field sent) seconds=$(field seconds)
  whole_plan "$sent" "$PLAN"
  row "\`apply\` of $PLAN" "$(calc "f'{$sent / $seconds:,.0f}/s ({$seconds:.2f} s)'")"
done

plan "$RATED" rated.json
measured "$BIN_DIR/dlq" --topic "$name-dlq" --quiet apply rated.json --yes --json --rate "$RATE"
sent=$(field sent) seconds=$(field seconds)
whole_plan "$sent" "$RATED"
off=$(calc "f'{100 * ($sent / $seconds / $RATE - 1):+.2f} %'")
row "\`apply --rate $RATE\` of $RATED" "$(calc "f'{$sent / $seconds:,.1f}/s'") ($off)"
