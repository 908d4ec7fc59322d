import { create } from "@bufbuild/protobuf";
import { encodeRecord, type OwnStoredObject, sysPartition } from "@holdfast/engine";
import {
  AppendAuditReplySchema,
  ChangesReplySchema,
  DigestsReplySchema,
  FindReplySchema,
  HelloReplySchema,
  KekReplySchema,
  LeafSchema,
  LeavesReplySchema,
  ManageReplySchema,
  MarkServedReplySchema,
  PositionReplySchema,
  ReadReplySchema,
  RecordsReplySchema,
  ReleaseReplySchema,
  ReserveReplySchema,
  type Slot,
} from "../../gen/holdfast/peer/v1/peer_pb.ts";
import { manageBytes, type PeerStore } from "../../ports/ports.ts";
import {
  decodeMessage,
  encodeMessage,
  peerMethods,
  type ReplyOf,
  type RequestOf,
  type UnaryName,
} from "../methods.ts";
import { serverLimits } from "../server-limits.ts";
import { InvalidRequest } from "../status.ts";
import { features, protocolMax, protocolMin } from "../versions.ts";
import {
  auditOf,
  changeOf,
  numberOf,
  outcomeMessage,
  slotMessage,
  storedMessage,
} from "../wire.ts";

/** What may be asked for in one call. */
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
/** A page of records ends before it is larger: it fits a message unless one record alone does not. */
const pageBytes = serverLimits.replyBytes - 64 * 1024;

type Handlers = {
  readonly [Name in UnaryName]: (
    store: PeerStore,
    request: RequestOf<Name>,
  ) => Promise<ReplyOf<Name>>;
};

/** One row a method: what is asked, of what a region's store answers. */
const handlers: Handlers = {
  hello: async (store) => {
    const hello = await store.hello();
    return create(HelloReplySchema, {
      protocolMin,
      protocolMax,
      features: [...features],
      region: hello.region,
      generation: BigInt(hello.generation),
      retired: BigInt(hello.retired),
      serving: hello.serving,
      wallMs: BigInt(Math.max(0, Math.trunc(hello.wallMs))),
      recordFormat: hello.recordFormat,
    });
  },
  fetch: async (store, { instance, ids }) =>
    create(ReadReplySchema, { slots: await slots(ids, (some) => store.fetch(instance, some)) }),
  position: async (store) => {
    const { replicationId, numbers } = await store.position();
    return create(PositionReplySchema, { replicationId, numbers: numbers.map(BigInt) });
  },
  changes: async (store, { partition, after, limit, bytesMax }) => {
    const page = await store.changes(
      partitionOf(partition),
      numberOf(after),
      pageSize(limit),
      bytesMax,
    );
    return create(ChangesReplySchema, {
      replicationId: page.replicationId,
      records: page.objects.map(encodeRecord),
      damaged: [...page.damaged],
      unknown: [...page.unknown],
      upTo: BigInt(page.upTo),
      last: BigInt(page.last),
    });
  },
  digests: async (store, { partition }) =>
    create(DigestsReplySchema, { digests: await store.digests(partitionOf(partition)) }),
  leaves: async (store, { partition, mask, after }) => {
    if (mask.length !== maskBytes) throw new InvalidRequest("a mask is not 256 bits long");
    const page = await store.leaves(
      partitionOf(partition),
      Uint8Array.from(mask),
      after === undefined ? undefined : numberOf(after),
    );
    return create(LeavesReplySchema, {
      replicationId: page.replicationId,
      leaves: page.leaves.map(({ uniqueIdentifier, tag }) =>
        create(LeafSchema, { id: uniqueIdentifier, tag: Buffer.from(tag, "hex") }),
      ),
      ...(page.next !== undefined && { next: BigInt(page.next) }),
    });
  },
  records: async (store, { partition, ids }) => {
    const found = await firstOf(
      bounded(ids),
      async (some) => {
        const { objects, damaged, unknown } = await store.records(partitionOf(partition), some);
        const records = new Map(objects.map((each) => [each.uniqueIdentifier, encodeRecord(each)]));
        return some.map((id) => ({
          record: records.get(id),
          damaged: damaged.includes(id),
          unknown: unknown.includes(id),
        }));
      },
      ({ record }) => record?.length ?? 0,
    );
    return create(RecordsReplySchema, {
      records: found.flatMap(({ record }) => record ?? []),
      damaged: ids.filter((_, at) => found[at]?.damaged),
      unknown: ids.filter((_, at) => found[at]?.unknown),
      answered: found.length,
    });
  },
  reserve: async (store, { instance, ids, operation }) => {
    if (instance.length > instanceMax)
      throw new InvalidRequest("the instance's identifier is too long");
    const outcome = await store.reserve(instance, bounded(ids), named(operation));
    return create(
      ReserveReplySchema,
      outcome.kind === "reserved"
        ? {}
        : {
            held: {
              $typeName: "holdfast.peer.v1.Held",
              id: outcome.uniqueIdentifier,
              operation: outcome.operation,
            },
          },
    );
  },
  write: async (store, { instance, changes, audit, operation }) => {
    const made = changes.map((change) => changeOf(change, instance));
    return outcomeMessage(await store.write(instance, made, audit.map(auditOf), named(operation)));
  },
  release: async (store, { instance, operation }) =>
    create(ReleaseReplySchema, { released: await store.release(instance, operation) }),
  kek: async (store, { instance, kekId }) =>
    create(KekReplySchema, { kek: await store.kek(instance, kekId) }),
  manage: async (store, { command }) => {
    if (command.length > manageBytes) throw new InvalidRequest("a command is too long");
    return create(ManageReplySchema, { answer: await store.manage(Uint8Array.from(command)) });
  },
  read: async ({ remote }, { instance, ids }) =>
    create(ReadReplySchema, { slots: await slots(ids, (some) => remote.read(instance, some)) }),
  commit: async ({ remote }, { instance, changes, audit, agreed }) => {
    const made = changes.map((change) => changeOf(change, instance));
    const options = agreed ? { agreed } : {};
    return outcomeMessage(await remote.commit(instance, made, audit.map(auditOf), options));
  },
  markServed: async ({ remote }, { instance, before, after }) => {
    const change = changeOf(
      { $typeName: "holdfast.peer.v1.Change", after, ...(before && { before }) },
      instance,
    );
    if (change.kind !== "update")
      throw new InvalidRequest("an update without its previous version");
    const marked = await remote.markServed(instance, change.before, change.after);
    return create(MarkServedReplySchema, { marked });
  },
  find: async ({ remote }, { instance, term, live, destroyed, limit, after }) => {
    const page = await remote.find(instance, {
      ...(term !== undefined && { term }),
      live,
      destroyed,
      limit: Math.min(pageSize(limit), findMax),
      ...(after !== undefined && { after: findCursor(after) }),
    });
    const objects: readonly OwnStoredObject[] = page.objects;
    return create(FindReplySchema, {
      objects: objects.map(storedMessage),
      ...(page.next !== undefined && { next: page.next }),
    });
  },
  appendAudit: async ({ remote }, { instance, events, strict }) => {
    await remote.appendAudit(instance, events.map(auditOf), strict);
    return create(AppendAuditReplySchema);
  },
};

/** Answers a unary method's request, bytes for bytes. Rejects with `InvalidRequest` or with what the store says. */
export async function answer<Name extends UnaryName>(
  name: Name,
  store: PeerStore,
  request: Uint8Array,
): Promise<Buffer> {
  const { input, output } = peerMethods[name];
  const handler: Handlers[Name] = handlers[name];
  const reply = await handler(
    store,
    decoded(() => decodeMessage(input, request)) as RequestOf<Name>,
  );
  const bytes = encodeMessage(output, reply);
  if (name === "kek") (reply as ReplyOf<"kek">).kek.fill(0);
  return bytes;
}

function decoded<Message>(decode: () => Message): Message {
  try {
    return decode();
  } catch (cause) {
    throw new InvalidRequest("the request does not decode", { cause });
  }
}

function bounded(ids: readonly string[]): readonly string[] {
  if (ids.length > idsMax) throw new InvalidRequest(`more than ${idsMax} identifiers`);
  return ids;
}

/** Without a name, nothing holds the records: the store would take it for an ordinary change. */
function named(operation: string): string {
  if (operation === "" || operation.length > operationMax) {
    throw new InvalidRequest("the operation's identifier is empty or not a UUID");
  }
  return operation;
}

async function slots(
  ids: readonly string[],
  read: (ids: readonly string[]) => Promise<readonly (OwnStoredObject | undefined)[]>,
): Promise<Slot[]> {
  return firstOf(
    bounded(ids),
    async (some) => (await read(some)).map(slotMessage),
    (slot) => slot.stored?.record.length ?? 0,
  );
}

/** What there is of the first identifiers, one each: as many as fit a page, and at least one. */
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

/** Where a page ended before. */
function findCursor(after: string): string {
  if (!/^\d{1,15}$/.test(after))
    throw new InvalidRequest("the search cursor was not issued by this store");
  return after;
}

function pageSize(limit: number): number {
  if (limit === 0) throw new InvalidRequest("a page of nothing");
  return Math.min(limit, pageMax);
}
