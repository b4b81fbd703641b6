#!/usr/bin/env bash
# Proves docker-compose.kraft.yml without a Docker engine: compose-check.py reads
# it, and then the real Kafka is started on what the image would make of it,
# its health check and its topic commands are run, and the topics are compared
# with what the project needs. Different from Docker are only the data folder,
# host names and ports.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
KAFKA=$ROOT/scripts/kafka.sh
FILE=${1:-$ROOT/docker-compose.kraft.yml}
PYTHON=${PYTHON:-python3}
VERSION=$(sed -n 's/^KAFKA_VERSION=//p' "$KAFKA") # one place names the version

HEALTH_TIMEOUT=60
STOP_TIMEOUT=30

say() { printf 'compose-check: %s\n' "$*"; }
die() { printf 'compose-check: %s\n' "$*" >&2; exit 1; }
die_with_log() {
  printf 'compose-check: the last lines of Kafka:\n' >&2
  tail -n 20 "$WORK/broker.log" >&2
  die "$@"
}

WORK=$(mktemp -d)
BROKER= # process id
cleanup() {
  local code=$?
  trap - EXIT INT TERM
  if [[ -n $BROKER ]]; then
    kill -KILL "$BROKER" 2>/dev/null || true
    wait "$BROKER" 2>/dev/null || true # or it writes while its folder is deleted
  fi
  rm -rf "$WORK"
  exit "$code"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# A cluster folder of its own; nothing of the caller's Kafka settings.
unset KAFKA_PORT KAFKA_CONTROLLER_PORT KAFKA_EXTRA_PROPERTIES KAFKA_JVM_OPTS
export KAFKA_HOME_DIR=$WORK/home

# The image's tools, as far as the compose file may use them.
shim() { # NAME CLASS
  printf '#!/usr/bin/env bash\nexec "%s" run %s "$@"\n' "$KAFKA" "$2" >"$WORK/bin/$1"
  chmod +x "$WORK/bin/$1"
}
mkdir "$WORK/bin"
shim kafka-topics.sh org.apache.kafka.tools.TopicCommand
shim kafka-configs.sh org.apache.kafka.tools.ConfigCommand
shim kafka-broker-api-versions.sh org.apache.kafka.tools.BrokerApiVersionsCommand
shim kafka-metadata-quorum.sh org.apache.kafka.tools.MetadataQuorumCommand

in_container() { # SCRIPT; runs a command of the compose file with the tools above
  sed -i.orig "s|/opt/kafka/bin/|$WORK/bin/|g" "$WORK/$1"
  bash "$WORK/$1"
}

# ------------------------------------------------------------- 1. on paper

"$PYTHON" "$ROOT/scripts/compose-check.py" "$FILE" --image "apache/kafka:$VERSION" \
  --out "$WORK" --log-dirs "$WORK/data"

# Kafka ignores a setting that it does not know, so a typing error would go unseen.
"$KAFKA" run kafka.server.KafkaConfig >"$WORK/known.html"
sed -n 's/.*<a id="\([^"]*\)"><\/a>.*/\1/p' "$WORK/known.html" | sort -u >"$WORK/known"
[[ -s $WORK/known ]] || die "cannot read the names of Kafka's settings"
cut -d = -f 1 "$WORK/server.properties" | sort -u | comm -23 - "$WORK/known" | grep -v '^listener\.name\.' >"$WORK/unknown" || true
[[ ! -s $WORK/unknown ]] || die "Kafka has no such setting: $(tr '\n' ' ' <"$WORK/unknown")"

# ------------------------------------------- 2. as the image's start does it

# The image's own code turns the environment into settings and formats the data
# folder. It must come to the same settings.
mkdir "$WORK/default" "$WORK/mounted" "$WORK/final"
environment=()
while IFS= read -r line; do environment+=("$line"); done <"$WORK/environment"
env "${environment[@]}" "$KAFKA" run kafka.docker.KafkaDockerWrapper setup \
  --default-configs-dir "$WORK/default" --mounted-configs-dir "$WORK/mounted" --final-configs-dir "$WORK/final" \
  >"$WORK/setup.log" 2>&1 || { cat "$WORK/setup.log" >&2; die "the image's setup refuses these settings"; }
# home.dir is kafka.sh's own KAFKA_HOME_DIR, which the container does not have.
grep -v -e '^$' -e '^home\.dir=' "$WORK/final/server.properties" | sort >"$WORK/theirs"
sort "$WORK/server.properties" | diff - "$WORK/theirs" >"$WORK/diff" ||
  { cat "$WORK/diff" >&2; die "compose-check.py (<) and the image (>) make different settings of the environment"; }
say "the settings are the same as the image's, and Kafka knows each of them"

"$KAFKA" run kafka.Kafka "$WORK/server.properties" >"$WORK/broker.log" 2>&1 &
BROKER=$!

deadline=$((SECONDS + HEALTH_TIMEOUT))
until in_container healthcheck.sh >"$WORK/health.log" 2>&1; do
  kill -0 "$BROKER" 2>/dev/null || die_with_log "Kafka ended while it started"
  ((SECONDS < deadline)) || { tail -n 5 "$WORK/health.log" >&2; die_with_log "the health check did not pass within $HEALTH_TIMEOUT s"; }
  sleep 0.5
done
say "Kafka runs, and its health check passes"

# ------------------------------------------------------------- 3. the topics

# Twice: the service runs again at each start of the project.
for round in first second; do
  in_container init.sh >"$WORK/init.log" 2>&1 || { cat "$WORK/init.log" >&2; die "the $round run of the topic commands failed"; }
done

bootstrap=$(sed -n 's/^advertised\.listeners=.*:\/\/\([^,]*\)$/\1/p' "$WORK/server.properties")
"$WORK/bin/kafka-topics.sh" --bootstrap-server "$bootstrap" --describe >"$WORK/topics" || die "the topics cannot be listed"

expect_topic() { # NAME PARTITIONS SETTING...
  local name=$1 partitions=$2 line setting
  shift 2
  line=$(grep -E "^Topic: ${name}[[:space:]].*PartitionCount" "$WORK/topics") || die "topic $name was not created"
  [[ $line =~ PartitionCount:\ ${partitions}[[:space:]] ]] || die "topic $name must have $partitions partitions: $line"
  for setting in "$@"; do
    case ",${line##*Configs: }," in
      *",$setting,"*) ;;
      *) die "topic $name must have $setting: $line" ;;
    esac
  done
  say "topic $name: $partitions partition(s)${*:+, $*}"
}
expect_topic orders 3
expect_topic orders-dlq 3 retention.ms=-1 retention.bytes=-1
expect_topic orders-dlq-status 1 cleanup.policy=compact
expect_topic orders-audit-heads 1 cleanup.policy=compact

# ------------------------------------------------------------- 4. the end

kill -TERM "$BROKER"
deadline=$((SECONDS + STOP_TIMEOUT))
while kill -0 "$BROKER" 2>/dev/null; do
  ((SECONDS < deadline)) || die_with_log "Kafka did not end within $STOP_TIMEOUT s of SIGTERM"
  sleep 0.1
done
BROKER=
say "all is well"
