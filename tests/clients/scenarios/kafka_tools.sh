#!/usr/bin/env bash
# Kafka's own command-line tools do their jobs, and say what they say to Kafka.
# usage: kafka_tools.sh BROKER TOPIC
# KAFKA_TOOL names the command that runs a class of Kafka's ("$KAFKA_TOOL run CLASS ARGS").
set -euo pipefail
broker=$1 topic=$2 group=$2-group
said=$(mktemp -d)
trap 'rm -rf "$said"' EXIT
tools=0
# What the broker is called: another port of the same host, behind a tunnel.
node=${broker%:*}:[0-9]+

# tool CLASS ARGS…: runs it, quietly; what it says is kept for `says`.
tool() {
  last=$*
  local class=$1; shift
  [[ $class == kafka.* ]] || class=org.apache.kafka.tools.$class
  KAFKA_HEAP="-Xmx256m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC" "$KAFKA_TOOL" run "$class" "$@" \
    >"$said/out" 2>"$said/err" || wrong "it failed"
  tools=$((tools + 1))
}
# admin CLASS ARGS…: the same, with the broker's address and the way to it as administrative tools take them
# (`src/way.rs` has the variables).
admin() {
  local class=$1; shift
  tool "$class" --bootstrap-server "$broker" --command-config "${BROOKLET_JAVA:-/dev/null}" "$@"
}
# says PATTERN…: the last tool has said a line like each of these.
says() {
  local pattern
  for pattern in "$@"; do
    grep -qE -- "$pattern" "$said/out" || wrong "it does not say: $pattern"
  done
}
wrong() {
  echo "$last: $1" >&2
  cat "$said/out" "$said/err" >&2
  exit 1
}

# kafka-topics
admin TopicCommand --create --topic "$topic" --partitions 2 --config retention.ms=3600000
says "^Created topic $topic\.$"
admin TopicCommand --alter --topic "$topic" --partitions 3
admin TopicCommand --describe --topic "$topic"
says "^Topic: $topic.*PartitionCount: 3.*ReplicationFactor: 1.*Configs: retention.ms=3600000$" \
  "Partition: 2	Leader: 1	Replicas: 1	Isr: 1"
admin TopicCommand --list
says "^$topic$" '^__consumer_offsets$'

# kafka-configs
admin kafka.admin.ConfigCommand --entity-type topics --entity-name "$topic" --alter \
  --add-config segment.bytes=2000000 --delete-config retention.ms
says "^Completed updating config for topic $topic\.$"
admin kafka.admin.ConfigCommand --entity-type topics --entity-name "$topic" --describe
says 'segment.bytes=2000000 sensitive=false synonyms=\{DYNAMIC_TOPIC_CONFIG:segment.bytes=2000000, DEFAULT_CONFIG'
! grep -q retention.ms "$said/out" || wrong "retention.ms is still set"

# kafka-configs for users: one can come in as soon as there is one
users="kafka.admin.ConfigCommand --entity-type users --entity-name $topic"
admin $users --alter --add-config 'SCRAM-SHA-512=[iterations=8192,password=rubber]'
says "^Completed updating config for user $topic\.$"
if [ "${BROOKLET_SASL_USER:-}" ]; then
  sed "s/username=\"[^\"]*\" password=\"[^\"]*\"/username=\"$topic\" password=\"rubber\"/" "$BROOKLET_JAVA" >"$said/user"
  BROOKLET_JAVA=$said/user admin TopicCommand --list
  says "^$topic$"
fi
admin $users --alter --add-config consumer_byte_rate=2000000
admin $users --describe
says "^Quota configs for user-principal '$topic' are consumer_byte_rate=2000000.0$"
says "^SCRAM credential configs for user-principal '$topic' are SCRAM-SHA-512=iterations=8192$"
admin $users --alter --delete-config consumer_byte_rate
admin $users --alter --delete-config SCRAM-SHA-512
says "^Completed updating config for user $topic\.$"

# kafka-console-producer, kafka-console-consumer
seq 1 300 | sed 's/.*/key-&:value-&/' >"$said/lines"
admin ConsoleProducer --topic "$topic" --compression-codec zstd \
  --reader-property parse.key=true --reader-property key.separator=: <"$said/lines"
admin consumer.ConsoleConsumer --topic "$topic" --from-beginning --max-messages 300 --timeout-ms 30000 \
  --group "$group" --formatter-property print.key=true --formatter-property key.separator=:
grep ^key "$said/out" | sort -V | cmp - "$said/lines" || wrong "other records came out than went in"

# kafka-get-offsets
admin GetOffsetShell --topic "$topic" --time latest
[ "$(awk -F: '{ sum += $3 } END { print sum }' "$said/out")" = 300 ] || wrong "the ends do not add up to 300"
says "^$topic:0:[1-9]" "^$topic:2:[1-9]"
end=$(sed -n "s/^$topic:0://p" "$said/out")

# kafka-consumer-groups
groups=consumer.group.ConsumerGroupCommand
admin $groups --list
says "^$group$"
admin $groups --describe --group "$group"
says "^$group +$topic +0 +$end +$end +0 +- +- +-"
admin $groups --describe --group "$group" --state
says "^$group +$node +\(1\) +- +Empty +0"
admin $groups --group "$group" --topic "$topic:0" --reset-offsets --shift-by -1 --dry-run
says "^$group +$topic +0 +$((end - 1))"
admin $groups --group "$group" --topic "$topic" --reset-offsets --to-earliest --execute
says "^$group +$topic +2 +0"
admin $groups --group "$group" --topic "$topic:1" --delete-offsets
says "^$topic +1 +Successful"
admin $groups --describe --group "$group" --offsets
says "^$group +$topic +0 +0 +$end +$end"
! grep -qE "^$group +$topic +1 " "$said/out" || wrong "the offset of partition 1 is still there"
admin $groups --group "$group" --delete
says "^Deletion of requested consumer groups \('$group'\) was successful\.$"

# kafka-delete-records
echo "{\"version\": 1, \"partitions\": [{\"topic\": \"$topic\", \"partition\": 0, \"offset\": 5}]}" >"$said/delete.json"
admin DeleteRecordsCommand --offset-json-file "$said/delete.json"
says "^partition: $topic-0	low_watermark: 5$"
admin GetOffsetShell --topic "$topic" --time earliest
says "^$topic:0:5$" "^$topic:1:0$"

# kafka-log-dirs
admin LogDirsCommand --describe --topic-list "$topic"
says "\"partition\":\"$topic-2\",\"size\":[1-9][0-9]*,\"offsetLag\":0,\"isFuture\":false" '"error":null'

# kafka-producer-perf-test, kafka-consumer-perf-test
admin ProducerPerformance --topic "$topic" --num-records 20000 --record-size 200 --throughput -1 \
  --command-property enable.idempotence=true acks=all compression.type=lz4
says '^20000 records sent, '
admin ConsumerPerformance --topic "$topic" --num-records 20000 --group "$group-perf" --timeout 30000
[ "$(tail -1 "$said/out" | cut -d, -f5)" -ge 20000 ] || wrong "it read fewer than 20000 records"

# kafka-verifiable-producer, kafka-verifiable-consumer
admin VerifiableProducer --topic "$topic" --max-messages 500 --acks -1
says '"name":"tool_data","sent":500,"acked":500,'
admin VerifiableConsumer --topic "$topic" --group-id "$group-verifiable" --max-messages 500 --reset-policy earliest
says '"name":"partitions_assigned"' '"name":"offsets_committed",.*"success":true' '"name":"shutdown_complete"'

# kafka-transactions (the part about producers), kafka-groups, kafka-broker-api-versions
admin TransactionsCommand describe-producers --topic "$topic" --partition 0
says '^[0-9]+ *	0 *	-1 *	[0-9]+ *	[0-9]+ *	None'
admin GroupsCommand --list
says "^$group-perf +Classic +consumer"
admin BrokerApiVersionsCommand
says "^$node \(id: 1 rack: null isFenced: false\)" 'Produce\(0\): 0 to 13 \[usable: 13\]'

admin TopicCommand --delete --topic "$topic"
admin TopicCommand --list
! grep -q "^$topic$" "$said/out" || wrong "the topic is still there"
echo "$tools runs of Kafka's own tools"
