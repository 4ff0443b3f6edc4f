import unittest
from dataclasses import dataclass

from brooklet_plugin import Change, Reject
from brooklet_plugin.output import answer
from brooklet_plugin.record import COLUMNS, Batch


@dataclass
class Blobs:
    data: bytes
    ends: list
    nulls: list | None


@dataclass
class Headers:
    counts: list
    names: Blobs
    values: Blobs


@dataclass
class Input:
    topic: str
    partition: int
    base_offset: int
    base_timestamp: int
    count: int
    keys: Blobs
    values: Blobs
    headers: Headers
    offset_deltas: list | None = None
    timestamp_deltas: list | None = None


def blobs(entries):
    ends = [sum(len(entry or b"") for entry in entries[: i + 1]) for i in range(len(entries))]
    nulls = [i for i, entry in enumerate(entries) if entry is None]
    return Blobs(b"".join(entry or b"" for entry in entries), ends, nulls or None)


def run(keys, values, say, **more):
    headers = Headers([0] * len(keys), blobs([]), blobs([]))
    input = Input("t", 0, 7, 100, len(keys), blobs(keys), blobs(values), headers, **more)
    return answer(Batch(input, COLUMNS).records(), say)


class Answers(unittest.TestCase):
    def test_what_stays_as_it_is_is_answered_with_a_word_or_with_bits(self):
        keys, values = [b"a", None, b""], [b"1", b"2", None]
        self.assertEqual(run(keys, values, lambda record: True).kind, "pass")
        kept = run(keys, values, lambda record: record.key is not None)
        self.assertEqual((kept.kind, kept.bits), ("select", bytes([0b101])))

    def test_a_column_is_made_when_something_in_it_changes_null_and_empty_apart(self):
        def say(record):
            if record.index == 3:
                raise Reject("no", "not this")
            return Change(value="new") if record.value is None else True

        made = run([b"a", None, b"b", b"c"], [b"1", b"", None, b"4"], say)
        self.assertEqual(made.columns, {"value": [b"1", b"", b"new"]})
        self.assertEqual((made.sources, made.rejects), ([0, 1, 2], [(3, "no", "not this")]))
        emptied = run([b"a"], [b"1"], lambda record: Change(value=b"", key=None))
        self.assertEqual(emptied.columns, {"value": [b""], "key": [None]})

    def test_offsets_and_times_are_those_of_the_batch(self):
        seen = []
        say = lambda record: seen.append((record.offset, record.timestamp)) is None
        run([b"a", b"b"], [b"1", b"2"], say, offset_deltas=[0, 5], timestamp_deltas=[0, -3])
        self.assertEqual(seen, [(7, 100), (12, 97)])

    def test_nothing_else_is_an_answer(self):
        with self.assertRaises(TypeError):
            run([b"a"], [b"1"], lambda record: None)


if __name__ == "__main__":
    unittest.main()
