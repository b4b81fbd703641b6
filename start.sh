#!/usr/bin/env bash
# Starts the whole pipeline: Kafka where none is given, the tracker, the producer.
# A step that fails undoes what this start has started. stop.sh ends it all.
set -euo pipefail

NAME=start
ROOT=$(cd -P "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
# shellcheck source=scripts/lib.sh
. "$ROOT/scripts/lib.sh"

usage() {
  cat <<'HELP'
Usage: ./start.sh [OPTIONS]

Builds and starts the pipeline in the background: Kafka, the tracker, and a
producer that sends an order every two seconds. ./stop.sh stops it.

  --foreground    stay; Ctrl-C (or SIGTERM) stops everything in order
  --no-producer   start no producer
  --embedded      use the embedded broker, which keeps nothing
  --tls           build with SSL and SASL (OpenSSL too, which takes minutes)
  --help          this text

Kafka is the first of these that is there:
  1. the one that KAFKA_BOOTSTRAP_SERVERS names
  2. a Docker engine: docker-compose.kraft.yml
  3. Java 17 or newer with Maven: scripts/kafka.sh
  4. the embedded broker, a demonstration: it keeps nothing

Files in run/: tracker.log (health), tracker.events (audit log), tracker.err and
producer.err (what the programs say), *.pid.

Environment:
  KAFKA_BOOTSTRAP_SERVERS       a Kafka that runs: host:port, several by commas
  KAFKA_PORT                    the port of a Kafka that is started here (9092)
  PUBSUB_KAFKA_RUN_DIR          another folder instead of run/
  PUBSUB_KAFKA_START_TIMEOUT    seconds until the tracker must be ready (120)
  PUBSUB_KAFKA_*                settings of the tracker and the producer, such as
                                PUBSUB_KAFKA_RATE=100 or PUBSUB_KAFKA_DELIVER_TO=URL
                                (config/default.toml names them all)

Exit codes: 0 started; 1 failed, or it runs already; 2 usage or settings;
5 Kafka is not reachable; 6 the audit log is damaged; 130, 143 interrupted.
HELP
}

ARGUMENTS=("$@")
FOREGROUND=
PRODUCER=1
EMBEDDED=
TLS=
while [[ $# -gt 0 ]]; do
  case $1 in
    --foreground) FOREGROUND=1 ;;
    --no-producer) PRODUCER= ;;
    --embedded) EMBEDDED=1 ;;
    --tls) TLS=1 ;;
    -h | --help) usage; exit ;;
    *) usage_error "unknown option '$1'" ;;
  esac
  shift
done

# A script that starts this one with `&` lets it ignore SIGINT, and a shell cannot
# take that back by itself.
if [[ -n $FOREGROUND && -n $(trap -p INT) ]] && env --default-signal=INT true 2>/dev/null; then
  exec env --default-signal=INT "$BASH" "${BASH_SOURCE[0]}" "${ARGUMENTS[@]}"
fi

PORT=${KAFKA_PORT:-9092}
if ! [[ $PORT =~ ^[0-9]{1,5}$ ]] || ((10#$PORT < 1 || 10#$PORT > 65535)); then
  usage_error "KAFKA_PORT must be a port number (1 to 65535), not '$PORT'"
fi
TIMEOUT=${PUBSUB_KAFKA_START_TIMEOUT:-120}
[[ $TIMEOUT =~ ^[0-9]{1,6}$ ]] || usage_error "PUBSUB_KAFKA_START_TIMEOUT must be whole seconds, not '$TIMEOUT'"
FIRST_OUTCOME=15 # seconds to wait for the first order's outcome
KAFKA_HOME=$(absolute "${KAFKA_HOME_DIR:-$RUN/kafka}")
HOST=127.0.0.1   # not `localhost`: some systems try ::1 first, where nobody listens

# ----------------------------------------------------------------- undo, signals

STEP=      # process id of a step that is under way
BEGUN=     # set when there is something to undo
KAFKA_RAN= # set when Kafka ran before, so that it is left running
SIGNAL=    # the one that ends --foreground
STARTED=   # set when the start is complete
cleanup() {
  local code=$?
  trap - EXIT
  trap hurry INT # undone at once
  trap : TERM HUP
  if [[ -n $STEP ]]; then
    kill -TERM -- "-$STEP" 2>/dev/null || true
    wait "$STEP" 2>/dev/null || true
  fi
  if [[ -n $BEGUN && -z $STARTED ]]; then
    say "undoing what was started"
    end_role producer "$PRODUCER_LIMIT"
    end_role tracker "$(tracker_limit)"
    if [[ -z $KAFKA_RAN ]]; then
      stop_kafka || true
    elif [[ $(fact owned) == no ]]; then
      rm -f "$STATE"
    fi
  fi
  if [[ -n $HELD ]]; then rm -f "$RUN/build.json"; fi
  unlock
  exit "$code"
}
trap cleanup EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
trap ':' PIPE # `start.sh | head`: what is started is still to be finished or undone

# Runs a long command such that a signal ends it at once, and all that it calls.
step() {
  local code=0
  set -m
  "$@" </dev/null &
  STEP=$!
  set +m
  wait "$STEP" || code=$?
  STEP=
  return "$code"
}

# `timeout` is not on every system.
within() { # SECONDS COMMAND...
  local deadline=$((SECONDS + $1)) code=0
  shift
  set -m
  "$@" </dev/null &
  STEP=$!
  set +m
  while kill -0 "$STEP" 2>/dev/null; do
    if ((SECONDS >= deadline)); then kill -KILL -- "-$STEP" 2>/dev/null || true; fi
    sleep 0.05
  done
  wait "$STEP" || code=$?
  STEP=
  return "$code"
}

# A duration such as "1m 30s" in whole seconds, rounded up; 0 for what is none.
seconds_of() {
  local text=$1 ms=0
  while [[ $text =~ ^[[:space:]]*([0-9]{1,9})[[:space:]]*(ms|s|sec|m|min|h)([[:space:]0-9].*)?$ ]]; do
    case ${BASH_REMATCH[2]} in
      ms) ms=$((ms + 10#${BASH_REMATCH[1]})) ;;
      s*) ms=$((ms + 10#${BASH_REMATCH[1]} * 1000)) ;;
      m*) ms=$((ms + 10#${BASH_REMATCH[1]} * 60000)) ;;
      h) ms=$((ms + 10#${BASH_REMATCH[1]} * 3600000)) ;;
    esac
    text=${BASH_REMATCH[3]:-}
  done
  echo $(((ms + 999) / 1000))
}

# ---------------------------------------------------------------- which Kafka

docker_answers() { # the client alone proves nothing
  local version=
  command -v docker >/dev/null 2>&1 || { DOCKER_SAYS="docker is not installed"; return 1; }
  version=$(within 5 docker info --format '{{.ServerVersion}}' 2>/dev/null) || version=
  [[ -n $version ]] || { DOCKER_SAYS="no Docker engine answers"; return 1; }
  within 5 docker compose version >/dev/null 2>&1 || { DOCKER_SAYS="docker has no 'compose' command"; return 1; }
  DOCKER_SAYS="a Docker engine (version $version) answers"
}

java_is_there() {
  local java=java major cache
  if [[ -n ${JAVA_HOME:-} ]]; then java=$JAVA_HOME/bin/java; fi
  # Run it rather than look for it: macOS has a /usr/bin/java that is only a hint.
  major=$("$java" -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p' | head -n 1) || true
  ((${major:-0} >= 17)) || { JAVA_SAYS="there is no Java 17 or newer"; return 1; }
  cache=${XDG_CACHE_HOME:-$HOME/.cache}/pubsub-kafka
  if ! command -v mvn >/dev/null 2>&1; then
    # Maven only fetches Kafka, once.
    ls -d "$cache"/kafka-[0-9]* >/dev/null 2>&1 || { JAVA_SAYS="Java is there, Maven is not"; return 1; }
  fi
  JAVA_SAYS="Java $major is there"
}

# What an earlier start left behind must not be forgotten for something else.
refuse_leftover_kafka() {
  local kind home runs=
  kind=$(fact kafka) home=$(fact home)
  [[ $(fact owned) == yes ]] || return 0
  [[ $kind != "$KIND" || ${home:-$KAFKA_HOME} != "$KAFKA_HOME" ]] || return 0
  case $kind in
    kafka.sh) if KAFKA_HOME_DIR=$home "$KAFKA" pid >/dev/null 2>&1; then runs=1; fi ;;
    compose) if [[ -n $(compose ps --status running --quiet kafka 2>/dev/null) ]]; then runs=1; fi ;;
  esac
  [[ -z $runs ]] || die "the Kafka of an earlier start still runs ($kind, at $(fact bootstrap)); ./stop.sh stops it"
}

choose_kafka() {
  BOOTSTRAP=$HOST:$PORT
  if [[ -n $EMBEDDED ]]; then
    KIND=embedded
    say "Kafka: the embedded broker, because --embedded asks for it"
  elif [[ -n ${KAFKA_BOOTSTRAP_SERVERS:-} ]]; then
    KIND=given
    BOOTSTRAP=$KAFKA_BOOTSTRAP_SERVERS
    say "Kafka: $BOOTSTRAP, because KAFKA_BOOTSTRAP_SERVERS names it"
  elif docker_answers; then
    KIND=compose
    say "Kafka: docker-compose.kraft.yml, because $DOCKER_SAYS"
  elif java_is_there; then
    KIND=kafka.sh
    say "Kafka: scripts/kafka.sh, because $JAVA_SAYS ($DOCKER_SAYS)"
  else
    KIND=embedded
    say "Kafka: the embedded broker, because $DOCKER_SAYS and $JAVA_SAYS"
  fi
  if [[ $KIND == embedded ]]; then
    say "the embedded broker is a demonstration: it keeps nothing, its orders are gone when it ends"
  fi
}

# ------------------------------------------------------------------------- build

# One program for all its roles, since linking each by itself would take longer.
build() {
  local features=tracker
  if [[ -n $PRODUCER ]]; then features=$features,producer; fi
  if [[ $KIND == embedded ]]; then features=$features,embedded; fi
  if [[ -n $TLS ]]; then features=$features,tls; fi
  command -v cargo >/dev/null 2>&1 || die "cargo is not there: install Rust first"
  say "building: cargo build --release --locked --features $features --bin pubsub-kafka"
  step build_into "$RUN/build.json" --features "$features" --bin pubsub-kafka ||
    die "the build failed (the lines above say why)"
  # Cargo tells where it put the program; its settings can move it.
  PROGRAM=$(sed -n 's/.*"executable":"\([^"]*\/pubsub-kafka\)".*/\1/p' "$RUN/build.json" | tail -n 1)
  [[ -x $PROGRAM ]] || die "the build made no program"
  rm -f "$RUN/build.json"
}

build_into() { # FILE ARGS...
  local file=$1
  shift
  cd "$ROOT"
  exec cargo build --release --locked --message-format=json-render-diagnostics "$@" >"$file"
}

# ------------------------------------------------------------------------- Kafka

# Written before Kafka is started, so that a crash in between is not forgotten.
note() { # OWNED HOME IDS
  (
    umask 077
    cat >"$STATE" <<STATE
kafka=$KIND
bootstrap=$BOOTSTRAP
owned=$1
home=$2
ids=$3
tracker_limit=$TRACKER_LIMIT
STATE
  )
}

start_kafka() {
  local home='' ids='' earlier owned=yes
  case $KIND in
    given)
      BEGUN=1 KAFKA_RAN=1
      note no '' ''
      return
      ;;
    embedded)
      start_broker
      return
      ;;
    kafka.sh)
      home=$KAFKA_HOME
      export KAFKA_HOME_DIR=$home
      ids=$("$KAFKA" pid 2>/dev/null | tr '\n' ' ') || true
      ;;
    compose) ids=$(compose ps --status running --quiet kafka 2>/dev/null) || true ;;
  esac
  # What runs already is not ours, unless an earlier start left it there.
  earlier=$(fact kafka):$(fact owned):$(fact ids)
  if [[ -n $ids && $earlier != "$KIND:yes:$ids" ]]; then owned=no; fi
  BEGUN=1 KAFKA_RAN=$ids
  note "$owned" "$home" "$ids"
  if [[ $KIND == compose ]]; then
    say "starting Kafka by Docker, and creating the topics (the first time fetches the image)"
    step compose run --rm --no-TTY kafka-init || {
      compose logs --tail 15 kafka >&2 || true
      die "Kafka could not be started by Docker (the lines above say why)"
    }
    ids=$(compose ps --status running --quiet kafka 2>/dev/null) || true
  else
    step "$KAFKA" start || {
      warn "if a Kafka runs there that you want to use: KAFKA_BOOTSTRAP_SERVERS=$BOOTSTRAP ./start.sh"
      die "Kafka could not be started (the lines above say why); ./start.sh --embedded needs no Kafka"
    }
    ids=$("$KAFKA" pid | tr '\n' ' ')
    # Its folder remembers ports, so they can be others than KAFKA_PORT's default.
    BOOTSTRAP=$("$KAFKA" status | sed -n 's/.* runs on \([^ ]*\) .*/\1/p' | tr '\n' ',')
    BOOTSTRAP=${BOOTSTRAP%,}
  fi
  note "$owned" "$home" "$ids"
}

port_is_open() { (exec 3<>"/dev/tcp/$HOST/$PORT") 2>/dev/null; }

start_broker() {
  local deadline topic=${PUBSUB_KAFKA_TOPIC:-orders} dlq=${PUBSUB_KAFKA_DLQ_TOPIC:-orders-dlq}
  local partitions=${PUBSUB_KAFKA_TOPIC_PARTITIONS:-3}
  if port_is_open; then die "port $PORT is taken by another program; set KAFKA_PORT to a free one"; fi
  BEGUN=1
  note yes '' ''
  launch broker "$PROGRAM" broker --listen "$HOST:$PORT" --topic "$topic:$partitions" \
    --topic "$dlq:$partitions" --topic orders-dlq-status:1 --topic orders-audit-heads:1
  deadline=$((SECONDS + TIMEOUT))
  until port_is_open; do
    alive broker || fail_with broker "the embedded broker ended while it started"
    ((SECONDS < deadline)) || { show_log "$RUN/broker.err"; die "the embedded broker does not listen on $BOOTSTRAP after $TIMEOUT s"; }
    sleep 0.1
  done
}

# ------------------------------------------------------------------------- roles

# Starts a role in the background, in a process group of its own: Ctrl-C in this
# terminal must not reach it, since the producer is to stop before the tracker.
launch() { # ROLE COMMAND...
  local role=$1 log=$RUN/$1.err
  shift
  if [[ -s $log ]]; then mv "$log" "$log.previous"; fi
  (
    umask 077
    : >"$log"
    printf '%s ' "$@" >"$RUN/$role.cmd"
    : >"$RUN/$role.pid"
  )
  set -m
  "$@" </dev/null >>"$log" 2>&1 &
  printf -v "CHILD_$role" '%s' "$!"
  set +m
  echo "$!" >"$RUN/$role.pid"
  # Between fork and exec it still has the command line of this script.
  until running_pid "$role" >/dev/null || ! kill -0 "$!" 2>/dev/null; do sleep 0.02; done
}

alive() { running_pid "$1" >/dev/null; }

# Sets CODE to the exit code of a role that has ended.
exit_code() { # ROLE
  local child=CHILD_$1 known=CODE_$1
  if [[ -z ${!known:-} ]]; then # the shell tells it once
    CODE=0
    wait "${!child}" 2>/dev/null || CODE=$?
    printf -v "$known" '%s' "$CODE"
  fi
  CODE=${!known}
}

fail_with() { # ROLE MESSAGE; ends the start with the exit code of a role that has ended
  exit_code "$1"
  show_log "$RUN/$1.err"
  warn "$2 (exit code $CODE)"
  if ((CODE == 0)); then CODE=1; fi
  exit "$CODE"
}

size() { if [[ -f $1 ]]; then wc -c <"$1" | tr -d ' '; else echo 0; fi; } # FILE

# Whether a file holds a text beyond the size that it had before this start.
has_new() { # FILE SIZE TEXT
  [[ -f $1 ]] && tail -c "+$(($2 + 1))" "$1" | grep -F -- "$3" >/dev/null
}

# The offsets of an embedded broker begin again at each start, and an audit log
# has one outcome for an offset. So its audit log is not gone on with, and it
# does not go on with another Kafka's.
set_audit_log_aside() {
  local aside
  if [[ $KIND == embedded || -f $RUN/embedded ]] && [[ -s $RUN/tracker.events ]]; then
    aside=$(mktemp -d "$RUN/earlier-$(date -u +%Y%m%dT%H%M%SZ)-XXXX")
    mv "$RUN"/tracker.events* "$aside/"
    say "the audit log so far is another Kafka's: moved to $(shown "$aside")"
  fi
  rm -f "$RUN/embedded"
  if [[ $KIND == embedded ]]; then (umask 077 && : >"$RUN/embedded"); fi
}

start_tracker() {
  local before deadline=$((SECONDS + TIMEOUT))
  set_audit_log_aside
  before=$(size "$RUN/tracker.log")
  EVENTS_BEFORE=$(size "$RUN/tracker.events")
  say "starting the tracker, and waiting until it is ready"
  launch tracker "$PROGRAM" tracker --bootstrap-servers "$BOOTSTRAP" \
    --log-file "$RUN/tracker.log" --events-file "$RUN/tracker.events"
  # By then Kafka has answered, and the topics are there.
  until has_new "$RUN/tracker.log" "$before" '"message":"started"'; do
    alive tracker || fail_with tracker "the tracker ended while it started"
    if ((SECONDS >= deadline)); then
      show_log "$RUN/tracker.err"
      die "the tracker is not ready after $TIMEOUT s"
    fi
    sleep 0.1
  done
}

start_producer() {
  local deadline=$((SECONDS + FIRST_OUTCOME))
  say "starting the producer, and waiting for the first outcome"
  launch producer "$PROGRAM" producer --bootstrap-servers "$BOOTSTRAP"
  until has_new "$RUN/tracker.events" "$EVENTS_BEFORE" '"outcome":'; do
    alive tracker || fail_with tracker "the tracker ended"
    if ! alive producer; then
      # One that had only a few orders to send may have done so.
      exit_code producer
      ((CODE == 0)) || fail_with producer "the producer ended while it started"
    fi
    if ((SECONDS >= deadline)); then
      warn "no outcome after $FIRST_OUTCOME s; $(shown "$RUN/tracker.err") may say why"
      break
    fi
    sleep 0.1
  done
}

# ----------------------------------------------------------------------- the end

summary() {
  local pid log events where stop cargo="cargo run"
  stop=$(shown "$ROOT/stop.sh")
  if [[ $PWD == "$ROOT" ]]; then stop=./stop.sh; else cargo="cargo run --manifest-path $(shown "$ROOT/Cargo.toml")"; fi
  if [[ -n ${PUBSUB_KAFKA_RUN_DIR:-} ]]; then stop="PUBSUB_KAFKA_RUN_DIR=$(shown "$RUN") $stop"; fi
  log=$(shown "$RUN/tracker.log") events=$(shown "$RUN/tracker.events")
  case $KIND in
    kafka.sh) where="scripts/kafka.sh, log $(shown "$KAFKA_HOME")/node-1/server.log" ;;
    compose) where="docker compose" ;;
    embedded) where="embedded, process $(running_pid broker), keeps nothing" ;;
    given) where="KAFKA_BOOTSTRAP_SERVERS" ;;
  esac
  say "it runs:"
  printf '  %-9s %s\n' Kafka "$BOOTSTRAP ($where)" \
    tracker "process $(running_pid tracker || echo "?"), $log, $events, $(shown "$RUN/tracker.err")"
  if [[ -n $PRODUCER ]]; then
    if pid=$(running_pid producer); then
      printf '  %-9s %s\n' producer "process $pid, $(shown "$RUN/producer.err")"
    else
      printf '  %-9s %s\n' producer "has sent what it had to send, $(shown "$RUN/producer.err")"
    fi
  fi
  cat <<HELP
what to look at next:
  tail -F $events | jq -c '{outcome, failure_reason, kafka_key, kafka_partition, kafka_offset}'
  $cargo --features monitor -- --log-file $log --events-file $events
HELP
  if [[ -n $FOREGROUND ]]; then
    echo "Ctrl-C stops it all (from elsewhere: $stop)."
  else
    echo "$stop stops it all."
  fi
}

# Stays until a signal comes, stop.sh has done its work, or the tracker ends.
stay() {
  local producer=$PRODUCER
  while [[ -z $SIGNAL ]]; do
    if [[ ! -f $RUN/tracker.pid ]] || lock_owner >/dev/null; then
      wait_for_lock 180 # stop.sh is at work, or was
      [[ -f $RUN/tracker.pid ]] || { say "stopped by stop.sh"; return 0; }
      unlock
    elif ! alive tracker; then
      wait_for_lock 180
      [[ -f $RUN/tracker.pid ]] || { say "stopped by stop.sh"; return 0; }
      exit_code tracker
      show_log "$RUN/tracker.err"
      warn "the tracker ended by itself (exit code $CODE): stopping the rest"
      stop_everything || true
      if ((CODE == 0)); then CODE=1; fi
      return "$CODE"
    elif [[ -n $producer && -f $RUN/producer.pid ]] && ! alive producer; then
      producer=
      exit_code producer
      say "the producer has ended (exit code $CODE): $(tail -n 1 "$RUN/producer.err" || true)"
    fi
    # In the background, so that a signal is not kept waiting.
    sleep 0.5 &
    wait "$!" || true
  done
  wait_for_lock 180
  local again=
  trap 'again=1; hurry' INT # a second Ctrl-C: at once
  trap : TERM HUP
  stop_everything || return 1
  [[ -z $again ]] || return 130
  [[ -z $KILLED ]] || return 1
  say "stopped"
}

# -------------------------------------------------------------------------- main

(umask 077 && mkdir -p "$RUN") || die "cannot make the folder $RUN"
chmod 700 "$RUN" 2>/dev/null || true # kafka.sh may have made it, for everybody to read
RUN=$(absolute "$RUN")
try_lock || die "another start.sh or stop.sh (process $(readlink "$LOCK" || true)) is at work on $RUN"

running=
for role in broker tracker producer; do
  if pid=$(running_pid "$role"); then
    running="$running, $role (process $pid)"
  else
    forget "$role" # left by a crash
  fi
done
[[ -z $running ]] || die "it runs already: ${running#, }; ./stop.sh stops it"

TRACKER_LIMIT=$(($(seconds_of "${PUBSUB_KAFKA_SHUTDOWN_TIMEOUT:-15s}") + TRACKER_MARGIN))
choose_kafka
refuse_leftover_kafka
build
start_kafka
start_tracker
if [[ -n $PRODUCER ]]; then start_producer; fi
alive tracker || fail_with tracker "the tracker ended"
if [[ -n $FOREGROUND ]]; then
  # Before the start is complete, so that no signal falls between undo and stop.
  trap 'SIGNAL=INT' INT
  trap 'SIGNAL=TERM' TERM HUP
fi
STARTED=1
summary || true
unlock
if [[ -n $FOREGROUND ]]; then stay; fi
