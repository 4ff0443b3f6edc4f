"""Structured logs. They end in the broker's log and in `brooklet plugin logs`. Never once per record."""

from . import host


def _write(level: str, message: str, fields: dict[str, object]) -> None:
    if host.bound.enabled(level):
        host.bound.log(level, str(message), [(name, str(value)) for name, value in fields.items()])


def trace(message: str, **fields: object) -> None:
    """For whoever wrote the plugin."""
    _write("trace", message, fields)


def debug(message: str, **fields: object) -> None:
    """One line per batch, never per record."""
    _write("debug", message, fields)


def info(message: str, **fields: object) -> None:
    """A change of state that an operator would want in a timeline."""
    _write("info", message, fields)


def warn(message: str, **fields: object) -> None:
    """Should not happen, but heals."""
    _write("warn", message, fields)


def error(message: str, **fields: object) -> None:
    """Needs a person."""
    _write("error", message, fields)
