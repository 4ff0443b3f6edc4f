#!/usr/bin/env bash
# Kafka Streams: `StreamsBasics.java` says what it does.
# usage: java_streams.sh BROKER TOPIC
exec "$(dirname "$0")/java_basics.sh" "$@" StreamsBasics
