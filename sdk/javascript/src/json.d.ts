/** Positions of a field in bytes: of its value, and of the member with its name and the spaces around it. */
export interface Place {
  start: number;
  end: number;
  memberStart: number;
  memberEnd: number;
}

/** The names of a dotted path; a dot within a name is written `\.`, a backslash `\\`. */
export function split(path: string): string[];

/** A set of paths to look for. No path may lie within another. */
export class Paths {
  constructor(paths: string[]);
  /** Calls `found` for each field in the order of the text. Throws a Reject if it is no JSON. */
  find(json: Uint8Array, found: (index: number, place: Place) => void): void;
}
