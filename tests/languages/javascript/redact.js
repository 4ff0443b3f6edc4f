// Takes fields out of JSON values, or puts a text in their place. The same stands in `rust/redact`,
// `python/redact` and `c/redact`.
//
// What is left keeps its order, its spaces and its text: numbers above all. A member that goes takes the comma behind
// it along, the last of its object the one before it.

import { bytes, Change, definePlugin, PluginError } from "brooklet-plugin";
import { Paths } from "brooklet-plugin/json";

const COMMA = ",".charCodeAt(0);

export default definePlugin({
  name: "redact",
  description: "Takes fields out of JSON values, or puts a text in their place.",
  config: {
    type: "object",
    additionalProperties: false,
    properties: {
      drop: { type: "array", items: { type: "string" } },
      replace: { type: "array", items: { type: "string" } },
      with: { type: "string" },
    },
  },
  transform: {
    columns: ["values"],
    configure({ drop = [], replace = [], with: text = "***" }) {
      try {
        return {
          paths: new Paths([...drop, ...replace]),
          dropped: drop.length,
          with: bytes(JSON.stringify(text)),
        };
      } catch (error) {
        throw PluginError.config(error.message);
      }
    },
    record({ value }, { paths, dropped, with: text }) {
      if (value === null) return true;
      const pieces = [];
      let done = 0;
      // The last byte of what has been put together, without putting it together.
      let last = 0;
      const put = (piece) => {
        if (piece.length === 0) return;
        pieces.push(piece);
        last = piece[piece.length - 1];
      };
      paths.find(value, (index, { start, end, memberStart, memberEnd }) => {
        if (index >= dropped) {
          put(value.subarray(done, start));
          put(text);
          done = end;
          return;
        }
        put(value.subarray(done, memberStart));
        done = memberEnd;
        if (value[memberEnd] === COMMA) {
          done += 1;
        } else if (last === COMMA) {
          const piece = pieces.pop();
          put(piece.subarray(0, piece.length - 1));
        }
      });
      if (done === 0) return true;
      put(value.subarray(done));
      return new Change().setValue(concat(pieces));
    },
  },
});

function concat(pieces) {
  const whole = new Uint8Array(pieces.reduce((length, piece) => length + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}
