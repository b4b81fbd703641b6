#!/usr/bin/env bash
# Stops what start.sh started: the producer, then the tracker, then Kafka if
# start.sh started it. Returns when all of it has ended.
set -euo pipefail

NAME=stop
ROOT=$(cd -P "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
# shellcheck source=scripts/lib.sh
. "$ROOT/scripts/lib.sh"

usage() {
  cat <<'HELP'
Usage: ./stop.sh [--help]

Stops what ./start.sh started, in this order: the producer (it delivers what it
has taken), the tracker (it finishes and commits what it has in flight), and
Kafka if start.sh started it; Kafka's data stays. A start.sh that is still at
work is stopped too. Returns when all of it has ended.

Environment:
  PUBSUB_KAFKA_RUN_DIR     the folder that start.sh was given (run)

Exit codes: 0 stopped, or nothing ran; 1 something had to be killed, or could
not be stopped; 2 usage.
HELP
}

while [[ $# -gt 0 ]]; do
  case $1 in
    -h | --help) usage; exit ;;
    *) usage_error "unknown option '$1'" ;;
  esac
done

trap unlock EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP
trap ':' PIPE

if [[ ! -d $RUN ]]; then
  say "nothing runs"
  exit 0
fi

if ! try_lock; then
  # Half started things are best undone by the one who knows them.
  if owner=$(lock_owner) && [[ $(command_line "$owner") == *start.sh* ]]; then
    say "start.sh (process $owner) is at work: stopping it"
    kill -TERM "$owner" 2>/dev/null || true
  fi
  wait_for_lock 180
fi

something='' producer=''
for role in producer tracker broker; do
  if running_pid "$role" >/dev/null; then something=1; fi
done
if running_pid producer >/dev/null; then producer=1; fi
if [[ -z $something && ! -f $STATE ]]; then
  for role in producer tracker broker; do forget "$role"; done # left by a crash
  say "nothing runs"
  exit 0
fi

stop_everything || exit 1
end_role broker "$BROKER_LIMIT" # only if a crash took the note of it

if [[ -n $producer ]]; then
  line=$(grep -h 'sent [0-9].*acknowledged' "$RUN/producer.err" | tail -n 1 || true)
  if [[ -n $line ]]; then say "the producer's last count: ${line##* INFO }"; fi
fi
if [[ -n $KILLED ]]; then
  warn "stopped, but not all of it ended by itself: what was in flight is read again at the next start"
  exit 1
fi
say "stopped"
