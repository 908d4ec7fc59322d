/** Bytes as text: one character (latin1) per byte. */
export type Bytes = string;

/** An answer of Redis: a number, bytes, nothing, a status, an error, or a list of answers. */
export type Reply = number | Bytes | null | Status | Failure | readonly Reply[];

/** A status, such as OK. */
export class Status {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

/** An error as an answer; `text` begins with its code. */
export class Failure {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

/** A command that failed; its answer is a `Failure` with the message. */
export class CommandError extends Error {}

/** The model lacks what it was asked for: a fault of the model or of its caller, never an answer. */
export class NotModelled extends Error {
  constructor(what: string) {
    super(`the model of Redis does not have ${what}`);
  }
}

export const ok = new Status("OK");

/** Errors that several commands answer. */
export const errors = {
  wrongType: "WRONGTYPE Operation against a key holding the wrong kind of value",
  notInteger: "ERR value is not an integer or out of range",
  syntax: "ERR syntax error",
  overflow: "ERR increment or decrement would overflow",
  outOfMemory: "OOM command not allowed when used memory > 'maxmemory'.",
  readOnly: "READONLY You can't write against a read only replica.",
  noScript: "NOSCRIPT No matching script. Please use EVAL.",
} as const;
