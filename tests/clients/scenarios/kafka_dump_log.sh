#!/usr/bin/env bash
# Kafka's own tool reads the files of a broker that was stopped: batches of every codec, both indexes, snapshots,
# and what compaction has left of a topic.
# usage: kafka_dump_log.sh BROOKLET FOLDER
# KAFKA_TOOL names the command that runs a class of Kafka's ("$KAFKA_TOOL run CLASS ARGS").
set -euo pipefail
brooklet=$1 folder=$2
# Looks for something to compact often, so that nobody waits for long.
echo '(cleaner: (backoff_ms: 50))' >"$folder/broker.ron"
"$brooklet" serve --config "$folder/broker.ron" --data "$folder/data" --listen tcp://127.0.0.1:0 --admin off >"$folder/ready" 2>"$folder/log" &
broker=$!
trap 'kill $broker 2>/dev/null || true' EXIT
for _ in $(seq 200); do
  grep -q ^ready "$folder/ready" && break
  kill -0 $broker || { cat "$folder/log"; exit 1; }
  sleep 0.05
done
BROOKLET_BROKER=$(sed 's|.*tcp://\([^ ]*\).*|\1|' "$folder/ready")
export BROOKLET_BROKER

# Small segments and small batches: several segments in each partition, and indexes with something in them.
"$brooklet" topic create t --partitions 2 -c segment.bytes=1048576 -c index.interval.bytes=4096 >/dev/null
for codec in none gzip snappy lz4 zstd; do
  seq 1 50000 | sed "s/.*/$codec-&:$codec & has a value of some length/" |
    "$brooklet" produce t --key-separator : --compression $codec --batch-bytes 8192 >/dev/null
done
"$brooklet" consume t --group g | wc -l | grep -qx 250000 || { echo "not everything came out"; exit 1; }

# Nearly every key many times over: a cleaning leaves next to nothing of what is in closed segments, and gaps around it.
"$brooklet" topic create compacted -c cleanup.policy=compact -c segment.bytes=1048576 \
  -c min.cleanable.dirty.ratio=0.01 >/dev/null
seq 1 60000 | awk '{ print "key-" ($1 % 1000 ? $1 % 500 : $1) ":" $1 " has a value of some length, to fill segments" }' |
  "$brooklet" produce compacted --key-separator : --batch-bytes 8192 >/dev/null
for _ in $(seq 600); do
  left=$("$brooklet" consume compacted | wc -l)
  [ "$left" -lt 30000 ] && break
  sleep 0.1
done
[ "$left" -lt 30000 ] || { echo "compaction left $left records"; exit 1; }
kill $broker
wait $broker

files=$(find "$folder/data/topics" -regex '.*/[0-9]+\.\(log\|index\|timeindex\|snapshot\)' | sort)
for kind in log index timeindex snapshot; do
  grep -q "\.$kind$" <<<"$files" || { echo "no .$kind file"; exit 1; }
done
# One file a line in, a comma between them: one start of Java for all.
"$KAFKA_TOOL" run org.apache.kafka.tools.DumpLogSegments --deep-iteration --print-data-log \
  --files "$(paste -sd, <<<"$files")" >"$folder/said" 2>&1 || { tail "$folder/said"; exit 1; }
if grep -aE 'Mismatches|mismatch in|out of order|isvalid: false|Exception' "$folder/said"; then
  exit 1
fi
# "-1 is followed by" is what it says of every segment that does not begin at 0, Kafka's own too. Beyond that only
# what was compacted may have gaps, and does; nowhere do offsets go back.
gaps=$(LC_ALL=C awk '
  /^Non-secutive offsets in|^Non-consecutive offsets in/ { compacted = $0 ~ /\/compacted-0\// }
  /^ *-?[0-9]+ is followed by [0-9]+/ {
    if ($1 == -1) next
    if (!compacted || $5 + 0 <= $1 + 0) { print "bad: " $0; next }
    gaps++
  }
  END { print gaps + 0 }' "$folder/said")
[[ $gaps =~ ^[1-9][0-9]*$ ]] || { echo "offsets: $gaps"; exit 1; }
for codec in none gzip snappy lz4 zstd; do
  [ "$(grep -ac "^| offset: .* key: $codec-" "$folder/said")" = 50000 ] || { echo "not all records of $codec"; exit 1; }
done
grep -aq '^offset: [0-9]* position: [1-9]' "$folder/said" || { echo "the offset indexes are empty"; exit 1; }
grep -aq '^timestamp: [1-9][0-9]* offset: ' "$folder/said" || { echo "the time indexes are empty"; exit 1; }
grep -aq '^producerId: [0-9]* producerEpoch: 0' "$folder/said" || { echo "the snapshots are empty"; exit 1; }
echo "$(wc -l <<<"$files") files, $(grep -ac '^baseOffset' "$folder/said") batches, $gaps gaps where records were compacted, no complaint"
