"""Metrics of the plugin, exposed as `brooklet_plugin_custom_…{plugin="…"}`.

Make the handles in `configure`: before that there is no host. Counting is then one call with one number, and best done
once per batch.
"""

from collections.abc import Iterable, Mapping

from . import host


def _pairs(labels: Mapping[str, str] | None) -> list[tuple[str, str]]:
    return [(name, str(value)) for name, value in (labels or {}).items()]


class Counter:
    """Counts what only grows."""

    def __init__(self, name: str, labels: Mapping[str, str] | None = None):
        self._handle = host.bound.Counter(name, _pairs(labels))

    def add(self, n: int = 1) -> None:
        self._handle.add(n)


class Gauge:
    """Shows what goes up and down."""

    def __init__(self, name: str, labels: Mapping[str, str] | None = None):
        self._handle = host.bound.Gauge(name, _pairs(labels))

    def set(self, value: float) -> None:
        self._handle.set(float(value))


class Histogram:
    """Shows how observations are distributed."""

    def __init__(self, name: str, labels: Mapping[str, str] | None = None):
        self._handle = host.bound.Histogram(name, _pairs(labels))

    def observe(self, value: float) -> None:
        self._handle.observe(float(value))

    def observe_many(self, values: Iterable[float]) -> None:
        self._handle.observe_many([float(value) for value in values])
