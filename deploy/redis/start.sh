#!/bin/sh
# Starts a Redis or a Sentinel of docker-compose.yml: ROLE is primary, replica, lock or sentinel,
# ADDRESS its own, PRIMARY that of the primary at the first start. The configuration is made in the data
# folder once. Afterwards Redis and Sentinel keep in it who is the primary now, which must outlive a restart:
# a deposed primary that came back by its first configuration would be one again.
set -eu
data=${DATA:-/data} shipped=${SHIPPED:-/etc/redis} secrets=${SECRETS:-/run/secrets}
conf=$data/$ROLE.conf
if [ ! -s "$conf" ]; then
  umask 077
  {
    if [ "$ROLE" = sentinel ]; then
      echo "bind $ADDRESS"
      echo "port 26379"
      echo "dir $data"
      echo "sentinel announce-ip $ADDRESS"
      echo "sentinel monitor holdfast $PRIMARY 6379 2"
      cat "$shipped/sentinel.conf" "$secrets/sentinel"
    else
      echo "include $shipped/redis.conf"
      echo "include $secrets/redis-replication"
      echo "bind $ADDRESS"
      echo "dir $data"
      echo "replica-announce-ip $ADDRESS"
      echo "aclfile $secrets/redis-users"
    fi
    if [ "$ROLE" = replica ]; then echo "replicaof $PRIMARY 6379"; fi
    # A lock that is lost with its master only costs work.
    if [ "$ROLE" = lock ]; then echo "appendonly no"; fi
  } >"$conf.new"
  mv "$conf.new" "$conf"
fi
# The image's own entry leaves root behind; without it (outside the image) this one starts it directly.
entry=$(command -v docker-entrypoint.sh || true)
if [ -n "$entry" ] && [ "$(id -u)" = 0 ]; then chown redis "$conf"; fi
if [ "$ROLE" = sentinel ]; then exec ${entry:+"$entry"} redis-server "$conf" --sentinel; fi
exec ${entry:+"$entry"} redis-server "$conf"
