// What a plugin for Brooklet is written with: a transform as a function that is called once per record.
//
// Columns, `blobs` and bitmaps end in here: authors see records. What a plugin leaves as it is costs no copy.

export { Change, drop, keep } from "./action.js";
export { PluginError, Reject } from "./error.js";
export { bytes, sameBytes, startsWith, text } from "./bytes.js";
export { log } from "./log.js";
export { Counter, Gauge, Histogram } from "./metrics.js";
export { schemaById, latestSchema } from "./schemas.js";

import { COLUMNS } from "./batch.js";

/** Says what a plugin is. The module that the build is given exports it by default. */
export function definePlugin(plugin) {
  const { description, config, transform, ...rest } = plugin;
  const strangers = Object.keys(rest).filter((name) => name !== "name" && name !== "version");
  if (strangers.length > 0) throw new TypeError(`a plugin has no ${strangers.join(", ")}`);
  if (typeof transform?.record !== "function") throw new TypeError("a plugin has `transform.record`");
  for (const column of transform.columns ?? []) {
    if (!COLUMNS.includes(column)) throw new TypeError(`there is no column ${column}: ${COLUMNS.join(", ")}`);
  }
  return Object.freeze({ ...plugin });
}

/** The manifest of a plugin, as it stands in the component. */
export function manifest(plugin, { name, version }) {
  return {
    name: plugin.name ?? name,
    version: plugin.version ?? version,
    description: plugin.description ?? "",
    roles: ["transform"],
    ...(plugin.config === undefined ? {} : { config: plugin.config }),
  };
}
