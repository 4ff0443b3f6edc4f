#!/usr/bin/env bash
# Flights in, flights out: see README.md. `BROOKLET` names the program, else it is looked for in target/.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
flights=${1:-$here/flights.csv}
brooklet=${BROOKLET:-$here/../../target/release/brooklet}
folder=$(mktemp -d)

"$brooklet" serve --config "$here/broker.ron" --data "$folder/data" >"$folder/ready" 2>"$folder/log" &
broker=$!
trap 'kill $broker 2>/dev/null; wait $broker 2>/dev/null; rm -rf "$folder"' EXIT
for _ in $(seq 100); do
  grep -q ^ready "$folder/ready" && break
  kill -0 $broker || { cat "$folder/log" >&2; exit 1; }
  sleep 0.05
done
BROOKLET_BROKER=$(sed 's|.*tcp://\([^ ]*\).*|\1|' "$folder/ready")
export BROOKLET_BROKER

"$brooklet" topic create flights --partitions 12 >/dev/null
"$brooklet" produce flights --input csv --key-column tailnum --compression lz4 "$flights" 2>/dev/null >/dev/null
count=$(($(wc -l <"$flights") - 1))
"$brooklet" consume flights --group tower --from start --count "$count" --output raw |
  grep -o '"origin":"[A-Z]*"' | sort | uniq -c | sed 's/^ *//'
"$brooklet" group describe tower --format json | grep -o '"lag":[0-9]*' | sort -u
