import { addVersion } from "./actions.ts";
import type { Fault, Faults } from "./faults.ts";
import { destroy, keyFrom } from "./keys.ts";
import { addAlias } from "./rings.ts";
import { type Key, nowMs, type Role, type Settings, type World } from "./world.ts";

/** A call, answered or not. */
export interface SeenCall {
  readonly at: "kms" | "iam";
  readonly action: string;
  readonly status: number;
  readonly correlationId: string;
  readonly keyRing?: string;
}

/** The calls since the last reset. */
export interface Seen {
  calls: SeenCall[];
  inFlight: number;
  mostInFlight: number;
}

export interface NewKeys {
  readonly names: readonly string[];
  readonly ring?: string;
  /** Makes standard keys in place of root keys. */
  readonly extractable?: boolean;
  /** Imported material, base64. */
  readonly payload?: string;
  readonly alias?: string;
  readonly expirationDate?: string;
}

/** A change of a key that ignores the rules of the API. */
export type KeyChange =
  | "rotate"
  | "disable"
  | "enable"
  | "delete"
  | "restore"
  | "purge"
  | "dropAliases";

/** The commands of tests outside of the API. */
export type Command =
  | { readonly do: "createKeys"; readonly keys: NewKeys }
  | { readonly do: "change"; readonly id: string; readonly change: KeyChange }
  | { readonly do: "createRing"; readonly id: string }
  | { readonly do: "settings"; readonly settings: Partial<Settings> }
  | { readonly do: "fault"; readonly fault: Fault }
  | { readonly do: "heal" }
  | { readonly do: "role"; readonly role: Role }
  | { readonly do: "apiKey"; readonly old: string; readonly new: string }
  | { readonly do: "revokeTokens" }
  | { readonly do: "advance"; readonly ms: number }
  | { readonly do: "calls"; readonly reset: boolean };

/** Carries out a command; returns its answer. */
export function carryOut(
  command: Command,
  { world, faults, seen }: { world: World; faults: Faults; seen: Seen },
): unknown {
  switch (command.do) {
    case "createKeys":
      return createKeys(world, command.keys);
    case "change":
      return changeKey(world, command.id, command.change);
    case "createRing":
      world.rings.push({ id: command.id, createdMs: nowMs(world), createdBy: "test" });
      return undefined;
    case "settings":
      Object.assign(world.settings, command.settings);
      return undefined;
    case "fault":
      return faults.add(command.fault);
    case "heal":
      return faults.heal();
    case "role":
      for (const apiKey of world.apiKeys) apiKey.role = command.role;
      return undefined;
    case "apiKey":
      world.apiKeys = world.apiKeys.map((one) =>
        one.key === command.old ? { ...one, key: command.new } : one,
      );
      return undefined;
    case "revokeTokens":
      world.tokensFromMs = nowMs(world) + 1;
      return undefined;
    case "advance":
      world.aheadMs += command.ms;
      return undefined;
    case "calls":
      return callsOf(seen, command.reset);
  }
}

function createKeys(world: World, { names, ring, alias, ...fields }: NewKeys): string[] {
  return names.map((name) => {
    const given = { extractable: false, ...fields, name };
    const key = keyFrom(world, given, { ring: ring ?? "default", by: "test" });
    world.keys.push(key);
    if (alias !== undefined) addAlias(world, key, alias);
    return key.id;
  });
}

const changes: Readonly<Record<KeyChange, (world: World, key: Key) => void>> = {
  rotate: (world, key) => addVersion(world, key),
  disable: (_, key) => {
    key.state = 2;
  },
  enable: (_, key) => {
    key.state = 1;
  },
  delete: (world, key) => destroy(world, key, "test"),
  restore: (_, key) => {
    key.state = 1;
    delete key.deletedMs;
    delete key.deletedBy;
  },
  dropAliases: (_, key) => {
    key.aliases = [];
  },
  purge: (world, key) => void world.keys.splice(world.keys.indexOf(key), 1),
};

function changeKey(world: World, id: string, change: KeyChange): void {
  const key = world.keys.find((one) => one.id === id || one.aliases.includes(id));
  if (key === undefined) throw new Error(`no key ${id}`);
  changes[change](world, key);
}

function callsOf(seen: Seen, reset: boolean) {
  const { calls, mostInFlight } = seen;
  if (reset) Object.assign(seen, { calls: [], mostInFlight: seen.inFlight });
  return { calls, mostInFlight };
}
