/** The columns a transform can ask for. What it does not ask for is not copied. */
export type Column = "keys" | "values" | "headers" | "timestamps";

/** One record. Its bytes are views of the batch: they are gone when the call is over, unless copied. */
export interface Record {
  /** Its index in the batch. */
  readonly index: number;
  readonly topic: string;
  /** Null where it has none yet. */
  readonly partition: number | null;
  readonly key: Uint8Array | null;
  /** Null is a tombstone. */
  readonly value: Uint8Array | null;
  readonly offset: bigint;
  /** Milliseconds since the epoch. */
  readonly timestamp: bigint;
  /** Names with their values, in their order. */
  readonly headers: [Uint8Array, Uint8Array | null][];
  /** The last header of that name; null if there is none or it is null. */
  header(name: string): Uint8Array | null;
}

/** Changes to a record; each method returns it again. What is not named stays. */
export class Change {
  setKey(key: Uint8Array | string | null): this;
  /** Null makes it a tombstone. */
  setValue(value: Uint8Array | string | null): this;
  /** All of them. */
  setHeaders(headers: Iterable<[Uint8Array | string, Uint8Array | string | null]>): this;
  /** Milliseconds since the epoch. */
  setTimestamp(timestamp: bigint | number): this;
}

/** True keeps a record as it is, false drops it. */
export type Action = boolean | Change;
export const keep: true;
export const drop: false;

/** Thrown: why one record could not be handled. What becomes of it is the operator's choice. */
export class Reject extends Error {
  constructor(code: string, message: string);
  readonly code: string;
}

/** Thrown: why a whole call failed. */
export class PluginError extends Error {
  static config(message: string): PluginError;
  static retriable(message: string, afterMs?: number): PluginError;
  static badInput(message: string): PluginError;
  static fatal(message: string): PluginError;
}

/** What an instance works for. */
export interface Context {
  readonly pluginName: string;
  readonly role: string;
  readonly task: string;
  readonly hostVersion: string;
  readonly properties: [string, string][];
}

/** A transform: `Config` is what the operator writes, `State` what `configure` makes of it. */
export interface Transform<Config, State> {
  /** All of them if left out. */
  columns?: Column[];
  /** Called once per instance. Whatever can be checked is checked here; handles of metrics are made here. */
  configure?(config: Config, context: Context): State;
  /** Called once per record. */
  record(record: Record, state: State): Action;
  /** Called after each batch: count here, once. */
  batchDone?(state: State): void;
}

export interface Plugin<Config, State> {
  /** That of the package if left out. */
  name?: string;
  version?: string;
  description?: string;
  /** JSON Schema of the configuration; anything goes without one. */
  config?: object;
  transform: Transform<Config, State>;
}

export function definePlugin<Config = any, State = Config>(
  plugin: Plugin<Config, State>,
): Plugin<Config, State>;

type Fields = { [name: string]: unknown };
export const log: {
  trace(message: string, fields?: Fields): void;
  debug(message: string, fields?: Fields): void;
  info(message: string, fields?: Fields): void;
  warn(message: string, fields?: Fields): void;
  error(message: string, fields?: Fields): void;
};

type Labels = { [name: string]: string };
export class Counter {
  constructor(name: string, labels?: Labels);
  add(n?: number | bigint): void;
}
export class Gauge {
  constructor(name: string, labels?: Labels);
  set(value: number): void;
}
export class Histogram {
  constructor(name: string, labels?: Labels);
  observe(value: number): void;
  observeMany(values: Iterable<number>): void;
}

export interface Schema {
  readonly id: number;
  readonly version: number;
  readonly format: "avro" | "json-schema" | "protobuf";
  readonly definition: string;
}
export function schemaById(id: number): Schema;
export function latestSchema(subject: string): Schema;

/** A text as UTF-8. */
export function bytes(text: string): Uint8Array;
/** UTF-8 as a text. Throws a TypeError if it is none. */
export function text(bytes: Uint8Array): string;
export function sameBytes(a: Uint8Array, b: Uint8Array): boolean;
export function startsWith(bytes: Uint8Array, prefix: Uint8Array): boolean;
