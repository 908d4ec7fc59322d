import {
  type Document,
  type KeyRing,
  SealBroken,
  systemIdentifier,
  systemTypes,
} from "@holdfast/engine";
import { type PasswordHash, parsePasswordHash, type Users } from "../../base/password-hash.ts";
import { openText } from "../sealed-text.ts";

/** The field of a user's record that holds the sealed hash; without it, the user is deleted. */
export const hashField = "hash";

/** The one record of a user, whichever region makes it: of a user that two regions set, the last password counts. */
export function userRecordId(instance: string, name: string): string {
  return systemIdentifier(systemTypes.User, `${instance}\0${name}`);
}

/** What a user's hash is sealed to. */
export function userBinding(instance: string, name: string) {
  const uniqueIdentifier = userRecordId(instance, name);
  return { instance, uniqueIdentifier, objectType: systemTypes.User };
}

/** Whether a user's record says that there is such a user. */
export function isUser({ type, fixed, fields, destroyed }: Document): boolean {
  if (type !== systemTypes.User || destroyed !== undefined) return false;
  return fixed["name"] !== undefined && fields[hashField] !== undefined;
}

/** An instance's users as its records name them. Hashes are unsealed when they are asked for, and kept nowhere. */
export class RecordedUsers implements Users {
  readonly #instance: string;
  readonly #sealed: ReadonlyMap<string, string>;
  readonly #keyRing: Pick<KeyRing, "open">;

  constructor(instance: string, records: Iterable<Document>, keyRing: Pick<KeyRing, "open">) {
    this.#instance = instance;
    this.#keyRing = keyRing;
    this.#sealed = new Map(
      [...records]
        .filter(isUser)
        .map(({ fixed, fields }) => [fixed["name"] ?? "", fields[hashField] ?? ""] as const),
    );
  }

  get size(): number {
    return this.#sealed.size;
  }

  /** See `Users.get`. Rejects where the hash cannot be unsealed now. */
  async get(name: string): Promise<PasswordHash | undefined> {
    const sealed = this.#sealed.get(name);
    if (sealed === undefined) return undefined;
    const binding = userBinding(this.#instance, name);
    const opened = await openText(this.#keyRing, binding, sealed);
    const hash = parsePasswordHash(Buffer.from(opened).toString("latin1"));
    opened.fill(0);
    if (hash === undefined) throw new SealBroken("a user's password hash does not read");
    return hash;
  }
}
