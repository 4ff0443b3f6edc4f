// Bytes and texts. Keys and values are bytes: whether they are text is for the author to say.

const encoder = new TextEncoder();
// A byte order mark is a character like any other, as in every other language.
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** A text as UTF-8. */
export function bytes(text) {
  return encoder.encode(text);
}

/** UTF-8 as a text. Throws a TypeError if it is none. */
export function text(bytes) {
  return decoder.decode(bytes);
}

/** Whether both have the same bytes. */
export function sameBytes(a, b) {
  return a.length === b.length && startsWith(a, b);
}

/** Whether `bytes` begins with `prefix`. */
export function startsWith(bytes, prefix) {
  if (prefix.length > bytes.length) return false;
  for (let i = 0; i < prefix.length; i++) if (bytes[i] !== prefix[i]) return false;
  return true;
}
