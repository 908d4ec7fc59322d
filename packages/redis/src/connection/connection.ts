import type { Argument } from "./command-line.ts";
import { isNoScript, storeFailure } from "./failure.ts";
import type { ConnectionSettings } from "./options.ts";
import { type Script, scriptArguments } from "./scripts.ts";
import type { ServerInfo } from "./server-info.ts";

/** A command: its name and arguments. */
export type CommandLine = readonly [name: string, ...args: Argument[]];

/** An answer, or the error in its place. */
export type Outcome = { readonly value: unknown } | { readonly error: unknown };

/** One connection to one Redis process. It never reconnects and never sends anything twice. */
export interface Connection {
  /** Address of the process at the other end: as a Sentinel names it, otherwise as the socket sees it. */
  readonly address: string;
  readonly info: ServerInfo;
  /** Resolves, with the reason, when the connection has ended. */
  readonly closed: Promise<string>;
  /** Whether it can still be used. */
  readonly open: boolean;
  /** Sends one command; bytes come back as `Buffer`. Rejects with `StoreUnavailable`. */
  call(...line: CommandLine): Promise<unknown>;
  /** Sends commands in one write; the answers are in their order. Never rejects. */
  batch(commands: readonly CommandLine[]): Promise<readonly Outcome[]>;
  /** Closes it at once; every command without an answer fails. */
  destroy(reason: string): void;
}

/** Opens connections: all that the store knows of the network. The simulation has its own. */
export interface Connections {
  /** Connects to the store's primary, through Sentinel where there is one; rejects with `StoreUnavailable`. */
  toPrimary(settings: ConnectionSettings, purpose: string, attempt?: number): Promise<Connection>;
  /** Connects to one address, in any role. */
  to(settings: ConnectionSettings, address: string, purpose: string): Promise<Connection>;
}

/** The value of one answer of `batch`; throws `StoreUnavailable` for an error in its place. */
export function answerOf(outcome: Outcome, { address }: Pick<Connection, "address">): unknown {
  if ("error" in outcome) throw storeFailure(outcome.error, address);
  return outcome.value;
}

/** Runs a script, loading it where Redis does not know it. Not for a connection that carries a barrier. */
export async function runScript(
  connection: Connection,
  script: Script,
  keys: readonly Argument[],
  args: readonly Argument[],
): Promise<unknown> {
  const line: CommandLine = ["evalsha", ...scriptArguments(script, keys, args)];
  const [first] = await connection.batch([line]);
  if (first !== undefined && "error" in first && isNoScript(first.error)) {
    await connection.call("script", "LOAD", script.source);
    return connection.call(...line);
  }
  if (first === undefined || "error" in first) throw storeFailure(first?.error, connection.address);
  return first.value;
}
