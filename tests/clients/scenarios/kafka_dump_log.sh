#!/usr/bin/env bash
# Kafka's own tool reads the files of a broker that was stopped: batches, both indexes, snapshots.
# usage: kafka_dump_log.sh DATA_FOLDER
# BROOKLET_KAFKA_TOOL names the command that runs a class of Kafka's ("$tool run CLASS ARGS").
set -euo pipefail
data=$1
tool=${BROOKLET_KAFKA_TOOL:-$(dirname "$0")/../../../../shared/tools/kafka/kafka}
if ! command -v java >/dev/null || [ ! -x "$tool" ]; then
  echo "skipped: needs Java and Kafka's tools"
  exit 0
fi
files=$(find "$(realpath "$data")/topics" -regex '.*/[0-9]+\.\(log\|index\|timeindex\|snapshot\)' | sort)
[ -n "$files" ] || { echo "no segments under $data"; exit 1; }
said=$(mktemp)
trap 'rm -f "$said"' EXIT
# One file a line in, a comma between them: one start of Java for all.
"$tool" run org.apache.kafka.tools.DumpLogSegments --deep-iteration --print-data-log \
  --files "$(paste -sd, <<<"$files")" >"$said" 2>&1 || { tail "$said"; exit 1; }
# "-1 is followed by" is what it says of every segment that does not begin at 0, Kafka's own too.
if grep -E 'Mismatches|[0-9] is followed by|mismatch in|out of order|isvalid: false|Exception' "$said" |
  grep -v -- ' -1 is followed by'; then
  exit 1
fi
echo "$(wc -l <<<"$files") files, $(grep -c '^baseOffset' "$said") batches, no complaint"
