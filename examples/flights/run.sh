#!/usr/bin/env bash
# Flights in, flights out: see README.md. `BROOKLET` names the program, else it is looked for in target/.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
flights=${1:-$here/flights.csv}
brooklet=${BROOKLET:-$here/../../target/release/brooklet}
folder=$(mktemp -d)
export LC_ALL=C

# Ends what this script has started, by process id.
started=()
trap 'kill "${started[@]}" 2>/dev/null; wait; rm -rf "$folder"' EXIT

# until_true SECONDS COMMAND…
until_true() {
  local left=$(($1 * 10)); shift
  until "$@"; do
    [ $((left -= 1)) -gt 0 ] || { echo "not in time: $*" >&2; cat "$folder"/*.log >&2; exit 1; }
    sleep 0.1
  done
}

"$brooklet" serve --config "$here/broker.ron" --data "$folder/data" >"$folder/ready" 2>"$folder/broker.log" &
started+=($!)
until_true 30 grep -q ^ready "$folder/ready"
BROOKLET_BROKER=$(sed 's|.*tcp://\([^ ]*\).*|\1|' "$folder/ready")
export BROOKLET_BROKER

# Two halves, each with the head of the whole.
case $flights in
  *.zip) unzip -p "$flights" >"$folder/all.csv" ;;
  *) cat "$flights" >"$folder/all.csv" ;;
esac
count=$(($(wc -l <"$folder/all.csv") - 1))
half=$((count / 2))
head -n $((half + 1)) "$folder/all.csv" >"$folder/first.csv"
(head -n 1 "$folder/all.csv" && tail -n +$((half + 2)) "$folder/all.csv") >"$folder/second.csv"

produce() {
  "$brooklet" produce flights --input csv --value raw --key-column tailnum --compression lz4 "$1" >/dev/null
}
# Reads as a member of the group and writes down partition, offset and row until it is told to stop.
member() {
  "$brooklet" consume flights --group tower --follow --template '%p %o %v\n' >"$folder/member-$1" 2>"$folder/$1.log" &
  started+=($!)
}
have_read() { [ "$(cat "$folder"/member-* | wc -l)" -ge "$1" ]; }
is_member_count() { "$brooklet" group describe tower 2>/dev/null | head -1 | grep -q "Stable  members $1"; }

"$brooklet" topic create flights --partitions 12 >/dev/null
member one && member two && member three
until_true 60 is_member_count 3
produce "$folder/first.csv"
until_true 120 have_read "$half"
# Half way one member goes and another comes, while the rest is on its way in.
kill "${started[1]}"
member four
produce "$folder/second.csv"
until_true 120 have_read "$count"
until_true 60 is_member_count 3
kill "${started[@]:2}"
wait "${started[@]:1}"

# What came out: by airport, and row for row. Rows of one aircraft (column 12) are in the order they had.
cat "$folder"/member-* | awk -F, '{ flights[$13]++ } END { for (origin in flights) print origin, flights[origin] }' | sort
by_aircraft() { awk -F, '{ print $12 "," $0 }' | sort -s -t, -k1,1; }
sort -n -k1,1 -k2,2 "$folder"/member-* | cut -d' ' -f3- | by_aircraft >"$folder/out"
tail -n +2 "$folder/all.csv" | by_aircraft | cmp - "$folder/out"
for file in "$folder"/member-*; do
  awk '($1 in last) && $2 <= last[$1] { print FILENAME ": " $0; bad = 1 } { last[$1] = $2 } END { exit bad }' "$file"
done
echo "$count flights, each once, those of an aircraft in order"
"$brooklet" group describe tower | head -1
