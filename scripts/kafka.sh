#!/usr/bin/env bash
# The real Apache Kafka, without Docker and without an installer: its jars come
# from Maven Central once, and the broker runs in KRaft mode (broker and
# controller in one process) on loopback only.
#
# It owns $KAFKA_HOME_DIR and nothing else, and ends only processes that it
# started itself. `kafka.sh help` says how to use it.
set -euo pipefail
umask 077 # records, and KAFKA_EXTRA_PROPERTIES may hold passwords

KAFKA_VERSION=4.3.1
SCALA_VERSION=2.13
LOG4J_VERSION=2.25.4 # what this Kafka release is built with
DEPENDENCY_PLUGIN_VERSION=3.8.1

HOST=127.0.0.1 # not `localhost`: some systems try ::1 first, where nobody listens
START_TIMEOUT=${KAFKA_START_TIMEOUT:-60}
STOP_TIMEOUT=${KAFKA_STOP_TIMEOUT:-20}

usage() {
  cat <<'HELP'
Usage: scripts/kafka.sh COMMAND

  start  [--brokers 1|3]   start Kafka and wait until it answers
  start  --broker N        start one broker of a 3-broker cluster again
  stop   [--broker N]      end all brokers, or one, gracefully
  status                   what runs on which port; 0 when all run, else 3
  pid    [--broker N]      process ids, one a line; 3 when none runs
  reset                    stop, then delete the data (logs stay)
  topics ARGS...           Kafka's own topic tool, on this cluster
  run CLASS ARGS...        any class of Kafka's jars
  help                     this text

Environment:
  KAFKA_PORT               first broker's port (9092); the next brokers follow
  KAFKA_CONTROLLER_PORT    first controller's port (KAFKA_PORT + 1000)
  KAFKA_HOME_DIR           data, logs and pid files (run/kafka in the repository);
                           one folder is one cluster
  KAFKA_EXTRA_PROPERTIES   a file that is appended to server.properties; where
                           FILE.N exists, it follows for broker N
  KAFKA_JVM_OPTS           more options for the brokers' JVM
  KAFKA_START_TIMEOUT      seconds to wait for an answer (60)
  KAFKA_STOP_TIMEOUT       seconds before a broker is killed (20)
  XDG_CACHE_HOME           the jars go to its pubsub-kafka/ (~/.cache)

Examples:
  scripts/kafka.sh start
  scripts/kafka.sh topics --list
  scripts/kafka.sh run org.apache.kafka.tools.ConsoleConsumer \
    --bootstrap-server localhost:9092 --topic orders --from-beginning
  KAFKA_HOME_DIR=/tmp/three KAFKA_PORT=19092 scripts/kafka.sh start --brokers 3
HELP
}

say() { printf 'kafka: %s\n' "$*"; }
warn() { printf 'kafka: %s\n' "$*" >&2; }
die() { warn "$@"; exit 1; }
usage_error() { warn "$@"; warn "see: scripts/kafka.sh help"; exit 2; }

is_port() { [[ $1 =~ ^[0-9]{1,5}$ ]] && (( 10#$1 >= 1 && 10#$1 <= 65535 )); }

# ---------------------------------------------------------------- Java and jars

find_java() {
  JAVA=java
  if [[ -n ${JAVA_HOME:-} ]]; then JAVA=$JAVA_HOME/bin/java; fi
  # Run it rather than look for it: macOS has a /usr/bin/java that is only a hint.
  JAVA_BANNER=$("$JAVA" -version 2>&1) ||
    die "Java 17 or newer is needed and '$JAVA' does not run. Install a JDK (Debian: openjdk-17-jre-headless, macOS: openjdk@17)."
  local major
  major=$(printf '%s\n' "$JAVA_BANNER" | sed -n 's/.* version "\([0-9]*\).*/\1/p' | head -n 1)
  (( ${major:-0} >= 17 )) ||
    die "Java 17 or newer is needed; '$JAVA' is version ${major:-unknown}. Install a newer JDK or set JAVA_HOME."
}

write_pom() {
  cat <<POM
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>pubsub-kafka</groupId>
  <artifactId>kafka-jars</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId>
      <artifactId>kafka_$SCALA_VERSION</artifactId>
      <version>$KAFKA_VERSION</version>
    </dependency>
    <dependency>
      <groupId>org.apache.kafka</groupId>
      <artifactId>kafka-tools</artifactId>
      <version>$KAFKA_VERSION</version>
    </dependency>
    <!-- Kafka logs through SLF4J 1.7; without a binding it logs nothing. -->
    <dependency>
      <groupId>org.apache.logging.log4j</groupId>
      <artifactId>log4j-slf4j-impl</artifactId>
      <version>$LOG4J_VERSION</version>
    </dependency>
  </dependencies>
</project>
POM
}

# A folder with the final name is complete: it is filled under another name and
# then renamed, so an interrupted or a parallel download leaves nothing half-done.
ensure_jars() {
  [[ -d $JARS ]] && return
  command -v mvn >/dev/null 2>&1 ||
    die "Maven is needed once, to fetch Kafka's jars, and 'mvn' is not there. Install it (Debian: maven, macOS: brew install maven)."
  say "fetching Apache Kafka $KAFKA_VERSION (54 MB, once) into $CACHE" >&2
  mkdir -p "$CACHE"
  local tmp
  tmp=$(mktemp -d "$CACHE/fetch.XXXXXX")
  FETCH_DIR=$tmp
  write_pom >"$tmp/pom.xml"
  if ! mvn --batch-mode --strict-checksums --file "$tmp/pom.xml" \
    "org.apache.maven.plugins:maven-dependency-plugin:$DEPENDENCY_PLUGIN_VERSION:copy-dependencies" \
    -DoutputDirectory="$tmp/libs" -DincludeScope=runtime \
    >"$tmp/maven.log" 2>&1; then
    grep -E '^\[ERROR\] [^[:space:]]' "$tmp/maven.log" | head -n 2 >&2 || tail -n 20 "$tmp/maven.log" >&2
    die "Maven could not fetch Kafka's jars (the lines above say why)"
  fi
  # `mv` onto a folder that another download has just made moves into it, or fails.
  mv "$tmp/libs" "$JARS" 2>/dev/null || [[ -d $JARS ]] || die "cannot write $JARS"
  rm -rf "$JARS/libs" "$tmp"
  FETCH_DIR=
}

# Runs when a script ends early, so that no half-filled folder stays in the cache.
FETCH_DIR=
LOCK=
LAUNCHED= # brokers that this call launched and that have not answered yet
cleanup() {
  local code=$? n
  trap - EXIT INT TERM
  for n in $LAUNCHED; do stop_brokers "$n" >/dev/null 2>&1 || true; done
  if [[ -n $FETCH_DIR ]]; then rm -rf "$FETCH_DIR"; fi
  if [[ -n $LOCK ]]; then rm -f "$LOCK"; fi
  exit "$code"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# ------------------------------------------------------------------ the cluster

# `cluster` remembers what the data was made for. Ports may change between two
# starts; the number of brokers may not, because it is part of the data.
remembered() { # KEY
  [[ -f $DIR/cluster ]] || return 0
  sed -n "s/^$1=//p" "$DIR/cluster"
}

load_cluster() {
  BROKERS=$(remembered brokers)
  PORT=$(remembered port)
  CONTROLLER_PORT=$(remembered controller_port)
  CLUSTER_ID=$(remembered cluster_id)
}

save_cluster() {
  printf 'brokers=%s\nport=%s\ncontroller_port=%s\ncluster_id=%s\n' \
    "$BROKERS" "$PORT" "$CONTROLLER_PORT" "$CLUSTER_ID" >"$DIR/cluster.new"
  mv "$DIR/cluster.new" "$DIR/cluster"
}

nodes() { # all broker numbers of this cluster
  local n
  for ((n = 1; n <= ${BROKERS:-0}; n++)); do echo "$n"; done
}

node_dir() { echo "$DIR/node-$1"; }
broker_port() { echo $((PORT + $1 - 1)); }
controller_port() { echo $((CONTROLLER_PORT + $1 - 1)); }

bootstrap() {
  local n list=
  for n in $(nodes); do list=$list,$HOST:$(broker_port "$n"); done
  echo "${list#,}"
}

command_line() { # PID
  if [[ -r /proc/$1/cmdline ]]; then
    tr '\0' ' ' <"/proc/$1/cmdline" 2>/dev/null || true
  elif [[ ! -d /proc/self ]]; then
    ps -ww -p "$1" -o command= 2>/dev/null || true
  fi
}

# Prints the broker's process id, if it runs. A pid file alone proves nothing:
# after a crash or a reboot the number may belong to somebody else, so the
# process must be a Kafka that was started on this very server.properties.
running_pid() { # N
  local file pid=
  file=$(node_dir "$1")/pid
  if [[ -f $file ]]; then read -r pid <"$file" || true; fi
  [[ $pid =~ ^[0-9]+$ ]] || return 1
  case $(command_line "$pid") in
    *" kafka.Kafka $(node_dir "$1")/server.properties"*) echo "$pid" ;;
    *) return 1 ;;
  esac
}

any_running() {
  local n
  for n in $(nodes); do running_pid "$n" >/dev/null && return 0; done
  return 1
}

# One command at a time per cluster folder. The lock is a link whose target is
# its owner's process id: made in one step, owner included. A lock whose owner
# is gone is stale.
take_lock() {
  local deadline=$((SECONDS + START_TIMEOUT + STOP_TIMEOUT)) owner
  until ln -s "$$" "$DIR/lock" 2>/dev/null; do
    [[ -w $DIR ]] || die "cannot write to $DIR"
    owner=$(readlink "$DIR/lock" || true)
    if [[ -n $owner ]] && ! kill -0 "$owner" 2>/dev/null; then
      rm -f "$DIR/lock"
    elif ((SECONDS >= deadline)); then
      die "another kafka.sh (process ${owner:-unknown}) works in $DIR; if it does not, delete $DIR/lock"
    else
      sleep 0.1
    fi
  done
  LOCK=$DIR/lock
}

# ------------------------------------------------------------------ is it there

port_taken() { (exec 3<>"/dev/tcp/$HOST/$1") 2>/dev/null; }

# Asks the broker for its ApiVersions (version 0, correlation id "kafk") and
# expects that id back with error code 0. Answers to it come only from a broker
# that has joined its cluster. In bash alone, because a JVM takes a second.
answers() { # PORT
  (
    LC_ALL=C # bytes, not characters
    exec 3<>"/dev/tcp/$HOST/$1" || exit 1
    printf '\x00\x00\x00\x0a\x00\x12\x00\x00kafk\xff\xff' >&3
    # NUL ends each piece: length (4 bytes), "kafk", then 00 00 = no error.
    for _ in 1 2 3 4 5; do
      IFS= read -r -d '' -t 2 -u 3 piece || exit 1
      case $piece in *kafk) IFS= read -r -d '' -t 2 -u 3 piece && [[ -z $piece ]] && exit 0 ;; esac
    done
    exit 1
  ) 2>/dev/null
}

has_started() { # N
  grep -q 'Kafka Server started' "$(node_dir "$1")/server.log" 2>/dev/null &&
    answers "$(broker_port "$1")"
}

show_log() { # N
  local dir file
  dir=$(node_dir "$1")
  for file in "$dir/server.log" "$dir/console.log"; do
    [[ -s $file ]] || continue
    warn "--- last lines of $file"
    tail -n 15 "$file" >&2
  done
}

# -------------------------------------------------------------------- start

write_log_config() {
  cat >"$DIR/log4j2-broker.xml" <<'XML'
<Configuration status="WARN">
  <Appenders>
    <RollingFile name="file" fileName="${sys:kafka.log}" filePattern="${sys:kafka.log}.%i">
      <PatternLayout pattern="%d{yyyy-MM-dd'T'HH:mm:ss.SSSXXX} %-5p %m (%c)%n"/>
      <SizeBasedTriggeringPolicy size="10MB"/>
      <DefaultRolloverStrategy max="3" fileIndex="min"/>
    </RollingFile>
  </Appenders>
  <Loggers>
    <Root level="INFO"><AppenderRef ref="file"/></Root>
    <!-- every setting at every start, and ten lines a second while there is no
         majority, would bury the rest -->
    <Logger name="org.apache.kafka.image.loader.MetadataLoader" level="WARN"/>
    <Logger name="kafka.server.KafkaConfig" level="WARN"/>
    <Logger name="org.apache.kafka.common.config.AbstractConfig" level="WARN"/>
  </Loggers>
</Configuration>
XML
  # Tools print results to stdout, so their log goes to stderr.
  cat >"$DIR/log4j2-tools.xml" <<'XML'
<Configuration status="WARN">
  <Appenders>
    <Console name="stderr" target="SYSTEM_ERR"><PatternLayout pattern="%-5p %m (%c)%n"/></Console>
  </Appenders>
  <Loggers>
    <Root level="WARN"><AppenderRef ref="stderr"/></Root>
  </Loggers>
</Configuration>
XML
}

write_properties() { # N
  local n voters='' replication=1 min_isr=1
  for n in $(nodes); do voters=$voters,$n@$HOST:$(controller_port "$n"); done
  if ((BROKERS == 3)); then replication=3 min_isr=2; fi
  cat <<PROPERTIES
# Written by kafka.sh at each start; put changes into KAFKA_EXTRA_PROPERTIES.
# The broker runs in this file's folder, so that paths here are relative: Java
# reads this file as Latin-1 and splits log.dirs at commas.
process.roles=broker,controller
node.id=$1
controller.quorum.voters=${voters#,}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
listeners=PLAINTEXT://$HOST:$(broker_port "$1"),CONTROLLER://$HOST:$(controller_port "$1")
advertised.listeners=PLAINTEXT://$HOST:$(broker_port "$1")
log.dirs=data

# A mistyped topic is an error, not a new topic.
auto.create.topics.enable=false
num.partitions=3
default.replication.factor=$replication
min.insync.replicas=$min_isr

# Few internal partitions: each costs files and start time.
offsets.topic.num.partitions=8
offsets.topic.replication.factor=$replication
transaction.state.log.num.partitions=4
transaction.state.log.replication.factor=$replication
transaction.state.log.min.isr=$min_isr
share.coordinator.state.topic.num.partitions=4
share.coordinator.state.topic.replication.factor=$replication
share.coordinator.state.topic.min.isr=$min_isr

# The first member of a group gets its partitions at once.
group.initial.rebalance.delay.ms=0

# A broker that comes back is let in only when its former session has ended,
# after 9 s by default, even if it left gracefully.
broker.session.timeout.ms=4000
broker.heartbeat.interval.ms=500

# Fits a heap of 256 MB; the cleaner alone would take half of it by default.
log.cleaner.dedupe.buffer.size=8388608
num.network.threads=2
num.io.threads=4
PROPERTIES
  if [[ -n ${KAFKA_EXTRA_PROPERTIES:-} ]]; then
    printf '\n# From %s (a later line wins):\n' "$KAFKA_EXTRA_PROPERTIES"
    cat "$KAFKA_EXTRA_PROPERTIES"
    if [[ -f $KAFKA_EXTRA_PROPERTIES.$1 ]]; then cat "$KAFKA_EXTRA_PROPERTIES.$1"; fi
  fi
}

# Sets the options for the brokers' JVM and the command for a short-lived one.
# A class archive halves the start. The first run of node 1 writes it when it
# ends; its name holds the Java version, since only that version can read it.
prepare_java() {
  ARCHIVE=$CACHE/classes-$KAFKA_VERSION-$(printf '%s' "$JAVA_BANNER" | cksum | tr -d ' ').jsa
  # `auto` is Java's own default: an archive that does not fit is passed over.
  JVM_OPTIONS=(-Xmx256m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC
    -Xshare:auto -Xlog:disable -Xlog:all=error:stderr)
  if [[ -f $ARCHIVE ]]; then JVM_OPTIONS+=("-XX:SharedArchiveFile=$ARCHIVE"); fi
  JAVA_TOOL=("$JAVA" "${JVM_OPTIONS[@]}"
    -Dlog4j2.configurationFile="$DIR/log4j2-tools.xml" -cp "$JARS/*")
}

format_storage() { # N
  local dir
  dir=$(node_dir "$1")
  [[ -f $dir/data/meta.properties ]] && return
  (cd "$dir" && "${JAVA_TOOL[@]}" kafka.tools.StorageTool format -t "$CLUSTER_ID" -c "$dir/server.properties" \
    >"$dir/format.log" 2>&1) || {
    cat "$dir/format.log" >&2
    die "broker $1: its storage could not be formatted (the lines above say why)"
  }
}

launch() { # N
  local dir port i train=''
  dir=$(node_dir "$1")
  for port in "$(broker_port "$1")" "$(controller_port "$1")"; do
    if port_taken "$port"; then
      die "port $port is taken by another process$(port_owner "$port"); set KAFKA_PORT (and KAFKA_CONTROLLER_PORT) to free ones"
    fi
  done
  mkdir -p "$dir"
  write_properties "$1" >"$dir/server.properties"
  format_storage "$1"
  # has_started looks for a line of this run, so the run before goes aside.
  rm -f "$dir/classes.jsa"
  if [[ -f $dir/server.log ]]; then mv "$dir/server.log" "$dir/server.log.previous"; fi
  if [[ ! -f $ARCHIVE && $1 == 1 ]]; then train=-XX:ArchiveClassesAtExit=classes.jsa; fi
  (
    # Job control gives the broker its own process group: Ctrl-C in the
    # terminal that started it must not end it.
    set -m
    cd "$dir"
    # shellcheck disable=SC2086 # KAFKA_JVM_OPTS is a list of options
    nohup "$JAVA" "${JVM_OPTIONS[@]}" -Xms64m -XX:+ExitOnOutOfMemoryError $train \
      -Dlog4j2.configurationFile="$DIR/log4j2-broker.xml" -Dkafka.log="$dir/server.log" \
      ${KAFKA_JVM_OPTS:-} -cp "$JARS/*" kafka.Kafka "$dir/server.properties" \
      </dev/null >"$dir/console.log" 2>&1 &
    echo $! >"$dir/pid"
  )
  # Between fork and exec it has the command line of this script.
  for ((i = 0; i < 100; i++)); do
    if running_pid "$1" >/dev/null; then break; fi
    sleep 0.02
  done
  LAUNCHED="$LAUNCHED $1"
}

port_owner() { # PORT; best effort, for the error message only
  local owner=
  if command -v lsof >/dev/null 2>&1; then
    owner=$(lsof -nP -iTCP:"$1" -sTCP:LISTEN 2>/dev/null | awk 'NR == 2 { print $1 ", process " $2 }' || true)
  elif command -v ss >/dev/null 2>&1; then
    owner=$(ss -Hltnp "sport = :$1" 2>/dev/null | sed -n 's/.*users:(("\([^"]*\)",pid=\([0-9]*\).*/\1, process \2/p' | head -n 1 || true)
  fi
  if [[ -n $owner ]]; then printf ' (%s)' "$owner"; fi
}

majority_hint() {
  local n running=0
  for n in $(nodes); do
    if running_pid "$n" >/dev/null; then running=$((running + 1)); fi
  done
  if ((running * 2 <= BROKERS)); then printf ': only %s of %s run, and none answers without a majority' "$running" "$BROKERS"; fi
}

wait_until_started() { # N, deadline in SECONDS
  until has_started "$1"; do
    if ! running_pid "$1" >/dev/null; then
      show_log "$1"
      die "broker $1 ended while it started (the lines above say why)"
    fi
    if ((SECONDS >= $2)); then
      show_log "$1"
      die "broker $1 did not answer on $HOST:$(broker_port "$1") within $START_TIMEOUT s$(majority_hint)"
    fi
    sleep 0.1
  done
}

new_cluster_id() { head -c 16 /dev/urandom | base64 | tr '+/' 'pq' | cut -c 1-22; }

# Sets BROKERS, PORT and CONTROLLER_PORT from what is asked for and what is remembered.
settle_cluster() {
  local asked_port=${KAFKA_PORT:-} asked_controller=${KAFKA_CONTROLLER_PORT:-}
  load_cluster
  if [[ -n $ASKED_BROKERS && -n $BROKERS && $ASKED_BROKERS != "$BROKERS" ]]; then
    die "$DIR holds the data of a cluster of $BROKERS; 'kafka.sh reset' deletes it, KAFKA_HOME_DIR names another folder"
  fi
  BROKERS=${BROKERS:-${ASKED_BROKERS:-1}}
  if any_running; then
    # Brokers know each other by port, so a running cluster keeps its ports.
    if [[ ${asked_port:-$PORT} != "$PORT" || ${asked_controller:-$CONTROLLER_PORT} != "$CONTROLLER_PORT" ]]; then
      die "the cluster in $DIR already runs on port $PORT; stop it first, or set KAFKA_HOME_DIR for a second one"
    fi
  else
    if [[ -n $asked_port || -z $PORT ]]; then
      PORT=${asked_port:-9092}
      is_port "$PORT" || usage_error "KAFKA_PORT must be a port number (1 to 65535), not '$PORT'"
      CONTROLLER_PORT=$((PORT + 1000))
    fi
    CONTROLLER_PORT=${asked_controller:-$CONTROLLER_PORT}
    is_port "$CONTROLLER_PORT" ||
      usage_error "KAFKA_CONTROLLER_PORT must be a port number (1 to 65535), not '$CONTROLLER_PORT'"
  fi
  CLUSTER_ID=${CLUSTER_ID:-$(new_cluster_id)}
}

start() {
  local n missing='' deadline
  if [[ -n ${KAFKA_EXTRA_PROPERTIES:-} && ! -r $KAFKA_EXTRA_PROPERTIES ]]; then
    usage_error "KAFKA_EXTRA_PROPERTIES names a file that cannot be read: $KAFKA_EXTRA_PROPERTIES"
  fi
  take_lock
  settle_cluster
  check_broker_number
  for n in ${ASKED_BROKER:-$(nodes)}; do
    running_pid "$n" >/dev/null || missing="$missing $n"
  done
  if [[ -n $missing ]]; then
    find_java
    ensure_jars
    prepare_java
    save_cluster
    write_log_config
    for n in $missing; do launch "$n"; done
  fi
  deadline=$((SECONDS + START_TIMEOUT))
  # Also those that ran before: "started" means that it answers.
  for n in ${ASKED_BROKER:-$(nodes)}; do wait_until_started "$n" "$deadline"; done
  LAUNCHED=
  [[ -n $missing ]] || say "already running on $(bootstrap)"
  for n in $missing; do
    say "broker $n answers on $HOST:$(broker_port "$n") (process $(running_pid "$n"), log $(node_dir "$n")/server.log)"
  done
}

# --------------------------------------------------------- stop, status, reset

stop_brokers() { # N...
  local n pid deadline stopping=''
  for n in "$@"; do
    if pid=$(running_pid "$n"); then
      kill -TERM "$pid" 2>/dev/null || true
      stopping="$stopping $n"
    fi
  done
  deadline=$((SECONDS + STOP_TIMEOUT))
  for n in $stopping; do
    while pid=$(running_pid "$n"); do
      if ((SECONDS >= deadline)); then
        warn "broker $n (process $pid) did not end within $STOP_TIMEOUT s: killed"
        kill -KILL "$pid" 2>/dev/null || true
        rm -f "$(node_dir "$n")/classes.jsa" # perhaps half-written
        deadline=$((SECONDS + 5))
      fi
      sleep 0.1
    done
    say "broker $n stopped"
  done
  for n in "$@"; do
    rm -f "$(node_dir "$n")/pid"
    keep_archive "$n"
  done
  [[ -n $stopping ]] || say "nothing to stop"
}

keep_archive() { # N
  local dir
  dir=$(node_dir "$1")
  [[ -s $dir/classes.jsa ]] || return 0
  find_java
  prepare_java
  # In two steps, since a move between file systems is a slow copy.
  if mv "$dir/classes.jsa" "$ARCHIVE.$$"; then mv "$ARCHIVE.$$" "$ARCHIVE"; fi
}

stop() {
  [[ -f $DIR/cluster ]] || { say "nothing to stop"; return; }
  take_lock
  load_cluster
  check_broker_number
  # shellcheck disable=SC2046,SC2086 # broker numbers, one word each
  stop_brokers ${ASKED_BROKER:-$(nodes)}
}

reset() {
  local n
  stop
  for n in 1 2 3; do rm -rf "$(node_dir "$n")/data"; done
  rm -f "$DIR/cluster"
  say "data deleted in $DIR"
}

status() {
  local n pid code=0
  load_cluster
  if [[ -z $BROKERS ]]; then
    say "no cluster in $DIR"
    return 3
  fi
  for n in $(nodes); do
    if ! pid=$(running_pid "$n"); then
      say "broker $n stopped ($HOST:$(broker_port "$n"))"
      code=3
    elif ! answers "$(broker_port "$n")"; then
      say "broker $n does not answer on $HOST:$(broker_port "$n") (process $pid)"
      code=3
    else
      say "broker $n runs on $HOST:$(broker_port "$n") (process $pid, controller port $(controller_port "$n"))"
    fi
  done
  return "$code"
}

print_pids() {
  local n pid code=3
  load_cluster
  check_broker_number
  for n in ${ASKED_BROKER:-$(nodes)}; do
    if pid=$(running_pid "$n"); then
      echo "$pid"
      code=0
    fi
  done
  return "$code"
}

# --------------------------------------------------------------- Kafka's tools

run_class() { # CLASS ARGS...
  find_java
  ensure_jars
  prepare_java
  write_log_config
  # Replaces this shell, so that a signal for this process reaches the class.
  trap - EXIT INT TERM
  exec "${JAVA_TOOL[@]}" "$@"
}

topics() { # ARGS...
  load_cluster
  PORT=${PORT:-${KAFKA_PORT:-9092}}
  BROKERS=${BROKERS:-1}
  case " $* " in
    *" --bootstrap-server"*) ;;
    *) set -- --bootstrap-server "$(bootstrap)" "$@" ;;
  esac
  run_class org.apache.kafka.tools.TopicCommand "$@"
}

# ------------------------------------------------------------- the command line

check_broker_number() {
  [[ -z $ASKED_BROKER ]] || ((ASKED_BROKER <= ${BROKERS:-0})) ||
    die "there is no broker $ASKED_BROKER: the cluster in $DIR has ${BROKERS:-0}"
}

# One spelling for one folder, links resolved: processes are known by it.
absolute() {
  case $1 in
    /*) set -- "$1" ;;
    *) set -- "$PWD/$1" ;;
  esac
  (cd -P "$1" 2>/dev/null && pwd -P) || echo "$1"
}

COMMAND=${1:-help}
[[ $# -gt 0 ]] && shift
ASKED_BROKERS= # how many
ASKED_BROKER=  # which one

ROOT=$(absolute "$(dirname "${BASH_SOURCE[0]}")/..")
DIR=${KAFKA_HOME_DIR:-$ROOT/run/kafka}
case $COMMAND in start | topics | run) mkdir -p "$DIR" || die "cannot make the folder $DIR" ;; esac
DIR=$(absolute "$DIR")
CACHE=$(absolute "${XDG_CACHE_HOME:-$HOME/.cache}")/pubsub-kafka
JARS=$CACHE/kafka-$KAFKA_VERSION
[[ $START_TIMEOUT =~ ^[0-9]+$ ]] || usage_error "KAFKA_START_TIMEOUT must be whole seconds, not '$START_TIMEOUT'"
[[ $STOP_TIMEOUT =~ ^[0-9]+$ ]] || usage_error "KAFKA_STOP_TIMEOUT must be whole seconds, not '$STOP_TIMEOUT'"

case $COMMAND in
  topics) topics "$@"; exit ;;
  run) [[ $# -gt 0 ]] || usage_error "run needs a class"; run_class "$@"; exit ;;
  help | -h | --help) usage; exit ;;
esac

while [[ $# -gt 0 ]]; do
  case $COMMAND:$1 in
    start:--brokers)
      [[ ${2:-} == 1 || ${2:-} == 3 ]] || usage_error "--brokers is 1 or 3"
      ASKED_BROKERS=$2
      shift 2
      ;;
    start:--broker | stop:--broker | pid:--broker)
      [[ ${2:-} =~ ^[123]$ ]] || usage_error "--broker is a number from 1 to 3"
      ASKED_BROKER=$2
      shift 2
      ;;
    *) usage_error "'$COMMAND' does not take '$1'" ;;
  esac
done

case $COMMAND in
  start) start ;;
  stop) stop ;;
  reset) reset ;;
  status) status ;;
  pid) print_pids ;;
  *) usage_error "unknown command '$COMMAND'" ;;
esac
