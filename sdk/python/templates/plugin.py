"""Keeps the records whose key begins with a prefix."""

from brooklet_plugin import Plugin

plugin = Plugin(
    description="Keeps the records whose key begins with a prefix.",
    # What the operator configures.
    config={
        "type": "object",
        "required": ["prefix"],
        "additionalProperties": False,
        "properties": {"prefix": {"type": "string"}},
    },
)


def configure(config, context):
    """Called once per instance; what it returns is the function's second argument."""
    return config["prefix"].encode()


# `columns` names what is copied into the plugin; ask for "values", "headers" and "timestamps" as you need them.
@plugin.transform(columns=("keys",), configure=configure)
def transform(record, prefix):
    """Called once per record. To change one, return a `brooklet_plugin.Change`."""
    return record.key is not None and record.key.startswith(prefix)
