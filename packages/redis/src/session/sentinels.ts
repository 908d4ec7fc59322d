import type { Moment } from "@holdfast/engine";
import { formatAddress } from "../connection/address.ts";
import type { Connection, Outcome } from "../connection/connection.ts";
import type { ConnectionSettings } from "../connection/options.ts";
import { readPairs } from "../connection/replies.ts";
import { sleep } from "../connection/timers.ts";
import type { Hearing } from "./lease.ts";

/** How often Sentinels are asked while a caller needs only one answer. */
const onceMs = 2_000;

/** Connects to one Sentinel. */
async function connect(settings: ConnectionSettings, address: string): Promise<Connection> {
  const { username: _u, password: _p, tls: _t, ...rest } = settings;
  const { sentinelUsername, sentinelPassword, sentinelTls, onCertificate } = settings;
  return settings.connections.to(
    {
      ...rest,
      ...(sentinelUsername !== undefined && { username: sentinelUsername }),
      ...(sentinelPassword !== undefined && { password: sentinelPassword }),
      ...(sentinelTls !== undefined && { tls: sentinelTls }),
      onCertificate: (shown) => onCertificate?.({ ...shown, kind: "sentinel" }),
    },
    address,
    "sentinel",
  );
}

/** What one Sentinel says about the primary; `asked` is when it was asked. */
export function readHearing(answer: unknown, asked: Moment): Hearing | undefined {
  if (!Array.isArray(answer)) return undefined;
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

/** What Sentinels know of the store. */
export interface SentinelSurvey {
  /** Every address that any of them knows as primary or replica. */
  readonly members: readonly string[];
  /** The shortest time after which one of them considers the primary lost. */
  readonly downAfterMs: number;
  /**
   * A quorum with which a replica may be promoted while a majority still hears the primary;
   * undefined where there is none.
   */
  readonly weak: Quorum | undefined;
}

interface Quorum {
  readonly quorum: number;
  /**
   * How many Sentinels there are, by the configuration or by what that Sentinel knows, whichever is
   * more.
   */
  readonly sentinels: number;
}

/** The names and values that a Sentinel answers, of one Redis or of several; nothing where it failed. */
function fieldsOf(outcome: Outcome | undefined): readonly ReadonlyMap<string, string>[] {
  const value = outcome !== undefined && "value" in outcome ? outcome.value : undefined;
  if (!Array.isArray(value)) return [];
  return value.some(Array.isArray) ? value.map(readPairs) : [readPairs(value)];
}

/**
 * The quorum, if it is so small that a majority of the Sentinels may still hear the primary when
 * another is promoted.
 */
function weakQuorum(fields: ReadonlyMap<string, string>, configured: number): Quorum | undefined {
  const quorum = Number(fields.get("quorum") ?? 0);
  const sentinels = Math.max(configured, Number(fields.get("num-other-sentinels") ?? 0) + 1);
  return quorum * 2 < sentinels ? { quorum, sentinels } : undefined;
}

/**
 * Asks every Sentinel again and again which address is the primary, and when it last heard it (the
 * read lease).
 */
export class SentinelWatch implements AsyncDisposable {
  readonly #settings: ConnectionSettings;
  readonly #stop = new AbortController();
  readonly #loops: readonly Promise<void>[];
  /** Resolves when every Sentinel was reached or failed once. */
  readonly #tried: Promise<unknown>;
  readonly #open = new Map<string, Connection>();

  constructor(
    settings: ConnectionSettings,
    pollMs: number,
    now: () => Moment,
    report: (sentinel: string, hearing: Hearing) => void,
  ) {
    this.#settings = settings;
    const tried: Promise<void>[] = [];
    const loops: Promise<void>[] = [];
    for (const address of settings.sentinels ?? []) {
      const listen = (connection: Connection): Promise<void> =>
        this.#listen(connection, pollMs, now, (hearing) => report(address, hearing));
      tried.push(
        new Promise((resolve) => {
          loops.push(this.#watch(address, listen, resolve));
        }),
      );
    }
    this.#loops = loops;
    this.#tried = Promise.all(tried);
  }

  /** What the Sentinels that can be reached know of the store. */
  async survey(): Promise<SentinelSurvey> {
    await this.#tried;
    const name = this.#settings.name ?? "";
    const members = new Set<string>();
    let downAfterMs = Number.POSITIVE_INFINITY;
    let weak: Quorum | undefined;
    await Promise.all(
      [...this.#open.values()].map(async (connection) => {
        const [primary, replicas] = await connection.batch([
          ["sentinel", "MASTER", name],
          ["sentinel", "REPLICAS", name],
        ]);
        const own = fieldsOf(primary);
        for (const fields of own) {
          downAfterMs = Math.min(downAfterMs, Number(fields.get("down-after-milliseconds") ?? 0));
          weak ??= weakQuorum(fields, this.#settings.sentinels?.length ?? 0);
        }
        for (const fields of [...own, ...fieldsOf(replicas)]) {
          const port = Number(fields.get("port"));
          if (port > 0) members.add(formatAddress(fields.get("ip") ?? "", port));
        }
      }),
    );
    return { members: [...members], downAfterMs, weak };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    for (const connection of this.#open.values()) connection.destroy("the store is closing");
    await Promise.all(this.#loops);
  }

  async #watch(
    address: string,
    listen: (connection: Connection) => Promise<void>,
    tried: () => void,
  ): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      const connection = await connect(this.#settings, address).catch(() => undefined);
      if (connection !== undefined) this.#open.set(address, connection);
      tried();
      if (connection !== undefined) await listen(connection);
      this.#open.delete(address);
      connection?.destroy("the Sentinel was lost");
      await this.#pause(500);
    }
  }

  /** Waits, but returns at once when the watch ends. */
  #pause(ms: number): Promise<void> {
    return sleep(this.#settings.timers, ms, { signal: this.#stop.signal, background: true });
  }

  /** Asks one Sentinel until it is lost. */
  async #listen(
    connection: Connection,
    pollMs: number,
    now: () => Moment,
    report: (hearing: Hearing) => void,
  ): Promise<void> {
    const { signal } = this.#stop;
    const name = this.#settings.name ?? "";
    while (connection.open && !signal.aborted) {
      const asked = now();
      const [answer] = await connection.batch([["sentinel", "MASTER", name]]);
      const hearing =
        answer !== undefined && "value" in answer ? readHearing(answer.value, asked) : undefined;
      if (hearing !== undefined) report(hearing);
      await this.#pause(pollMs);
    }
  }
}

/** Every address that a Sentinel knows as the store's primary or replica; none where there are no Sentinels. */
export async function sentinelMembers(settings: ConnectionSettings): Promise<readonly string[]> {
  if (settings.sentinels === undefined) return [];
  const never = { monotonicMs: 0, wallMs: 0 };
  await using sentinels = new SentinelWatch(
    settings,
    onceMs,
    () => never,
    () => undefined,
  );
  return (await sentinels.survey()).members;
}
