"""Takes fields out of JSON values, or puts a text in their place. The same stands in `rust/redact`, `javascript/redact`
and `c/redact`.

What is left keeps its order, its spaces and its text: numbers above all. A member that goes takes the comma behind it
along, the last of its object the one before it.
"""

import json

from brooklet_plugin import Change, Plugin, PluginError
from brooklet_plugin.fields import Paths

plugin = Plugin(
    name="redact",
    description="Takes fields out of JSON values, or puts a text in their place.",
    config={
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "drop": {"type": "array", "items": {"type": "string"}},
            "replace": {"type": "array", "items": {"type": "string"}},
            "with": {"type": "string"},
        },
    },
)


class Config:
    def __init__(self, config, context):
        drop = config.get("drop", [])
        try:
            self.paths = Paths(drop + config.get("replace", []))
        except ValueError as error:
            raise PluginError.config(str(error)) from None
        self.dropped = len(drop)
        self.text = json.dumps(config.get("with", "***"), ensure_ascii=False).encode()


@plugin.transform(columns=("values",), configure=Config)
def redact(record, config):
    value = record.value
    if value is None:
        return True
    redacted, done = bytearray(), 0
    for place in config.paths.find(value):
        if place.index >= config.dropped:
            redacted += value[done:place.start]
            redacted += config.text
            done = place.end
            continue
        redacted += value[done:place.member_start]
        done = place.member_end
        if value[done:done + 1] == b",":
            done += 1
        elif redacted.endswith(b","):
            redacted.pop()
    if done == 0:
        return True
    redacted += value[done:]
    return Change(value=bytes(redacted))
