import {
  type InstanceKeyRing,
  isWithheldKek,
  KeyRingUnavailable,
  newestFirst,
  ObjectKekStore,
  StoreUnavailable,
  sealingKek,
  type WrappedKek,
  withheldKek,
} from "@holdfast/engine";
import {
  firstSight,
  type MayJoin,
  type Peer,
  type RegionalStore,
  type Rekeying,
} from "@holdfast/regions";
import { Violation } from "./checker.ts";
import { delayOfKey, instance } from "./client.ts";
import { replaced } from "./flaws.ts";
import type { Life } from "./machine.ts";

/** What decides under which KEKs records belong. */
interface KekParts {
  readonly timers: Life["timers"];
  readonly region: string;
  readonly store: RegionalStore;
  readonly peers: readonly Peer[];
  readonly keyRing: InstanceKeyRing;
}

/** The shortest delay of a key that has one, seconds: operators choose another one for each Destroy. */
const delayMinSeconds = 3;

/** What the instance of all histories is to be re-sealed under: older KEKs are kept. */
export async function rekeyingsOf(parts: KekParts): Promise<ReadonlyMap<string, Rekeying>> {
  const { keks, required } = await keksOf(parts);
  const seals = sealingKek(keks, required);
  if (seals === undefined) return new Map();
  const withheld = withheldKek(keks, required);
  const isOlder = (kek: WrappedKek): boolean => {
    if (!isWithheldKek(kek.id)) return newestFirst(kek, seals) > 0;
    return withheld !== undefined && kek !== withheld && newestFirst(kek, withheld) > 0;
  };
  const older = new Set(keks.filter(isOlder).map(({ id }) => id));
  if (older.size === 0 && withheld === undefined) return new Map();
  return new Map([[instance, { kek: seals.id, older, withheld: withheld?.id }]]);
}

/** Makes the KEK that withholds, in the first region in order, as a leader does. */
export async function makeWithheld(parts: KekParts): Promise<void> {
  const { keks, required } = await keksOf(parts);
  const seals = sealingKek(keks, required);
  if (seals === undefined || required.some((region) => region < parts.region)) return;
  try {
    await parts.keyRing.makeWithheld(instance, seals.createdMs);
  } catch (error) {
    if (!(error instanceof StoreUnavailable || error instanceof KeyRingUnavailable)) throw error;
  }
}

async function keksOf({ timers, region, store, peers }: KekParts) {
  const present = peers.filter((peer) => !store.records.isRetired(peer.region));
  const keks = await new ObjectKekStore(store, { clock: timers, region }).list(instance);
  return { keks, required: [region, ...present.map((peer) => peer.region)] };
}

/** A key ring as clients use it: none of them may get what is withheld. */
export function clientRing(
  keyRing: InstanceKeyRing,
  failed: (error: Violation) => void,
): InstanceKeyRing {
  return replaced(keyRing, {
    open: (binding, sealed) => {
      const opened = keyRing.open(binding, sealed);
      if (!isWithheldKek(sealed.kekId)) return opened;
      return Promise.resolve(opened).then((plaintext) => {
        failed(
          new Violation(`withheld material of ${binding.uniqueIdentifier} is opened for a client`),
        );
        return plaintext;
      });
    },
  });
}

/** Judges the other region's destructions by this region's clock. */
export function firstSightOf(region: string, { wallMs }: Life["timers"]): MayJoin {
  return async (before, after) => {
    const nowSeconds = Math.floor(wallMs() / 1_000);
    const delaySeconds = Math.min(delayMinSeconds, delayOfKey(after.uniqueIdentifier));
    return firstSight(before, after, {
      ...{ region, delaySeconds, nowSeconds, earliestSeconds: nowSeconds },
    });
  };
}
