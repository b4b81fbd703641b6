#!/usr/bin/env bash
# Injects failures of delivery targets and of secondary targets, and prints what they cost the others: the tables of
# docs/guards.md. Needs a running Kafka (KAFKA_BOOTSTRAP_SERVERS, or localhost:9092); about 5 minutes for
# the delivery target and 8 for secondary ones, longer with more rounds. What each round found goes to the standard error.
#
#   scripts/guards.sh [--seconds N] [--rounds N] [--rate N] [--only delivery|notify]
set -euo pipefail

ROOT=$(cd -P "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
cd "$ROOT"

# In memory where there is such a place: a disk's own pauses would be measured as well.
PLACE=${TMPDIR:-/tmp}
if [[ -d /dev/shm && -w /dev/shm ]]; then PLACE=/dev/shm; fi
FOLDER=$(mktemp -d "$PLACE/guards-XXXXXX")
trap 'rm -rf "$FOLDER"' EXIT

cargo build --quiet --locked --release --features producer,tracker --example guards
"${CARGO_TARGET_DIR:-target}/release/examples/guards" --folder "$FOLDER" "$@"
