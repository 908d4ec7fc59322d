import { type KeyObject, timingSafeEqual } from "node:crypto";
import { SealBroken } from "../base/errors.ts";
import type { RootOfTrust } from "../ports/keys.ts";
import { isWithheldKek, type KekWrap, type WrappedKek } from "../system/wrapped-kek.ts";
import { kekBytes, kekCheck, kekData } from "./seal.ts";

/** Names a KEK, and the region whose root of trust wraps it. */
export interface KekName {
  readonly instance: string;
  readonly id: string;
  readonly region: string;
}

/** Wraps a KEK under this region's root of trust. */
export async function wrapKek(
  root: RootOfTrust,
  { instance, id, region }: KekName,
  key: Uint8Array,
): Promise<KekWrap> {
  const { name } = await root.describe();
  const { blob, version } = await root.wrap(key, kekData(instance, id));
  return { region, rootOfTrust: name, rootKeyVersion: version, blob };
}

/** The same, and unwraps it once as a proof: other regions rely on a wrap that is in a record. */
export async function wrapProven(
  root: RootOfTrust,
  name: KekName,
  key: Uint8Array,
): Promise<KekWrap> {
  const wrap = await wrapKek(root, name, key);
  const { plaintext } = await root.unwrap(wrap.blob, kekData(name.instance, name.id));
  try {
    if (plaintext.length !== kekBytes || !timingSafeEqual(plaintext, key)) {
      throw new SealBroken(`key-encryption key ${name.id}: unwrapping does not give the same key`);
    }
  } finally {
    plaintext.fill(0);
  }
  return wrap;
}

/** Refuses bytes that are not the original KEK with this id: what they seal would open in one region only. */
export function checkKek(
  key: Uint8Array | KeyObject,
  instance: string,
  { id, check }: Pick<WrappedKek, "id" | "check">,
): void {
  const found = kekCheck(key, instance, id);
  if (found.length === check.length && timingSafeEqual(found, check)) return;
  throw new SealBroken(`key-encryption key ${id} is not the original key`);
}

/** A region's wrap of a KEK. */
export function wrapOf({ wraps }: WrappedKek, region: string): KekWrap | undefined {
  return wraps.find((wrap) => wrap.region === region);
}

/**
 * The KEK that seals for clients: the newest of those that every region has wrapped, so that all nodes of all regions that
 * see the same KEKs choose the same one.
 */
export function sealingKek(
  keks: readonly WrappedKek[],
  regions: readonly string[],
): WrappedKek | undefined {
  return newestWhole(keks, regions, false);
}

/** The KEK under which material is withheld, chosen in the same way. */
export function withheldKek(
  keks: readonly WrappedKek[],
  regions: readonly string[],
): WrappedKek | undefined {
  return newestWhole(keks, regions, true);
}

function newestWhole(
  keks: readonly WrappedKek[],
  regions: readonly string[],
  withheld: boolean,
): WrappedKek | undefined {
  const [newest] = keks
    .filter((kek) => isWithheldKek(kek.id) === withheld && lackingIn(kek, regions).length === 0)
    .toSorted(newestFirst);
  return newest;
}

/** The order of an instance's KEKs: a newer one is made later than every other, whatever the clock says. */
export function newestFirst(
  a: Pick<WrappedKek, "id" | "createdMs">,
  b: Pick<WrappedKek, "id" | "createdMs">,
): number {
  return b.createdMs - a.createdMs || (a.id < b.id ? -1 : 1);
}

/** Regions whose wrap is awaited: those that are missing from the KEK with the fewest missing. */
export function awaitedRegions(
  keks: readonly WrappedKek[],
  regions: readonly string[],
): readonly string[] {
  const lacking = keks.filter(({ id }) => !isWithheldKek(id)).map((kek) => lackingIn(kek, regions));
  return lacking.toSorted((a, b) => a.length - b.length)[0] ?? regions;
}

function lackingIn({ wraps }: WrappedKek, regions: readonly string[]): readonly string[] {
  return regions.filter((region) => !wraps.some((wrap) => wrap.region === region));
}
