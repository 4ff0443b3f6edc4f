"""Takes a record's key from one of its headers. The same stands in `rust/rekey`, `javascript/rekey` and `c/rekey`."""

from brooklet_plugin import Change, Plugin, PluginError, Reject, log, metrics

plugin = Plugin(
    name="rekey",
    description="Takes a record's key from one of its headers.",
    config={
        "type": "object",
        "required": ["from"],
        "additionalProperties": False,
        "properties": {
            "from": {"type": "string"},
            "keep_as": {"type": "string"},
            "empty_is_tombstone": {"type": "boolean"},
            "delay_ms": {"type": "integer"},
        },
    },
)


class Rekey:
    def __init__(self, config, context):
        self.label = config["from"]
        self.name = self.label.encode()
        self.keep_as = config.get("keep_as")
        self.empty_is_tombstone = config.get("empty_is_tombstone", False)
        self.delay = config.get("delay_ms", 0)
        if self.keep_as == self.label:
            raise PluginError.config("`keep_as` is `from`: the old key would be the next new one")
        log.info("ready to rekey", **{"from": self.label})
        self.rekeyed = metrics.Counter("records_rekeyed", {"language": "any"})
        self.count = 0

    def batch_done(self):
        self.rekeyed.add(self.count)
        self.count = 0


@plugin.transform(configure=Rekey, batch_done=Rekey.batch_done)
def rekey(record, state):
    headers = record.headers
    named = [value for name, value in headers if name == state.name]
    if not named:
        raise Reject("key", f"there is no header {state.label}")
    others = [(name, value) for name, value in headers if name != state.name]
    changes = {"key": named[-1], "headers": others}
    if state.keep_as is not None:
        others.append((state.keep_as, record.key))
    if state.empty_is_tombstone and record.value == b"":
        changes["value"] = None
    if state.delay:
        changes["timestamp"] = record.timestamp + state.delay
    state.count += 1
    return Change(**changes)
