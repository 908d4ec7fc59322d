import { type Call, type Contract, ManagementError } from "@holdfast/admin";
import {
  deleteValue,
  isDestroyed,
  type ManagedObject,
  type ObjectStore,
  pendingDestruction,
  type Register,
  type Releaser,
  released,
  restored,
  TooManyUpdates,
} from "@holdfast/engine";
import { attributes } from "@holdfast/kmip";
import { managementEvents } from "../../audit/management-event.ts";
import { beforeWriting } from "../../records/dry-run.ts";
import { refusalOf } from "../../records/refusals.ts";
import { nameValuesOf } from "./key-answer.ts";

/** What a restore needs. */
export interface RestoreDeps {
  readonly region: string;
  readonly store: Pick<ObjectStore, "read" | "commit">;
  readonly wallMs: () => number;
  /** Seals for clients what was withheld. */
  readonly keyRing: Releaser;
}

/** A restored object, and the names that it lost because other objects have them now. */
export interface RestoredKey {
  readonly object: ManagedObject;
  readonly lost: readonly string[];
}

const triesMax = 16;
const nameOf = { tag: attributes.Name.tag, key: "" };

/**
 * Takes a destruction back that is not final, in all regions together, with material that clients get at once. Rejects
 * with a `ManagementError`, with `StoreUnavailable` where a region cannot agree, or with `KeyRingUnavailable` where the
 * root of trust does not open what is withheld.
 */
export async function restoreKey(
  { region, store, wallMs, keyRing }: RestoreDeps,
  instance: string,
  call: Call<Contract["restoreKey"]>,
): Promise<RestoredKey> {
  const { key } = call.params;
  const lost: string[] = [];
  for (let tries = 0; tries < triesMax; tries += 1) {
    const [before] = await store.read(instance, [key]);
    const object = requireRestorable(before?.object);
    if (before === undefined) break;
    beforeWriting();
    const now = { us: Math.floor(wallMs() * 1_000), region };
    const time = Math.floor(wallMs() / 1_000);
    const after: ManagedObject = {
      ...(await released(keyRing, object)),
      facts: restored(object.facts, { ...now, time }),
      registers: lost.reduce((left, name) => withoutName(left, name, now), object.registers),
      lastChange: Math.max(object.lastChange, time),
    };
    const audit = managementEvents(call, call.audit, { id: key, instance }, { timeMs: wallMs() });
    const change = { kind: "update", before, after } as const;
    const outcome = await store.commit(instance, [change], audit, { agreed: true });
    if (outcome.kind === "committed") return { object: after, lost };
    if (outcome.kind === "nameTaken" && !lost.includes(outcome.name)) lost.push(outcome.name);
    else if (outcome.kind !== "conflict") throw refusalOf(outcome);
  }
  throw new TooManyUpdates(`object ${key}`);
}

function requireRestorable(object: ManagedObject | undefined): ManagedObject {
  if (object === undefined) {
    throw new ManagementError("notFound", "the instance has no object with this identifier");
  }
  if (pendingDestruction(object.facts) !== undefined) return object;
  throw new ManagementError(
    "wrongState",
    isDestroyed(object.facts)
      ? "the object is destroyed for ever: its material is erased, and only a backup may still have it"
      : "the object is not destroyed",
  );
}

function withoutName(
  registers: readonly Register[],
  name: string,
  now: { readonly us: number; readonly region: string },
): readonly Register[] {
  let left = registers;
  for (const { index, text } of nameValuesOf(registers)) {
    if (text === name) left = deleteValue(left, nameOf, index, now)?.registers ?? left;
  }
  return left;
}
