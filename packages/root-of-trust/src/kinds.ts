import { dedicatedKeyProtect } from "./ibm/dedicated-key-protect.ts";
import { hpcs } from "./ibm/hpcs.ts";
import { keyProtect } from "./ibm/key-protect.ts";
import type { RootKind } from "./kind.ts";
import { local } from "./local/local.ts";
import { pkcs11 } from "./pkcs11/pkcs11.ts";

export type { KindSetting, KindValues, ReferenceField, RootKind } from "./kind.ts";

/** The kinds of root of trust. The first is the default in the configuration. */
export const rootKinds = [local, keyProtect, dedicatedKeyProtect, hpcs, pkcs11] as const;

/** One of the kinds, with its exact types. */
export type KnownKind = (typeof rootKinds)[number];
/** The name of a kind. */
export type KindName = KnownKind["kind"];
/** Which root key of which root of trust, and how to reach it. */
export type RootSettings = ReturnType<KnownKind["settingsFrom"]>;

/** The kinds' names. */
export const kindNames = rootKinds.map(({ kind }) => kind) as [KindName, ...KindName[]];

/** The kind with a name; undefined if there is none. */
export function rootKind(kind: KindName): RootKind;
export function rootKind(kind: string): RootKind | undefined;
export function rootKind(kind: string): RootKind | undefined {
  return rootKinds.find((one) => one.kind === kind);
}

/** The secret fields in references of any kind. */
export const secretNames: readonly string[] = [
  ...new Set(rootKinds.flatMap((kind) => secretField(kind) ?? [])),
];

/** The field of a reference that holds its secret; undefined for kinds without a secret. */
export function secretField({ reference }: RootKind): string | undefined {
  return Object.keys(reference).find((name) => reference[name]?.secret !== undefined);
}
