import { z } from "zod";

/** States of an object (KMIP 2.1, 4.57). */
export const states = [
  "PreActive",
  "Active",
  "Deactivated",
  "Compromised",
  "Destroyed",
  "DestroyedCompromised",
] as const;
export type State = (typeof states)[number];

const name = z.string().min(1);
const ms = z.number();

const common = {
  /** Identifier of the object. */
  object: name,
  /** Who asked; has one request under way at a time. */
  client: name,
  /** The endpoint that was asked, and its region. */
  node: name,
  region: name,
  /** The region whose store served the request; absent if that is not known. */
  store: name.optional(),
  /** Milliseconds on one clock. */
  call: ms,
  /** Absent if there was no answer. */
  return: ms.optional(),
  /** `unknown`: no answer, or one that does not say whether it happened. */
  outcome: z.enum(["done", "refused", "unknown"]),
  /** Result Reason of a refusal. */
  reason: name.optional(),
};
const change = {
  ...common,
  /** Regions that had the change durably before the answer; both for one that is shared. */
  acknowledged: z.array(name).optional(),
  /** How often the node may have made it, by retries of its own. Absent: once. */
  tries: z.int().min(1).optional(),
};
const value = { attribute: name, value: name };

const operation = z.discriminatedUnion("operation", [
  z.strictObject({ operation: z.literal("Create"), ...change }),
  z.strictObject({ operation: z.literal("Activate"), ...change }),
  z.strictObject({ operation: z.literal("Revoke"), ...change, compromise: z.boolean() }),
  z.strictObject({ operation: z.literal("Destroy"), ...change }),
  z.strictObject({ operation: z.literal("AddAttribute"), ...change, ...value }),
  z.strictObject({ operation: z.literal("SetAttribute"), ...change, ...value }),
  z.strictObject({ operation: z.literal("DeleteAttribute"), ...change, ...value }),
  z.strictObject({
    operation: z.literal("GetAttributes"),
    ...common,
    state: z.enum(states).optional(),
    /** Every value of the attributes that were asked for. */
    attributes: z.record(name, z.array(name)).optional(),
  }),
  /** SHA-256 of the key material, in hex. */
  z.strictObject({ operation: z.literal("Get"), ...common, digest: name.optional() }),
  z.strictObject({
    operation: z.literal("Locate"),
    ...common,
    /** What was searched for; every object if absent. */
    attribute: name.optional(),
    value: name.optional(),
    found: z.boolean().optional(),
  }),
]);

/** One request of a client about one object. */
export type Operation = Readonly<z.infer<typeof operation>>;
type ReadOperation = Extract<Operation, { operation: "GetAttributes" | "Get" | "Locate" }>;
export type ChangeOperation = Exclude<Operation, ReadOperation>;

const event = z.discriminatedUnion("event", [
  /** A region's store lost data; from `levelAt` on it has all that the other region has. */
  z.strictObject({ event: z.literal("storeLost"), region: name, at: ms, levelAt: ms.optional() }),
  /** Every region, or `region` alone, has everything that any region had acknowledged by `since`: by `at` if that is absent. */
  z.strictObject({
    event: z.literal("converged"),
    at: ms,
    since: ms.optional(),
    region: name.optional(),
  }),
]);

/** Something that happened to the stores. */
export type StoreEvent = Readonly<z.infer<typeof event>>;

/** What clients did, and what happened to the stores meanwhile. */
export interface ClientHistory {
  readonly regions: readonly string[];
  readonly operations: readonly Operation[];
  readonly events: readonly StoreEvent[];
}

/** Reads one operation or event; throws a `RangeError` that says what is wrong with it. */
export function readRecord(record: unknown): Operation | StoreEvent {
  const isEvent = typeof record === "object" && record !== null && "event" in record;
  const { data, error } = (isEvent ? event : operation).safeParse(record);
  if (data === undefined) throw new RangeError(textOf(error));
  if ("operation" in data) requireWhole(data);
  return data;
}

/** Whether it may have changed the object. */
export function mayBeMade(one: Operation): one is ChangeOperation {
  return isChange(one) && one.outcome !== "refused";
}

/** Whether it changes the object when it is done. */
export function isChange(one: Operation): one is ChangeOperation {
  return !["GetAttributes", "Get", "Locate"].includes(one.operation);
}

function textOf({ issues }: z.ZodError): string {
  const [issue] = issues;
  if (issue === undefined) return "does not fit";
  const path = issue.path.join(".");
  return path === "" ? issue.message : `${path}: ${issue.message}`;
}

/** Fields that depend on others. */
function requireWhole(one: Operation): void {
  const wrong = problemOf(one);
  if (wrong !== undefined) throw new RangeError(wrong);
}

function problemOf(one: Operation): string | undefined {
  const { call, outcome, reason } = one;
  if (one.return === undefined && outcome !== "unknown") {
    return `return: missing, though the outcome is "${outcome}"`;
  }
  if (one.return !== undefined && one.return < call) return "return: before call";
  if ((outcome === "refused") !== (reason !== undefined)) {
    return `reason: belongs to the outcome "refused", and to no other`;
  }
  if (isChange(one)) {
    if (outcome === "refused" && one.tries !== undefined) {
      return "tries: belongs to a change that may have happened, and this one is refused";
    }
    const isAcknowledged = one.acknowledged !== undefined;
    if ((outcome === "done") === isAcknowledged) return undefined;
    return `acknowledged: belongs to a change with the outcome "done", and to no other`;
  }
  return (outcome === "done") === hasAnswer(one)
    ? undefined
    : `${answerOf[one.operation]}: belongs to a read with the outcome "done", and to no other`;
}

const answerOf = {
  GetAttributes: "state or attributes",
  Get: "digest",
  Locate: "found",
} as const;

function hasAnswer(one: ReadOperation): boolean {
  if (one.operation === "Get") return one.digest !== undefined;
  if (one.operation === "Locate") return one.found !== undefined;
  return one.state !== undefined || one.attributes !== undefined;
}
