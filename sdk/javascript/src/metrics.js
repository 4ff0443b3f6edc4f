// Metrics of the plugin, exposed as `brooklet_plugin_custom_…{plugin="…"}`. Make the handles in `configure`: before
// that there is no host. Counting is then one call with one number, and best done once per batch.

import { host } from "./host.js";

const pairs = (labels) => Object.entries(labels ?? {}).map(([name, value]) => [name, String(value)]);

/** Counts what only grows. */
export class Counter {
  #handle;
  constructor(name, labels) { this.#handle = new host.metrics.Counter(name, pairs(labels)); }
  add(n = 1) { this.#handle.add(BigInt(n)); }
}

/** Shows what goes up and down. */
export class Gauge {
  #handle;
  constructor(name, labels) { this.#handle = new host.metrics.Gauge(name, pairs(labels)); }
  set(value) { this.#handle.set(value); }
}

/** Shows how observations are distributed. */
export class Histogram {
  #handle;
  constructor(name, labels) { this.#handle = new host.metrics.Histogram(name, pairs(labels)); }
  observe(value) { this.#handle.observe(value); }
  observeMany(values) { this.#handle.observeMany(Float64Array.from(values)); }
}
