// What was said about the records of a batch, as columns. A batch of which everything is kept is answered with one
// word, one of which some is kept with a bit per record; a column comes into being when something in it changes.

import { Change } from "./action.js";
import { Reject } from "./error.js";

function blobs(entries) {
  let length = 0;
  const ends = new Uint32Array(entries.length);
  const nulls = [];
  for (let i = 0; i < entries.length; i++) {
    if (entries[i] === null) nulls.push(i);
    else length += entries[i].length;
    ends[i] = length;
  }
  const data = new Uint8Array(length);
  for (let i = 0; i < entries.length; i++) {
    if (entries[i] !== null && entries[i].length > 0) data.set(entries[i], i === 0 ? 0 : ends[i - 1]);
  }
  return { data, ends, nulls: nulls.length === 0 ? undefined : Uint32Array.from(nulls) };
}

/** What `say` says of each record, as the interface has it. */
export function answer(records, say) {
  const kept = [];
  const changes = [];
  const rejects = [];
  const touched = { key: false, value: false, headers: false, timestamp: false };
  for (const record of records) {
    let said;
    try {
      said = say(record);
    } catch (error) {
      if (!(error instanceof Reject)) throw error;
      rejects.push({ index: record.index, code: String(error.code), message: error.message });
      continue;
    }
    if (said === false) continue;
    if (said instanceof Change) {
      for (const part in touched) touched[part] ||= said[part] !== undefined;
    } else if (said !== true) {
      throw new TypeError("a transform's function returns true, false or a Change");
    }
    kept.push(record);
    changes.push(said === true ? null : said);
  }
  return {
    outcome: outcome(records.length, kept, changes, touched),
    rejects: rejects.length === 0 ? undefined : rejects,
  };
}

function outcome(count, kept, changes, touched) {
  if (!(touched.key || touched.value || touched.headers || touched.timestamp)) {
    if (kept.length === count) return { tag: "pass" };
    const bits = new Uint8Array(Math.ceil(count / 8));
    for (const { index } of kept) bits[index >> 3] |= 1 << (index & 7);
    return { tag: "select", val: bits };
  }
  const part = (name, own) => {
    if (!touched[name]) return undefined;
    return kept.map((record, i) => {
      const changed = changes[i]?.[name];
      return changed === undefined ? own(record) : changed;
    });
  };
  const keys = part("key", (record) => record.key);
  const values = part("value", (record) => record.value);
  const headers = part("headers", (record) => record.headers);
  const timestamps = part("timestamp", (record) => record.timestamp);
  const out = {
    count: kept.length,
    sources: kept.length === count ? undefined : Uint32Array.from(kept, ({ index }) => index),
    targets: undefined,
    partitions: undefined,
    keys: keys && blobs(keys),
    values: values && blobs(values),
    headers: headers && headerColumns(headers),
    timestamps: timestamps && BigInt64Array.from(timestamps),
  };
  return { tag: "emit", val: out };
}

function headerColumns(lists) {
  const all = lists.flat();
  return {
    counts: Uint32Array.from(lists, (list) => list.length),
    names: blobs(all.map(([name]) => name)),
    values: blobs(all.map(([, value]) => value)),
  };
}
