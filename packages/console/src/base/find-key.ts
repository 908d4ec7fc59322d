import { AdminProblem } from "@holdfast/admin/errors";
import { call } from "./api.ts";
import type { AnswerOf } from "./contract.ts";

/** An instance of Holdfast: to vCenter, a key provider. */
export type Instance = AnswerOf<"listInstances">["items"][number];
/** A key as lists show it. */
export type Key = AnswerOf<"listKeys">["items"][number];

/** A key, and the instance that has it. */
export interface Held {
  readonly key: Key;
  readonly instance: Instance;
}

/** Every instance that the person may read. */
export async function allInstances(): Promise<readonly Instance[]> {
  return await allOf((cursor) => call("listInstances", { query: { ...cursor } }));
}

/** The items of all pages; a page may be empty although more follow. */
export async function allOf<Item>(
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

/** Whether a text has the form of a key's identifier; another key manager's may have another one. */
export function isKeyId(text: string): boolean {
  return /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/.test(text);
}

/**
 * Looks a key up by its identifier, first in the instance with the name or identifier `first`; undefined if none has it,
 * or if the identifier has another form.
 */
export async function findKey(
  id: string,
  instances: readonly Instance[],
  first: string,
): Promise<Held | undefined> {
  const isFirst = (one: Instance) => Number(one.name === first || one.id === first);
  const inTurn = instances.toSorted((one, other) => isFirst(other) - isFirst(one));
  for (const instance of isKeyId(id) ? inTurn : []) {
    try {
      const params = { instance: instance.id, key: id };
      const key = await call("readKey", { params, query: { history: "false" } });
      return { key, instance };
    } catch (error) {
      if (!(error instanceof AdminProblem && error.code === "notFound")) throw error;
    }
  }
  return undefined;
}
