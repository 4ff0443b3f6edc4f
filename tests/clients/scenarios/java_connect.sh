#!/usr/bin/env bash
# A Connect worker that keeps all it knows in topics: lines of a file go in by one connector and out by
# another, the sink's offsets are moved back by Connect's own means, and the lines come again.
# usage: java_connect.sh BROKER TOPIC
# KAFKA_TOOL names the command that runs something with Kafka's jars ("$KAFKA_TOOL run WHAT ARGS").
set -euo pipefail
broker=$1 topic=$2-connect lines=200
here=$(dirname "$0")
tool=${KAFKA_TOOL:-$here/../../../../shared/tools/kafka/kafka}
[ -x "$tool" ] && command -v curl >/dev/null || { echo "needs curl and Kafka's jars: $tool"; exit 77; }
folder=$(mktemp -d)
rest=http://127.0.0.1:$((20000 + RANDOM % 20000))
cat >"$folder/worker.properties" <<P
bootstrap.servers=$broker
group.id=$topic-workers
key.converter=org.apache.kafka.connect.storage.StringConverter
value.converter=org.apache.kafka.connect.storage.StringConverter
config.storage.topic=$topic-config
offset.storage.topic=$topic-offset
status.storage.topic=$topic-status
config.storage.replication.factor=1
offset.storage.replication.factor=1
status.storage.replication.factor=1
offset.flush.interval.ms=200
listeners=$rest
plugin.discovery=only_scan
P
# The way to the broker, for the worker itself and for the clients that it makes (`src/way.rs` has the variables).
for whose in "" producer. consumer. admin.; do
  sed "s/^/$whose/" "${BROOKLET_JAVA:-/dev/null}" >>"$folder/worker.properties"
done
KAFKA_HEAP=-Xmx512m "$tool" run org.apache.kafka.connect.cli.ConnectDistributed "$folder/worker.properties" \
  >"$folder/log" 2>&1 &
worker=$!
trap 'kill $worker 2>/dev/null || true; wait $worker 2>/dev/null || true; rm -rf "$folder"' EXIT

# within SECONDS COMMAND…: until it succeeds.
within() {
  local until=$((SECONDS + $1)); shift
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt $until ] && kill -0 $worker || { echo "not in time: $*"; tail -n 20 "$folder/log"; exit 1; }
    sleep 0.2
  done
}
call() { curl -sf -X "$1" -H 'Content-Type: application/json' "$rest/connectors$2" ${3:+-d "$3"}; }
all_out() { [ "$(wc -l <"$folder/out")" = "$1" ]; }
committed() { call GET /sink/offsets | grep -q "\"kafka_offset\":$lines"; }
remembered() { call GET /source/offsets | grep -q "\"position\":$(stat -c %s "$folder/in")"; }
stopped() { call GET /sink/status | grep -q '"state":"STOPPED"'; }

within 90 call GET ""
seq 1 $lines >"$folder/in"
class=org.apache.kafka.connect.file.FileStream
call PUT /source/config "{\"connector.class\":\"${class}SourceConnector\",\"file\":\"$folder/in\",\"topic\":\"$topic\",\"topic.creation.default.partitions\":1,\"topic.creation.default.replication.factor\":1}" >/dev/null
within 60 call GET /source/topics
call PUT /sink/config "{\"connector.class\":\"${class}SinkConnector\",\"file\":\"$folder/out\",\"topics\":\"$topic\"}" >/dev/null
within 60 all_out $lines
within 30 committed
call PUT /sink/stop
within 30 stopped
call DELETE /sink/offsets >/dev/null
call PUT /sink/resume
within 60 all_out $((2 * lines))
within 30 remembered
echo "$lines lines through Connect, and again after its sink's offsets were reset"
