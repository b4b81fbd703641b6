# shellcheck shell=bash
# Shared by start.sh and stop.sh: where things are, what runs, and how it ends.
# The script that reads this file sets NAME and ROOT before.

# One spelling for one folder: processes are known by it.
absolute() {
  case $1 in
    /*) ;;
    *) set -- "$PWD/$1" ;;
  esac
  (cd -P "$1" 2>/dev/null && pwd -P) || echo "$1"
}

RUN=$(absolute "${PUBSUB_KAFKA_RUN_DIR:-$ROOT/run}")
LOCK=$RUN/lock
STATE=$RUN/started # what start.sh took and started, as KEY=VALUE lines
KAFKA=$ROOT/scripts/kafka.sh
COMPOSE_FILE=$ROOT/docker-compose.kraft.yml

PRODUCER_LIMIT=30 # seconds until it is killed; it delivers what it has taken
BROKER_LIMIT=10
# shellcheck disable=SC2034 # start.sh uses it
TRACKER_MARGIN=20 # beyond --shutdown-timeout: audit log, commit, leaving the group
KILLED= # set when something did not end by itself

# Nobody may read any more: no reason to stop half-way.
say() { printf '%s: %s\n' "$NAME" "$*" || true; }
warn() { printf '%s: %s\n' "$NAME" "$*" >&2 || true; }
die() { warn "$@"; exit 1; }
usage_error() { warn "$@"; warn "see: $NAME.sh --help"; exit 2; }

# A path as somebody in the caller's folder would type it.
shown() {
  case $1 in
    "$PWD"/*) printf '%q\n' "${1#"$PWD"/}" ;;
    *) printf '%q\n' "$1" ;;
  esac
}

show_log() { # FILE
  [[ -s $1 ]] || return 0
  warn "the last lines of $(shown "$1"):"
  tail -n 15 "$1" | sed 's/^/  | /' >&2 || true
}

# ------------------------------------------------------------- what was started

fact() { # KEY
  if [[ -f $STATE ]]; then sed -n "s/^$1=//p" "$STATE"; fi
}

# --------------------------------------------------------------------- processes

# A process's arguments, each followed by a blank; nothing for one that has ended.
command_line() { # PID
  if [[ -r /proc/$1/cmdline ]]; then
    tr '\0' ' ' 2>/dev/null <"/proc/$1/cmdline" || true
  elif [[ ! -d /proc/self ]]; then
    printf '%s ' "$(ps -ww -p "$1" -o command= 2>/dev/null || true)"
  fi
}

# Prints the process id of a role that start.sh started, if it runs. A pid file
# alone proves nothing: after a crash the number may belong to somebody else, so
# the process must have the very command line that start.sh gave it.
running_pid() { # ROLE
  local pid=
  [[ -f $RUN/$1.pid && -f $RUN/$1.cmd ]] || return 1
  read -r pid <"$RUN/$1.pid" || true
  [[ $pid =~ ^[0-9]+$ ]] || return 1
  [[ $(command_line "$pid") == "$(cat "$RUN/$1.cmd")" ]] || return 1
  echo "$pid"
}

forget() { rm -f "$RUN/$1.pid" "$RUN/$1.cmd"; } # ROLE

end_role() { # ROLE SECONDS
  local pid deadline
  if ! pid=$(running_pid "$1"); then
    forget "$1"
    return 0
  fi
  say "stopping the $1 (process $pid)"
  kill -TERM "$pid" 2>/dev/null || true
  deadline=$((SECONDS + $2))
  while running_pid "$1" >/dev/null; do
    if ((SECONDS >= deadline)); then
      warn "the $1 (process $pid) did not end within $2 s: killed"
      KILLED=1
      # The whole group: the broker has a child. The kernel ends it at once.
      kill -KILL -- "-$pid" 2>/dev/null || kill -KILL "$pid" 2>/dev/null || true
      deadline=$((SECONDS + 5))
    fi
    sleep 0.1
  done
  forget "$1"
}

# The roles end at once on a second signal.
hurry() {
  local role pid
  for role in producer tracker broker; do
    if pid=$(running_pid "$role"); then kill -TERM "$pid" 2>/dev/null || true; fi
  done
}

compose() { docker compose -f "$COMPOSE_FILE" "$@"; }

# Ends Kafka if start.sh started it. A signal for this script must not reach
# what it calls: Kafka would be left half-way.
stop_kafka() {
  local kind output code=0
  kind=$(fact kafka)
  case $kind:$(fact owned) in
    embedded:*) end_role broker "$BROKER_LIMIT" ;;
    kafka.sh:yes)
      say "stopping Kafka"
      output=$(trap '' INT TERM HUP; KAFKA_HOME_DIR=$(fact home) "$KAFKA" stop 2>&1) || code=$?
      case $output in *killed*) KILLED=1 ;; esac
      if ((code != 0)) || [[ -n $KILLED ]]; then warn "$output"; fi
      ;;
    compose:yes)
      say "stopping Kafka (docker compose down; its data stays)"
      output=$(trap '' INT TERM HUP; compose down 2>&1) || code=$?
      if ((code != 0)); then warn "$output"; fi
      ;;
    *:no) say "Kafka at $(fact bootstrap) was not started by start.sh: left as it is" ;;
  esac
  if ((code != 0)); then
    warn "Kafka could not be stopped (the lines above say why)"
    return 1
  fi
  rm -f "$STATE"
}

tracker_limit() {
  local limit
  limit=$(fact tracker_limit)
  echo "${limit:-60}"
}

# In this order, so that what was sent is read, and what was read is committed.
stop_everything() {
  end_role producer "$PRODUCER_LIMIT"
  end_role tracker "$(tracker_limit)"
  stop_kafka
}

# -------------------------------------------------------------------------- lock

# One start.sh or stop.sh at a time works on a run folder. The lock is a link
# whose target is its owner's process id: made in one step, owner included.
HELD=
lock_owner() { # prints who holds it, if he lives
  local owner
  owner=$(readlink "$LOCK" 2>/dev/null) || return 1
  case $(command_line "$owner") in
    *start.sh* | *stop.sh*) echo "$owner" ;;
    *) return 1 ;;
  esac
}

try_lock() {
  local stale
  if ! ln -s "$$" "$LOCK" 2>/dev/null; then
    [[ -w $RUN ]] || die "cannot write to $RUN"
    stale=$(readlink "$LOCK" 2>/dev/null) || return 1
    if lock_owner >/dev/null; then return 1; fi
    # Its owner crashed. It is moved before it is deleted, since another script
    # may have done that, and hold a new one, in the meantime.
    mv "$LOCK" "$LOCK.$$" 2>/dev/null || return 1
    if [[ $(readlink "$LOCK.$$") != "$stale" ]]; then
      mv -n "$LOCK.$$" "$LOCK" 2>/dev/null || true
      return 1
    fi
    rm -f "$LOCK.$$"
    ln -s "$$" "$LOCK" 2>/dev/null || return 1
  fi
  HELD=1
}

wait_for_lock() { # SECONDS
  local deadline=$((SECONDS + $1))
  until try_lock; do
    ((SECONDS < deadline)) || die "another script (process $(readlink "$LOCK" || true)) is still at work on $RUN"
    sleep 0.1
  done
}

unlock() {
  if [[ -n $HELD ]]; then rm -f "$LOCK"; fi
  HELD=
}
