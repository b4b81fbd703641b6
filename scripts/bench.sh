#!/usr/bin/env bash
# Measures the tracker beside the least that could do its work, on this machine,
# with a real Kafka of its own: builds, starts the broker, runs scripts/bench.py,
# stops the broker. Everything it makes is in target/bench and /dev/shm.
#
#   scripts/bench.sh                   all of it: about 15 minutes
#   scripts/bench.sh --records 100000  a trial
#   scripts/bench.sh --spring          Spring Kafka beside the others, built with Maven
#   scripts/bench.sh --growth          partitions, trackers and sizes instead
#   scripts/bench.sh --failing         orders that all become dead letters instead
#   scripts/bench.sh --soak 30         memory over half an hour instead
#   scripts/bench.sh --help            every flag
#
# BENCH_BIN names a folder with the programs, if they are built already.
set -euo pipefail

ROOT=$(cd -P "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
cd "$ROOT"

# Nothing of the caller's Kafka, nor of their settings.
unset KAFKA_BOOTSTRAP_SERVERS KAFKA_EXTRA_PROPERTIES KAFKA_JVM_OPTS RUST_LOG
for name in $(compgen -e PUBSUB_KAFKA_ || true); do unset "$name"; done

case " $* " in *" --help "* | *" -h "*) exec python3 -B scripts/bench.py --help ;; esac

WORK=$ROOT/target/bench
mkdir -p "$WORK"
exec 9>"$WORK/lock"
flock -n 9 || { echo "bench: another one runs here" >&2; exit 1; }

if [[ -z ${BENCH_BIN:-} ]]; then
  target=${CARGO_TARGET_DIR:-$ROOT/target}
  cargo build --locked --release --features producer,tracker,audit --bin producer --bin tracker --bin audit --example bench
  BENCH_BIN=$target/release
fi

# A broker as it runs elsewhere, not the one that starts fast for tests.
export KAFKA_JVM_OPTS="-Xmx1g -XX:TieredStopAtLevel=4"
export KAFKA_HOME_DIR=$WORK/kafka
export KAFKA_PORT=${BENCH_PORT:-29192}
export KAFKA_CONTROLLER_PORT=$((KAFKA_PORT + 1))
SHM=$(mktemp -d "${BENCH_SHM:-/dev/shm}/pubsub-kafka-bench-XXXXXX")
cleanup() {
  local code=$?
  trap - EXIT
  trap : INT TERM
  rm -rf "$SHM" "$WORK/disk"
  scripts/kafka.sh reset >/dev/null 2>&1 || true
  exit "$code"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

scripts/kafka.sh reset >/dev/null 2>&1 || true
scripts/kafka.sh start 9>&-
KAFKA_BOOTSTRAP_SERVERS=127.0.0.1:$KAFKA_PORT BENCH_BIN=$BENCH_BIN \
  python3 -B scripts/bench.py --memory "$SHM" --disk "$WORK/disk" --out "$WORK" "$@" 9>&-
