#!/usr/bin/env bash
# kcat: list, produce with keys and headers, consume by offset, by time and as a group, query offsets.
# usage: kcat_basics.sh BROKER TOPIC
set -euo pipefail
broker=$1 topic=$2 how= mechanism=()
# The way to the broker; `src/way.rs` says more.
kcat() { command kcat -F "${BROOKLET_LIBRDKAFKA:-/dev/null}" "${mechanism[@]}" "$@"; }
# Before 2.6.1 librdkafka repeated its nonce in SCRAM's last message; Kafka refuses that since 3.8.1, and so do we.
version=$(command kcat -V | sed -n 's/.*librdkafka \([0-9.]*\).*/\1/p')
if [ "${BROOKLET_SASL_USER:-}" ] && [ "$(printf '%s\n' 2.6.1 "$version" | sort -V | head -1)" != 2.6.1 ]; then
  how=", by PLAIN: librdkafka $version has no valid SCRAM"
  mechanism=(-X sasl.mechanism=PLAIN)
fi
seq 1 200 | sed 's/.*/k&:v&/' | kcat -b "$broker" -P -t "$topic" -p 0 -K: -H "origin=EWR" -z lz4 -X enable.idempotence=true
[ "$(kcat -b "$broker" -C -t "$topic" -p 0 -o beginning -e -q | wc -l)" = 200 ]
[ "$(kcat -b "$broker" -C -t "$topic" -p 0 -o 150 -e -q -f '%k=%s %h\n' | head -1)" = "k151=v151 origin=EWR" ]
[ "$(kcat -b "$broker" -C -t "$topic" -p 0 -o -5 -e -q | tail -1)" = v200 ]
[ "$(kcat -b "$broker" -C -t "$topic" -p 0 -o s@0 -e -q | wc -l)" = 200 ]
kcat -b "$broker" -Q -t "$topic:0:-1" | grep -q 'offset 200'
[ "$(kcat -b "$broker" -G "$topic-group" -X auto.offset.reset=earliest -c 200 -q "$topic" | wc -l)" = 200 ]
kcat -b "$broker" -L -t "$topic" | grep -q "topic \"$topic\""
echo "200 records by offset, from the end, by time and by group$how"
