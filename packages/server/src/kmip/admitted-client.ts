import { allowedOperations, type Client } from "@holdfast/engine";
import { KmipError } from "@holdfast/kmip";
import { type Passwords, RememberedPassword } from "../access/passwords.ts";
import type { Admission } from "../access/trust.ts";

/** What all clients of an endpoint share. */
export interface ClientHost {
  readonly passwords: Passwords;
  /** Called with a user name whose password is wrong or cannot be checked. */
  readonly refused: (admission: Admission, username: string) => void;
}

/** What a user may do who does not exist. */
const none: readonly string[] = [];

/** A connection's client. Each request uses the users that its instance has at that time. */
export class AdmittedClient implements Client {
  readonly #admission: Admission;
  readonly #host: ClientHost;
  readonly operations: Client["operations"];
  #verify: Client["verifyPassword"];

  constructor(admission: Admission, host: ClientHost) {
    this.#admission = admission;
    this.#host = host;
    this.operations = allowedOperations(admission.operations);
  }

  get instance(): string {
    return this.#admission.instance.id;
  }

  get fingerprint(): string {
    return this.#admission.fingerprint;
  }

  get keepsKeys(): boolean | undefined {
    return this.#admission.instance.keepsKeys;
  }

  get destroyDelaySeconds(): number | undefined {
    return this.#admission.instance.destroyDelaySeconds;
  }

  /** See the engine's `Client.operationsOf`. */
  operationsOf(username: string): Client["operations"] {
    const { users } = this.#admission.instance;
    return allowedOperations(users.has(username) ? users.limitOf?.(username) : none);
  }

  /** See `Client.verifyPassword`. */
  get verifyPassword(): Client["verifyPassword"] {
    if (this.#admission.instance.users.size === 0) return undefined;
    this.#verify ??= this.#verifier();
    return this.#verify;
  }

  #verifier(): NonNullable<Client["verifyPassword"]> {
    const { instance } = this.#admission;
    const { passwords, refused } = this.#host;
    const remembered = new RememberedPassword(passwords, () => instance.users);
    return async (username, password) => {
      try {
        const right = await remembered.verify(username, password);
        if (!right) refused(this.#admission, username);
        return right;
      } catch (error) {
        // A password that cannot be checked may be a guess too.
        if (error instanceof KmipError) refused(this.#admission, username);
        throw error;
      }
    };
  }
}
