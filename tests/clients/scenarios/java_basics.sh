#!/usr/bin/env bash
# The Java client itself: `JavaBasics.java` says what it does.
# usage: java_basics.sh BROKER TOPIC
# KAFKA_TOOL names the command that runs something with Kafka's jars ("$KAFKA_TOOL run WHAT ARGS").
set -euo pipefail
here=$(dirname "$0")
tool=${KAFKA_TOOL:-$here/../../../../shared/tools/kafka/kafka}
[ -x "$tool" ] || { echo "needs Kafka's jars: $tool is not there"; exit 77; }
KAFKA_HEAP=-Xmx256m "$tool" run "$here/JavaBasics.java" "$@"
