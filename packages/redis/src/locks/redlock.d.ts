/** redlock 4.2.0 ships no types; these are the parts that are used. */
declare module "redlock" {
  /** What redlock calls on a client: scripts with a callback. */
  export interface LockClient {
    evalsha(sha: string, args: readonly unknown[], done: LockCallback): void;
    eval(args: readonly unknown[], done: LockCallback): void;
    quit(): Promise<unknown>;
  }
  export type LockCallback = (error: Error | null, result?: unknown) => void;
  export interface Lock {
    unlock(): Promise<void>;
  }
  /** Returns the script to use in place of redlock's own. */
  export type OwnScript = (script: string) => string;
  export interface Options {
    readonly driftFactor: number;
    readonly retryCount: number;
    readonly retryDelay: number;
    readonly retryJitter: number;
    readonly lockScript?: OwnScript;
    readonly extendScript?: OwnScript;
    readonly unlockScript?: OwnScript;
  }
  // biome-ignore lint/style/noDefaultExport: what the package exports.
  export default class Redlock {
    constructor(clients: readonly LockClient[], options: Options);
    lock(resource: string, ttl: number): Promise<Lock>;
    extend(lock: Lock, ttl: number): Promise<Lock>;
    on(event: "clientError", listener: (error: Error) => void): this;
  }
}
