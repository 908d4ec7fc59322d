#!/bin/sh
# Starts a Redis or a Sentinel of docker-compose.yml. A member without data only joins: it never starts as an empty
# primary, since its replicas would become empty too.
#
#   ROLE       primary, replica, lock or sentinel; primary and replica as at the store's first start
#   ADDRESS    its own address, to which it binds
#   ANNOUNCE   the address at which the others reach and identify it; default ADDRESS. It must stay the same.
#   PRIMARY    the primary's address at the store's first start
#   MEMBERS    addresses of every Redis of the store; its own may be among them
#   SENTINELS  addresses of every Sentinel of the store
#   INIT       1 creates a new store at its primary, once every other member answers that it is empty
#   WAIT       how many seconds it waits for others before it exits with 1; default 60
#   TLS        a folder with ca.pem, redis.pem and redis.key: then every connection of the store uses TLS;
#              a client's certificate is checked if the client presents one
#
# The script makes the configuration in the data folder once. Redis and Sentinel record in it which member is the
# primary, and the script asks the Sentinels at each start.
set -eu
trap 'exit 143' TERM INT
data=${DATA:-/data} shipped=${SHIPPED:-/etc/redis} secrets=${SECRETS:-/run/secrets}
say() { echo "start.sh: $*" >&2; }
refuse() { say "$*" && exit 1; }

case ${ROLE:-} in
  primary | replica | lock | sentinel) ;;
  *) refuse "ROLE is '${ROLE:-}': it must be primary, replica, lock or sentinel" ;;
esac
if [ -z "${ADDRESS:-}" ]; then refuse "ADDRESS is missing: the address to which this $ROLE binds"; fi
conf=$data/$ROLE.conf
aof=$data/appendonlydir
self=${ANNOUNCE:-$ADDRESS}
case $ROLE in
  primary | lock) PRIMARY=$self ;;
esac
if [ -z "${PRIMARY:-}" ]; then
  refuse "PRIMARY is missing: the address of the primary at the first start of the store"
fi
case ${WAIT:-60} in
  *[!0-9]*) refuse "WAIT is '$WAIT': it must be a number of seconds" ;;
esac

# The value of a directive in a file of secrets.
secret() { sed -n "s/^$1  *//p" "$secrets/$2"; }
has() { case " $1 " in *" $2 "*) ;; *) return 1 ;; esac; }

# ask HOST PORT USER PASSWORD COMMAND...: prints the answer, or the error.
ask() {
  host=$1 port=$2 user=$3 password=$4
  shift 4
  REDISCLI_AUTH=$password timeout 3 redis-cli -h "$host" -p "$port" ${TLS:+--tls --cacert "$TLS/ca.pem"} \
    --user "$user" --no-auth-warning "$@" 2>&1 |
    tr -d '\r' || true
}

# What a member is: primary or replica, with `-data` or `-empty`; or silent.
state_of() {
  info=$(ask "$1" 6379 "$member_user" "$member_password" info)
  case $info in
    *role:master*) kind=primary ;;
    *role:slave*) kind=replica ;;
    *) echo silent && return ;;
  esac
  # A member that is still loading or copying has data too.
  if printf '%s\n' "$info" | grep -Eq '^(db[0-9]+:|loading:1|master_sync_in_progress:1)'; then
    echo "$kind-data"
  else
    echo "$kind-empty"
  fi
}

# Sets `newest` to the primary with the newest configuration epoch, `named` to the same if a majority of the Sentinels
# answers, and `used` to yes if one of them has seen a replica or a fail-over.
ask_sentinels() {
  named='' newest='' used='' epoch=-1 answers=0 all=0
  for each in ${SENTINELS:-}; do
    all=$((all + 1))
    answer=$(ask "$each" 26379 "$sentinel_user" "$sentinel_password" sentinel master holdfast)
    ip=$(value ip) its=$(value config-epoch)
    if [ -z "$ip" ] || [ -z "$its" ]; then continue; fi
    answers=$((answers + 1))
    if [ "$its" -gt "$epoch" ]; then epoch=$its newest=$ip; fi
    if [ "$its" != 0 ] || [ "$(value num-slaves)" != 0 ]; then used=yes; fi
  done
  if [ $((answers * 2)) -gt "$all" ]; then named=$newest; fi
}
value() { printf '%s\n' "$answer" | sed -n "/^$1\$/{n;p;q;}"; }

# Sorts the other members by their state.
ask_members() {
  primaries='' copies='' empty_primaries='' silent='' asked=''
  for each in ${MEMBERS:-} $PRIMARY $newest $(configured); do
    if [ "$each" = "$self" ] || has "$asked" "$each"; then continue; fi
    asked="$asked $each"
    case $(state_of "$each") in
      primary-data) primaries="$primaries $each" ;;
      replica-data) copies="$copies $each" ;;
      primary-empty) empty_primaries="$empty_primaries $each" ;;
      silent) silent="$silent $each" ;;
    esac
  done
}
# The primary that the configuration of an earlier start names.
configured() { if [ -s "$conf" ]; then sed -n 's/^replicaof \([^ ]*\) .*/\1/p' "$conf"; fi; }

# What the data folder holds: data, empty, or broken (pieces that Redis would not read). Initialising a new
# store writes more than 1 KiB; a Redis that was always empty has less.
find_data() {
  have=empty manifest=$aof/appendonly.aof.manifest
  if [ -s "$manifest" ]; then
    sum=0
    for file in $(sed -n 's/^file "\{0,1\}\([^ "]*\)"\{0,1\} .*/\1/p' "$manifest"); do
      if [ ! -f "$aof/$file" ]; then have=broken && return; fi
      sum=$((sum + $(wc -c <"$aof/$file")))
    done
    if [ "$sum" -ge 1024 ]; then have=data && return; fi
  fi
  # With `appendonly yes` Redis would start empty beside a snapshot, or beside files that no manifest names.
  if [ -n "$(find "$data/dump.rdb" "$aof" -type f -size +1 2>/dev/null)" ]; then have=broken; fi
}

# Sets `target` to the address of the primary (a primary's own address), or `why` to what this member waits for.
decide() {
  target='' why='' begins=''
  ask_sentinels
  ask_members
  if [ "$have" = data ]; then decide_with_data; else decide_without_data; fi
}

decide_with_data() {
  before=$(configured)
  if [ -n "$named" ]; then
    target=$named
  elif [ -s "$conf" ]; then
    target=${before:-$self}
  elif [ "$ROLE" = replica ] && [ -n "${SENTINELS:-}" ]; then
    why="it has data but no $conf: start a majority of the Sentinels, which know the primary"
    return
  else
    target=$PRIMARY
  fi
  if [ "$target" = "$self" ] && [ -z "$named" ] && [ -n "$primaries" ]; then
    why="$primaries is a primary with data, and so is this member: start a majority of the Sentinels, or stop the wrong one"
    target=''
  elif has "$empty_primaries" "$target"; then
    why="$target is an empty primary, and this member has data: stop $target"
    target=''
  fi
}

decide_without_data() {
  set -- $primaries
  if [ -n "$named" ] && [ "$named" != "$self" ] && { [ "$have" = empty ] || has "$primaries" "$named"; }; then
    target=$named
  elif [ $# = 1 ]; then
    target=$1
  elif [ $# -gt 1 ]; then
    why="$* are all primaries with data: start a majority of the Sentinels, or stop the wrong ones"
  elif [ -n "$copies" ]; then
    why="this member has no data, but$copies has, as a replica: the Sentinels promote it; without Sentinels promote it yourself (docs/runbook.md, A Redis lost its disk)"
  elif [ "$have" = broken ] && [ -n "$silent" ]; then
    why="$data holds an incomplete store, and this member can only join: start$silent; if that is lost for good, restore the store (docs/backup.md)"
  elif [ "$have" = broken ]; then
    refuse "$data holds an incomplete store and no member that answers has a complete one: restore it (docs/backup.md)"
  elif [ "${INIT:-}" = 1 ] && [ "$ROLE" = primary ]; then
    decide_init
  elif [ "$ROLE" = replica ] && [ "$named" != "$self" ]; then
    target=$PRIMARY
  elif [ -n "$silent" ]; then
    why="this member has no data and can only join: start$silent (INIT=1 is for a new store only)"
  else
    refuse "no member has data: restore it (docs/backup.md), or set INIT=1 once if the store is new"
  fi
}

decide_init() {
  if [ -z "${MEMBERS+set}" ]; then refuse "INIT=1 needs MEMBERS: the addresses of every Redis of the store"; fi
  if [ -n "$silent$empty_primaries" ]; then
    why="INIT=1 waits until every other member answers as an empty replica: start or correct$silent$empty_primaries"
  elif [ -n "$used" ] && [ ! -s "$manifest" ]; then
    refuse "INIT=1 is for a new store, and the Sentinels have seen this one: restore it (docs/backup.md), or start over with empty volumes, for the Sentinels too"
  else
    target=$self begins=yes
  fi
}

# Writes the configuration from the standard input.
write_conf() {
  (umask 077 && cat >"$conf.new" && mv "$conf.new" "$conf")
  # The image's entry point drops root; without it (outside the image) Redis is started directly.
  if [ -n "$entry" ] && [ "$(id -u)" = 0 ]; then chown redis "$conf"; fi
}
entry=$(command -v docker-entrypoint.sh || true)

# The lines of a configuration for the port, with or without TLS.
port_conf() {
  if [ -z "${TLS:-}" ]; then
    echo "port $1"
    return
  fi
  echo "port 0"
  echo "tls-port $1"
  echo "tls-ca-cert-file $TLS/ca.pem"
  echo "tls-cert-file $TLS/redis.pem"
  echo "tls-key-file $TLS/redis.key"
  echo "tls-auth-clients optional"
  echo "tls-replication yes"
}

# Redis and Sentinel write passwords into their configuration, after the lines of the secrets: those of now count.
redis_conf() {
  if [ -s "$conf" ]; then
    grep -Ev '^(replicaof|bind|replica-announce-ip|port|tls-[a-z-]+|masteruser|masterauth|primaryuser|primaryauth) |^replica-priority 0$' "$conf"
  else
    echo "include $shipped/redis.conf"
    echo "include $secrets/redis-replication"
    echo "dir $data"
    echo "aclfile $secrets/redis-users"
    # Losing a lock with its master only costs work.
    if [ "$ROLE" = lock ]; then echo "appendonly no"; fi
  fi
  echo "bind $ADDRESS"
  port_conf 6379
  echo "replica-announce-ip $self"
  if [ "$1" != "$self" ]; then echo "replicaof $1 6379"; fi
}

sentinel_conf() {
  if [ -s "$conf" ]; then
    grep -Ev '^(bind|port|tls-[a-z-]+|requirepass|sentinel (auth|sentinel)-pass|user) ' "$conf"
    echo "bind $ADDRESS"
    port_conf 26379
    cat "$secrets/sentinel"
    return
  fi
  ask_sentinels
  ask_members
  set -- $primaries
  echo "bind $ADDRESS"
  port_conf 26379
  echo "dir $data"
  echo "sentinel announce-ip $self"
  echo "sentinel monitor holdfast ${newest:-${1:-$PRIMARY}} 6379 2"
  cat "$shipped/sentinel.conf" "$secrets/sentinel"
}

set_aside() {
  folder=$data/incomplete-$(date +%s)
  mkdir -p "$folder"
  for each in "$aof" "$data/dump.rdb"; do
    if [ -e "$each" ]; then mv "$each" "$folder/"; fi
  done
  say "moved the incomplete data to $folder"
}

# Runs Redis with priority 0, so that no Sentinel promotes it, until it has the primary's data on its disk. A primary that
# is lost after it was copied does not change this: Redis answers -1 as `master_link_down_since_seconds` until its first
# copy was complete, and `aof_enabled:0` while it loads a copy, or if that failed.
join() {
  redis_conf "$target" | write_conf
  ${entry:+"$entry"} redis-server "$conf" --replica-priority 0 &
  child=$!
  trap 'end_child; exit 143' TERM INT
  steps=0
  while [ "$steps" -lt 2 ]; do
    sleep 1 || true
    if ! kill -0 "$child" 2>/dev/null; then
      wait "$child"
      exit $?
    fi
    info=$(ask "$ADDRESS" 6379 "$member_user" "$member_password" info)
    steps=$((steps + 1))
    for part in 'master_link_(status:up|down_since_seconds:[0-9]+)' aof_enabled:1 aof_rewrite_in_progress:0 \
      aof_rewrite_scheduled:0 loading:0; do
      if ! printf '%s\n' "$info" | grep -Eqx "$part"; then steps=0; fi
    done
  done
  say "this member has all data of $target, and restarts as a replica that can be promoted"
  end_child
  trap - TERM INT
}
# Redis refuses SIGTERM while it writes the append-only file of a copy, as after a primary's restart: it is asked again.
end_child() {
  while kill -TERM "$child" 2>/dev/null; do sleep 1 || true; done
  wait "$child" || true
}

if [ "$ROLE" = sentinel ]; then
  if ! grep -Eq '^(requirepass|user default) ' "$secrets/sentinel" 2>/dev/null; then
    refuse "$secrets/sentinel cannot be read, or has no password of the Sentinels: it needs a line 'requirepass PASSWORD'"
  fi
  member_user=sentinel member_password=$(secret 'sentinel auth-pass holdfast' sentinel)
  sentinel_user=default sentinel_password=$(secret requirepass sentinel)
  sentinel_conf | write_conf
  exec ${entry:+"$entry"} redis-server "$conf" --sentinel
fi
if [ "$ROLE" = lock ]; then
  target=$self
else
  member_user=replica member_password=$(secret masterauth redis-replication)
  sentinel_user=$member_user sentinel_password=$member_password
  find_data
  deadline=$(($(date +%s) + ${WAIT:-60})) said=''
  while decide && [ -z "$target" ]; do
    if [ "$why" != "$said" ]; then say "waits: $why"; fi
    said=$why
    if [ "$(date +%s)" -ge "$deadline" ]; then refuse "gives up after ${WAIT:-60} s: $why"; fi
    sleep 1
  done
  if [ "$have" = data ] || [ "$begins" = yes ]; then
    :
  elif [ "$target" = "$self" ]; then
    refuse "this member has no data and cannot be the primary: PRIMARY must name another one"
  else
    say "this member has no data and joins $target"
    if [ "$have" = broken ]; then set_aside; fi
    join
  fi
fi
redis_conf "$target" | write_conf
exec ${entry:+"$entry"} redis-server "$conf"
