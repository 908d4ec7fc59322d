import { createHmac, pbkdf2, randomBytes, scrypt, timingSafeEqual } from "node:crypto";
import { Semaphore } from "@holdfast/engine";
import { KmipError } from "@holdfast/kmip";
import { isFipsMode } from "../base/fips.ts";
import {
  canCheck,
  newHash,
  type PasswordHash,
  printPasswordHash,
  readableHash,
  scryptBytesMax,
  type Users,
} from "../base/password-hash.ts";

/** The most hashes computed at the same time; each takes one of four threads and 32 MiB. */
const hashesAtOnceMax = 2;
/** The most waiting hashes of one instance; more are refused: guesses must not fill the memory. */
const hashesWaitingMax = 256;

/** Too many passwords are being checked: this one cannot be checked now. */
export class PasswordsBusy extends Error {
  override readonly name = "PasswordsBusy";
}

/** Checks user names and passwords against their hashes, a few at a time; instances take turns. */
export class Passwords {
  readonly #key = randomBytes(32);
  /** The last choice for an unknown user: the time taken must not reveal whether the user exists. */
  readonly #nobody: PasswordHash = {
    ...newHash(isFipsMode()),
    salt: randomBytes(16),
    hash: randomBytes(32),
  };
  readonly #hashes = new Semaphore(hashesAtOnceMax);
  readonly #waitingMax: number;

  constructor(waitingMax: number = hashesWaitingMax) {
    this.#waitingMax = waitingMax;
  }

  /**
   * Whether the user exists and the password is theirs. Rejects with `PasswordsBusy` when too many wait, and with a
   * `KmipError` for a hash that OpenSSL's FIPS provider cannot compute.
   */
  async verify(users: Users, username: string, password: string): Promise<boolean> {
    const expected = await users.get(username);
    if (expected !== undefined && !canCheck(expected)) throw notApproved();
    const like = expected ?? (await anyOf(users)) ?? this.#nobody;
    const actual = await this.#hash(users, password, like);
    return expected !== undefined && timingSafeEqual(actual, expected.hash);
  }

  /** What a connection may keep of a verified password: a digest that does not reveal it. */
  digest(username: string, password: string): Buffer {
    return createHmac("sha256", this.#key)
      .update(`${Buffer.byteLength(username)} ${username}${password}`)
      .digest();
  }

  async #hash(users: Users, password: string, like: PasswordHash): Promise<Buffer> {
    if (this.#hashes.waiting(users) >= this.#waitingMax) {
      throw new PasswordsBusy("too many passwords are being checked");
    }
    return await this.#hashes.run(() => derive(password, like), { owner: users });
  }
}

/** Remembers the verified password of one connection, so that not every message costs a hash. */
export class RememberedPassword {
  readonly #passwords: Passwords;
  /** The users as they are now. */
  readonly #users: () => Users;
  #verified: { readonly digest: Buffer; readonly users: Users } | undefined;

  constructor(passwords: Passwords, users: () => Users) {
    this.#passwords = passwords;
    this.#users = users;
  }

  /**
   * As `Passwords.verify`, but at once if this connection has verified the same password before and
   * no user has changed since.
   */
  async verify(username: string, password: string): Promise<boolean> {
    const users = this.#users();
    const digest = this.#passwords.digest(username, password);
    const known = this.#verified?.users === users ? this.#verified.digest : undefined;
    if (known !== undefined && timingSafeEqual(digest, known)) return true;
    const right = await this.#passwords.verify(users, username, password);
    if (right) this.#verified = { digest, users };
    return right;
  }
}

/**
 * Makes the hash that `instances[].users[].passwordHash` takes; with `approved`, one that a node with `fips: required` can
 * check.
 */
export async function hashPassword(
  password: string,
  approved: boolean = isFipsMode(),
): Promise<string> {
  const made: PasswordHash = {
    ...newHash(approved),
    salt: randomBytes(16),
    hash: Buffer.alloc(32),
  };
  return printPasswordHash({ ...made, hash: await derive(password, made) });
}

/** Computes the hash in a thread, so that the event loop continues. */
function derive(password: string, like: PasswordHash): Promise<Buffer> {
  // NFC: the same password typed on different systems is the same text.
  const text = password.normalize("NFC");
  const { salt } = like;
  const { length } = like.hash;
  return new Promise((resolve, reject) => {
    const done = (error: Error | null, hash: Buffer) =>
      error === null ? resolve(hash) : reject(error);
    if (like.algorithm === "scrypt") {
      const { cost: N, blockSize: r, parallelization: p } = like;
      scrypt(text, salt, length, { N, r, p, maxmem: 2 * scryptBytesMax }, done);
    } else {
      pbkdf2(text, salt, like.iterations, length, "sha256", done);
    }
  });
}

/**
 * The hash of one of the users: a check against it takes as long as one of another user's. If it cannot be unsealed, an
 * unknown user's password is wrong all the same.
 */
async function anyOf(users: Users): Promise<PasswordHash | undefined> {
  const [first] = users.keys();
  const hash = first === undefined ? undefined : await readableHash(users, first);
  return hash !== undefined && canCheck(hash) ? hash : undefined;
}

function notApproved(): KmipError {
  return new KmipError(
    "authenticationNotSuccessful",
    "this user's password is kept as a scrypt hash, which this server cannot check in FIPS mode: set the password again",
  );
}
