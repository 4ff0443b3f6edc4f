import assert from "node:assert/strict";
import { test } from "node:test";

import { bytes, Reject, text } from "../src/index.js";
import { Paths, split } from "../src/json.js";

function found(paths, json) {
  const all = [];
  const raw = typeof json === "string" ? bytes(json) : json;
  new Paths(paths).find(raw, (index, place) => {
    const slice = (start, end) => text(raw.subarray(start, end));
    all.push([index, slice(place.start, place.end), slice(place.memberStart, place.memberEnd)]);
  });
  return all;
}

test("fields are found where they stand, with what surrounds them", () => {
  const table = [
    [["a"], '{"b": 1, "a": [1, 2] }', [[0, "[1, 2]", ' "a": [1, 2] ']]],
    [["a.b", "a.c"], '{"a":{"c":"x","d":0,"b":null}}', [[1, '"x"', '"c":"x"'], [0, "null", '"b":null']]],
    [["a"], '{"a":1,"a":2}', [[0, "1", '"a":1'], [0, "2", '"a":2']]],
    [["a"], '{"\\u0061":1}', [[0, "1", '"\\u0061":1']]],
    [["a\\.b"], '{"a.b":1,"a":{"b":2}}', [[0, "1", '"a.b":1']]],
    [["a.b"], '{"a":[{"b":1}]}', []],
    [["a.b"], '{"a":"text\\n"}', []],
    [["é"], '{"ü":"{","é":"\\"}","b":"…"}', [[0, '"\\"}"', '"é":"\\"}"']]],
    [["a"], '{"x":{"a":{"}":[]}},"a":-1.50e+2}', [[0, "-1.50e+2", '"a":-1.50e+2']]],
    [["a"], "17.5", []],
  ];
  for (const [paths, json, expected] of table) assert.deepEqual(found(paths, json), expected, json);
});

test("what is not JSON is rejected wherever it stands", () => {
  const bad = ["", "{", '{"b":tru}', '{"a":1}x', '{"b":"\\x"}', '{"a":"\u0001"}', "\ufeff{}", "NaN", '{"\\ud800":1}'];
  for (const json of bad) assert.throws(() => found(["a"], json), Reject, json);
  assert.throws(() => found(["a"], Uint8Array.of(0x22, 0xff, 0x22)), Reject);
  // Half a pair in a value that nobody looks at is its author's business.
  assert.deepEqual(found(["a"], '{"b":"\\ud800"}'), []);
});

test("paths are checked", () => {
  for (const path of ["", ".", "a..b", "a.", ".a", "a\\b", "a\\"]) assert.throws(() => split(path), TypeError, path);
  for (const paths of [["a", "a"], ["a.b", "a"], ["a", "a.b"]]) assert.throws(() => new Paths(paths), TypeError);
  assert.deepEqual(split("a\\.b.c\\\\"), ["a.b", "c\\"]);
});
