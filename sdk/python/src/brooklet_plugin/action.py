"""What becomes of a record."""

from collections.abc import Iterable

KEEP = True
"""It stays as it is."""

DROP = False
"""It goes."""

UNCHANGED = object()


class Change:
    """Changes to a record. What is not named stays; a value that is None makes it a tombstone.

    Keys, values, names and values of headers are bytes, or a text that becomes UTF-8; a timestamp is milliseconds
    since the epoch.
    """

    __slots__ = ("headers", "key", "timestamp", "value")

    def __init__(self, *, key=UNCHANGED, value=UNCHANGED, headers=UNCHANGED, timestamp=UNCHANGED):
        self.key = key if key is UNCHANGED else _own(key)
        self.value = value if value is UNCHANGED else _own(value)
        self.headers = headers if headers is UNCHANGED else _own_headers(headers)
        self.timestamp = timestamp if timestamp is UNCHANGED else int(timestamp)


def _own(value: bytes | str | None) -> bytes | None:
    if value is None or type(value) is bytes:
        return value
    if isinstance(value, str):
        return value.encode()
    return bytes(memoryview(value))


def _own_headers(headers: Iterable[tuple[bytes | str, bytes | str | None]]) -> list[tuple[bytes, bytes | None]]:
    owned = [(_own(name), _own(value)) for name, value in headers]
    if any(name is None for name, _ in owned):
        raise TypeError("a header has a name")
    return owned
