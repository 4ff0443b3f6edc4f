// Keeps records by their key or by a header. The same stands in `rust/only`, `python/only` and `c/only`.

import { bytes, definePlugin, sameBytes, startsWith } from "brooklet-plugin";

export default definePlugin({
  name: "only",
  description: "Keeps records by their key or by a header.",
  config: {
    type: "object",
    additionalProperties: false,
    properties: {
      prefix: { type: "string" },
      header: {
        type: "object",
        required: ["name", "values"],
        additionalProperties: false,
        properties: { name: { type: "string" }, values: { type: "array", items: { type: "string" } } },
      },
    },
  },
  transform: {
    columns: ["keys", "headers"],
    configure: ({ prefix, header }) => ({
      prefix: prefix === undefined ? null : bytes(prefix),
      header: header === undefined ? null : { name: header.name, values: header.values.map(bytes) },
    }),
    /** Kept is what has all that is asked for. A key or header that is null is none. */
    record(record, { prefix, header }) {
      if (prefix !== null) {
        const { key } = record;
        if (key === null || !startsWith(key, prefix)) return false;
      }
      if (header !== null) {
        const found = record.header(header.name);
        if (found === null || !header.values.some((value) => sameBytes(value, found))) return false;
      }
      return true;
    },
  },
});
