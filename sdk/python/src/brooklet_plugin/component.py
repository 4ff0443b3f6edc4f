"""The exports of a component: what the host calls, and the one instance behind it.

Only a component has `wit_world`, which componentize-py makes of the interfaces: this module is nowhere else imported.
"""

import json
import traceback

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports import lifecycle as wire_lifecycle
from wit_world.exports import transform as wire_transform
from wit_world.imports import log as wire_log
from wit_world.imports import metrics as wire_metrics
from wit_world.imports import schemas as wire_schemas
from wit_world.imports import types

from . import host, log
from .action import Change  # noqa: F401  so that it is there before the snapshot
from .errors import PluginError
from .output import answer
from .plugin import Context, Plugin
from .record import Batch

_LEVELS = {
    "trace": wire_log.Level.TRACE,
    "debug": wire_log.Level.DEBUG,
    "info": wire_log.Level.INFO,
    "warn": wire_log.Level.WARN,
    "error": wire_log.Level.ERROR,
}
_COLUMNS = {
    "keys": types.Columns.KEYS,
    "values": types.Columns.VALUES,
    "headers": types.Columns.HEADERS,
    "timestamps": types.Columns.TIMESTAMPS,
}
_FORMATS = {
    wire_schemas.Format.AVRO: "avro",
    wire_schemas.Format.JSON_SCHEMA: "json-schema",
    wire_schemas.Format.PROTOBUF: "protobuf",
}


class _Host:
    Counter = wire_metrics.Counter
    Gauge = wire_metrics.Gauge
    Histogram = wire_metrics.Histogram

    @staticmethod
    def enabled(level):
        return wire_log.enabled(_LEVELS[level])

    @staticmethod
    def log(level, message, fields):
        wire_log.log(_LEVELS[level], message, fields)

    @staticmethod
    def by_id(id):
        return _schema(lambda: wire_schemas.by_id(id))

    @staticmethod
    def latest(subject):
        return _schema(lambda: wire_schemas.latest(subject))


def _schema(ask):
    try:
        found = ask()
    except Err as error:
        raise LookupError(str(error.value.value)) from None
    return found.id, found.version, _FORMATS[found.kind], found.definition


host.bound = _Host

_plugin: Plugin
_configured = None


def serve(plugin: Plugin) -> None:
    """Says whose component this is."""
    global _plugin
    plugin.manifest("", "")
    _plugin = plugin


def _failed(error: Exception) -> Err:
    """An error as the interface has it. What nobody foresaw is fatal, and logged with where it happened."""
    if isinstance(error, PluginError):
        if error.kind == "retriable":
            return Err(types.PluginError_Retriable((error.message, error.after_ms)))
        kinds = {"config": types.PluginError_Config, "bad-input": types.PluginError_BadInput}
        return Err(kinds.get(error.kind, types.PluginError_Fatal)(error.message))
    log.error("uncaught", error=repr(error), stack="".join(traceback.format_exception(error)))
    return Err(types.PluginError_Fatal(repr(error)))


class Lifecycle(exports.Lifecycle):
    def init(self, ctx, config):
        global _configured
        try:
            if ctx.role != "transform":
                raise PluginError.config(f"no role is called {ctx.role}")
            context = Context(ctx.plugin_name, ctx.role, ctx.task, ctx.host_version, ctx.properties)
            parsed = json.loads(config)
            _configured = parsed if _plugin.configure is None else _plugin.configure(parsed, context)
            columns = types.Columns(0)
            for column in _plugin.columns:
                columns |= _COLUMNS[column]
            return wire_lifecycle.Ready(columns, [])
        except Exception as error:
            raise _failed(error) from None

    def shutdown(self):
        pass


class Transform(exports.Transform):
    def transform(self, input):
        try:
            batch = Batch(input, _plugin.columns)
            record = _plugin.record
            answered = answer(batch.records(), lambda one: record(one, _configured))
            if _plugin.batch_done is not None:
                _plugin.batch_done(_configured)
            rejects = [types.Reject(*reject) for reject in answered.rejects]
            return wire_transform.Transformed(_outcome(answered), rejects or None)
        except Exception as error:
            raise _failed(error) from None


def _outcome(answered):
    if answered.kind == "pass":
        return wire_transform.Outcome_Pass()
    if answered.kind == "select":
        return wire_transform.Outcome_Select(answered.bits)
    columns = answered.columns
    headers = columns.get("headers")
    return wire_transform.Outcome_Emit(types.OutBatch(
        count=answered.count,
        sources=answered.sources,
        targets=None,
        partitions=None,
        keys=_blobs(columns.get("key")),
        values=_blobs(columns.get("value")),
        headers=None if headers is None else _headers(headers),
        timestamps=columns.get("timestamp"),
    ))


def _blobs(entries):
    if entries is None:
        return None
    ends, end, nulls = [], 0, []
    for index, entry in enumerate(entries):
        if entry is None:
            nulls.append(index)
        else:
            end += len(entry)
        ends.append(end)
    return types.Blobs(b"".join(entry or b"" for entry in entries), ends, nulls or None)


def _headers(lists):
    flat = [header for headers in lists for header in headers]
    return types.HeaderColumns(
        counts=[len(headers) for headers in lists],
        names=_blobs([name for name, _ in flat]),
        values=_blobs([value for _, value in flat]),
    )
