#!/usr/bin/env bash
# Three clients written in Go: franz-go with the newest versions, sarama with those of four releases,
# kafka-go with the oldest there are. `go/` has their programs, and `go.sum` what they are made of.
# usage: go_basics.sh BROKER TOPIC
set -euo pipefail
broker=$1 topic=$2
cd "$(dirname "$0")/go"
export GOFLAGS=-mod=readonly
for client in franz sarama kafkago; do
  said=$(go run "./$client" "$broker" "$topic-$client" 2>&1) || { echo "$client: $said"; exit 1; }
done
echo "franz-go, sarama and kafka-go: records in, out by groups, and all that administrators do"
