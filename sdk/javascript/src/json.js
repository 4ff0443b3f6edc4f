// Fields of JSON texts, found where they stand, so that everything else can stay byte for byte what it is: numbers
// as they are written, members in their order, names that are there twice.
//
// `JSON.parse` says whether it is JSON at all, natively; then only what lies on the way to a path is looked at.

import { text as decode } from "./bytes.js";
import { Reject } from "./error.js";

const latin1 = new TextDecoder("latin1");
const SPACE = /[ \t\n\r]*/y;
const IN_STRING = /[^"\\]*/y;
const SCALAR = /[^,\]}\s]*/y;
const NEXT = /["{}[\]]/g;

/** The names of a dotted path; a dot within a name is written `\.`, a backslash `\\`. */
export function split(path) {
  const names = [];
  let name = "";
  for (let i = 0; i < path.length; i++) {
    if (path[i] === ".") {
      names.push(name);
      name = "";
    } else if (path[i] === "\\") {
      i++;
      if (path[i] !== "." && path[i] !== "\\") {
        throw new TypeError(`in the path ${path} a backslash stands before something other than a dot or a backslash`);
      }
      name += path[i];
    } else {
      name += path[i];
    }
  }
  names.push(name);
  if (names.includes("")) throw new TypeError(`the path ${path} has an empty name in it`);
  return names;
}

/** A set of paths to look for. No path may lie within another. */
export class Paths {
  #root = { children: new Map() };

  /** The paths in their order; what is found is named by its index. */
  constructor(paths) {
    paths.forEach((path, index) => {
      let node = this.#root;
      for (const name of split(path)) {
        if (!node.children.has(name)) node.children.set(name, { children: new Map() });
        node = node.children.get(name);
        if (node.found !== undefined) overlap(path);
      }
      if (node.children.size > 0) overlap(path);
      node.found = index;
    });
  }

  /**
   * Calls `found(index, place)` for each field in the order of the text. `place` has positions in bytes: `start` and
   * `end` of the value, `memberStart` and `memberEnd` of the whole member, from behind the brace or comma before its
   * name up to the comma or brace behind its value. Throws a Reject if it is no JSON.
   */
  find(json, found) {
    let text;
    try {
      text = decode(json);
      JSON.parse(text);
    } catch {
      throw new Reject("syntax", "the value is not JSON");
    }
    // One character per byte, so that positions are those of the bytes.
    if (text.length !== json.length) text = latin1.decode(json);
    const start = over(SPACE, text, 0);
    if (text[start] === "{") walk({ text, json, found }, start, this.#root);
  }
}

function overlap(path) {
  throw new TypeError(`the path ${path} is given twice, or lies within another`);
}

// From here on the text is known to be JSON.

function over(pattern, text, at) {
  pattern.lastIndex = at;
  pattern.exec(text);
  return pattern.lastIndex;
}

/** Behind the string that begins at `at`. */
function stringEnd(text, at) {
  let i = over(IN_STRING, text, at + 1);
  while (text[i] === "\\") i = over(IN_STRING, text, i + 2);
  return i + 1;
}

/** Behind the value that begins at `at`. */
function valueEnd(text, at) {
  if (text[at] === '"') return stringEnd(text, at);
  if (text[at] !== "{" && text[at] !== "[") return over(SCALAR, text, at);
  let depth = 0;
  let i = at;
  for (;;) {
    NEXT.lastIndex = i;
    i = NEXT.exec(text).index;
    if (text[i] === '"') {
      i = stringEnd(text, i);
      continue;
    }
    depth += text[i] === "{" || text[i] === "[" ? 1 : -1;
    i++;
    if (depth === 0) return i;
  }
}

/** The name between two positions, as it is meant: `"na\u006de"` is `name`. */
function nameOf({ text, json }, start, end) {
  const written = text.slice(start, end);
  if (/^"[^\\\x80-\u{10ffff}]*"$/u.test(written)) return written.slice(1, -1);
  const name = JSON.parse(decode(json.subarray(start, end)));
  // Half a surrogate pair is no character, and no name.
  if (!name.isWellFormed()) throw new Reject("syntax", "the value is not JSON");
  return name;
}

/** Goes through the object that begins at `at`; returns the position behind it. */
function walk(place, at, node) {
  const { text, found } = place;
  let memberStart = at + 1;
  let i = over(SPACE, text, memberStart);
  if (text[i] === "}") return i + 1;
  for (;;) {
    const nameEnd = stringEnd(text, i);
    const child = node.children.get(nameOf(place, i, nameEnd));
    const start = over(SPACE, text, over(SPACE, text, nameEnd) + 1);
    const descends = child !== undefined && child.found === undefined && text[start] === "{";
    const end = descends ? walk(place, start, child) : valueEnd(text, start);
    const memberEnd = over(SPACE, text, end);
    if (child?.found !== undefined) found(child.found, { start, end, memberStart, memberEnd });
    if (text[memberEnd] === "}") return memberEnd + 1;
    memberStart = memberEnd + 1;
    i = over(SPACE, text, memberStart);
  }
}
