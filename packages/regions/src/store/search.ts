import {
  type FindPage,
  type FindQuery,
  type OwnFindPage,
  type OwnStore,
  StoreUnavailable,
  systemInstance,
} from "@holdfast/engine";
import type { Peer } from "../ports/ports.ts";

/** Repairs records that do not decode; returns the identifiers of those that still do not. */
type RepairEach = (ids: readonly string[]) => Promise<readonly string[]>;

/**
 * A page of a store. Records that do not decode are repaired first. What `repair` cannot do away
 * with has no attributes that could be compared: it fails a search by a term that leads to it, or
 * for system records, with `corrupt`; a walk of all objects leaves it out, so that one record does
 * not end all walks. `repair` has set it aside, and so reported it.
 */
export async function searched(
  own: Pick<OwnStore, "find">,
  instance: string,
  query: FindQuery,
  repair: RepairEach,
): Promise<OwnFindPage> {
  const asked = { ...query, listDamaged: true };
  let page = await own.find(instance, asked);
  if (page.damaged !== undefined) {
    const left = await repair(page.damaged.ids);
    if (left.length < page.damaged.ids.length) page = await own.find(instance, asked);
  }
  const { damaged, ...found } = page;
  if (damaged === undefined || !(damaged.byTerm || instance === systemInstance)) return found;
  throw new StoreUnavailable("corrupt", "a record that may be searched for does not decode");
}

/**
 * The same of the own store; its cursor names its store, since another store's cursor would skip
 * objects.
 */
export function searchedOwn(
  own: Pick<OwnStore, "find">,
  instance: string,
  query: FindQuery,
  repair: RepairEach,
): Promise<OwnFindPage> {
  return marked("own:", query, (unmarked) => searched(own, instance, unmarked, repair));
}

/** A page of another region's store. */
export function searchedRemote(peer: Peer, instance: string, query: FindQuery): Promise<FindPage> {
  const mark = `region ${peer.region}:`;
  return marked(mark, query, (unmarked) => peer.remote.find(instance, unmarked));
}

async function marked<Page extends FindPage>(
  mark: string,
  query: FindQuery,
  ask: (unmarked: FindQuery) => Promise<Page>,
): Promise<Page> {
  const page = await ask(continued(query, mark));
  return page.next === undefined ? page : { ...page, next: mark + page.next };
}

function continued(query: FindQuery, mark: string): FindQuery {
  const { after } = query;
  if (after === undefined) return query;
  if (after.startsWith(mark)) return { ...query, after: after.slice(mark.length) };
  const message = "the search began in another store, which does not serve any more: try again";
  throw new StoreUnavailable("noLease", message);
}
