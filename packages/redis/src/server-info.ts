/** What `INFO` says of a Redis process, as far as the store asks. */
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

/** Role of a process and, for a primary, its connected replicas, as `ROLE` answers. */
export interface Role {
  readonly primary: boolean;
  /** `host:port` of the replicas that take part in WAITAOF. */
  readonly replicas: readonly string[];
}
