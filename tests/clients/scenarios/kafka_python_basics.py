"""kafka-python: topics, settings, an idempotent producer, a group of two, offsets by time, an administrator.

usage: kafka_python_basics.py BROKER TOPIC
"""
import sys
import time

import kafka
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, NewPartitions, NewTopic
from kafka.errors import TopicAlreadyExistsError
from kafka.structs import OffsetAndMetadata

from connecting import keywords

RECORDS = 500
DEADLINE_S = 60


def main(broker, topic):
    admin = KafkaAdminClient(**keywords(broker))
    admin.create_topics([NewTopic(topic, 4, -1, topic_configs={"retention.ms": "86400000"})])
    try:
        admin.create_topics([NewTopic(topic, 4, 1)])
        raise AssertionError("created twice")
    except TopicAlreadyExistsError:
        pass
    produce(broker, topic)
    consume(broker, topic)
    positions(broker, topic, admin)
    admin.create_partitions({topic: NewPartitions(6)})
    assert len(KafkaConsumer(**keywords(broker)).partitions_for_topic(topic)) == 6
    assert f"{topic}-group" in str(admin.list_groups())
    admin.delete_groups([f"{topic}-group"])
    admin.delete_topics([topic])
    admin.close()
    print(f"{RECORDS} records, with kafka-python {kafka.__version__}")


def produce(broker, topic):
    for codec in (None, "gzip", "lz4", "snappy", "zstd"):
        producer = KafkaProducer(**keywords(broker), acks="all", compression_type=codec)
        sent = [
            producer.send(topic, key=b"k%d" % (n % 7), value=f"{codec}{n}".encode(), headers=[("n", b"%d" % n)])
            for n in range(RECORDS // 5)
        ]
        producer.flush()
        assert all(one.get(timeout=DEADLINE_S).offset >= 0 for one in sent)
        producer.close()


def member(broker, topic):
    consumer = KafkaConsumer(
        **keywords(broker),
        group_id=f"{topic}-group",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    consumer.subscribe([topic])
    return consumer


def consume(broker, topic):
    first = member(broker, topic)
    seen = set()
    deadline = time.monotonic() + DEADLINE_S
    while len(seen) < RECORDS and time.monotonic() < deadline:
        for records in first.poll(timeout_ms=500).values():
            seen |= {record.value for record in records}
    assert len(seen) == RECORDS, len(seen)
    first.commit()
    second = member(broker, topic)
    while (len(first.assignment()), len(second.assignment())) != (2, 2) and time.monotonic() < deadline:
        assert not first.poll(timeout_ms=100) and not second.poll(timeout_ms=100), "read twice"
    assert (len(first.assignment()), len(second.assignment())) == (2, 2), "not shared"
    second.close()
    first.close()


def positions(broker, topic, admin):
    consumer = KafkaConsumer(**keywords(broker), group_id=f"{topic}-group", enable_auto_commit=False)
    partitions = [TopicPartition(topic, index) for index in range(4)]
    ends = consumer.end_offsets(partitions)
    assert sum(ends.values()) == RECORDS, ends
    assert all(offset == 0 for offset in consumer.beginning_offsets(partitions).values())
    assert all(consumer.committed(one) == ends[one] for one in partitions if ends[one])
    busy = next(one for one in partitions if ends[one])
    found = consumer.offsets_for_times({busy: 0})[busy]
    assert found.offset == 0, found
    consumer.commit({busy: OffsetAndMetadata(1, "moved", -1)})
    offsets = admin.list_group_offsets(f"{topic}-group")
    assert "moved" in str(offsets), offsets
    assert consumer.committed(busy) == 1
    consumer.close()
    assert "retention.ms" in str(admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)]))
    assert str(busy.partition) in str(admin.describe_producers([busy]))
    assert topic in str(admin.describe_log_dirs())
    assert admin.delete_records({busy: 1})[busy]["low_watermark"] == 1


main(*sys.argv[1:])
