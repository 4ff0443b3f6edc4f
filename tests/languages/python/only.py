"""Keeps records by their key or by a header. The same stands in `rust/only`, `javascript/only` and `c/only`."""

from dataclasses import dataclass

from brooklet_plugin import Plugin

plugin = Plugin(
    name="only",
    description="Keeps records by their key or by a header.",
    config={
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "prefix": {"type": "string"},
            "header": {
                "type": "object",
                "required": ["name", "values"],
                "additionalProperties": False,
                "properties": {
                    "name": {"type": "string"},
                    "values": {"type": "array", "items": {"type": "string"}},
                },
            },
        },
    },
)


@dataclass
class Config:
    prefix: bytes | None
    header: tuple[str, set[bytes]] | None

    @classmethod
    def read(cls, config, context):
        prefix, header = config.get("prefix"), config.get("header")
        return cls(
            None if prefix is None else prefix.encode(),
            None if header is None else (header["name"], {value.encode() for value in header["values"]}),
        )


@plugin.transform(columns=("keys", "headers"), configure=Config.read)
def only(record, config):
    """Kept is what has all that is asked for. A key or header that is null is none."""
    if config.prefix is not None:
        key = record.key
        if key is None or not key.startswith(config.prefix):
            return False
    if config.header is not None:
        name, values = config.header
        return record.header(name) in values
    return True
