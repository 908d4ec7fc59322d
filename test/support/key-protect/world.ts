import { createHash, randomBytes, randomUUID } from "node:crypto";
import { readFileSync, renameSync, writeFileSync } from "node:fs";

/** The kind of IBM key manager. */
export type KeyManagerKind = "key-protect" | "dedicated-key-protect" | "hpcs";

/** Roles of a service ID; each includes the ones before. */
export const roles = ["None", "Reader", "ReaderPlus", "Writer", "Manager"] as const;
export type Role = (typeof roles)[number];

/** 0 Pre-activation, 1 Active, 2 Suspended, 3 Deactivated, 5 Destroyed. */
export type State = 0 | 1 | 2 | 3 | 5;

/** A version of a root key with its material in base64; the newest one wraps. */
export interface Version {
  readonly id: string;
  readonly createdMs: number;
  readonly material: string;
}

/** A root key, or a standard key if `extractable`. */
export interface Key {
  readonly id: string;
  readonly name: string;
  readonly description?: string;
  readonly extractable: boolean;
  readonly imported: boolean;
  readonly createdMs: number;
  readonly createdBy: string;
  /** The payload of a standard key in base64. */
  readonly payload?: string;
  readonly expiresMs?: number;
  keyRing: string;
  aliases: string[];
  state: State;
  /** The time of the last change of its state or versions. */
  changedMs: number;
  rotatedMs?: number;
  deletedMs?: number;
  deletedBy?: string;
  versions: Version[];
  dualAuthDelete: boolean;
  setForDeletion?: { readonly by: string; readonly untilMs: number };
  rotationMonths?: number;
}

export interface ApiKey {
  readonly key: string;
  readonly serviceId: string;
  role: Role;
}

/** Settings that a test may change at any time. */
export interface Settings {
  initialised: boolean;
  /** The lifetime of an IAM token. */
  tokenSeconds: number;
  /** The minimum time between two rotations of a key. */
  rotationMs: number;
  /** The minimum time between two changes of a key's state. */
  settleMs: number;
  purgeMs: number;
}

/** All data of a key manager. */
export interface World {
  readonly kind: KeyManagerKind;
  readonly instanceId: string;
  readonly region: string;
  readonly account: string;
  readonly tokenSecret: string;
  /** Tokens that were issued before this time are invalid. */
  tokensFromMs: number;
  /** The offset of its clock. */
  aheadMs: number;
  settings: Settings;
  apiKeys: ApiKey[];
  keys: Key[];
  rings: { readonly id: string; readonly createdMs: number; readonly createdBy: string }[];
  policies: Record<string, unknown>[];
  importToken?: ImportToken;
}

interface ImportToken {
  readonly createdMs: number;
  readonly untilMs: number;
  readonly allowed: number;
  remaining: number;
  readonly privateKey: string;
  readonly publicKey: string;
  readonly nonce: string;
}

const hourMs = 3_600_000;

/** A new key manager: no keys, one ring, one service ID with all rights. */
export function newWorld(kind: KeyManagerKind, instanceId: string, apiKey: string): World {
  return {
    kind,
    instanceId,
    region: "us-south",
    account: createHash("md5").update(instanceId).digest("hex"),
    tokenSecret: randomBytes(32).toString("hex"),
    tokensFromMs: 0,
    aheadMs: 0,
    settings: {
      initialised: true,
      tokenSeconds: 3600,
      rotationMs: hourMs,
      settleMs: 30_000,
      purgeMs: 4 * hourMs,
    },
    apiKeys: [{ key: apiKey, serviceId: `iam-ServiceId-${randomUUID()}`, role: "Manager" }],
    keys: [],
    rings: [{ id: "default", createdMs: Date.now(), createdBy: "IBMid-0000000000" }],
    policies: [],
  };
}

/** The clock of a key manager, which a test may set forward. */
export function nowMs(world: World): number {
  return Date.now() + world.aheadMs;
}

/** The state now: a key is deactivated once its expiration date has passed. */
export function stateOf(world: World, key: Key): State {
  const expired = key.expiresMs !== undefined && key.expiresMs <= nowMs(world);
  return expired && key.state !== 5 ? 3 : key.state;
}

/** The version that wraps. */
export function newestOf(key: Key): Version {
  const newest = key.versions.at(-1);
  if (newest === undefined) throw new Error("a standard key has no versions");
  return newest;
}

/** A new version with the given material in base64, or with new material. */
export function newVersion(world: World, material?: string): Version {
  return {
    id: randomUUID(),
    createdMs: nowMs(world),
    material: material ?? randomBytes(32).toString("base64"),
  };
}

/** The file with all data in a key manager's folder. */
export const worldFile = "world.json";

/** Reads the data that the process before wrote to a file. */
export function readWorld(file: string): World {
  return JSON.parse(readFileSync(file, "utf8")) as World;
}

/** Writes all data, so that a kill of the process loses nothing that it answered. */
export function writeWorld(file: string, world: World): void {
  writeFileSync(`${file}.new`, JSON.stringify(world), { mode: 0o600 });
  renameSync(`${file}.new`, file);
}
