import { AdminProblem } from "@holdfast/admin/errors";
import { call, readVcenterObject, type VcenterObject } from "../base/api.ts";
import type { AnswerOf } from "../base/contract.ts";
import { takeSession } from "./client.ts";

/** An instance of Holdfast: to vCenter, a key provider. */
export type Instance = AnswerOf<"listInstances">["items"][number];
type Key = AnswerOf<"listKeys">["items"][number];
type Use = VcenterObject["keys"][number];

/** A key that an object of vCenter uses, or that was made for it. */
interface ObjectKey {
  readonly id: string;
  /** Undefined if no instance that the person may read has it. */
  readonly held: { readonly key: Key; readonly instance: Instance } | undefined;
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
    const row = rows.get(use.key) ?? (await find(use, instances));
    rows.set(use.key, { ...row, uses: [...row.uses, use] });
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

async function allInstances(): Promise<readonly Instance[]> {
  return await allOf((cursor) => call("listInstances", { query: { ...cursor } }));
}

async function keysMarked({ id }: Instance, xIdentifier: string): Promise<readonly Key[]> {
  return await allOf((cursor) =>
    call("listKeys", { params: { instance: id }, query: { xIdentifier, ...cursor } }),
  );
}

/** The items of all pages; a page may be empty although more follow. */
async function allOf<Item>(
  page: (cursor: { readonly cursor?: string }) => Promise<{
    readonly items: readonly Item[];
    readonly next?: string | undefined;
  }>,
): Promise<readonly Item[]> {
  const items: Item[] = [];
  let next: string | undefined;
  do {
    const answer = await page(next === undefined ? {} : { cursor: next });
    items.push(...answer.items);
    ({ next } = answer);
  } while (next !== undefined);
  return items;
}

/** Looks a key up; first in the instance that is called like the key provider in vCenter, as is usual. */
async function find(
  { key: id, provider }: Use,
  instances: readonly Instance[],
): Promise<ObjectKey> {
  const isNamed = ({ name }: Instance) => Number(name === provider);
  const inTurn = instances.toSorted((one, other) => isNamed(other) - isNamed(one));
  // Another key manager's identifiers may have another form.
  for (const instance of /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/.test(id) ? inTurn : []) {
    try {
      const key = await call("readKey", { params: { instance: instance.id, key: id } });
      return { id, held: { key, instance }, uses: [] };
    } catch (error) {
      if (!(error instanceof AdminProblem && error.code === "notFound")) throw error;
    }
  }
  return { id, held: undefined, uses: [] };
}
