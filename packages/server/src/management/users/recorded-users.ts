import { timingSafeEqual } from "node:crypto";
import {
  type KeyRing,
  recordKinds,
  SealBroken,
  type SystemRecord,
  systemIdentifier,
} from "@holdfast/engine";
import { type PasswordHash, parsePasswordHash, type Users } from "../../base/password-hash.ts";
import { openText } from "../sealed-text.ts";

/** The record of a user is the same whichever region makes it; if two regions set a password, the last one counts. */
export function userRecordId(instance: string, name: string): string {
  return systemIdentifier("User", `${instance}\0${name}`);
}

/** What a user's hash is sealed to. */
export function userBinding(instance: string, name: string) {
  const uniqueIdentifier = userRecordId(instance, name);
  return { instance, uniqueIdentifier, objectType: recordKinds.User.type };
}

/** Whether a user's record says that the user exists now. */
export function isUser({ hash, destroyed }: SystemRecord<"User">): boolean {
  return destroyed === undefined && hash !== undefined;
}

/** Whether two seals of a user's hash open to the same; false if one cannot be opened now. */
export async function isSamePassword(
  keyRing: Pick<KeyRing, "open">,
  { instance, name }: SystemRecord<"User">,
  one: string,
  other: string,
): Promise<boolean> {
  const binding = userBinding(instance, name);
  const opened = await Promise.allSettled(
    [one, other].map((each) => openText(keyRing, binding, each)),
  );
  const [first, second] = opened.flatMap((each) =>
    each.status === "fulfilled" ? [each.value] : [],
  );
  const isSame =
    first !== undefined && second?.length === first.length && timingSafeEqual(first, second);
  first?.fill(0);
  second?.fill(0);
  return isSame;
}

/** An instance's users from its records. Hashes are unsealed on request, and not kept. */
export class RecordedUsers implements Users {
  readonly #instance: string;
  readonly #sealed: ReadonlyMap<string, string>;
  readonly #limits: ReadonlyMap<string, readonly string[] | undefined>;
  readonly #keyRing: Pick<KeyRing, "open">;

  constructor(
    instance: string,
    records: Iterable<SystemRecord<"User">>,
    keyRing: Pick<KeyRing, "open">,
  ) {
    this.#instance = instance;
    this.#keyRing = keyRing;
    const users = [...records].filter(isUser);
    this.#sealed = new Map(users.map(({ name, hash = "" }) => [name, hash]));
    this.#limits = new Map(users.map(({ name, operations }) => [name, operations]));
  }

  get size(): number {
    return this.#sealed.size;
  }

  /** See `Users.keys`. */
  keys(): Iterable<string> {
    return this.#sealed.keys();
  }

  /** See `Users.has`. */
  has(name: string): boolean {
    return this.#sealed.has(name);
  }

  /** See `Users.limitOf`. */
  limitOf(name: string): readonly string[] | undefined {
    return this.#limits.get(name);
  }

  /** See `Users.get`. Rejects where the hash cannot be unsealed now. */
  async get(name: string): Promise<PasswordHash | undefined> {
    const sealed = this.#sealed.get(name);
    if (sealed === undefined) return undefined;
    const binding = userBinding(this.#instance, name);
    const opened = await openText(this.#keyRing, binding, sealed);
    const hash = parsePasswordHash(Buffer.from(opened).toString("latin1"));
    opened.fill(0);
    if (hash === undefined) throw new SealBroken("a user's password hash cannot be read");
    return hash;
  }
}
