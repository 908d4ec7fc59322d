import {
  create,
  type DescMessage,
  type MessageInitShape,
  type MessageShape,
} from "@bufbuild/protobuf";
import {
  type AuditEvent,
  type Change,
  type ChangePage,
  type CommitOutcome,
  encodeRecord,
  type FindPage,
  type FindQuery,
  type LeafPage,
  type ManagedObject,
  type OwnStoredObject,
  type RecordsAnswer,
  type ReserveOutcome,
  type StoredObject,
} from "@holdfast/engine";
import type { PeerHello, PeerPosition } from "../ports/ports.ts";
import {
  decodeMessage,
  encodeMessage,
  type Methods,
  peerMethods,
  type UnaryName,
} from "./methods.ts";
import { InvalidRequest } from "./status.ts";
import { features, protocolMax, protocolMin, type Versions } from "./versions.ts";
import {
  auditMessage,
  auditOf,
  changeMessage,
  changeOf,
  commitOutcomeOf,
  hex,
  nodeStoreMessage,
  nodeStoreOf,
  numberOf,
  outcomeMessage,
  ownBytes,
  readableObjects,
  slotMessage,
  slotOf,
  storedMessage,
  storedOf,
  storeIdOf,
} from "./wire.ts";

/** No region has more nodes. */
const nodesMax = 64;

type Copies = readonly (OwnStoredObject | undefined)[];

interface Ids {
  readonly instance: string;
  readonly ids: readonly string[];
}

interface Changes {
  readonly instance: string;
  readonly changes: readonly Change[];
  readonly audit: readonly AuditEvent[];
}

/** An outcome that this release does not know is undefined: nothing may be assumed then. */
type KnownOutcome = CommitOutcome | undefined;

/** Each method's request and reply. */
interface Exchanges {
  /** `id`: 0 except in a stream of probes. */
  hello: [
    { readonly region: string; readonly wallMs: number; readonly id: number },
    PeerHello & Versions & { readonly features: readonly string[]; readonly id: number },
  ];
  fetch: [Ids, Copies];
  position: [undefined, PeerPosition];
  changes: [
    {
      readonly partition: number;
      readonly after: number;
      readonly limit: number;
      readonly bytesMax: number;
    },
    ChangePage,
  ];
  digests: [number, Uint8Array];
  leaves: [
    {
      readonly partition: number;
      readonly mask: Uint8Array;
      readonly after: number | undefined;
    },
    LeafPage,
  ];
  /** `answered`: how many of the first identifiers this answers. */
  records: [
    { readonly partition: number; readonly ids: readonly string[] },
    RecordsAnswer & { readonly answered: number },
  ];
  reserve: [
    Ids & { readonly operation: string; readonly changes: readonly Change[] },
    ReserveOutcome,
  ];
  write: [Changes & { readonly operation: string }, KnownOutcome];
  release: [{ readonly instance: string; readonly operation: string }, number];
  /** `key` names the asker's region key; the reply is sealed to it. */
  kek: [
    { readonly instance: string; readonly kekId: string; readonly key: Uint8Array },
    Uint8Array,
  ];
  read: [Ids, Copies];
  commit: [Changes & { readonly agreed: boolean }, KnownOutcome];
  markServed: [
    { readonly instance: string; readonly before: StoredObject; readonly after: ManagedObject },
    boolean,
  ];
  find: [{ readonly instance: string; readonly query: FindQuery }, FindPage];
  appendAudit: [
    {
      readonly instance: string;
      readonly events: readonly AuditEvent[];
      readonly strict: boolean;
    },
    undefined,
  ];
  manage: [Uint8Array, Uint8Array];
}

export type RequestOf<Name extends UnaryName> = Exchanges[Name][0];
export type ReplyOf<Name extends UnaryName> = Exchanges[Name][1];

type Codec<Message extends DescMessage, Value> = readonly [
  encode: (value: Value) => MessageInitShape<Message>,
  decode: (message: MessageShape<Message>) => Value,
];

type Codecs = {
  readonly [Name in UnaryName]: {
    readonly request: Codec<Methods[Name]["input"], RequestOf<Name>>;
    readonly reply: Codec<Methods[Name]["output"], ReplyOf<Name>>;
  };
};

const copies: Codecs["read"] = {
  request: [
    ({ instance, ids }) => ({ instance, ids: [...ids] }),
    ({ instance, ids }) => ({ instance, ids }),
  ],
  reply: [(found) => ({ slots: found.map(slotMessage) }), ({ slots }) => slots.map(slotOf)],
};

const outcome: Codecs["commit"]["reply"] = [
  (known) => (known === undefined ? {} : outcomeMessage(known)),
  commitOutcomeOf,
];

/**
 * One row per method, which both ends use: how its request and its reply become messages, and are
 * read.
 */
const codecs: Codecs = {
  hello: {
    request: [
      ({ region, wallMs, id }) => ({ ...ownVersions(), region, wallMs: wallClock(wallMs), id }),
      ({ region, wallMs, id }) => ({ region, wallMs: numberOf(wallMs), id }),
    ],
    reply: [
      (hello) => ({
        ...hello,
        ...ownVersions(),
        generation: BigInt(hello.generation),
        retired: BigInt(hello.retired),
        wallMs: wallClock(hello.wallMs),
        storeId: Buffer.from(hello.storeId, "hex"),
        callingStores: hello.callingStores.map(nodeStoreMessage),
      }),
      ({ $typeName: _, generation, retired, wallMs, ...rest }) => ({
        ...rest,
        generation: numberOf(generation),
        retired: numberOf(retired),
        wallMs: numberOf(wallMs),
        storeId: storeIdOf(rest.storeId),
        callingStores: rest.callingStores.slice(0, nodesMax).map(nodeStoreOf),
      }),
    ],
  },
  fetch: copies,
  read: copies,
  position: {
    request: [() => ({}), () => undefined],
    reply: [
      ({ replicationId, operations, numbers }) => ({
        ...{ replicationId, operations: [...operations], numbers: numbers.map(BigInt) },
      }),
      ({ replicationId, numbers, operations }) => ({
        ...{ replicationId, operations, numbers: numbers.map(numberOf) },
      }),
    ],
  },
  changes: {
    request: [
      ({ after, ...rest }) => ({ ...rest, after: BigInt(after) }),
      ({ partition, after, limit, bytesMax }) => ({
        partition,
        after: numberOf(after),
        limit,
        bytesMax,
      }),
    ],
    reply: [
      (page) => ({
        replicationId: page.replicationId,
        ...recordsFields(page),
        upTo: BigInt(page.upTo),
        last: BigInt(page.last),
      }),
      (page) => ({
        replicationId: page.replicationId,
        ...recordsIn(page),
        upTo: numberOf(page.upTo),
        last: numberOf(page.last),
      }),
    ],
  },
  digests: {
    request: [(partition) => ({ partition }), ({ partition }) => partition],
    reply: [(digests) => ({ digests }), ({ digests }) => ownBytes(digests)],
  },
  leaves: {
    request: [
      ({ after, ...rest }) => ({ ...rest, ...(after !== undefined && { after: BigInt(after) }) }),
      ({ partition, mask, after }) => ({
        partition,
        mask: ownBytes(mask),
        after: after === undefined ? undefined : numberOf(after),
      }),
    ],
    reply: [
      ({ replicationId, leaves, next }) => ({
        replicationId,
        leaves: leaves.map(({ uniqueIdentifier, tag }) => ({
          id: uniqueIdentifier,
          tag: Buffer.from(tag, "hex"),
        })),
        ...(next !== undefined && { next: BigInt(next) }),
      }),
      ({ replicationId, leaves, next }) => ({
        replicationId,
        leaves: leaves.map(({ id, tag }) => ({ uniqueIdentifier: id, tag: hex(tag) })),
        ...(next !== undefined && { next: numberOf(next) }),
      }),
    ],
  },
  records: {
    request: [
      ({ partition, ids }) => ({ partition, ids: [...ids] }),
      ({ partition, ids }) => ({ partition, ids }),
    ],
    reply: [
      (answer) => ({ ...recordsFields(answer), answered: answer.answered }),
      (answer) => ({ ...recordsIn(answer), answered: answer.answered }),
    ],
  },
  reserve: {
    request: [
      ({ ids, changes, ...rest }) => ({
        ...rest,
        ids: [...ids],
        changes: changes.map(changeMessage),
      }),
      ({ instance, ids, operation, changes }) => ({
        ...{ instance, ids, operation },
        changes: changes.map((change) => changeOf(change, instance)),
      }),
    ],
    reply: [
      (reserved) =>
        reserved.kind === "reserved"
          ? {}
          : { held: { id: reserved.uniqueIdentifier, operation: reserved.operation } },
      ({ held }) =>
        held === undefined
          ? { kind: "reserved" }
          : { kind: "held", uniqueIdentifier: held.id, operation: held.operation },
    ],
  },
  write: {
    request: [
      ({ operation, ...rest }) => ({ ...changesFields(rest), operation }),
      ({ operation, ...rest }) => ({ ...changesIn(rest), operation }),
    ],
    reply: outcome,
  },
  commit: {
    request: [
      ({ agreed, ...rest }) => ({ ...changesFields(rest), agreed }),
      ({ agreed, ...rest }) => ({ ...changesIn(rest), agreed }),
    ],
    reply: outcome,
  },
  release: {
    request: [(asked) => asked, ({ instance, operation }) => ({ instance, operation })],
    reply: [(released) => ({ released }), ({ released }) => released],
  },
  kek: {
    request: [(asked) => asked, ({ instance, kekId, key }) => ({ instance, kekId, key })],
    reply: [(sealed) => ({ sealed }), ({ sealed }) => sealed],
  },
  markServed: {
    request: [
      ({ instance, before, after }) => ({
        instance,
        before: storedMessage(before),
        after: encodeRecord(after),
      }),
      ({ instance, before, after }) => {
        const message = { after, ...(before && { before }) };
        const change = changeOf({ $typeName: "holdfast.peer.v1.Change", ...message }, instance);
        if (change.kind === "update") {
          return { instance, before: change.before, after: change.after };
        }
        throw new InvalidRequest("a record without what it was before");
      },
    ],
    reply: [(marked) => ({ marked }), ({ marked }) => marked],
  },
  find: {
    request: [
      ({ instance, query }) => ({ instance, ...query }),
      ({ instance, term, live, destroyed, limit, after }) => ({
        instance,
        query: {
          ...(term !== undefined && { term }),
          live,
          destroyed,
          limit,
          ...(after !== undefined && { after }),
        },
      }),
    ],
    reply: [
      ({ objects, next }) => ({
        objects: objects.map(storedMessage),
        ...(next !== undefined && { next }),
      }),
      ({ objects, next }) => ({
        objects: objects.map(storedOf),
        ...(next !== undefined && { next }),
      }),
    ],
  },
  appendAudit: {
    request: [
      ({ events, ...rest }) => ({ ...rest, events: events.map(auditMessage) }),
      ({ instance, events, strict }) => ({ instance, events: events.map(auditOf), strict }),
    ],
    reply: [() => ({}), () => undefined],
  },
  manage: {
    request: [(command) => ({ command }), ({ command }) => ownBytes(command)],
    reply: [(answer) => ({ answer }), ({ answer }) => answer],
  },
};

function ownVersions() {
  return { protocolMin, protocolMax, features: [...features] };
}

function wallClock(ms: number): bigint {
  return BigInt(Math.max(0, Math.trunc(ms)));
}

function recordsFields({ objects, damaged, unknown }: RecordsAnswer) {
  return {
    records: objects.map(encodeRecord),
    damaged: [...damaged],
    unknown: [...unknown],
  };
}

function recordsIn(message: {
  readonly records: readonly Uint8Array[];
  readonly damaged: readonly string[];
  readonly unknown: readonly string[];
}): RecordsAnswer {
  const { objects, damaged, unknown } = readableObjects(message.records);
  return {
    objects,
    damaged: [...message.damaged, ...damaged],
    unknown: [...message.unknown, ...unknown],
  };
}

function changesFields({ instance, changes, audit }: Changes) {
  return { instance, changes: changes.map(changeMessage), audit: audit.map(auditMessage) };
}

function changesIn({
  instance,
  changes,
  audit,
}: Pick<MessageShape<Methods["commit"]["input"]>, "instance" | "changes" | "audit">): Changes {
  return {
    instance,
    changes: changes.map((change) => changeOf(change, instance)),
    audit: audit.map(auditOf),
  };
}

/** Bytes of a request. */
export function encodeRequest<Name extends UnaryName>(
  name: Name,
  request: RequestOf<Name>,
): Buffer {
  const { input } = peerMethods[name];
  const codec: Codecs[Name] = codecs[name];
  return encodeMessage(input, create(input, codec.request[0](request)));
}

/** A request; throws `InvalidRequest` for one that no node of a region would send. */
export function decodeRequest<Name extends UnaryName>(
  name: Name,
  bytes: Uint8Array,
): RequestOf<Name> {
  const codec: Codecs[Name] = codecs[name];
  return codec.request[1](message(peerMethods[name].input, bytes) as never);
}

/** Bytes of a reply. */
export function encodeReply<Name extends UnaryName>(name: Name, reply: ReplyOf<Name>): Buffer {
  const { output } = peerMethods[name];
  const codec: Codecs[Name] = codecs[name];
  return encodeMessage(output, create(output, codec.reply[0](reply)));
}

/** A reply; throws where it cannot be read. */
export function decodeReply<Name extends UnaryName>(name: Name, bytes: Uint8Array): ReplyOf<Name> {
  const codec: Codecs[Name] = codecs[name];
  return codec.reply[1](decodeMessage(peerMethods[name].output, bytes) as never);
}

function message<Message extends DescMessage>(
  schema: Message,
  bytes: Uint8Array,
): MessageShape<Message> {
  try {
    return decodeMessage(schema, bytes);
  } catch (cause) {
    throw new InvalidRequest("the request does not decode", { cause });
  }
}
