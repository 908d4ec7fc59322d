import { hash } from "node:crypto";
import type { Principal } from "@holdfast/admin";
import { hashUuid } from "@holdfast/engine";
import { Refused } from "./problem.ts";

/** An answer as it was sent. */
export interface Sent {
  readonly status: number;
  readonly body: unknown;
}

/** A POST that may be repeated. */
export interface Repeatable {
  readonly key: string;
  readonly operation: string;
  readonly principal: Principal;
  readonly params: unknown;
  readonly body: unknown;
  /** The answer holds a secret, and is not kept. */
  readonly shownOnce: boolean;
}

interface Kept {
  readonly digest: string;
  readonly untilMs: number;
  /** Undefined if it was too large or is shown only once. */
  readonly sent: Promise<Sent | undefined>;
}

const keptMs = 24 * 3_600_000;
const keptMax = 1000;
const keptBytesMax = 32_768;
const keyForm = /^[\x21-\x7e]{1,128}$/;

/** The key of an `Idempotency-Key` header; throws a `Refused` if it is invalid. */
export function idempotencyKey(header: string | readonly string[] | undefined): string | undefined {
  if (header === undefined) return undefined;
  if (typeof header === "string" && keyForm.test(header)) return header;
  throw new Refused({
    code: "invalid",
    detail: "Idempotency-Key: must be 1 to 128 visible ASCII characters, such as a UUID",
  });
}

/**
 * Keeps the answers of POSTs at this node for a day, to answer repetitions. A call makes its record
 * under an identifier derived from the key (`repeatedId`), so that another node, or this one after
 * a crash, makes nothing twice either.
 */
export class Idempotency {
  readonly #monotonicMs: () => number;
  readonly #kept = new Map<string, Kept>();

  constructor(monotonicMs: () => number) {
    this.#monotonicMs = monotonicMs;
  }

  /** The answer of the first call with this key; runs `first` if this is it. Keeps no errors. */
  async run(
    call: Repeatable,
    first: () => Promise<Sent>,
  ): Promise<{ readonly sent: Sent; readonly repeated: boolean }> {
    const name = repeatedId(call);
    const digest = hash("sha256", JSON.stringify(call.body) ?? "", "base64url");
    const known = this.#kept.get(name);
    if (known !== undefined && known.untilMs > this.#monotonicMs()) {
      if (known.digest !== digest) throw mismatch();
      const sent = await known.sent;
      if (sent === undefined) throw madeAlready();
      return { sent, repeated: true };
    }
    const running = first();
    const sent = running.then((answer) => (this.#keeps(call, answer) ? answer : undefined));
    // The caller gets the error; here it matters only whether there is an answer to repeat.
    sent.catch(() => this.#kept.delete(name));
    this.#kept.set(name, { digest, untilMs: this.#monotonicMs() + keptMs, sent });
    if (this.#kept.size > keptMax) {
      const [oldest] = this.#kept.keys();
      if (oldest !== undefined) this.#kept.delete(oldest);
    }
    return { sent: await running, repeated: false };
  }

  #keeps({ shownOnce }: Repeatable, { body }: Sent): boolean {
    return !shownOnce && Buffer.byteLength(JSON.stringify(body) ?? "") <= keptBytesMax;
  }
}

/** The key was used with another body. */
export function mismatch(): Refused {
  return new Refused({
    code: "idempotencyMismatch",
    detail: "this Idempotency-Key came with another body before: use a new one",
  });
}

/** The answer cannot be shown again. */
export function madeAlready(): Refused {
  return new Refused({
    code: "madeAlready",
    detail:
      "an earlier request with this Idempotency-Key was carried out and its answer is not kept: look at what it made; if its secret was lost, delete that and make another",
  });
}

/** A UUID that is the same for each repetition of a call, at every node (RFC 9562, version 8). */
export function repeatedId({
  key,
  operation,
  principal,
  params,
}: Omit<Repeatable, "body" | "shownOnce">): string {
  const text = JSON.stringify(["holdfast repeat", principal.id, operation, params ?? {}, key]);
  return hashUuid(text);
}
