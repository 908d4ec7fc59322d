import { ManagementError } from "@holdfast/admin";
import { type Clock, type Ids, type SystemRecord, singleFlight } from "@holdfast/engine";
import type { Bearer, TokenRefusal, TokenVerifier } from "../../management/tokens/bearer.ts";
import { isFresh } from "../../management/tokens/token-book.ts";
import { hashOf } from "../../management/tokens/token-text.ts";
import type { Records } from "../../records/records.ts";
import type { SystemView } from "../../records/system-view.ts";
import { tooMany } from "../access/authorizer.ts";
import { Buckets } from "../access/buckets.ts";
import { sessionSeconds } from "./session-cookie.ts";
import {
  keyIdOf,
  openSession,
  type SealingKey,
  type Session,
  sealSession,
  sessionPrefix,
} from "./session-text.ts";

export interface ConsoleSessionsOptions {
  readonly view: Pick<SystemView, "all" | "get" | "freshAtMs">;
  readonly records: Pick<Records, "create" | "change" | "destroy">;
  /** Verifies the tokens of sessions, and all other texts. */
  readonly tokens: TokenVerifier;
  /** Reads what other nodes wrote a moment ago; never rejects. */
  readonly lookAgain: () => Promise<void>;
  readonly clock: Clock;
  readonly ids: Pick<Ids, "randomBytes">;
}

/** A session that counts. */
export interface OpenedSession {
  readonly token: string;
  readonly endsMs: number;
}

type ConsoleKey = SystemRecord<"ConsoleKey">;

const dayMs = 86_400_000;
const sessionMs = sessionSeconds * 1000;
/** For so long a key seals new sessions. */
const sealsMs = 7 * dayMs;
/** After that, no session of a key can count. */
const keptMs = 8 * dayMs;
/** Of more keys the oldest are deleted, although a session of theirs may count. */
const keysMax = 32;
/** Sign-ins with one token at one node: each may leave an ended session in a record. */
const signIns = { perSecond: 0.5, burst: 60 };
/** How far the clock of another node may be ahead or behind. */
const skewMs = 60_000;
/** A key with so many ended sessions, or so many processes that ended some, seals no new ones. */
const [endedMax, writersMax] = [500, 100];
/** A key that is so many times as full is deleted, which ends all of its sessions: its record must stay small. */
const overfull = 4;

/**
 * Sessions of the web console. The text of a session, which is its cookie, holds one of Holdfast's own tokens, sealed with
 * a key that all nodes of all regions share: it does not show the token, counts for eight hours at most, and until it is ended.
 */
export class ConsoleSessions implements TokenVerifier {
  readonly #options: ConsoleSessionsOptions;
  readonly #process: string;
  /** Sessions that ended here, by identifier, written or not. */
  readonly #ended = new Map<string, { readonly keyId: string; readonly overMs: number }>();
  readonly #making = new Map<"key", Promise<SealingKey>>();
  readonly #signIns: Buckets;

  constructor(options: ConsoleSessionsOptions) {
    this.#options = options;
    this.#signIns = new Buckets(signIns, options.clock.monotonicMs);
    this.#process = this.#random(16);
  }

  /** The text of a new session with a token that was verified. */
  async begin(token: string): Promise<string> {
    const { clock, ids } = this.#options;
    const waitSeconds = this.#signIns.take(hashOf(token));
    if (waitSeconds > 0) throw tooMany(waitSeconds, "too many sign-ins with this token");
    const key = await this.#sealing();
    const session = { token, id: this.#random(16), beganMs: Math.floor(clock.wallMs()) };
    return sealSession(key, session, ids.randomBytes(12));
  }

  /** The token of a session. Uses only what the node holds in memory. */
  open(text: string): OpenedSession | TokenRefusal {
    const found = this.#find(text);
    if (typeof found === "string") return found;
    const { key, session } = found;
    const nowMs = this.#options.clock.wallMs();
    const endsMs = session.beganMs + sessionMs;
    if (endsMs <= nowMs || session.beganMs > nowMs + skewMs) return "sessionOver";
    if (this.#ended.has(session.id) || hasEnded(key, session)) return "sessionEnded";
    return { token: session.token, endsMs };
  }

  /** See `TokenVerifier`. The token of a session is verified each time, too. */
  verify(text: string): Bearer | TokenRefusal {
    const { tokens } = this.#options;
    if (!text.startsWith(sessionPrefix)) return tokens.verify(text);
    const opened = this.open(text);
    if (typeof opened === "string") return opened;
    const bearer = tokens.verify(opened.token);
    if (typeof bearer === "string") return bearer;
    return { ...bearer, expiresMs: Math.min(bearer.expiresMs ?? opened.endsMs, opened.endsMs) };
  }

  /** Ends a session at all nodes; throws a `ManagementError` that says until when it may count if that cannot be written. */
  async end(text: string): Promise<void> {
    const nowMs = this.#options.clock.wallMs();
    if (keyIdOf(text) === undefined) return;
    if (typeof this.#find(text) === "string") await this.#options.lookAgain();
    const found = this.#find(text);
    if (found === "unavailable") throw notEnded(nowMs + sessionMs);
    if (typeof found === "string") return;
    const { key, session } = found;
    const endsMs = session.beganMs + sessionMs;
    // The clock of another node may be behind.
    const overMs = endsMs + skewMs;
    if (overMs <= nowMs || hasEnded(key, session)) return;
    this.#ended.set(session.id, { keyId: key.id, overMs });
    try {
      await this.#write(key);
    } catch (error) {
      if (!(error instanceof ManagementError)) throw error;
      await this.#options.lookAgain();
      // A key that was deleted meanwhile has no sessions.
      if (typeof this.#find(text) !== "string") throw notEnded(endsMs);
    }
  }

  /** The key that a text names, and the session that it seals. */
  #find(text: string): { readonly key: ConsoleKey; readonly session: Session } | TokenRefusal {
    const { view, clock } = this.#options;
    const id = keyIdOf(text);
    if (id === undefined) return "unknown";
    const key = view.get("ConsoleKey", id);
    // It may have been made since.
    if (key === undefined) return isFresh(view, clock) ? "unknown" : "unavailable";
    if (!isWhole(key)) return "sessionEnded";
    const session = openSession(key, text);
    return session === undefined ? "unknown" : { key, session };
  }

  /** Writes all that ended here and has the same key. */
  async #write(key: ConsoleKey): Promise<void> {
    const nowMs = this.#options.clock.wallMs();
    if (fullness(key, nowMs) >= overfull) return await this.#delete(key);
    for (const [id, { overMs }] of this.#ended) if (overMs <= nowMs) this.#ended.delete(id);
    const own = () =>
      [...this.#ended].flatMap(([id, { keyId, overMs }]) =>
        keyId === key.id ? [[id, overMs] as const] : [],
      );
    const edit = () => ({ ended: { [this.#process]: Object.fromEntries(own()) } });
    await this.#options.records.change("ConsoleKey", key.id, edit, []);
  }

  async #delete({ id, ended }: ConsoleKey): Promise<void> {
    const empty = Object.fromEntries(Object.keys(ended).map((process) => [process, undefined]));
    const leaving = { key: undefined, ended: empty };
    await this.#options.records.destroy("ConsoleKey", id, [], { leaving });
  }

  /** The key for new sessions. Without a usable one, it makes one; if that cannot be written, it takes the newest old one. */
  async #sealing(): Promise<SealingKey> {
    const usable = this.#usable();
    if (usable !== undefined) return usable;
    return await singleFlight(this.#making, "key", async () => {
      // Another node may have made one a moment ago.
      await this.#options.lookAgain();
      const made = this.#usable();
      if (made !== undefined) return made;
      try {
        return await this.#make();
      } catch (error) {
        const last = this.#known().at(-1);
        if (last === undefined || !(error instanceof ManagementError)) throw error;
        return last;
      }
    });
  }

  #usable(): SealingKey | undefined {
    const nowMs = this.#options.clock.wallMs();
    return this.#known().findLast(
      (key) =>
        key.createdMs > nowMs - sealsMs &&
        key.createdMs <= nowMs + skewMs &&
        fullness(key, nowMs) < 1,
    );
  }

  /** The keys that were not deleted, oldest first. */
  #known(): readonly (ConsoleKey & SealingKey)[] {
    return this.#options.view
      .all("ConsoleKey")
      .filter(isWhole)
      .toSorted((one, other) => one.createdMs - other.createdMs || (one.id < other.id ? -1 : 1));
  }

  async #make(): Promise<SealingKey> {
    const { records, clock, ids } = this.#options;
    const createdMs = Math.floor(clock.wallMs());
    const key = Buffer.from(ids.randomBytes(32)).toString("base64");
    const { id } = (await records.create("ConsoleKey", { createdMs, key }, [])).record;
    const known = this.#known();
    const over = known.filter(
      (each, at) =>
        Math.abs(createdMs - each.createdMs) > keptMs ||
        (at < known.length - keysMax && each.id !== id),
    );
    // What cannot be deleted now is deleted after the next key.
    await Promise.allSettled(over.map((each) => this.#delete(each)));
    return { id, key };
  }

  #random(length: number): string {
    return Buffer.from(this.#options.ids.randomBytes(length)).toString("base64url");
  }
}

function isWhole(record: ConsoleKey): record is ConsoleKey & SealingKey {
  return record.destroyed === undefined && record.key !== undefined;
}

/** Whether the record of its key says that a session has ended. */
function hasEnded({ ended }: ConsoleKey, { id }: Session): boolean {
  return Object.values(ended).some((list) => list !== undefined && Object.hasOwn(list, id));
}

/** How full the record of a key is; from 1 on, it seals no new sessions. */
function fullness({ ended }: ConsoleKey, nowMs: number): number {
  const lists = Object.values(ended);
  const live = lists
    .flatMap((list) => Object.values(list ?? {}))
    .filter((overMs) => overMs > nowMs);
  return Math.max(live.length / endedMax, lists.length / writersMax);
}

function notEnded(untilMs: number): ManagementError {
  return new ManagementError(
    "storeUnavailable",
    `no region's store takes the end of this session: a copy of its cookie may count until ${new Date(untilMs).toISOString()}. Revoke the token to end it before`,
  );
}
