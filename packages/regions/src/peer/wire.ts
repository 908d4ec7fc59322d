import { create } from "@bufbuild/protobuf";
import {
  type AuditEvent,
  type Change,
  type CommitOutcome,
  decodeRecord,
  encodeRecord,
  identifierIn,
  type ManagedObject,
  type OwnStoredObject,
  type RecordsAnswer,
  type StoredObject,
  StoreUnavailable,
} from "@holdfast/engine";
import {
  AuditEventSchema,
  type AuditEvent as AuditMessage,
  type Change as ChangeMessage,
  ChangeSchema,
  type CommitReply,
  CommitReplySchema,
  DetailSchema,
  type NodeStore as NodeStoreMessage,
  NodeStoreSchema,
  type Slot,
  SlotSchema,
  type Stored,
  StoredSchema,
} from "../gen/holdfast/peer/v1/peer_pb.ts";
import type { NodeStore, PushOutcome } from "../ports/ports.ts";
import { InvalidRequest, plain } from "./status.ts";

const tagBytes = 16;
const storeIdBytes = 16;
/**
 * The year 2112, in microseconds. A clock that is ahead is believed, but the next write's stamp is one more than the
 * last, and there must be such a number.
 */
const stampMax = 2 ** 52;

/** In a list of damaged records' identifiers: a record that does not even show its identifier. */
const unreadable = "(not readable here)";

/** Outcomes of a push by their number on the wire. */
const outcomeNumbers: { readonly [Outcome in PushOutcome]: number } = {
  durable: 1,
  reserved: 2,
  quarantined: 3,
  refused: 4,
  unread: 5,
};
const outcomeNames = new Map(
  Object.entries(outcomeNumbers).map(([name, number]) => [
    number,
    name as keyof typeof outcomeNumbers,
  ]),
);

/** A push's outcome as its number. */
export function outcomeNumber(outcome: keyof typeof outcomeNumbers): number {
  return outcomeNumbers[outcome];
}

/** A push's outcome by its number; one of a newer release promises nothing. */
export function outcomeOf(number: number): keyof typeof outcomeNumbers {
  return outcomeNames.get(number) ?? "unread";
}

/** A number that was sent as 64 bits. */
export function numberOf(value: bigint): number {
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw new InvalidRequest("a number is too large");
  return Number(value);
}

/** A copy of bytes: what was received is a view of a larger buffer, which would stay in memory. */
export function ownBytes(bytes: Uint8Array): Uint8Array {
  return Uint8Array.from(bytes);
}

/**
 * A record of the other side. Its bytes are copied, since its parts are views of them and may live
 * long.
 */
function objectOf(record: Uint8Array): ManagedObject {
  const object = decodeRecord(Buffer.from(record));
  if (object.registers.every(({ stamp }) => stamp.us <= stampMax)) return object;
  throw new StoreUnavailable("corrupt", "register stamp out of range");
}

/** A record, or undefined where this release cannot read it. */
export function readableObject(record: Uint8Array): ManagedObject | undefined {
  try {
    return objectOf(record);
  } catch {
    return undefined;
  }
}

/**
 * The records that can be read, and the others. Throws `StoreUnavailable("unknownFormat")` where
 * one of another release does not even show its identifier.
 */
export function readableObjects(records: readonly Uint8Array[]): RecordsAnswer {
  const objects: ManagedObject[] = [];
  const damaged: string[] = [];
  const unknown: string[] = [];
  for (const record of records) {
    try {
      objects.push(objectOf(record));
    } catch (error) {
      const identifier = identifierIn(Buffer.from(record));
      if (!(error instanceof StoreUnavailable) || error.failure !== "unknownFormat") {
        damaged.push(identifier ?? unreadable);
        continue;
      }
      if (identifier === undefined) throw error;
      unknown.push(identifier);
    }
  }
  return { objects, damaged, unknown };
}

export function storedMessage(stored: OwnStoredObject): Stored {
  return create(StoredSchema, {
    record: encodeRecord(stored.object),
    tag: Buffer.from(stored.tag, "hex"),
    reserved: stored.reserved ?? "",
  });
}

export function storedOf(message: Stored): OwnStoredObject {
  const { record, tag, reserved } = message;
  if (tag.length !== tagBytes) throw new InvalidRequest("a tag is not 16 bytes long");
  const stored = { object: objectOf(record), tag: hex(tag) };
  return reserved === "" ? stored : { ...stored, reserved };
}

/** A tag as text. */
export function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("hex");
}

/** A store's id as text; empty where none was sent, or no such id. */
export function storeIdOf(bytes: Uint8Array): string {
  return bytes.length === storeIdBytes ? hex(bytes) : "";
}

export function nodeStoreMessage({ node, storeId }: NodeStore): NodeStoreMessage {
  return create(NodeStoreSchema, { node, storeId: Buffer.from(storeId, "hex") });
}

export function nodeStoreOf({ node, storeId }: NodeStoreMessage): NodeStore {
  return { node: plain(node), storeId: storeIdOf(storeId) };
}

export function slotMessage(stored: OwnStoredObject | undefined): Slot {
  return create(SlotSchema, stored === undefined ? {} : { stored: storedMessage(stored) });
}

export function slotOf(slot: Slot): OwnStoredObject | undefined {
  return slot.stored === undefined ? undefined : storedOf(slot.stored);
}

export function changeMessage(change: Change): ChangeMessage {
  const after = encodeRecord(change.after);
  return create(
    ChangeSchema,
    change.kind === "create" ? { after } : { after, before: storedMessage(change.before) },
  );
}

/** A change of an instance: one that names records of another is refused. */
export function changeOf(message: ChangeMessage, instance: string): Change {
  const after = objectOf(message.after);
  const before = message.before === undefined ? undefined : storedOf(message.before);
  const objects = before === undefined ? [after] : [before.object, after];
  if (objects.some((object) => object.instance !== instance)) {
    throw new InvalidRequest("a change is of another instance");
  }
  if (before === undefined) return { kind: "create", after };
  if (before.object.uniqueIdentifier !== after.uniqueIdentifier) {
    throw new InvalidRequest("a change is of two records");
  }
  return { kind: "update", before: plainStored(before), after };
}

function plainStored({ object, tag }: StoredObject): StoredObject {
  return { object, tag };
}

export function auditMessage(event: AuditEvent): AuditMessage {
  const { detail, ...rest } = event;
  return create(AuditEventSchema, {
    ...rest,
    detail: Object.entries(detail ?? {}).map(([name, value]) =>
      create(DetailSchema, {
        name,
        value: typeof value === "string" ? { case: "text", value } : { case: "number", value },
      }),
    ),
  });
}

const auditOutcomes: ReadonlySet<string> = new Set(["pending", "success", "failure", "unknown"]);

function isAuditOutcome(outcome: string): outcome is AuditEvent["outcome"] {
  return auditOutcomes.has(outcome);
}

export function auditOf(message: AuditMessage): AuditEvent {
  const { time, action, outcome, reason, initiator, target, requestId, detail } = message;
  if (!isAuditOutcome(outcome)) throw new InvalidRequest("an audit event has no known outcome");
  const entries = detail.flatMap(({ name, value }) =>
    value.case === undefined ? [] : [[name, value.value] as const],
  );
  return {
    time,
    action,
    outcome,
    ...(reason !== undefined && { reason }),
    initiator,
    ...(target !== undefined && { target }),
    requestId,
    ...(entries.length > 0 && { detail: Object.fromEntries(entries) }),
  };
}

export function outcomeMessage(outcome: CommitOutcome): CommitReply {
  switch (outcome.kind) {
    case "conflict":
    case "reservationLost":
      return create(CommitReplySchema, { kind: outcome.kind, id: outcome.uniqueIdentifier });
    case "nameTaken":
      return create(CommitReplySchema, {
        kind: outcome.kind,
        id: outcome.uniqueIdentifier,
        name: outcome.name,
      });
    case "reserved":
      return create(CommitReplySchema, {
        kind: outcome.kind,
        id: outcome.uniqueIdentifier,
        operation: outcome.operation,
      });
    case "committed":
    case "instanceClosed":
      return create(CommitReplySchema, { kind: outcome.kind });
  }
}

/** Undefined for an outcome that this release does not know: nothing may be assumed then. */
export function commitOutcomeOf(reply: CommitReply): CommitOutcome | undefined {
  const { kind, id: uniqueIdentifier, name, operation } = reply;
  switch (kind) {
    case "committed":
    case "instanceClosed":
      return { kind };
    case "conflict":
    case "reservationLost":
      return { kind, uniqueIdentifier };
    case "nameTaken":
      return { kind, uniqueIdentifier, name };
    case "reserved":
      return { kind, uniqueIdentifier, operation };
    default:
      return undefined;
  }
}
