import { isFipsMode } from "./fips.ts";

/** The parts of a hash: `scrypt$N$r$p$salt$hash`, salt and hash in base64url. */
interface ScryptHash {
  readonly algorithm: "scrypt";
  readonly cost: number;
  readonly blockSize: number;
  readonly parallelization: number;
  readonly salt: Buffer;
  readonly hash: Buffer;
}

/** The parts of a hash: `pbkdf2-sha256$ITERATIONS$salt$hash`, salt and hash in base64url. */
interface Pbkdf2Hash {
  readonly algorithm: "pbkdf2-sha256";
  readonly iterations: number;
  readonly salt: Buffer;
  readonly hash: Buffer;
}

/** A password's hash, with the algorithm and the cost that it was made with. */
export type PasswordHash = ScryptHash | Pbkdf2Hash;

/**
 * The users of an instance with the hashes of their passwords, which may have to be unsealed. Each
 * change of users makes a new object.
 */
export interface Users {
  readonly size: number;
  /** The names of all users. */
  keys(): Iterable<string>;
  has(username: string): boolean;
  get(username: string): PasswordHash | undefined | Promise<PasswordHash | undefined>;
  /** The operations that a user is limited to: see `allowedOperations`. Without this method, no user has a limit. */
  limitOf?(username: string): readonly string[] | undefined;
}

/** A user's hash; undefined too if it cannot be unsealed. */
export async function readableHash(
  users: Users,
  username: string,
): Promise<PasswordHash | undefined> {
  try {
    return await users.get(username);
  } catch {
    return undefined;
  }
}

/** 64 MiB: the most memory of one check, so that no hash in a configuration exhausts the node. */
export const scryptBytesMax = 67_108_864;

/** OWASP's Password Storage Cheat Sheet asks for 600,000 at least; the limit bounds the time of a check. */
const iterations = { min: 600_000, max: 10_000_000 };

const saltAndHash = String.raw`\$([\w-]{22,88})\$([\w-]{43,88})$`;
const scryptForm = new RegExp(String.raw`^scrypt\$(\d{1,8})\$(\d{1,3})\$(\d{1,2})${saltAndHash}`);
const pbkdf2Form = new RegExp(String.raw`^pbkdf2-sha256\$(\d{6,8})${saltAndHash}`);

/** Reads a hash; undefined for other text, and for one too weak or too expensive (scrypt: under 16 MiB is too weak). */
export function parsePasswordHash(text: string): PasswordHash | undefined {
  return parseScrypt(text) ?? parsePbkdf2(text);
}

function parseScrypt(text: string): ScryptHash | undefined {
  const match = scryptForm.exec(text);
  if (match === null) return undefined;
  const [cost, blockSize, parallelization] = match.slice(1, 4).map(Number) as [
    number,
    number,
    number,
  ];
  const bytes = 128 * cost * blockSize;
  const powerOfTwo = Number.isInteger(Math.log2(cost)) && cost > 1;
  if (!powerOfTwo || bytes < 16_777_216 || bytes > scryptBytesMax) return undefined;
  if (parallelization < 1 || parallelization > 4) return undefined;
  return {
    algorithm: "scrypt",
    cost,
    blockSize,
    parallelization,
    ...bytesOf(match[4], match[5]),
  };
}

function parsePbkdf2(text: string): Pbkdf2Hash | undefined {
  const match = pbkdf2Form.exec(text);
  const count = Number(match?.[1]);
  if (match === null || count < iterations.min || count > iterations.max) return undefined;
  return { algorithm: "pbkdf2-sha256", iterations: count, ...bytesOf(match[2], match[3]) };
}

function bytesOf(salt = "", hash = "") {
  return { salt: Buffer.from(salt, "base64url"), hash: Buffer.from(hash, "base64url") };
}

/** Whether a text is a hash that `hash-password` could have made. */
export function isPasswordHash(text: string): boolean {
  return parsePasswordHash(text) !== undefined;
}

/** Writes a hash the way `parsePasswordHash` reads it. */
export function printPasswordHash(hash: PasswordHash): string {
  const cost =
    hash.algorithm === "scrypt"
      ? [hash.cost, hash.blockSize, hash.parallelization]
      : [hash.iterations];
  const bytes = [hash.salt, hash.hash].map((each) => each.toString("base64url"));
  return [hash.algorithm, ...cost, ...bytes].join("$");
}

/** The algorithm of a new hash and its cost; OpenSSL's FIPS provider has no scrypt. */
type NewHash = Omit<ScryptHash, "salt" | "hash"> | Omit<Pbkdf2Hash, "salt" | "hash">;

/** How this process makes a new hash; with `approved`, one that a node in FIPS mode can check. */
export function newHash(approved: boolean): NewHash {
  return approved
    ? { algorithm: "pbkdf2-sha256", iterations: iterations.min }
    : { algorithm: "scrypt", cost: 32_768, blockSize: 8, parallelization: 1 };
}

/** Whether this process can check passwords against a hash of this kind. */
export function canCheck({ algorithm }: Pick<PasswordHash, "algorithm">): boolean {
  return algorithm !== "scrypt" || !isFipsMode();
}
