// The host's functions. In a component they are bound by its first module; elsewhere, in tests of an author's own
// functions, stand-ins take their place: they print, and count nothing.

const standIn = {
  log: {
    enabled: (level) => level !== "trace" && level !== "debug",
    log: (level, message, fields) =>
      console.error([level, message, ...fields.map(([name, value]) => `${name}=${value}`)].join(" ")),
  },
  metrics: {
    Counter: class { add() {} },
    Gauge: class { set() {} },
    Histogram: class { observe() {} observeMany() {} },
  },
  schemas: {
    byId: (id) => { throw { payload: { tag: "bad-input", val: `no schema has id ${id}` } }; },
    latest: (subject) => { throw { payload: { tag: "bad-input", val: `no schema for ${subject}` } }; },
  },
};

export const host = { ...standIn };

export function bindHost(functions) {
  Object.assign(host, functions);
}
