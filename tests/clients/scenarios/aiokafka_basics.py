"""aiokafka: produce with keys and headers, read back by a group, commit, and go on where it was left.

usage: aiokafka_basics.py BROKER TOPIC
"""

import asyncio
import sys

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from connecting import keywords

RECORDS = 1000


async def read(broker, topic, count):
    consumer = AIOKafkaConsumer(
        topic, **keywords(broker), group_id=f"{topic}-group", auto_offset_reset="earliest", enable_auto_commit=False
    )
    await consumer.start()
    try:
        values = []
        while len(values) < count:
            values.append(await asyncio.wait_for(consumer.getone(), 30))
        await consumer.commit()
        return values
    finally:
        await consumer.stop()


async def main():
    broker, topic = sys.argv[1:3]
    admin = AIOKafkaAdminClient(**keywords(broker))
    await admin.start()
    await admin.create_topics([NewTopic(topic, 3, 1)])
    await admin.close()
    for codec in (None, "gzip", "snappy", "lz4", "zstd"):
        producer = AIOKafkaProducer(**keywords(broker), enable_idempotence=True, compression_type=codec)
        await producer.start()
        try:
            for number in range(RECORDS):
                key, value = f"k{number % 17}".encode(), f"{codec} {number}".encode()
                await producer.send(topic, value, key=key, headers=[("codec", str(codec).encode())])
            await producer.flush()
        finally:
            await producer.stop()
        records = await read(broker, topic, RECORDS)
        assert {record.value.decode() for record in records} == {f"{codec} {n}" for n in range(RECORDS)}
        assert all(record.headers == (("codec", str(codec).encode()),) for record in records)
    print(f"{RECORDS} records in each of five codecs, each group read only what was new")


asyncio.run(main())
