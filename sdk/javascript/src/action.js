// What becomes of a record.

/** It stays as it is. `true` says the same. */
export const keep = true;
/** It goes. `false` says the same. */
export const drop = false;

/** Changes to a record; each method returns it again. What is not named stays. */
export class Change {
  /** Another key: bytes, a text, or null. */
  setKey(key) { this.key = ownBytes(key); return this; }
  /** Another value: bytes, a text, or null, which makes it a tombstone. */
  setValue(value) { this.value = ownBytes(value); return this; }
  /** Other headers, all of them: pairs of a name and a value, each bytes or a text; a value may be null. */
  setHeaders(headers) {
    this.headers = Array.from(headers, ([name, value]) => {
      const named = ownBytes(name);
      if (named === null) throw new TypeError("a header has a name");
      return [named, ownBytes(value)];
    });
    return this;
  }
  /** Another time, milliseconds since the epoch, a bigint or a number. */
  setTimestamp(timestamp) { this.timestamp = BigInt(timestamp); return this; }
}

const encoder = new TextEncoder();

function ownBytes(value) {
  // Not `instanceof`: what the runtime has made of the host's bytes may be of another realm.
  if (value === null || (ArrayBuffer.isView(value) && value.BYTES_PER_ELEMENT === 1)) return value;
  if (typeof value === "string") return encoder.encode(value);
  throw new TypeError("bytes are a Uint8Array, a string or null");
}
