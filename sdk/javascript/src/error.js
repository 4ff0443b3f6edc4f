// What a plugin answers when it can't do what was asked: of one record, or of a whole call.

/** Why one record could not be handled. What becomes of it is the operator's choice. */
export class Reject extends Error {
  /**
   * @param {string} code short and stable, for metrics and machines: `syntax`, `schema`, …
   * @param {string} message for the person who reads the log or the dead letter
   */
  constructor(code, message) {
    super(message);
    this.name = "Reject";
    this.code = code;
  }
}

/** Why a whole call failed. */
export class PluginError extends Error {
  constructor(kind, message, afterMs = 0) {
    super(message);
    this.name = "PluginError";
    this.kind = kind;
    this.afterMs = afterMs;
  }
  /** The configuration is wrong. Not tried again. */
  static config(message) { return new PluginError("config", message); }
  /** The same call may succeed later; 0 leaves it to the host when. */
  static retriable(message, afterMs = 0) { return new PluginError("retriable", message, afterMs); }
  /** This input can never succeed. */
  static badInput(message) { return new PluginError("bad-input", message); }
  /** The plugin's own state can't be trusted any more. The instance is replaced. */
  static fatal(message) { return new PluginError("fatal", message); }
}

/** An error as the interface has it. What nobody foresaw is fatal, and logged with its stack. */
export function toWire(error, log) {
  if (error instanceof PluginError) {
    const val = error.kind === "retriable" ? [error.message, error.afterMs] : error.message;
    return { tag: error.kind, val };
  }
  log.error("uncaught", { error: String(error), stack: String(error?.stack ?? "") });
  return { tag: "fatal", val: String(error) };
}
