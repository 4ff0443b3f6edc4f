"""The flights through confluent-kafka: an idempotent producer, then a group that loses and gains a member.

usage: flights.py BROKER FLIGHTS.csv[.zip] TOPIC [ROWS]

Every row goes in keyed by tail number, as JSON, lz4, acks=all. Three consumers of one group read them; half way one
leaves and another comes. Counted per origin, once each (a row that a rebalance delivers twice is counted once, as its
offset says), and in order per key.
"""

import json
import sys
import time
from collections import Counter

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from connecting import librdkafka
from flight_rows import rows

PARTITIONS = 12
DEADLINE_S = 240


def produce(broker, path, topic, limit):
    producer = Producer({
        **librdkafka(broker),
        "enable.idempotence": True,
        "compression.type": "lz4",
        "linger.ms": 20,
        "message.timeout.ms": DEADLINE_S * 1000,
        "queue.buffering.max.messages": 500_000,
    })
    failed = []
    expected = Counter()

    def delivered(error, _message):
        if error is not None:
            failed.append(str(error))

    for number, row in rows(path, limit):
        row["n"] = number
        expected[row["origin"]] += 1
        while True:
            try:
                producer.produce(topic, json.dumps(row).encode(), key=row["tailnum"].encode(), on_delivery=delivered)
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
    left = producer.flush(DEADLINE_S)
    assert left == 0, f"{left} records were not delivered"
    assert not failed, f"{len(failed)} refused, the first: {failed[0]}"
    return expected


def member(broker, group, topic):
    consumer = Consumer({
        **librdkafka(broker),
        "group.id": group,
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        "session.timeout.ms": 10_000,
        "partition.assignment.strategy": "cooperative-sticky",
    })
    consumer.subscribe([topic])
    return consumer


def commit(consumer):
    """Between the end of a rebalance and the client's hearing of it the broker refuses, as Kafka does; what is not
    committed is read again by whoever has it then."""
    try:
        consumer.commit(asynchronous=False)
    except KafkaException as refused:
        if refused.args[0].code() not in (KafkaError.ILLEGAL_GENERATION, KafkaError.REBALANCE_IN_PROGRESS):
            raise


def consume(broker, topic, expected):
    group = f"flights-{time.time_ns()}"
    members = [member(broker, group, topic) for _ in range(3)]
    total = sum(expected.values())
    seen = {}
    last = {}
    changed = False
    deadline = time.monotonic() + DEADLINE_S
    while len(seen) < total:
        assert time.monotonic() < deadline, f"{len(seen)} of {total} after {DEADLINE_S} s"
        for consumer in list(members):
            fresh = []
            for message in consumer.consume(5000, 0.05):
                if message.error():
                    raise KafkaException(message.error())
                place = (message.partition(), message.offset())
                row = json.loads(message.value())
                if place in seen:
                    continue
                seen[place] = row["origin"]
                key = message.key()
                before = last.get(key)
                assert before is None or before < row["n"], f"{key}: {row['n']} came after {before}"
                last[key] = row["n"]
                fresh.append(message)
            if fresh:
                commit(consumer)
        if not changed and len(seen) > total // 2:
            changed = True
            members.pop(0).close()
            members.append(member(broker, group, topic))
    for consumer in members:
        consumer.close()
    return Counter(seen.values())


def main():
    broker, path, topic = sys.argv[1:4]
    limit = int(sys.argv[4]) if len(sys.argv) > 4 else None
    admin = AdminClient(librdkafka(broker))
    for created in admin.create_topics([NewTopic(topic, PARTITIONS, 1)]).values():
        created.result(30)
    began = time.monotonic()
    expected = produce(broker, path, topic, limit)
    produced = time.monotonic()
    counted = consume(broker, topic, expected)
    consumed = time.monotonic()
    assert counted == expected, f"{dict(counted)} instead of {dict(expected)}"
    print(f"{dict(sorted(counted.items()))} in {produced - began:.1f} s, out {consumed - produced:.1f} s")


main()
