"""The host's functions. In a component `component.py` binds them; elsewhere, in tests of an author's own functions,
stand-ins take their place: they print, and count nothing."""

import sys


class StandIn:
    """No host."""

    @staticmethod
    def enabled(level: str) -> bool:
        return level not in ("trace", "debug")

    @staticmethod
    def log(level: str, message: str, fields: list[tuple[str, str]]) -> None:
        print(level, message, *(f"{name}={value}" for name, value in fields), file=sys.stderr)

    class Counter:
        def __init__(self, name, labels): ...
        def add(self, n): ...

    class Gauge:
        def __init__(self, name, labels): ...
        def set(self, v): ...

    class Histogram:
        def __init__(self, name, labels): ...
        def observe(self, v): ...
        def observe_many(self, v): ...

    @staticmethod
    def by_id(id):
        raise LookupError(f"no schema has id {id}")

    @staticmethod
    def latest(subject):
        raise LookupError(f"no schema for {subject}")


bound = StandIn
