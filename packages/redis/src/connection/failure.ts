import { type StoreFailure, StoreUnavailable } from "@holdfast/engine";

/** First word of a Redis error → what it means for the store, and how to fix it. */
const meanings: Readonly<Record<string, readonly [StoreFailure, string]>> = {
  __proto__: null as never,
  OOM: ["full", "Redis is at maxmemory: raise maxmemory or free memory; reads still work"],
  MISCONF: ["full", "Redis refuses writes since it cannot write to its disk; reads still work"],
  NOREPLICAS: ["barrierShort", "Redis refuses writes since too few replicas are connected"],
  READONLY: ["noLease", "this Redis is a replica now"],
  MASTERDOWN: ["noLease", "this Redis is a replica without a primary"],
  LOADING: ["noLease", "Redis is still loading its data"],
  UNBLOCKED: ["noLease", "this Redis became a replica"],
  BUSY: ["timeout", "Redis is busy with a script"],
  NOPERM: [
    "unsafe",
    "the Redis user lacks a permission; deploy/redis/users.acl has what is needed",
  ],
  NOAUTH: ["unsafe", "Redis requires a user name and password"],
  WRONGPASS: [
    "unsafe",
    "Redis refuses the user name or password; is it this store's Redis, or does another program use its port?",
  ],
  APPENDONLY: ["unsafe", "appendonly is no, which loses data: set appendonly yes"],
  WRONGTYPE: ["badReply", "a key of the store holds a value of the wrong type"],
};

/** How Redis answers when a script calls a command that the user may not call. */
const forbidden = /^ERR (?:ACL failure in script|The user executing the script can't)/;

/** Code or message of an error of the network or TLS → what it means. */
const reasons: readonly (readonly [RegExp, string])[] = [
  [/ECONNREFUSED/, "nothing listens there"],
  [/ENOTFOUND|EAI_AGAIN/, "its name cannot be resolved"],
  [/ETIMEDOUT|EHOSTUNREACH|ENETUNREACH/, "no route leads there"],
  [/ECONNRESET|EPIPE/, "it closed the connection"],
  [/altnames/, "its certificate does not name this host"],
  [/certificate has expired/, "its certificate has expired"],
  [/certificate is not yet valid/, "its certificate is not valid yet: are both clocks right?"],
  [
    /self-signed certificate|unable to (get|verify)|certificate signature failure/,
    "its certificate does not come from an authority of store.tls.ca",
  ],
  [
    /ssl.* alert /i,
    "it refuses the TLS connection: does it want another client certificate (store.tls.certificate)?",
  ],
  [/wrong version number|packet length/, "it does not speak TLS"],
];

const timedOut = "Command timed out";

/**
 * Whether ioredis stopped waiting. The connection is still open, but its answers no longer match
 * its commands.
 */
export function isTimeout(error: unknown): boolean {
  return error instanceof Error && error.message === timedOut;
}

/** Whether Redis does not know a script (any more). */
export function isNoScript(error: unknown): boolean {
  return error instanceof Error && error.message.startsWith("NOSCRIPT");
}

/**
 * Whether Redis itself answered with the error: the connection's answers still match its commands.
 */
export function isReply(error: unknown): boolean {
  return error instanceof Error && error.name === "ReplyError";
}

/**
 * The store's error for an error of Redis, ioredis or the network. Its cause keeps only the
 * message, since ioredis adds the command's arguments to its errors, passwords included. A Redis without AUTH, such as one
 * behind a proxy, quotes them in its message.
 */
export function storeFailure(error: unknown, address: string): StoreUnavailable {
  if (error instanceof StoreUnavailable) return error;
  const text = error instanceof Error ? error.message : String(error);
  const message = text.replace(/, with args beginning with:.*$/s, "");
  const cause = new Error(message);
  if (isTimeout(error)) {
    return new StoreUnavailable("timeout", `Redis ${address} did not answer in time`, { cause });
  }
  if (message.includes("appendonly is disabled")) return unavailable("APPENDONLY", address, cause);
  if (forbidden.test(message)) return unavailable("NOPERM", address, cause);
  const word = /(?:^|: )([A-Z]{3,}) /.exec(message)?.[1] ?? "";
  if (word in meanings) return unavailable(word, address, cause);
  if (isReply(error)) {
    return new StoreUnavailable("badReply", `Redis ${address}: a command failed`, { cause });
  }
  const why = reasons.find(([pattern]) => pattern.test(message))?.[1];
  const what = `no connection to Redis ${address}${why === undefined ? "" : `: ${why}`}`;
  return new StoreUnavailable("noLease", what, { cause });
}

/** The same for an error before the first answer. */
export function connectFailure(error: unknown, address: string, hasTls: boolean): StoreUnavailable {
  const failure = storeFailure(error, address);
  if (hasTls || !/ECONNRESET|EPIPE/.test(String(error))) return failure;
  const { message, cause } = failure;
  return new StoreUnavailable(
    "noLease",
    `${message}: does it want TLS (store.tls), is it in protected mode, or are its maxclients reached?`,
    { cause },
  );
}

function unavailable(word: string, address: string, cause: Error): StoreUnavailable {
  const [failure, meaning] = meanings[word] ?? ["badReply", "a command failed"];
  return new StoreUnavailable(failure, `Redis ${address}: ${meaning}`, { cause });
}
