import { ManagementError } from "@holdfast/admin";
import { type Clock, systemIdentifier, systemTypes } from "@holdfast/engine";
import { z } from "zod";
import type { NodeObserver } from "../../events.ts";
import { fairShare, type RefusedClients, refusalReasons } from "../../refused-clients.ts";
import { reasonOf } from "../../start-error.ts";
import { parsedText } from "../parsed-text.ts";
import type { Records } from "../records.ts";
import type { SystemView } from "../system-view.ts";
import { PublishPace } from "./publish-pace.ts";

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

/** A client that some node did not let in, the last time that it came there. */
export interface RefusedAt extends Entry {
  readonly region: string;
  readonly node: string;
}

/** What the directory stands on. */
export interface RefusedDirectoryOptions {
  readonly region: string;
  readonly node: string;
  /** This node's own. */
  readonly refused: Pick<RefusedClients, "count" | "seen" | "list">;
  readonly view: Pick<SystemView, "documents" | "get">;
  readonly records: Pick<Records, "create" | "change">;
  readonly clock: Clock;
  readonly observe: NodeObserver;
}

const kind = "refused-clients";
const clientsField = "clients";
const tickMs = 500;
const recountMs = 60_000;
/** What one node tells of its refused clients, certificates and all: strangers decide what is in it. */
const publishedBytesMax = 98_304;
const subjectMax = 128;

/**
 * The clients that were refused lately, at whichever node of both regions: an administrator looks at one, and vCenter
 * may have tried another. Each node tells its own in a record of bounded size, and not more often than `PublishPace` lets it.
 */
export class RefusedDirectory implements Disposable {
  readonly #options: RefusedDirectoryOptions;
  readonly #id: string;
  readonly #timer: NodeJS.Timeout;
  readonly #pace = new PublishPace();
  #published = { count: 0, seen: 0, atMs: Number.NEGATIVE_INFINITY };
  #publishing = false;

  constructor(options: RefusedDirectoryOptions) {
    this.#options = options;
    const { region, node } = options;
    this.#id = systemIdentifier(systemTypes.Setting, `${kind}\0${region}\0${node}`);
    this.#timer = setInterval(() => void this.tick(), tickMs).unref();
  }

  /** Newest first. */
  list(): readonly RefusedAt[] {
    const { region, node, view } = this.#options;
    const others = view
      .documents(systemTypes.Setting)
      .filter(({ id, fixed, destroyed }) => {
        return fixed["kind"] === kind && id !== this.#id && destroyed === undefined;
      })
      .flatMap(({ fixed, fields }) =>
        read(fields[clientsField]).map((one) => ({
          ...one,
          region: fixed["region"] ?? "",
          node: fixed["node"] ?? "",
        })),
      );
    const own = this.#own().map((one) => ({ ...one, region, node }));
    return [...own, ...others].toSorted((one, other) => other.timeMs - one.timeMs);
  }

  /** The certificate (DER) of a client that was refused, wherever that was. */
  find(fingerprint: string): Uint8Array | undefined {
    const found = this.list().find(
      (one) => one.fingerprint === fingerprint && one.certificate !== undefined,
    );
    return found?.certificate === undefined ? undefined : Buffer.from(found.certificate, "base64");
  }

  /** Tells the other nodes what is new, if it is time. */
  async tick(): Promise<void> {
    const { refused, clock } = this.#options;
    const { count, seen } = refused;
    const nowMs = clock.monotonicMs();
    // How often a client came is no news for a while.
    const stale = seen !== this.#published.seen && nowMs - this.#published.atMs >= recountMs;
    if (this.#publishing || (count === this.#published.count && !stale)) return;
    if (!this.#pace.may(nowMs)) return;
    this.#publishing = true;
    try {
      await this.#publish();
      this.#published = { count, seen, atMs: nowMs };
    } catch (cause) {
      // A store that is out is told elsewhere, and the next turn tries again.
      if (!(cause instanceof ManagementError)) {
        const message = `refused clients are not told to other nodes: ${reasonOf(cause)}`;
        this.#options.observe({ type: "warning", message, cause });
      }
    } finally {
      this.#publishing = false;
    }
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }

  async #publish(): Promise<void> {
    const { region, node, view, records } = this.#options;
    const fields = { [clientsField]: printed(this.#own()) };
    if (view.get(systemTypes.Setting, this.#id) === undefined) {
      try {
        await records.create(systemTypes.Setting, { kind, region, node }, fields, [], {
          id: this.#id,
        });
        return;
      } catch (error) {
        if (!(error instanceof ManagementError) || error.code !== "conflict") throw error;
      }
    }
    await records.change(systemTypes.Setting, this.#id, () => fields, []);
  }

  /** This node's, with what it told before its last start. */
  #own(): readonly Entry[] {
    const told = read(this.#options.view.get(systemTypes.Setting, this.#id)?.fields[clientsField]);
    const now = this.#options.refused.list.map(
      ({ timeMs, reason, remote, fingerprint, subject, times, certificate }): Entry => ({
        ...{ timeMs, reason, remote, fingerprint, subject, times },
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

/** As much of it as fits, newest first; the certificates of the older ones go first. */
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
