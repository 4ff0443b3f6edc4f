"""Flights through a broker that is killed, or whose power is cut, again and again.

usage: faults.py BROOKLET FOLDER FLIGHTS.csv[.zip] kill|power ROUNDS PARTITIONS
SEED=… in the environment chooses the moments.

An idempotent producer (confluent-kafka, acks=all, lz4) writes flights without pause. At random moments the broker gets
SIGKILL, or loses its power: its data folder is an ext4 file system in a file, and what that file held at one instant,
with the broker stopped and the page cache of the file system gone, is what the next broker starts on. At the end every
acknowledged record must be there once, at the offset it was acknowledged with, and in order per key.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from brooklet_broker import Broker, Plain, skip
from connecting import librdkafka
from flight_rows import rows

IMAGE_BYTES = 3 << 30
DEADLINE_S = 120


class Power:
    """A data folder on a file system of its own, which can be copied as a cut of the power would leave it."""

    def __init__(self, folder):
        if os.geteuid() != 0 or not shutil.which("mkfs.ext4"):
            skip("a power cut needs root and mkfs.ext4")
        self.folder, self.number = folder, 0
        self.image = f"{folder}/disk-0"
        with open(self.image, "wb") as image:
            image.truncate(IMAGE_BYTES)
        subprocess.run(["mkfs.ext4", "-q", "-F", self.image], check=True)
        self.mount()

    def mount(self):
        self.data = f"{self.folder}/mounted-{self.number}"
        os.makedirs(self.data)
        mounted = subprocess.run(["mount", "-o", "loop", self.image, self.data], capture_output=True, text=True)
        if mounted.returncode != 0 and self.number == 0:
            skip(f"a power cut needs loop devices: {mounted.stderr.strip()}")
        assert mounted.returncode == 0, mounted.stderr

    def cut(self, process):
        process.send_signal(signal.SIGSTOP)
        after = f"{self.folder}/disk-{self.number + 1}"
        subprocess.run(["cp", "--sparse=always", self.image, after], check=True)
        process.kill()
        process.wait()
        self.unmount()
        os.remove(self.image)
        self.number, self.image = self.number + 1, after
        self.mount()

    def unmount(self):
        subprocess.run(["umount", self.data], check=True)


def consume(broker, topic, partitions):
    """Every record of the topic, by partition, in order."""
    consumer = Consumer({**librdkafka(broker), "group.id": "verify", "enable.auto.commit": False,
                         "auto.offset.reset": "earliest", "check.crcs": True})
    ends = {p: consumer.get_watermark_offsets(TopicPartition(topic, p), 30)[1] for p in range(partitions)}
    consumer.assign([TopicPartition(topic, p, 0) for p in range(partitions)])
    records = {p: [] for p in range(partitions)}
    left = sum(ends.values())
    deadline = time.monotonic() + DEADLINE_S
    while left > 0:
        assert time.monotonic() < deadline, f"{left} records did not come"
        for message in consumer.consume(10_000, 0.2):
            if message.error():
                raise KafkaException(message.error())
            records[message.partition()].append((message.offset(), message.key(), json.loads(message.value())["n"]))
            left -= 1
    consumer.close()
    return records


def main():
    program, folder, flights, mode = sys.argv[1:5]
    rounds, partitions = int(sys.argv[5]), int(sys.argv[6])
    random.seed(os.environ.get("SEED", "brooklet"))
    disk = Power(folder) if mode == "power" else Plain(folder)
    try:
        broker = Broker(program, disk)
        try:
            acknowledged = play(broker, flights, rounds, partitions)
            stopped_s = broker.stop()
        finally:
            broker.end()
    finally:
        disk.unmount()
    print(f"{acknowledged} acknowledged through {rounds} faults ({mode}, {partitions} partitions), "
          f"each there once and in order; slowest start {broker.slowest_s * 1000:.0f} ms, stop {stopped_s * 1000:.0f} ms")


def play(broker, flights, rounds, partitions):
    """Writes through all faults and looks at what is there then. Says how many records were acknowledged."""
    address, topic = broker.address, "flights"
    admin = AdminClient(librdkafka(address))
    for created in admin.create_topics([NewTopic(topic, partitions, 1)]).values():
        created.result(30)
    producer = Producer({
        **librdkafka(address), "enable.idempotence": True, "compression.type": "lz4", "linger.ms": 5,
        "message.timeout.ms": DEADLINE_S * 1000, "reconnect.backoff.max.ms": 200, "retry.backoff.ms": 50,
        "logger": __import__("logging").getLogger("quiet"),
    })
    acknowledged, refused = {}, []

    def delivered(number):
        def report(error, message):
            if error is not None:
                refused.append(str(error))
            else:
                acknowledged[number] = (message.partition(), message.offset())
        return report

    done = threading.Event()

    def faults():
        for _ in range(rounds):
            time.sleep(random.uniform(0.2, 1.5))
            broker.fail()
        done.set()

    thread = threading.Thread(target=faults, daemon=True)
    thread.start()
    number = 0
    while not done.is_set():
        for _, row in rows(flights, None):
            row["n"] = number
            producer.produce(topic, json.dumps(row).encode(), key=row["tailnum"].encode(), on_delivery=delivered(number))
            number += 1
            if number % 100 == 0:
                producer.poll(0)
                # About as fast as fits: the point is the moment of the fault, not the rate.
                while len(producer) > 20_000 and not done.is_set():
                    producer.poll(0.01)
            if done.is_set():
                break
    thread.join()
    left = producer.flush(DEADLINE_S)
    assert left == 0, f"{left} of {number} records are neither acknowledged nor refused"
    assert not refused, f"{len(refused)} refused, the first: {refused[0]}"

    records = consume(address, topic, partitions)
    seen, last = {}, {}
    for partition, stored in records.items():
        for offset, key, n in stored:
            assert n not in seen, f"record {n} is there twice: {seen[n]} and {(partition, offset)}"
            seen[n] = (partition, offset)
            assert last.get(key, -1) < n, f"{key}: {n} came after {last.get(key)}"
            last[key] = n
    lost = [n for n, place in acknowledged.items() if seen.get(n) != place]
    assert not lost, f"{len(lost)} of {len(acknowledged)} acknowledged records lost or moved, the first: {lost[0]}"
    return len(acknowledged)


main()
