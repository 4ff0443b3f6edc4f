// Schemas known to the host: those that the binding brings along.

import { PluginError } from "./error.js";
import { host } from "./host.js";

function ask(question) {
  try {
    const { id, version, kind, definition } = question();
    return { id, version, format: kind, definition };
  } catch (error) {
    const { tag, val } = error?.payload ?? error;
    if (typeof tag !== "string") throw error;
    throw tag === "retriable" ? new PluginError(tag, val[0], val[1]) : new PluginError(tag, val);
  }
}

/** The schema of that number: `{ id, version, format, definition }`. */
export const schemaById = (id) => ask(() => host.schemas.byId(id));

/** The newest schema of a subject, such as `flights-value`. */
export const latestSchema = (subject) => ask(() => host.schemas.latest(subject));
