import { encodeRecord, type OwnStoredObject, sysPartition } from "@holdfast/engine";
import { manageBytes, type PeerStore } from "../../ports/ports.ts";
import { decodeRequest, encodeReply, type ReplyOf, type RequestOf } from "../codecs.ts";
import type { UnaryName } from "../methods.ts";
import type { RegionKeys } from "../region-keys.ts";
import { serverLimits } from "../server-limits.ts";
import { InvalidRequest } from "../status.ts";
import { features, protocolMax, protocolMin } from "../versions.ts";

/** The most that may be requested in one call. */
const idsMax = 10_000;
const pageMax = 10_000;
/** A find may always answer fewer. */
const findMax = 256;
const maskBytes = 32;
/** An operation's name is a UUID. */
const operationMax = 64;
/** A reservation holds its instance's identifier beside each record. */
const instanceMax = 256;
/** Records are read in parts, so that they need not all be held at once. */
const partIds = 64;
/**
 * A page of records ends before it is larger, so that it fits a message unless one record alone
 * does not.
 */
const pageBytes = serverLimits.replyBytes - 64 * 1024;

/** The region that asks, and the keys to which a KEK is sealed for it. */
export interface Sealing {
  readonly asking: string;
  readonly keys: () => RegionKeys;
}

type Handlers = {
  readonly [Name in UnaryName]: (
    store: PeerStore,
    request: RequestOf<Name>,
    sealing: Sealing,
  ) => Promise<ReplyOf<Name>>;
};

/** One row per method: how a region's store answers its request. */
const handlers: Handlers = {
  hello: async (store, { id }) => ({
    ...(await store.hello()),
    ...{ protocolMin, protocolMax, features, id },
  }),
  fetch: (store, { instance, ids }) => firstCopies(ids, (some) => store.fetch(instance, some)),
  position: (store) => store.position(),
  changes: async (store, { partition, after, limit, bytesMax }) =>
    store.changes(partitionOf(partition), after, pageSize(limit), bytesMax),
  digests: async (store, partition) => store.digests(partitionOf(partition)),
  leaves: async (store, { partition, mask, after }) => {
    if (mask.length !== maskBytes) throw new InvalidRequest("a mask is not 256 bits long");
    return store.leaves(partitionOf(partition), mask, after);
  },
  records: async (store, { partition, ids }) => {
    const found = await firstOf(
      bounded(ids),
      async (some) => {
        const { objects, damaged, unknown } = await store.records(partitionOf(partition), some);
        const byId = new Map(objects.map((each) => [each.uniqueIdentifier, each]));
        return some.map((id) => ({
          object: byId.get(id),
          damaged: damaged.includes(id),
          unknown: unknown.includes(id),
        }));
      },
      ({ object }) => (object === undefined ? 0 : encodeRecord(object).length),
    );
    return {
      objects: found.flatMap(({ object }) => object ?? []),
      damaged: ids.filter((_, at) => found[at]?.damaged),
      unknown: ids.filter((_, at) => found[at]?.unknown),
      answered: found.length,
    };
  },
  reserve: async (store, { instance, ids, operation, changes }) => {
    if (instance.length > instanceMax)
      throw new InvalidRequest("the instance's identifier is too long");
    return store.reserve(instance, bounded(ids), named(operation), changes);
  },
  write: async (store, { instance, changes, audit, operation }) =>
    store.write(instance, changes, audit, named(operation)),
  release: (store, { instance, operation }) => store.release(instance, operation),
  kek: async (store, { instance, kekId, key }, { asking, keys }) => {
    // Before the store is asked, which reports each KEK that it gives.
    if (!keys().knows(key)) throw new InvalidRequest("the region key of the asker is not known");
    const kek = await store.kek(instance, kekId);
    try {
      return keys().seal(key, { instance, kekId, asking }, kek);
    } finally {
      kek.fill(0);
    }
  },
  manage: async (store, command) => {
    if (command.length > manageBytes) throw new InvalidRequest("a command is too long");
    return store.manage(command);
  },
  read: ({ remote }, { instance, ids }) => firstCopies(ids, (some) => remote.read(instance, some)),
  commit: ({ remote }, { instance, changes, audit, agreed }) =>
    remote.commit(instance, changes, audit, agreed ? { agreed } : {}),
  markServed: ({ remote }, { instance, before, after }) =>
    remote.markServed(instance, before, after),
  find: async ({ remote }, { instance, query }) => {
    if (query.after !== undefined) checkCursor(query.after);
    const limit = Math.min(pageSize(query.limit), findMax);
    return remote.find(instance, { ...query, limit });
  },
  appendAudit: async ({ remote }, { instance, events, strict }) => {
    await remote.appendAudit(instance, events, strict);
    return undefined;
  },
};

/** Answers a unary method's request, bytes for bytes. Rejects with `InvalidRequest` or with what the store says. */
export async function answer<Name extends UnaryName>(
  name: Name,
  store: PeerStore,
  request: Uint8Array,
  sealing: Sealing,
): Promise<Buffer> {
  const handler: Handlers[Name] = handlers[name];
  return encodeReply(name, await handler(store, decodeRequest(name, request), sealing));
}

function bounded(ids: readonly string[]): readonly string[] {
  if (ids.length > idsMax) throw new InvalidRequest(`more than ${idsMax} identifiers`);
  return ids;
}

/**
 * Without a name, nothing holds the records: the store would treat the request as an ordinary
 * change.
 */
function named(operation: string): string {
  if (operation === "" || operation.length > operationMax) {
    throw new InvalidRequest("the operation's identifier is empty or not a UUID");
  }
  return operation;
}

async function firstCopies(
  ids: readonly string[],
  read: (ids: readonly string[]) => Promise<readonly (OwnStoredObject | undefined)[]>,
): Promise<readonly (OwnStoredObject | undefined)[]> {
  return firstOf(bounded(ids), read, (copy) =>
    copy === undefined ? 0 : encodeRecord(copy.object).length,
  );
}

/** What was found for the first identifiers, one each: as many as fit a page, and at least one. */
async function firstOf<Found>(
  ids: readonly string[],
  read: (ids: readonly string[]) => Promise<readonly Found[]>,
  size: (found: Found) => number,
): Promise<Found[]> {
  const first: Found[] = [];
  let bytes = 0;
  for (let at = 0; at === 0 || at < ids.length; at += partIds) {
    for (const found of await read(ids.slice(at, at + partIds))) {
      bytes += size(found);
      if (bytes > pageBytes && first.length > 0) return first;
      first.push(found);
    }
  }
  return first;
}

function partitionOf(partition: number): number {
  if (partition > sysPartition) throw new InvalidRequest("the partition does not exist");
  return partition;
}

/** Checks a cursor, which says where a page ended before. */
function checkCursor(after: string): void {
  if (!/^\d{1,15}$/.test(after))
    throw new InvalidRequest("the search cursor was not issued by this store");
}

function pageSize(limit: number): number {
  if (limit === 0) throw new InvalidRequest("the page size is 0");
  return Math.min(limit, pageMax);
}
