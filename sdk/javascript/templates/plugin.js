// Keeps the records whose key begins with a prefix.

import { bytes, definePlugin, startsWith } from "brooklet-plugin";

export default definePlugin({
  description: "Keeps the records whose key begins with a prefix.",
  // What the operator configures.
  config: {
    type: "object",
    required: ["prefix"],
    additionalProperties: false,
    properties: { prefix: { type: "string" } },
  },
  transform: {
    // What is copied into the plugin; ask for "values", "headers" and "timestamps" as you need them.
    columns: ["keys"],
    // Called once per instance; what it returns is the function's second argument.
    configure: (config) => ({ prefix: bytes(config.prefix) }),
    // Called once per record. To change one, return `new Change().setValue(…)`.
    record: ({ key }, { prefix }) => key !== null && startsWith(key, prefix),
  },
});
