import { setTimeout as delay } from "node:timers/promises";
import { Connection } from "./connection.ts";
import type { Hearing, Moment } from "./lease.ts";
import { type ConnectionSettings, formatAddress } from "./options.ts";
import { readPairs } from "./replies.ts";

/** Speaks to one Sentinel. */
async function connect(settings: ConnectionSettings, address: string): Promise<Connection> {
  const { username: _u, password: _p, tls: _t, ...rest } = settings;
  const { sentinelUsername, sentinelPassword, sentinelTls } = settings;
  return Connection.to(
    {
      ...rest,
      ...(sentinelUsername !== undefined && { username: sentinelUsername }),
      ...(sentinelPassword !== undefined && { password: sentinelPassword }),
      ...(sentinelTls !== undefined && { tls: sentinelTls }),
    },
    address,
    "sentinel",
  );
}

/** What one Sentinel says of the primary; `asked` is when it was asked. */
export function readHearing(answer: unknown, asked: Moment): Hearing | undefined {
  const fields = readPairs(answer);
  const sinceMs = Number(fields.get("last-ok-ping-reply"));
  const port = Number(fields.get("port"));
  const host = fields.get("ip");
  if (host === undefined || !Number.isFinite(sinceMs) || !(port > 0)) return undefined;
  return {
    address: formatAddress(host, port),
    at: { monotonicMs: asked.monotonicMs - sinceMs, wallMs: asked.wallMs - sinceMs },
    sentinels: Number(fields.get("num-other-sentinels") ?? 0) + 1,
  };
}

/** Asks every Sentinel over and over whom it takes for the primary, and when it last heard it (the read lease). */
export class SentinelWatch implements AsyncDisposable {
  readonly #settings: ConnectionSettings;
  readonly #stop = new AbortController();
  readonly #loops: readonly Promise<void>[];
  readonly #open = new Map<string, Connection>();

  constructor(
    settings: ConnectionSettings,
    pollMs: number,
    now: () => Moment,
    tell: (sentinel: string, hearing: Hearing) => void,
  ) {
    this.#settings = settings;
    this.#loops = (settings.sentinels ?? []).map((address) =>
      this.#watch(address, pollMs, now, tell),
    );
  }

  /** Every address that any Sentinel knows as primary or replica of the store. */
  async members(): Promise<readonly string[]> {
    const name = this.#settings.name ?? "";
    const found = new Set<string>();
    await Promise.all(
      [...this.#open.values()].map(async (connection) => {
        const [primary, replicas] = await connection.batch([
          ["sentinel", "MASTER", name],
          ["sentinel", "REPLICAS", name],
        ]);
        const one = primary !== undefined && "value" in primary ? [primary.value] : [];
        const many = replicas !== undefined && "value" in replicas ? replicas.value : [];
        for (const each of [...one, ...(Array.isArray(many) ? many : [])]) {
          const fields = readPairs(each);
          const port = Number(fields.get("port"));
          if (port > 0) found.add(formatAddress(fields.get("ip") ?? "", port));
        }
      }),
    );
    return [...found];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    for (const connection of this.#open.values()) connection.destroy("the store is closing");
    await Promise.all(this.#loops);
  }

  async #watch(
    address: string,
    pollMs: number,
    now: () => Moment,
    tell: (sentinel: string, hearing: Hearing) => void,
  ): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      const connection = await connect(this.#settings, address).catch(() => undefined);
      if (connection !== undefined && !signal.aborted) {
        this.#open.set(address, connection);
        while (connection.open && !signal.aborted) {
          const asked = now();
          const [answer] = await connection.batch([
            ["sentinel", "MASTER", this.#settings.name ?? ""],
          ]);
          const hearing =
            answer !== undefined && "value" in answer && readHearing(answer.value, asked);
          if (hearing) tell(address, hearing);
          await pause(pollMs, signal);
        }
        this.#open.delete(address);
      }
      connection?.destroy("the Sentinel was lost");
      await pause(500, signal);
    }
  }
}

/** Waits, but not for something that is stopped. */
async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await delay(ms, undefined, { signal, ref: false }).catch(() => undefined);
}
