#!/usr/bin/env bash
# A file in, a file out: see README.md. `BROOKLET` names the program, else it is looked for in target/.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
flights=${1:-$here/../flights/flights.csv}
brooklet=${BROOKLET:-$here/../../target/release/brooklet}
folder=$(mktemp -d)
export LC_ALL=C

broker=
trap '[ -z "$broker" ] || kill "$broker" 2>/dev/null; wait; rm -rf "$folder"' EXIT

# until_true SECONDS COMMAND…
until_true() {
  local left=$(($1 * 10)); shift
  until "$@"; do
    [ $((left -= 1)) -gt 0 ] || { echo "not in time: $*" >&2; cat "$folder/broker.log" >&2; exit 1; }
    sleep 0.1
  done
}

serve() {
  : >"$folder/ready"
  : >"$folder/broker.log"
  "$brooklet" serve --config "$here/../flights/broker.ron" --data "$folder/data" >"$folder/ready" 2>"$folder/broker.log" &
  broker=$!
  until_true 30 grep -q ^ready "$folder/ready"
  until_true 30 grep -q "probes at" "$folder/broker.log"
  BROOKLET_BROKER=$(sed 's|.*tcp://\([^ ]*\).*|\1|' "$folder/ready")
  BROOKLET_ADMIN=$(sed -n 's|.*probes at http://\([^ ]*\).*|\1|p' "$folder/broker.log")
  BROOKLET_ADMIN_TOKEN=$folder/data/admin-token
  export BROOKLET_BROKER BROOKLET_ADMIN BROOKLET_ADMIN_TOKEN
}

mkdir "$folder/in" "$folder/out"
cp "$flights" "$folder/in/flights.csv"
count=$(($(wc -l <"$flights") - 1))
have_arrived() { [ "$(cat "$folder"/out/*.jsonl 2>/dev/null | wc -l)" -ge "$1" ]; }

serve
"$brooklet" topic create flights --partitions 3 >/dev/null
"$brooklet" view create flights.public --of flights --with mask --on-failure reject \
  --config '{"fields":{"tailnum":"null"}}' >/dev/null
"$brooklet" plugin grant file --read "/in=$folder/in" --write "/out=$folder/out" >/dev/null
"$brooklet" connector create "$here/in.json" | head -1
"$brooklet" connector create "$here/out.ron" | head -1

# In the middle of it the power goes, as far as the broker can tell.
until_true 120 have_arrived $((count / 4))
kill -9 "$broker" && { wait "$broker" 2>/dev/null || true; }
serve
until_true 120 have_arrived "$count"
"$brooklet" connector list | awk '{ print $1, $2, $3, $4 }'
kill "$broker" && wait "$broker"
broker=

# Each flight is in the topic once; on its way out it may have come twice, in its place.
echo "$(sort -u "$folder"/out/*.jsonl | wc -l) of $count flights arrived"
grep -q '"tailnum":"' "$folder"/out/*.jsonl || echo "no tail number among them"
