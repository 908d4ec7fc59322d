import type { Bytes, Reply } from "../redis/reply.ts";

/** A process that clients connect to: a member of a store, or a Sentinel. */
export interface Server {
  /** Where it is in the network. */
  readonly name: string;
  /** `host:port`. */
  readonly address: string;
  /** Whether it accepts connections. */
  readonly listens: boolean;
  /** Accepts a connection; `ended` is called when it closes the connection. */
  connect(ended: () => void): ServerConnection;
}

/** A server's end of a connection. */
export interface ServerConnection {
  /** Answers a command, after those that came before. */
  ask(line: readonly Bytes[], answer: (reply: Reply) => void): void;
  /** The client has closed it. */
  close(): void;
}
