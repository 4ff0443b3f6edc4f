#!/usr/bin/env bash
# The Java client itself, or Kafka Streams: the class named says what it does.
# usage: java_basics.sh BROKER TOPIC [CLASS]
# KAFKA_TOOL names the command that runs something with Kafka's jars ("$KAFKA_TOOL run WHAT ARGS").
set -euo pipefail
here=$(dirname "$0")
tool=${KAFKA_TOOL:-$here/../../../../shared/tools/kafka/kafka}
[ -x "$tool" ] || { echo "needs Kafka's jars: $tool is not there"; exit 77; }
# What Java is told of the broker: its address, and the way to it (`src/way.rs` has the variables).
properties=$(mktemp)
trap 'rm -f "$properties"' EXIT
{ echo "bootstrap.servers=$1"; cat "${BROOKLET_JAVA:-/dev/null}"; } >"$properties"
said=$(KAFKA_HEAP=-Xmx512m "$tool" run "$here/${3:-JavaBasics}.java" "$properties" "$2" 2>&1) || { echo "$said"; exit 1; }
tail -n 1 <<<"$said"
