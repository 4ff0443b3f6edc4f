// Records as authors see them, over the columns of a batch.

export const COLUMNS = ["keys", "values", "headers", "timestamps"];

/** A column as it was received: all bytes back to back, and where each entry ends. */
class Column {
  constructor({ data, ends, nulls }) {
    this.data = data;
    this.ends = ends;
    this.nulls = nulls === undefined || nulls === null ? null : new Set(nulls);
  }
  /** A view of entry `index`, null if it is null. */
  get(index) {
    const end = this.ends[index];
    const start = index === 0 ? 0 : this.ends[index - 1];
    // A null has no bytes: only the empty are looked up.
    if (start === end && this.nulls !== null && this.nulls.has(index)) return null;
    return this.data.subarray(start, end);
  }
}

const column = (blobs) => (blobs === undefined || blobs === null ? null : new Column(blobs));

/** Records of one partition. */
export class Batch {
  constructor(input) {
    this.topic = input.topic;
    this.partition = input.partition < 0 ? null : input.partition;
    this.length = input.count;
    this.baseOffset = input.baseOffset;
    this.baseTimestamp = input.baseTimestamp;
    this.offsetDeltas = input.offsetDeltas ?? null;
    this.timestampDeltas = input.timestampDeltas ?? null;
    this.keys = column(input.keys);
    this.values = column(input.values);
    this.headerNames = column(input.headers?.names);
    this.headerValues = column(input.headers?.values);
    this.headerStarts = null;
    if (this.headerNames !== null) {
      this.headerStarts = new Uint32Array(this.length + 1);
      for (let i = 0; i < this.length; i++) {
        this.headerStarts[i + 1] = this.headerStarts[i] + input.headers.counts[i];
      }
    }
  }
}

function missing(column) {
  throw new TypeError(`the plugin looks at ${column} without having asked for that column`);
}

/** One record. Its bytes are views of the batch: they are gone when the call is over, unless copied. */
export class Record {
  #batch;
  #asked;
  constructor(batch, asked, index) {
    this.#batch = batch;
    this.#asked = asked;
    this.index = index;
  }
  /** Its topic. */
  get topic() { return this.#batch.topic; }
  /** Its partition, null where it has none yet. */
  get partition() { return this.#batch.partition; }
  /** Its key, null if there is none. */
  get key() { return (this.#batch.keys ?? missing("keys")).get(this.index); }
  /** Its value; null is a tombstone. */
  get value() { return (this.#batch.values ?? missing("values")).get(this.index); }
  /** Its offset, a bigint. */
  get offset() {
    const deltas = this.#batch.offsetDeltas;
    return this.#batch.baseOffset + BigInt(deltas === null ? this.index : deltas[this.index]);
  }
  /** Its time, milliseconds since the epoch, a bigint. */
  get timestamp() {
    if (!this.#asked.timestamps) missing("timestamps");
    const deltas = this.#batch.timestampDeltas;
    return this.#batch.baseTimestamp + (deltas === null ? 0n : deltas[this.index]);
  }
  /** Its headers in their order: pairs of a name and a value, bytes both; a value may be null. */
  get headers() {
    const starts = this.#batch.headerStarts ?? missing("headers");
    const headers = [];
    for (let i = starts[this.index]; i < starts[this.index + 1]; i++) {
      headers.push([this.#batch.headerNames.get(i) ?? new Uint8Array(), this.#batch.headerValues.get(i)]);
    }
    return headers;
  }
  /** The last header of that name, as Kafka's `lastHeader` has it; null if there is none or it is null. */
  header(name) {
    const wanted = encoder.encode(name);
    const starts = this.#batch.headerStarts ?? missing("headers");
    for (let i = starts[this.index + 1] - 1; i >= starts[this.index]; i--) {
      const found = this.#batch.headerNames.get(i) ?? new Uint8Array();
      if (found.length === wanted.length && wanted.every((byte, at) => found[at] === byte)) {
        return this.#batch.headerValues.get(i);
      }
    }
    return null;
  }
}

const encoder = new TextEncoder();
