import { randomUUID } from "node:crypto";
import type { AddressInfo } from "node:net";
import { createInterface } from "node:readline";
import { createServer, type TLSSocket } from "node:tls";
import {
  attributeItem,
  decodeRequest,
  encodeResponse,
  KmipError,
  objectTypeOf,
  type Request,
  type RequestItem,
  type ResponseItem,
  referenceOf,
  tags,
  type Version,
  versionParts,
} from "@holdfast/kmip";
import {
  decode,
  encode,
  FrameReader,
  type Item,
  ItemType,
  structure,
  textString,
} from "@holdfast/ttlv";
import { type Held, heldFrom, heldOf, set, shown, type Told, toldOf } from "./objects.ts";

/**
 * A KMIP server with faults, in a process of its own, over real mutual TLS. Its argument is JSON: certificates and
 * versions. It prints its port, and then answers each line of JSON on standard input with one on standard output.
 */
interface Start {
  readonly certificate: string;
  readonly key: string;
  /** Authority of the clients, or the client's own certificate. */
  readonly clients: string;
  readonly versions: readonly Version[];
  /** It has Import, which keeps identifiers. */
  readonly imports?: boolean;
  /** The port; a free one unless given. */
  readonly port?: number;
}

/** What goes wrong. */
interface Faults {
  /** Located Items, whatever there is. */
  counted?: number;
  /** The first object of each page is named again at its end. */
  repeats?: boolean;
  ignoresOffset?: boolean;
  /** Most identifiers in an answer. */
  pageMax?: number;
  /** Put into the list before its second page. */
  appears?: readonly Told[];
  /** Taken out of the list after its first page. */
  goes?: readonly string[];
  /** Answers with the objects of others. */
  mixesUp?: boolean;
  /** So many operations of this name fail, with General Failure. */
  fails?: { operation: string; times: number };
  /** So many connections end in place of an answer. */
  drops?: number;
  /** The process ends in place of this answer to Get, counted from 1. */
  diesAt?: number;
  /** From this answer of an operation on, counted from 1, it gives none. */
  silentAt?: { operation: string; count: number } | null;
  /** An attribute that no version of KMIP has. */
  strange?: boolean;
  /** Activate answers that it is done, and changes nothing. */
  ignoresActivate?: boolean;
  slowMs?: number;
}

const start = JSON.parse(process.argv[2] ?? "{}") as Start;
const held = new Map<string, Held>();
const calls: Record<string, number> = {};
const faults: Faults = {};
let pages = 0;

/** Lines of tests. */
const ofTests: Readonly<Record<string, (body: never) => unknown>> = {
  put: (told: readonly Told[]) => told.map(put),
  faults: (body: Faults) => Object.assign(faults, body),
  calls: () => calls,
  objects: () => [...held.values()].map(toldOf),
};

function put(told: Told): string {
  const one = heldOf(told);
  held.set(one.id, one);
  return one.id;
}

function one(id: unknown): Held {
  const found = typeof id === "string" ? held.get(id) : undefined;
  if (found !== undefined) return found;
  throw new KmipError("objectNotFound", "no such object");
}

type Handler = (payload: never, version: Version) => object;
const handlers: Readonly<Record<string, Handler>> = {
  DiscoverVersions: () => ({ versions: start.versions.toReversed().map(versionParts) }),
  Query: () => ({
    operations: ["Query", "Locate", "Get", "GetAttributes", ...(start.imports ? ["Import"] : [])],
    objectTypes: [],
    vendorIdentification: "Stand-in",
  }),
  Locate: (asked: Request<"Locate">) => located(asked),
  GetAttributes: ({ uniqueIdentifier, references }: Request<"GetAttributes">) => ({
    uniqueIdentifier,
    attributes: shown(one(uniqueIdentifier), references),
  }),
  GetAttributeList: ({ uniqueIdentifier }: Request<"GetAttributeList">) => ({
    uniqueIdentifier,
    references: one(uniqueIdentifier).items.map(referenceOf),
  }),
  Get: ({ uniqueIdentifier, keyWrappingSpecification }: Request<"Get">) => {
    if (keyWrappingSpecification !== undefined) {
      throw new KmipError("operationNotSupported", "this server does not wrap");
    }
    const others = [...held.keys()].filter((id) => id !== uniqueIdentifier);
    const { id, type, object } = one(faults.mixesUp ? others[0] : uniqueIdentifier);
    return { objectType: type, uniqueIdentifier: id, object };
  },
  Register: ({ object, objectType, attributes: given }: Request<"Register">) => {
    const id = randomUUID();
    const items = given.attributes.map(({ item }) => item);
    held.set(id, heldFrom(id, objectType as Held["type"], object as Item, items));
    return { uniqueIdentifier: id };
  },
  Activate: ({ uniqueIdentifier }: Request<"Activate">) => {
    const state = faults.ignoresActivate ? "PreActive" : "Active";
    set(one(uniqueIdentifier), attributeItem("State", state));
    return { uniqueIdentifier };
  },
  Revoke: ({ uniqueIdentifier, revocationReason }: Request<"Revoke">) => {
    const isCompromise = revocationReason.code === "KeyCompromise";
    set(
      one(uniqueIdentifier),
      attributeItem("State", isCompromise ? "Compromised" : "Deactivated"),
    );
    return { uniqueIdentifier };
  },
};

function located({ attributes: given, maximumItems, offsetItems }: Request<"Locate">): object {
  pages += 1;
  if (pages === 2) change();
  const all = matching(given?.[0]?.item);
  const offset = faults.ignoresOffset ? 0 : (offsetItems ?? 0);
  const room = Math.min(maximumItems ?? all.length, faults.pageMax ?? all.length);
  const page = all.slice(offset, offset + room);
  const again = faults.repeats ? page.slice(0, 1) : [];
  return { locatedItems: faults.counted ?? all.length, uniqueIdentifiers: [...page, ...again] };
}

function change(): void {
  for (const told of faults.appears ?? []) put(told);
  for (const id of faults.goes ?? []) held.delete(id);
}

/** The newest first, as many servers have it. */
function matching(wanted: Item | undefined): readonly string[] {
  const wire = wanted === undefined ? undefined : Buffer.from(encode(wanted));
  return [...held.values()]
    .filter(({ items }) => wire === undefined || items.some((item) => wire.equals(encode(item))))
    .map(({ id }) => id)
    .toReversed();
}

/** Import (KMIP 2.1, 6.1.25), which this code base has no types for. */
function imported(payload: Item): Item {
  const parts = payload.type === ItemType.Structure ? payload.value : [];
  const [id, type, attributes, object] = parts;
  if (id?.type !== ItemType.TextString || attributes?.type !== ItemType.Structure) {
    throw new KmipError("invalidMessage", "a part is missing");
  }
  if (held.has(id.value)) throw new KmipError("invalidField", "there already");
  const name = object === undefined ? undefined : objectTypeOf(object);
  if (type === undefined || object === undefined || name === undefined) {
    throw new KmipError("invalidMessage", "a part is missing");
  }
  held.set(id.value, heldFrom(id.value, name, object, attributes.value));
  return structure(tags.ResponsePayload.tag, [textString(tags.UniqueIdentifier.tag, id.value)]);
}

function answer(item: RequestItem, version: Version, raw: Item): ResponseItem {
  const { operation, payload, uniqueBatchItemId } = item;
  const name = operation ?? "";
  calls[name] = (calls[name] ?? 0) + 1;
  const same = {
    ...(operation === undefined ? {} : { operation }),
    ...(uniqueBatchItemId === undefined ? {} : { uniqueBatchItemId }),
  };
  try {
    if (faults.fails?.operation === name && faults.fails.times > 0) {
      faults.fails.times -= 1;
      throw new KmipError("generalFailure", "the disk of the source is broken");
    }
    if (name === "Import" && start.imports) {
      return { ...same, status: "Success", payload: imported(payloadOf(raw)) };
    }
    if (item.fault !== undefined) throw item.fault;
    const handler = handlers[name];
    if (handler === undefined) throw new KmipError("operationNotSupported", name);
    return { ...same, status: "Success", payload: handler(payload as never, version) };
  } catch (error) {
    if (!(error instanceof KmipError)) throw error;
    const reason = reasonFor(error.fault);
    return { ...same, status: "OperationFailed", reason, message: error.message };
  }
}

function reasonFor(fault: string): NonNullable<ResponseItem["reason"]> {
  if (fault === "objectNotFound") return "ItemNotFound";
  if (fault === "operationNotSupported") return "OperationNotSupported";
  return fault === "generalFailure" ? "GeneralFailure" : "InvalidField";
}

function payloadOf(message: Item): Item {
  const inside = (item: Item, tag: number) =>
    item.type === ItemType.Structure ? item.value.find((part) => part.tag === tag) : undefined;
  const batch = inside(message, tags.BatchItem.tag);
  const payload = batch && inside(batch, tags.RequestPayload.tag);
  if (payload === undefined) throw new KmipError("invalidMessage", "no payload");
  return payload;
}

/** Adds an attribute with a name that nobody knows to answers that have attributes. */
function withStranger(item: Item, name: string): Item {
  if (item.type !== ItemType.Structure) return item;
  if (item.tag !== tags.ResponsePayload.tag) {
    return { ...item, value: item.value.map((part) => withStranger(part, name)) };
  }
  const strange = textString(tags.AttributeName.tag, "Secret Sauce");
  const value = textString(tags.AttributeValue.tag, "hot");
  const more = name === "GetAttributes" ? structure(tags.Attribute.tag, [strange, value]) : strange;
  return { ...item, value: [...item.value, more] };
}

function replyTo(frame: Uint8Array): Uint8Array {
  const raw = decode(frame);
  const { version, items } = decodeRequest(raw);
  const [item] = items;
  // Whoever speaks more than 1.0 says in any version what it speaks.
  const discovers = item?.operation === "DiscoverVersions" && start.versions.at(-1) !== "1.0";
  if (!start.versions.includes(version) && !discovers) {
    const refused = { status: "OperationFailed", reason: "InvalidMessage" } as const;
    const known = start.versions.at(-1) ?? "1.4";
    return encode(encodeResponse({ version: known, timeStamp: 0, items: [refused] }));
  }
  const all = item?.operation === "GetAttributes" && isForAll(item.payload);
  const made = encodeResponse({
    version,
    timeStamp: Math.floor(Date.now() / 1000),
    items: items.map((each) => answer(each, version, raw)),
  });
  const isStrange = faults.strange && (all || item?.operation === "GetAttributeList");
  return encode(isStrange ? withStranger(made, item?.operation ?? "") : made);
}

function isForAll(payload: unknown): boolean {
  return (payload as Request<"GetAttributes">).references.length === 0;
}

/** Whether a fault keeps an answer back; another one ends the process. */
function isKeptBack(): boolean {
  const { diesAt, silentAt } = faults;
  if (diesAt !== undefined && (calls["Get"] ?? 0) >= diesAt) process.exit(1);
  return !!silentAt && (calls[silentAt.operation] ?? 0) >= silentAt.count;
}

function serve(socket: TLSSocket): void {
  const reader = new FrameReader({ frameBytesMax: 1 << 24 });
  socket.on("error", () => undefined);
  socket.on("data", (chunk: Buffer) => {
    for (const frame of reader.push(chunk)) {
      if ((faults.drops ?? 0) > 0) {
        faults.drops = (faults.drops ?? 0) - 1;
        socket.destroy();
        return;
      }
      const reply = replyTo(frame);
      if (isKeptBack()) continue;
      setTimeout(() => socket.write(reply), faults.slowMs ?? 0);
    }
  });
}

const { certificate: cert, key, clients: ca } = start;
const server = createServer({ cert, key, ca, requestCert: true, rejectUnauthorized: true }, serve);
server.listen(start.port ?? 0, "127.0.0.1", () => {
  process.stdout.write(`${JSON.stringify({ port: (server.address() as AddressInfo).port })}\n`);
});
createInterface({ input: process.stdin }).on("line", (line) => {
  const { ask, body } = JSON.parse(line) as { ask: string; body: never };
  const told = ofTests[ask];
  if (told === undefined) throw new Error(ask);
  process.stdout.write(`${JSON.stringify(told(body) ?? null)}\n`);
});
