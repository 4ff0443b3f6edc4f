"""What a plugin for Brooklet is written with: a transform as a function that is called once per record.

    from brooklet_plugin import Plugin

    plugin = Plugin(description="Keeps the records whose keys begin with a prefix.")

    @plugin.transform(columns=("keys",), configure=lambda config, context: config["prefix"].encode())
    def only(record, prefix):
        return record.key is not None and record.key.startswith(prefix)

Columns, blobs and bitmaps end in here: authors see records. What a plugin leaves as it is costs no copy.
"""

from . import log, metrics, schemas
from .action import DROP, KEEP, Change
from .errors import PluginError, Reject
from .plugin import Context, Plugin
from .record import Record

__all__ = [
    "DROP", "KEEP", "Change", "Context", "Plugin", "PluginError", "Record", "Reject", "log", "metrics", "schemas",
]
