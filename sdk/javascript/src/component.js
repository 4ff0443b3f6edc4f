// The exports of a component: what the host calls, and the one instance behind it.

import { Batch, COLUMNS, Record } from "./batch.js";
import { toWire } from "./error.js";
import { bindHost } from "./host.js";
import { log } from "./log.js";
import { answer } from "./output.js";

/** The interfaces that a component with this plugin exports. */
export function component(plugin, host) {
  bindHost(host);
  const { transform } = plugin;
  const columns = transform.columns ?? COLUMNS;
  const asked = Object.fromEntries(COLUMNS.map((column) => [column, columns.includes(column)]));
  let configured;

  // An error that is thrown in an exported function is the interface's, or the end of the instance.
  const guarded = (call) => {
    try {
      return call();
    } catch (error) {
      throw toWire(error, log);
    }
  };

  return {
    lifecycle: {
      init: (context, config) =>
        guarded(() => {
          if (context.role !== "transform") throw new TypeError(`no role is called ${context.role}`);
          const parsed = JSON.parse(config);
          configured = transform.configure ? transform.configure(parsed, context) : parsed;
          return { columns: asked, properties: [] };
        }),
      shutdown: () => {},
    },
    transform: {
      transform: (input) =>
        guarded(() => {
          const batch = new Batch(input);
          const records = Array.from({ length: batch.length }, (_, index) => new Record(batch, asked, index));
          const answered = answer(records, (record) => transform.record(record, configured));
          transform.batchDone?.(configured);
          return answered;
        }),
    },
  };
}
