"""Groups of confluent-kafka's members and ours, in one: whoever leads, every record is read once.

usage: groups.py BROOKLET FOLDER

Ours are `brooklet consume --group`. In the first group everybody has its defaults (`range` is what they have in common),
in the second one confluent-kafka offers `cooperative-sticky` alone, as many programs do. Members come and go, between
them records are written, and all of those are read, once, before the next comes or goes.
"""

import json
import subprocess
import sys
import threading
import time

from confluent_kafka import Consumer, KafkaException, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from brooklet_broker import Broker, Plain
from connecting import librdkafka

PARTITIONS = 6
RECORDS = 600
DEADLINE_S = 60


class Theirs:
    """A member that is confluent-kafka's, on a thread of its own."""

    def __init__(self, story, settings):
        self.story, self.done = story, threading.Event()
        self.consumer = Consumer({
            **librdkafka(story.broker.address), "group.id": story.group, "auto.offset.reset": "earliest",
            "enable.auto.commit": False, "heartbeat.interval.ms": 200, "session.timeout.ms": 10_000, **settings,
        })
        self.consumer.subscribe([story.topic])
        self.failure = None
        self.thread = threading.Thread(target=self.read)
        self.thread.start()

    def read(self):
        try:
            while not self.done.is_set():
                messages = self.consumer.consume(1000, 0.1)
                for message in messages:
                    if message.error():
                        raise KafkaException(message.error())
                    self.story.read(message.partition(), message.offset())
                if messages:
                    self.consumer.commit(asynchronous=False)
        except Exception as failure:  # told to the story, which fails
            self.failure = failure
        self.consumer.close()

    def leave(self):
        self.done.set()
        self.thread.join(DEADLINE_S)
        assert self.failure is None, self.failure


class Ours:
    """A member that is the program's."""

    def __init__(self, story, arguments):
        self.story = story
        self.process = subprocess.Popen(
            [story.broker.program, "consume", story.topic, "--broker", story.broker.url, "--group", story.group,
             "--follow", "--template", "%p %o\\n", *arguments],
            stdout=subprocess.PIPE, text=True)
        self.thread = threading.Thread(target=self.read)
        self.thread.start()

    def read(self):
        for line in self.process.stdout:
            self.story.read(*map(int, line.split()))

    def leave(self):
        self.process.terminate()
        assert self.process.wait(DEADLINE_S) == 0, f"it ended with {self.process.returncode}"
        self.thread.join(DEADLINE_S)


class Story:
    """A group, its members and what they have read."""

    def __init__(self, broker, group, assignor):
        self.broker, self.group, self.assignor, self.topic = broker, group, assignor, f"{group}-records"
        self.lock, self.seen, self.written = threading.Lock(), {}, 0
        self.producer = Producer({**librdkafka(broker.address), "enable.idempotence": True})
        admin = AdminClient(librdkafka(broker.address))
        for created in admin.create_topics([NewTopic(self.topic, PARTITIONS, 1)]).values():
            created.result(DEADLINE_S)
        self.members = {}

    def read(self, partition, offset):
        with self.lock:
            self.seen[partition, offset] = self.seen.get((partition, offset), 0) + 1

    def joins(self, name, member):
        self.members[name] = member
        self.settles(f"{name} joins")

    def leaves(self, name):
        self.members.pop(name).leave()
        self.settles(f"{name} leaves")

    def settles(self, what):
        """Everybody has a share, and what is written now is read."""
        def spread():
            group = self.describe()
            shares = [one["member"] for one in group["partitions"]]
            return (group["state"] == "Stable" and group["protocol"] == self.assignor
                    and None not in shares and len(shares) == PARTITIONS
                    and len(set(shares)) == len(self.members))
        self.wait(what, spread)
        for n in range(RECORDS):
            self.producer.produce(self.topic, str(n).encode(), partition=n % PARTITIONS)
        assert self.producer.flush(DEADLINE_S) == 0
        self.written += RECORDS
        self.wait(f"{what}: reading", lambda: len(self.seen) >= self.written)
        with self.lock:
            twice = [place for place, times in self.seen.items() if times > 1]
        assert not twice, f"{what}: {len(twice)} records were read twice, the first: {twice[0]}"

    def describe(self):
        said = subprocess.run(
            [self.broker.program, "group", "describe", self.group, "--broker", self.broker.url, "--format", "json"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        return json.loads(said.stdout) if said.returncode == 0 else {"state": "", "protocol": "", "partitions": []}

    def wait(self, what, true):
        deadline = time.monotonic() + DEADLINE_S
        while not true():
            assert time.monotonic() < deadline, f"{what}: {len(self.seen)} of {self.written} read, {self.describe()}"
            time.sleep(0.1)

    def ends(self):
        for name in list(self.members):
            self.members.pop(name).leave()


def play(story, steps):
    """Members join by name, and leave with a minus before it."""
    try:
        for name, settings in steps:
            if name.startswith("-"):
                story.leaves(name[1:])
            elif name.startswith("ours"):
                story.joins(name, Ours(story, settings))
            else:
                story.joins(name, Theirs(story, settings))
    finally:
        story.ends()


def main():
    program, folder = sys.argv[1:3]
    broker = Broker(program, Plain(folder))
    cooperative = {"partition.assignment.strategy": "cooperative-sticky"}
    stories = [
        # The one who comes first leads; the names say whose it is.
        ("defaults", "range", [("theirs", {}), ("ours", []), ("theirs-2", {}), ("-theirs", None), ("ours-2", [])]),
        ("cooperative", "cooperative-sticky", [
            ("ours", ["--assignor", "cooperative-sticky"]), ("theirs", cooperative), ("ours-eager", []),
            ("-ours", None), ("theirs-2", cooperative)]),
    ]
    try:
        for group, assignor, steps in stories:
            play(Story(broker, group, assignor), steps)
        broker.stop()
    finally:
        broker.end()
    print(f"{len(stories)} mixed groups, {sum(len(steps) for *_, steps in stories)} changes, every record read once")


main()
