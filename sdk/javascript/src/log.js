// Structured logs. They end in the broker's log and in `brooklet plugin logs`.

import { host } from "./host.js";

function write(level, message, fields) {
  if (!host.log.enabled(level)) return;
  const pairs = Object.entries(fields ?? {}).map(([name, value]) => [name, String(value)]);
  host.log.log(level, String(message), pairs);
}

/** Each takes a message and an object of fields. Never once per record. */
export const log = {
  trace: (message, fields) => write("trace", message, fields),
  debug: (message, fields) => write("debug", message, fields),
  info: (message, fields) => write("info", message, fields),
  warn: (message, fields) => write("warn", message, fields),
  error: (message, fields) => write("error", message, fields),
};
