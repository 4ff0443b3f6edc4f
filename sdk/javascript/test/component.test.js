import assert from "node:assert/strict";
import { test } from "node:test";

import { bytes, Change, definePlugin, Reject, text } from "../src/index.js";
import { component } from "../src/component.js";
import { host } from "../src/host.js";

/** Columns as the host makes them. */
function blobs(entries) {
  const all = entries.map((entry) => (entry === null ? new Uint8Array() : bytes(entry)));
  let end = 0;
  const nulls = entries.flatMap((entry, i) => (entry === null ? [i] : []));
  return {
    data: Uint8Array.from(all.flatMap((entry) => [...entry])),
    ends: Uint32Array.from(all, (entry) => (end += entry.length)),
    nulls: nulls.length === 0 ? undefined : Uint32Array.from(nulls),
  };
}

function show({ data, ends, nulls }) {
  return [...ends].map((end, i) =>
    nulls?.includes(i) ? null : text(data.subarray(i === 0 ? 0 : ends[i - 1], end)));
}

const batch = (keys, values) => ({
  topic: "t",
  partition: 0,
  baseOffset: 7n,
  baseTimestamp: 100n,
  count: keys.length,
  keys: blobs(keys),
  values: blobs(values),
  headers: { counts: Uint32Array.from(keys, () => 0), names: blobs([]), values: blobs([]) },
});

function run(record, input) {
  const made = component(definePlugin({ transform: { record } }), host);
  made.lifecycle.init({ role: "transform" }, "{}");
  return made.transform.transform(input);
}

test("what stays as it is is answered with a word or with bits", () => {
  const input = batch(["a", null, "b"], ["1", "2", null]);
  assert.deepEqual(run(() => true, input), { outcome: { tag: "pass" }, rejects: undefined });
  const kept = run((record) => record.key !== null, input);
  assert.deepEqual(kept.outcome, { tag: "select", val: Uint8Array.of(0b101) });
});

test("a column is made when something in it changes, null and empty apart", () => {
  const input = batch(["a", null, "b", "c"], ["1", "", null, "4"]);
  const { outcome, rejects } = run((record) => {
    if (record.index === 3) throw new Reject("no", "not this");
    return record.value === null ? new Change().setValue("new") : true;
  }, input);
  assert.deepEqual(outcome.val.sources, Uint32Array.of(0, 1, 2));
  assert.deepEqual(show(outcome.val.values), ["1", "", "new"]);
  assert.equal(outcome.val.keys, undefined);
  assert.deepEqual(rejects, [{ index: 3, code: "no", message: "not this" }]);
  const emptied = run(() => new Change().setValue("").setKey(null), input).outcome.val;
  assert.deepEqual(show(emptied.values), ["", "", "", ""]);
  assert.deepEqual(show(emptied.keys), [null, null, null, null]);
});

test("offsets and times are whole numbers of 64 bits", () => {
  const input = { ...batch(["a", "b"], ["1", "2"]), offsetDeltas: Uint32Array.of(0, 5), timestampDeltas: BigInt64Array.of(0n, -3n) };
  const seen = [];
  run((record) => seen.push(record.offset, record.timestamp) > 0, input);
  assert.deepEqual(seen, [7n, 100n, 12n, 97n]);
});

test("an error that nobody foresaw ends the instance, and says why", () => {
  assert.throws(() => run(() => null, batch(["a"], ["1"])), { tag: "fatal" });
});
