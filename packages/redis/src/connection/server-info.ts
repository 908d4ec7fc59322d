/** The parts of a Redis process's `INFO` that the store uses. */
export interface ServerInfo {
  /** Random at each start of the process. */
  readonly runId: string;
  readonly version: string;
  readonly role: string;
  readonly appendOnly: boolean;
  readonly cluster: boolean;
  readonly maxmemoryPolicy: string | undefined;
  /** How many keys there are, in all databases. */
  readonly keys: number;
}

/** Reads the text of `INFO`. */
export function readServerInfo(text: string): ServerInfo {
  const fields = new Map(
    text.split("\r\n").map((line) => {
      const colon = line.indexOf(":");
      return [line.slice(0, colon), line.slice(colon + 1)] as const;
    }),
  );
  return {
    runId: fields.get("run_id") ?? "",
    version: fields.get("redis_version") ?? "",
    role: fields.get("role") ?? "",
    appendOnly: fields.get("aof_enabled") === "1",
    cluster: fields.get("cluster_enabled") === "1",
    maxmemoryPolicy: fields.get("maxmemory_policy"),
    keys: [...text.matchAll(/^db\d+:keys=(\d+)/gm)].reduce(
      (sum, [, keys]) => sum + Number(keys),
      0,
    ),
  };
}

/**
 * Memory and disk that a Redis process uses, in bytes, from `INFO memory` and `INFO persistence`.
 */
export interface StoreUsage {
  readonly usedBytes: number;
  /** `maxmemory`; 0 where none is set. */
  readonly maxBytes: number;
  /** Size of the append-only file. */
  readonly aofBytes: number;
  /** Whether the last append to the append-only file and its last rewrite succeeded. */
  readonly diskOk: boolean;
}

/** Reads the text of both; undefined where a number is missing. */
export function readUsage(text: string): StoreUsage | undefined {
  const said = (field: string) => new RegExp(`^${field}:(\\w+)\r?$`, "m").exec(text)?.[1];
  const number = (field: string) => Number(said(field) ?? Number.NaN);
  const [usedBytes, maxBytes] = [number("used_memory"), number("maxmemory")];
  const aofBytes = number("aof_current_size");
  if (Number.isNaN(usedBytes + maxBytes + aofBytes)) return undefined;
  const diskOk = ["aof_last_write_status", "aof_last_bgrewrite_status"].every(
    (field) => said(field) === "ok",
  );
  return { usedBytes, maxBytes, aofBytes, diskOk };
}

/** Role of a process and, for a primary, its connected replicas, as `ROLE` answers. */
export interface Role {
  readonly primary: boolean;
  /** `host:port` of the replicas that take part in WAITAOF. */
  readonly replicas: readonly string[];
}
