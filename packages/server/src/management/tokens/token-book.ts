import { timingSafeEqual } from "node:crypto";
import type { Role } from "@holdfast/admin";
import type { Clock, SystemRecord } from "@holdfast/engine";
import type { SystemView } from "../../records/system-view.ts";
import type { Bearer, TokenRefusal, TokenVerifier } from "./bearer.ts";
import { hashOf, isToken } from "./token-text.ts";

export interface TokenBookOptions {
  readonly view: Pick<SystemView, "all" | "find" | "freshAtMs">;
  readonly clock: Clock;
}

/** A view older than this may lack a revocation: then tokens are valid for reading only. */
const staleMs = 10_000;

/** All tokens of the view; every request is checked here, in memory. */
export class TokenBook implements TokenVerifier {
  readonly #options: TokenBookOptions;

  constructor(options: TokenBookOptions) {
    this.#options = options;
  }

  /** Every token, revoked and expired ones too; newest first. */
  list(): readonly SystemRecord<"Token">[] {
    return this.#options.view
      .all("Token")
      .toSorted((one, other) => other.createdMs - one.createdMs || (one.id < other.id ? -1 : 1));
  }

  /** See `TokenVerifier.verify`. */
  verify(token: string): Bearer | TokenRefusal {
    if (!isToken(token)) return "unknown";
    const fresh = this.isFresh();
    const hash = hashOf(token);
    const record = this.#options.view.find("Token", hash).at(-1);
    // It may have been made since.
    if (record === undefined || !same(record.hash, hash)) return fresh ? "unknown" : "unavailable";
    if (record.destroyed !== undefined) return "revoked";
    if (record.expiresMs <= this.#options.clock.wallMs()) return "expired";
    const { id, name, role: roles, expiresMs } = record;
    const instances = this.#reached(record);
    return { id, name, roles, instances, expiresMs, ...(fresh ? {} : { stale: true }) };
  }

  /** Whether a valid token has this role in the whole system. */
  has(role: Role): boolean {
    const nowMs = this.#options.clock.wallMs();
    return this.#options.view
      .all("Token")
      .some((token) => isWhole(token, role) && token.expiresMs > nowMs);
  }

  /** The instances that a token reaches now; undefined = all. */
  #reached({ instances, labels }: SystemRecord<"Token">): readonly string[] | undefined {
    if (labels === undefined) return instances;
    const wanted = Object.entries(labels);
    return this.#options.view
      .all("Instance")
      .filter((one) => instances?.includes(one.instance) ?? true)
      .filter((one) => wanted.every(([key, value]) => one.labels[key] === value))
      .map(({ instance }) => instance)
      .toSorted();
  }

  /** Whether the view is at most as old as a revocation may take. */
  isFresh(): boolean {
    return isFresh(this.#options.view, this.#options.clock);
  }
}

/** See `TokenBook.isFresh`. */
export function isFresh(view: Pick<SystemView, "freshAtMs">, clock: Clock): boolean {
  return view.freshAtMs !== undefined && clock.monotonicMs() - view.freshAtMs <= staleMs;
}

/** Whether a token that was not revoked has this role in the whole system. */
export function isWhole(token: SystemRecord<"Token">, role: Role): boolean {
  const { instances, labels, destroyed } = token;
  const isBound = instances !== undefined || labels !== undefined;
  return token.role.includes(role) && !isBound && destroyed === undefined;
}

function same(one: string, other: string): boolean {
  return timingSafeEqual(Buffer.from(one, "hex"), Buffer.from(other, "hex"));
}
