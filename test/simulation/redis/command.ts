import type { Bytes, Reply } from "./reply.ts";
import type { Keyspace } from "./values.ts";

/** A command of the model. */
export interface Command {
  /** The number of words with the name; negative: at least so many. */
  readonly words: number;
  readonly writes: boolean;
  /** Whether it is refused when memory is full. */
  readonly grows: boolean;
  /** Throws a `CommandError` where Redis answers an error. */
  readonly run: (data: Keyspace, args: readonly Bytes[]) => Reply;
}

type Run = (data: Keyspace, ...args: Bytes[]) => Reply;

function command(words: number, writes: boolean, grows: boolean, run: Run): Command {
  return { words, writes, grows, run: (data, args) => run(data, ...args) };
}

/** A command that only reads. */
export function reads(words: number, run: Run): Command {
  return command(words, false, false, run);
}

/** A command that writes and needs memory. */
export function grows(words: number, run: Run): Command {
  return command(words, true, true, run);
}

/** A command that writes and frees memory. */
export function frees(words: number, run: Run): Command {
  return command(words, true, false, run);
}
