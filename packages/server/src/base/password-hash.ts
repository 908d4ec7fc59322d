/** The parts of a scrypt hash: `scrypt$N$r$p$salt$hash`, salt and hash in base64url. */
export interface PasswordHash {
  readonly cost: number;
  readonly blockSize: number;
  readonly parallelization: number;
  readonly salt: Buffer;
  readonly hash: Buffer;
}

/**
 * The users of an instance with the hashes of their passwords, which may have to be unsealed. Each
 * change of users makes a new object.
 */
export interface Users {
  readonly size: number;
  get(username: string): PasswordHash | undefined | Promise<PasswordHash | undefined>;
}

/** 64 MiB: the most memory of one check, so that no hash in a configuration exhausts the node. */
export const scryptBytesMax = 67_108_864;

/** Reads a hash; undefined for other text, and for one too weak (under 16 MiB) or too expensive. */
export function parsePasswordHash(text: string): PasswordHash | undefined {
  const match = /^scrypt\$(\d{1,8})\$(\d{1,3})\$(\d{1,2})\$([\w-]{22,88})\$([\w-]{43,88})$/.exec(
    text,
  );
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
    cost,
    blockSize,
    parallelization,
    salt: Buffer.from(match[4] as string, "base64url"),
    hash: Buffer.from(match[5] as string, "base64url"),
  };
}

/** Whether a text is a hash that `hash-password` could have made. */
export function isPasswordHash(text: string): boolean {
  return parsePasswordHash(text) !== undefined;
}

/** Writes a hash the way `parsePasswordHash` reads it. */
export function printPasswordHash(hash: PasswordHash): string {
  const { cost, blockSize, parallelization } = hash;
  return `scrypt$${cost}$${blockSize}$${parallelization}$${hash.salt.toString("base64url")}$${hash.hash.toString("base64url")}`;
}
