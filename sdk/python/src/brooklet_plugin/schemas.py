"""Schemas known to the host: those that the binding brings along."""

from dataclasses import dataclass

from . import host


@dataclass(frozen=True)
class Schema:
    """A schema. `format` is `avro`, `json-schema` or `protobuf`."""

    id: int
    version: int
    format: str
    definition: str


def by_id(id: int) -> Schema:
    """The schema of that number; a LookupError if there is none."""
    return Schema(*host.bound.by_id(id))


def latest(subject: str) -> Schema:
    """The newest schema of a subject, such as `flights-value`; a LookupError if there is none."""
    return Schema(*host.bound.latest(subject))
