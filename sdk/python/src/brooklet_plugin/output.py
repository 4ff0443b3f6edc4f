"""What was said about the records of a batch, as columns.

A batch of which everything is kept is answered with one word, one of which some is kept with a bit per record; a column
comes into being when something in it changes.
"""

from dataclasses import dataclass, field

from .action import UNCHANGED, Change
from .errors import Reject

PARTS = ("key", "value", "headers", "timestamp")


@dataclass
class Answer:
    """`kind` is `pass`, `select` with bits, or `emit` with columns by name; a column is a list of entries."""

    kind: str
    bits: bytes = b""
    count: int = 0
    sources: list[int] | None = None
    columns: dict[str, list] = field(default_factory=dict)
    rejects: list[tuple[int, str, str]] = field(default_factory=list)


def answer(records, say) -> Answer:
    """What `say` says of each record."""
    kept, changes, rejects = [], [], []
    touched = set()
    for record in records:
        try:
            said = say(record)
        except Reject as reject:
            rejects.append((record.index, str(reject.code), str(reject.message)))
            continue
        if said is False:
            continue
        if said is True:
            kept.append(record)
            changes.append(None)
        elif isinstance(said, Change):
            touched.update(part for part in PARTS if getattr(said, part) is not UNCHANGED)
            kept.append(record)
            changes.append(said)
        else:
            raise TypeError("a transform's function returns True, False or a Change")
    everything = len(kept) == len(records)
    if not touched:
        if everything:
            return Answer("pass", rejects=rejects)
        bits = bytearray((len(records) + 7) // 8)
        for record in kept:
            bits[record.index >> 3] |= 1 << (record.index & 7)
        return Answer("select", bits=bytes(bits), rejects=rejects)
    columns = {}
    for part in touched:
        columns[part] = [
            getattr(record, part) if change is None or getattr(change, part) is UNCHANGED else getattr(change, part)
            for record, change in zip(kept, changes)
        ]
    sources = None if everything else [record.index for record in kept]
    return Answer("emit", count=len(kept), sources=sources, columns=columns, rejects=rejects)
