import { z } from "zod";
import { fairShare, type RefusedClients, refusalReasons } from "../../access/refused-clients.ts";
import { parsedText } from "../../base/parsed-text.ts";
import { type NewsSite, NodeNews } from "../node-news.ts";

const entry = z.object({
  timeMs: z.number().int().min(0).max(8.64e15),
  reason: z.enum(refusalReasons),
  remote: z.string().max(128),
  fingerprint: z.string().regex(/^([0-9a-f]{64})?$/),
  subject: z.string().max(256),
  times: z.number().int().min(1),
  certificate: z.base64().max(12_288).optional(),
});
const entries = z.array(entry).max(1000);

type Entry = z.output<typeof entry>;

/** A client that a node refused, with its last attempt at that node. */
export interface RefusedAt extends Entry {
  readonly region: string;
  readonly node: string;
}

export interface RefusedDirectoryOptions extends NewsSite {
  /** This node's own. */
  readonly refused: Pick<RefusedClients, "count" | "seen" | "list">;
}

const tickMs = 500;
const recountMs = 60_000;
/** The most bytes that one node reports of its refused clients and their certificates: strangers decide the content. */
const publishedBytesMax = 98_304;
const subjectMax = 128;

/**
 * The clients that any node of both regions refused lately: an administrator asks one node, and vCenter may have tried
 * another.
 */
export class RefusedDirectory implements Disposable {
  readonly #options: RefusedDirectoryOptions;
  readonly #news: NodeNews;
  #published = { count: 0, seen: 0, atMs: Number.NEGATIVE_INFINITY };

  constructor(options: RefusedDirectoryOptions) {
    this.#options = options;
    this.#news = new NodeNews(options, {
      kind: "refused-clients",
      field: "clients",
      about: "refused clients",
      tickMs,
      isNew: () => this.#isNew(),
      next: () => {
        const { count, seen } = options.refused;
        const published = { count, seen, atMs: options.clock.monotonicMs() };
        return {
          text: printed(this.#own()),
          told: () => {
            this.#published = published;
          },
        };
      },
    });
  }

  /** Newest first. */
  list(): readonly RefusedAt[] {
    const { region, node } = this.#options;
    const others = this.#news
      .others()
      .flatMap(({ text, ...who }) => read(text).map((one) => ({ ...one, ...who })));
    const own = this.#own().map((one) => ({ ...one, region, node }));
    return [...own, ...others].toSorted((one, other) => other.timeMs - one.timeMs);
  }

  /** The certificate (DER) of a client that any node refused. */
  find(fingerprint: string): Uint8Array | undefined {
    const found = this.list().find(
      (one) => one.fingerprint === fingerprint && one.certificate !== undefined,
    );
    return found?.certificate === undefined ? undefined : Buffer.from(found.certificate, "base64");
  }

  /** Reports what is new to the other nodes, if it is time. */
  tick(): Promise<void> {
    return this.#news.tick();
  }

  [Symbol.dispose](): void {
    this.#news[Symbol.dispose]();
  }

  #isNew(): boolean {
    const { refused, clock } = this.#options;
    // A new number of attempts alone is reported only after a while.
    const stale =
      refused.seen !== this.#published.seen &&
      clock.monotonicMs() - this.#published.atMs >= recountMs;
    return refused.count !== this.#published.count || stale;
  }

  /** This node's, with what it reported before its last start. */
  #own(): readonly Entry[] {
    const told = read(this.#news.own);
    const now = this.#options.refused.list.map(
      ({ timeMs, reason, remote, fingerprint, subject, times, certificate }): Entry => ({
        timeMs,
        reason,
        remote,
        fingerprint,
        subject,
        times,
        ...(certificate && { certificate: Buffer.from(certificate).toString("base64") }),
      }),
    );
    const keyOf = (one: Entry) =>
      `${one.reason} ${one.fingerprint === "" ? one.remote.split(" ")[0] : one.fingerprint}`;
    const merged = new Map(told.toReversed().map((one) => [keyOf(one), one]));
    for (const one of now) merged.set(keyOf(one), one);
    return fairShare([...merged.values()]).toReversed();
  }
}

/** As much as fits, newest first; older clients lose their certificates first. */
function printed(clients: readonly Entry[]): string {
  const lines: string[] = [];
  let room = publishedBytesMax;
  for (const { certificate, subject, ...client } of clients) {
    const bare = { ...client, subject: subject.slice(0, subjectMax) };
    const whole = JSON.stringify({ ...bare, certificate });
    const line = whole.length + 1 < room / 2 ? whole : JSON.stringify(bare);
    room -= line.length + 1;
    if (room < 0) break;
    lines.push(line);
  }
  return `[${lines.join(",")}]`;
}

function read(text: string | undefined): readonly Entry[] {
  return parsedText(entries, text) ?? [];
}
