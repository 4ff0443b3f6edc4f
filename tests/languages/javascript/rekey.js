// Takes a record's key from one of its headers. The same stands in `rust/rekey`, `python/rekey` and `c/rekey`.

import { bytes, Change, Counter, definePlugin, log, PluginError, Reject, sameBytes } from "brooklet-plugin";

export default definePlugin({
  name: "rekey",
  description: "Takes a record's key from one of its headers.",
  config: {
    type: "object",
    required: ["from"],
    additionalProperties: false,
    properties: {
      from: { type: "string" },
      keep_as: { type: "string" },
      empty_is_tombstone: { type: "boolean" },
      delay_ms: { type: "integer" },
    },
  },
  transform: {
    configure({ from, keep_as: keepAs, empty_is_tombstone: emptyIsTombstone = false, delay_ms: delay = 0 }) {
      if (keepAs === from) {
        throw PluginError.config("`keep_as` is `from`: the old key would be the next new one");
      }
      log.info("ready to rekey", { from });
      return {
        from,
        name: bytes(from),
        keepAs: keepAs === undefined ? null : bytes(keepAs),
        emptyIsTombstone,
        delay: BigInt(delay),
        rekeyed: new Counter("records_rekeyed", { language: "any" }),
        count: 0,
      };
    },
    record(record, state) {
      const { from, name, keepAs, emptyIsTombstone, delay } = state;
      const headers = record.headers;
      const named = headers.findLast((header) => sameBytes(header[0], name));
      if (named === undefined) throw new Reject("key", `there is no header ${from}`);
      const others = headers.filter((header) => !sameBytes(header[0], name));
      if (keepAs !== null) others.push([keepAs, record.key]);
      const change = new Change().setKey(named[1]).setHeaders(others);
      if (emptyIsTombstone && record.value?.length === 0) change.setValue(null);
      if (delay !== 0n) change.setTimestamp(record.timestamp + delay);
      state.count += 1;
      return change;
    },
    batchDone(state) {
      state.rekeyed.add(state.count);
      state.count = 0;
    },
  },
});
