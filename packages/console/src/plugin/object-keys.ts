import { AdminProblem } from "@holdfast/admin/errors";
import { call, readVcenterObject, type VcenterObject } from "../base/api.ts";
import type { AnswerOf } from "../base/contract.ts";
import {
  allInstances,
  allOf,
  findKey,
  type Held,
  type Instance,
  type Key,
} from "../base/find-key.ts";
import { takeSession } from "./client.ts";

type Use = VcenterObject["keys"][number];

/** A key that an object of vCenter uses, or that was made for it. */
interface ObjectKey {
  readonly id: string;
  /** Undefined if no instance that the person may read has it. */
  readonly held: Held | undefined;
  /** What vCenter uses it for now; empty for a key of earlier times. */
  readonly uses: readonly Use[];
}

/** The keys of an object of vCenter. */
export interface ObjectKeys {
  readonly name: string;
  /** Those in use first, then the newest. */
  readonly keys: readonly ObjectKey[];
  /** The instances that have them. */
  readonly instances: readonly Instance[];
  readonly unread: readonly string[];
}

/** What the page of no object shows: the instances, and how the node that answers sees both regions. */
export interface Service {
  readonly instances: readonly Instance[];
  /** Absent if the person may read only some instances. */
  readonly status?: AnswerOf<"readStatus">;
}

/** Finds the keys that an object uses now, and those that vCenter once marked as made for it. */
export async function readObjectKeys(id: string): Promise<ObjectKeys> {
  await takeSession(id);
  const [object, instances] = await Promise.all([readVcenterObject(id), allInstances()]);
  const rows = new Map<string, ObjectKey>();
  for (const instance of instances) {
    for (const identifier of object.identifiers) {
      for (const key of await keysMarked(instance, identifier)) {
        rows.set(key.id, { id: key.id, held: { key, instance }, uses: [] });
      }
    }
  }
  for (const use of object.keys) {
    const { held, uses } = rows.get(use.key) ?? {
      // An instance is mostly called like the key provider in vCenter.
      held: await findKey(use.key, instances, use.provider),
      uses: [],
    };
    rows.set(use.key, { id: use.key, held, uses: [...uses, use] });
  }
  const keys = [...rows.values()].toSorted(
    (one, other) =>
      Number(other.uses.length > 0) - Number(one.uses.length > 0) ||
      madeAt(other).localeCompare(madeAt(one)),
  );
  const holders = new Set(keys.flatMap(({ held }) => (held === undefined ? [] : held.instance.id)));
  return {
    name: object.name,
    keys,
    instances: instances.filter((instance) => holders.has(instance.id)),
    unread: object.unread,
  };
}

/** Reads what the page of no object shows. */
export async function readService(): Promise<Service> {
  await takeSession(undefined);
  const instances = await allInstances();
  try {
    return { instances, status: await call("readStatus", {}) };
  } catch (error) {
    if (error instanceof AdminProblem && error.code === "forbidden") return { instances };
    throw error;
  }
}

function madeAt({ held }: ObjectKey): string {
  return held?.key.createdAt ?? "";
}

async function keysMarked({ id }: Instance, xIdentifier: string): Promise<readonly Key[]> {
  return await allOf((cursor) =>
    call("listKeys", { params: { instance: id }, query: { xIdentifier, ...cursor } }),
  );
}
