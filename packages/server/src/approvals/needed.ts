import { X509Certificate } from "node:crypto";
import { type ApprovalAction, canonicalJson } from "@holdfast/admin";
import {
  due,
  type Fact,
  type Facts,
  isDestroyed,
  type ManagedObject,
  pendingDestruction,
  plannedDates,
  type Revocation,
  readAnyRecord,
  type SystemRecord,
  stateOf,
} from "@holdfast/engine";
import { enumerations } from "@holdfast/kmip";
import type { OwnBefore } from "@holdfast/regions";
import { limitOf } from "../access/operation-limit.ts";
import { fingerprintOf } from "../base/certificates.ts";
import { shredsInForce } from "../records/keys-order.ts";
import { storedReferenceSchema } from "../records/root-reference.ts";
import { skewMs } from "./requests.ts";

/** A call as approvers signed it. */
export type ShownCall = Readonly<
  Record<"params" | "query" | "body", Readonly<Record<string, unknown>>>
> & {
  /** The orders that a call may end. */
  readonly shreds: readonly unknown[];
};

/** What another region's change needs in order to be taken. */
export interface Needed {
  readonly action: ApprovalAction;
  /** The operations of requests that allow it. */
  readonly operations: readonly string[];
  readonly target?: string;
  /** What it creates: the identifier belongs to exactly one request. */
  readonly made?: string;
  /** When the change was made, as it says: not after the time of its request. */
  readonly atMs: number;
  /** When a change was written that only the use of its request writes: not after that use has ended. */
  readonly usedMs?: number;
  /** Its request was made after this: an earlier one was for what was there before. */
  readonly sinceMs?: number;
  /** Whether a call that was signed makes exactly this change. */
  readonly fits?: (call: ShownCall, operation: string) => boolean;
  /** Something else that allows it, without a request. */
  readonly unless?: (checks: NeededChecks) => Promise<boolean>;
  /** What must be true too, although a request allows it. */
  readonly also?: (checks: NeededChecks) => Promise<boolean>;
}

/** What only a node can find out. */
export interface NeededChecks {
  /** Whether two sealed password hashes of a user are the same one, sealed anew. */
  readonly sameSecret: (user: SystemRecord<"User">, one: string, other: string) => Promise<boolean>;
  /** Whether this region's own store has no readable object of an instance. */
  readonly isEmpty: (instance: string) => Promise<boolean>;
}

/** What is known around a change. */
export interface Around {
  readonly region: string;
  readonly nowMs: () => number;
  /** An instance's record as this region believes it. */
  readonly instance: (id: string) => SystemRecord<"Instance"> | undefined;
  /** Whether KMIP clients may not destroy an instance's keys. */
  readonly keepsKeys: (instance: string) => boolean;
  /** Whether this node's configuration declares an instance: no region keeps a record of it. */
  readonly isDeclared: (instance: string) => boolean;
}

type Rule<Kind extends SystemRecord["type"]> = (
  before: SystemRecord<Kind> | undefined,
  after: SystemRecord<Kind>,
  given: Given,
) => readonly (Needed | undefined)[];

interface Given {
  readonly object: ManagedObject;
  /** Whether the own store has the record, although it cannot be read. */
  readonly damaged: boolean;
  readonly around: Around;
}

const leading: ReadonlySet<string> = new Set(["manager", "security-officer"]);
const dayMs = 86_400_000;
const onlyNames = new Set(["secret", "name"]);

/** By kind of record: what its change by another region needs. Kinds that are left out need nothing. */
const rules: { readonly [Kind in SystemRecord["type"]]?: Rule<Kind> } = {
  Token: (before, after) => {
    if (before !== undefined || after.destroyed !== undefined) return [];
    if (!after.role.some((role) => leading.has(role))) return [];
    const { id: made, createdMs: atMs, expiresMs } = after;
    const fits = ({ body }: ShownCall) =>
      body["name"] === after.name &&
      sameSet(body["roles"], after.role) &&
      sameSet(body["instances"], after.instances) &&
      same(body["labels"], after.labels) &&
      expiresMs - atMs === Number(body["days"]) * dayMs;
    return [{ action: "give-role", operations: ["createToken"], made, atMs, fits }];
  },
  Certificate: (before, after, { object }) => {
    const { id, instance, createdMs } = after;
    if (after.destroyed !== undefined) return [];
    if (before === undefined) {
      const operations = madeCertificates[after.origin];
      const fits = (call: ShownCall, operation: string) => isCertificateOf(after, call, operation);
      return [
        { action: "admit-client", operations, target: instance, made: id, atMs: createdMs, fits },
      ];
    }
    if (same(before.operations, after.operations)) return [];
    const fits = ({ body }: ShownCall) =>
      same(limitOf(body["operations"] as readonly string[]), after.operations);
    const about = { operations: ["updateCertificate"], target: `${instance}/${id}` };
    const atMs = writtenMs(object, "operations");
    // An unlimited certificate is limited like any other.
    return [{ action: "admit-client", ...about, atMs, usedMs: atMs, fits }];
  },
  User: (before, after, { object }) => {
    const target = `${after.instance}/${after.name}`;
    const atMs = Math.max(writtenMs(object, "hash"), writtenMs(object, "operations"));
    const { hash } = after;
    if (before?.hash === hash && same(before?.operations, after.operations)) return [];
    if (before === undefined && hash === undefined) return [];
    const operations = hash === undefined ? ["deleteUser"] : ["setUser"];
    const old = before?.hash;
    const isSameLimit = same(before?.operations, after.operations);
    const changed = [old === hash ? [] : ["hash"], isSameLimit ? [] : ["operations"]].flat();
    const resealed =
      old !== undefined && hash !== undefined && isSameLimit
        ? (checks: NeededChecks) => checks.sameSecret(after, old, hash)
        : undefined;
    const fits = ({ body }: ShownCall) => {
      const given = body["operations"];
      // A user that is made again has no limit of before.
      if (given === undefined) return isSameLimit || (old === undefined && !after.operations);
      return same(limitOf(given as readonly string[]), after.operations);
    };
    return [
      {
        action: "admit-client",
        operations,
        target,
        atMs,
        // A later request may have changed the password alone, which this region missed too.
        usedMs: Math.min(...changed.map((field) => writtenMs(object, field))),
        ...(hash === undefined ? {} : { fits }),
        ...(resealed && { unless: resealed }),
      },
    ];
  },
  Deny: (before, after, { damaged }) => {
    const isLifted = after.destroyed !== undefined && before?.destroyed === undefined;
    if (!isLifted || (before === undefined && !damaged)) return [];
    const atMs = (after.destroyed?.time ?? 0) * 1000;
    return [{ action: "admit-client", operations: ["removeDenial"], target: after.id, atMs }];
  },
  Instance: (before, after, given) => instanceNeeds(before, after, given),
};

const madeCertificates = {
  added: ["addCertificate"],
  adopted: ["adoptCertificate"],
  signed: ["signRequest"],
  issued: ["issuePair"],
} as const satisfies Record<SystemRecord<"Certificate">["origin"], readonly string[]>;

function isCertificateOf(
  { name, kind, fingerprint, operations }: SystemRecord<"Certificate">,
  { body }: ShownCall,
  operation: string,
): boolean {
  const limit = limitOf(body["operations"] as readonly string[] | undefined);
  if (body["name"] !== name || !same(limit, operations)) return false;
  if (operation === "adoptCertificate")
    return body["fingerprint"] === fingerprint && kind === "client";
  if (operation !== "addCertificate") return kind === "client";
  return body["kind"] === kind && fingerprintIn(String(body["pem"])) === fingerprint;
}

function fingerprintIn(pem: string): string | undefined {
  try {
    return fingerprintOf(new X509Certificate(pem));
  } catch {
    return undefined;
  }
}

function instanceNeeds(
  before: SystemRecord<"Instance"> | undefined,
  after: SystemRecord<"Instance">,
  { object, damaged, around }: Given,
): readonly (Needed | undefined)[] {
  // One that was made and changed elsewhere meanwhile had no keys here. One that is declared has no record, but keys.
  if (before === undefined && !damaged && !around.isDeclared(after.instance)) return [];
  const { instance: target, removal } = after;
  const isDecided = before?.removal?.phase === "decided";
  const about = (
    action: ApprovalAction,
    operation: string,
    atMs: number,
    more: More = {},
  ): Needed => ({ action, operations: [operation], target, atMs, ...more });
  const deletes = (atMs: number, force: boolean | undefined, isFinal: boolean) =>
    about("delete-instance", "deleteInstance", atMs, {
      fits: ({ query }) => force === undefined || (query["force"] === "true") === force,
      ...(isFinal && force !== true && { also: (checks) => checks.isEmpty(target) }),
    });
  const isDeleted = after.destroyed !== undefined && before?.destroyed === undefined;
  const isNewRemoval = removal !== undefined && before?.removal?.id !== removal.id;
  const isDeciding = removal?.phase === "decided" && !isDecided;
  return [
    isNewRemoval || isDeciding
      ? deletes(removal.atMs, removal.force, removal.phase === "decided")
      : undefined,
    isDeleted && !isDecided && removal?.phase !== "decided"
      ? deletes((after.destroyed?.time ?? 0) * 1000, undefined, true)
      : undefined,
    ...leaveNeeds(before, after, object, about),
    ...orderNeeds(before, after, object, about),
    ...(isDecided || removal?.phase === "decided" ? [] : rootNeeds(before, after, object, about)),
  ];
}

type More = Pick<Needed, "fits" | "also" | "made" | "usedMs">;
type About = (action: ApprovalAction, operation: string, atMs: number, more?: More) => Needed;

/** Leave to destroy keys, or to destroy them sooner for good. */
function leaveNeeds(
  before: SystemRecord<"Instance"> | undefined,
  after: SystemRecord<"Instance">,
  object: ManagedObject,
  about: About,
): readonly (Needed | undefined)[] {
  const leave = (field: "destroyOverKmip" | "destroyDelay"): Needed => {
    const atMs = writtenMs(object, field);
    const fits = ({ body }: ShownCall) => body[field] === after[field];
    return about("allow-destroy", "updateInstance", atMs, { usedMs: atMs, fits });
  };
  const isLet = before?.destroyOverKmip === "refused" && after.destroyOverKmip !== "refused";
  const isSooner = (after.destroyDelay ?? 0) < (before?.destroyDelay ?? 0);
  return [
    isLet ? leave("destroyOverKmip") : undefined,
    isSooner ? leave("destroyDelay") : undefined,
  ];
}

/** Orders about open keys. One that shredded them ends only by an order that opens them, or by a later shred. */
function orderNeeds(
  before: SystemRecord<"Instance"> | undefined,
  after: SystemRecord<"Instance">,
  object: ManagedObject,
  about: About,
): readonly (Needed | undefined)[] {
  const now = shredsInForce(after);
  const opens = (atMs: number, ends: string): Needed =>
    about("open-keys", "revalidateRoot", atMs, { fits: ({ shreds }) => shreds.includes(ends) });
  return [
    ...entriesOf(before === undefined ? {} : shredsInForce(before)).map(([region, { id }]) =>
      now[region] !== undefined || after.opened[region]?.ends === id
        ? undefined
        : opens(writtenMs(object, `shredded.${region}`), id),
    ),
    ...entriesOf(after.shredded).map(([region, order]) =>
      before?.shredded[region]?.id === order.id
        ? undefined
        : about("shred", "shredInstance", order.atMs, {
            made: order.id,
            usedMs: writtenMs(object, `shredded.${region}`),
          }),
    ),
    ...entriesOf(after.opened).map(([region, order]) =>
      before?.opened[region]?.id === order.id ? undefined : opens(order.atMs, order.ends),
    ),
  ];
}

/** A root of trust that an instance is moved to is approved; that it was moved there then is not. */
function rootNeeds(
  before: SystemRecord<"Instance"> | undefined,
  after: SystemRecord<"Instance">,
  object: ManagedObject,
  about: About,
): readonly (Needed | undefined)[] {
  const isAllowed = (region: string, reference: unknown) =>
    [before?.root[region], before?.rootNext[region]].some((one) => sameRoot(one, reference));
  return (["root", "rootNext"] as const).flatMap((field) =>
    entriesOf(after[field] as Readonly<Record<string, unknown>>).map(([region, reference]) =>
      isAllowed(region, reference)
        ? undefined
        : about("move-root", "configureRoot", writtenMs(object, `${field}.${region}`), {
            fits: ({ body }) =>
              sameRoot((body["regions"] as Readonly<Record<string, unknown>>)[region], reference),
          }),
    ),
  );
}

/** Whether two references name the same root key, whatever secret and name they have. */
function sameRoot(one: unknown, other: unknown): boolean {
  const [named, others] = [namesIn(one), namesIn(other)];
  return named !== undefined && same(named, others);
}

function namesIn(reference: unknown): object | undefined {
  const { data } = storedReferenceSchema.safeParse(reference);
  return data && Object.fromEntries(Object.entries(data).filter(([name]) => !onlyNames.has(name)));
}

/** What a change of another region needs: each of these; nothing for a change that needs no approval. */
export function neededFor(
  before: OwnBefore,
  object: ManagedObject,
  around: Around,
): readonly Needed[] {
  const record = readAnyRecord(object);
  if (record === undefined) return keyNeeds(before, object, around);
  const rule = rules[record.type] as Rule<SystemRecord["type"]> | undefined;
  if (rule === undefined) return [];
  const damaged = before === "damaged";
  const known = before === undefined || before === "damaged" ? undefined : readAnyRecord(before);
  const needs = rule(known, record, { object, damaged, around });
  return needs.filter((need) => need !== undefined);
}

/** What ends the use of an object of an instance whose clients may destroy nothing, and what restores one of any. */
function keyNeeds(before: OwnBefore, after: ManagedObject, around: Around): readonly Needed[] {
  return [...destructionNeeds(before, after, around), ...revocationNeeds(before, after, around)];
}

function destructionNeeds(
  before: OwnBefore,
  after: ManagedObject,
  around: Around,
): readonly Needed[] {
  // What this region never had, it cannot lose.
  if (before === undefined) return [];
  const target = `${after.instance}/${after.uniqueIdentifier}`;
  const known = before === "damaged" ? undefined : before.facts;
  // A request from before the last destruction or restore was for that one.
  const sinceMs = (known?.destruction?.us ?? 0) / 1000;
  const need = (operation: "destroyKey" | "restoreKey", atMs: number): Needed[] => [
    {
      ...{ action: "destroy-key", operations: [operation], target },
      ...{ atMs: Math.max(atMs, sinceMs), usedMs: atMs, sinceMs },
      // Who approved a destruction did not approve that it ends early.
      ...(operation === "destroyKey" && known && isDestroyed(known) && { fits: () => false }),
    },
  ];
  const { destroyed, destruction } = after.facts;
  const atMs = destroyed === undefined ? (destruction?.us ?? 0) / 1000 : destroyed.time * 1000;
  if (!isDestroyed(after.facts)) {
    return known !== undefined && isDestroyed(known) ? need("restoreKey", atMs) : [];
  }
  if (!endsSooner(known, after.facts) || !isKept(after.instance, around)) return [];
  return need("destroyKey", atMs);
}

/** Whether an instance's clients may not end the use of its objects, and it is not deleted. */
function isKept(id: string, { keepsKeys, instance: find }: Around): boolean {
  if (!keepsKeys(id)) return false;
  const instance = find(id);
  return instance?.removal?.phase !== "decided" && instance?.destroyed === undefined;
}

const reasonCodes: Readonly<Record<string, number>> = enumerations.RevocationReasonCode;

/**
 * A revocation of an Active object, or an earlier date that deactivates it. Its destruction with `force` revokes it too;
 * a date that this region knew needs nothing.
 */
function revocationNeeds(
  before: OwnBefore,
  after: ManagedObject,
  around: Around,
): readonly Needed[] {
  if (before === undefined || before === "damaged" || !isRevoked(before, after, around)) return [];
  if (!isKept(after.instance, around)) return [];
  const { deactivated, compromised } = after.facts;
  // Its clients may compromise what is no longer Active: then there are two, and the first was approved.
  const facts = [deactivated, compromised].filter((fact) => fact !== undefined);
  const fits = ({ body, query }: ShownCall, operation: string) =>
    operation === "destroyKey"
      ? query["force"] === "true"
      : facts.length === 0 ||
        facts.some((fact) => reasonCodes[String(body["reason"])] === reasonOf(fact));
  return [
    {
      ...{ action: "destroy-key", operations: ["revokeKey", "destroyKey"] },
      ...{ target: `${after.instance}/${after.uniqueIdentifier}`, fits },
      atMs: (facts[0]?.time ?? 0) * 1000,
    },
  ];
}

function reasonOf(fact: Fact | Revocation): number | undefined {
  return "reasonCode" in fact ? fact.reasonCode : undefined;
}

/** Whether an object is no longer Active, or will not be at a date that was not known. */
function isRevoked(
  { facts, registers }: ManagedObject,
  after: ManagedObject,
  { nowMs }: Around,
): boolean {
  const { deactivated, compromised } = after.facts;
  const planned = plannedDates(registers);
  const { deactivation: date = Infinity } = planned;
  const { deactivation: then = Infinity } = plannedDates(after.registers);
  if (deactivated === undefined && compromised === undefined && then >= date) return false;
  const seconds = Math.floor((nowMs() + skewMs) / 1000);
  return stateOf(due(facts, planned, seconds, "")) === "Active";
}

/** Whether an object ends sooner than was known. `firstSight` refuses one that becomes final too soon. */
function endsSooner(known: Facts | undefined, after: Facts): boolean {
  if (known?.destroyed !== undefined) return false;
  const until = known && pendingDestruction(known)?.until;
  if (until === undefined) return true;
  return after.destroyed === undefined && (after.destruction?.until ?? 0) < until;
}

function entriesOf<Value>(
  of: Readonly<Record<string, Value | undefined>>,
): readonly (readonly [string, Value])[] {
  return Object.entries(of).flatMap(([key, value]) =>
    value === undefined ? [] : [[key, value] as const],
  );
}

/** When a field was last written, as its stamp says. */
function writtenMs({ registers }: ManagedObject, key: string): number {
  const stamps = registers.filter((one) => one.key === key).map(({ stamp }) => stamp.us / 1000);
  return Math.max(0, ...stamps);
}

function same(one: unknown, other: unknown): boolean {
  return textOf(one) === textOf(other);
}

function sameSet(one: unknown, other: unknown): boolean {
  const sorted = (value: unknown) => (Array.isArray(value) ? value.toSorted() : value);
  return same(sorted(one), sorted(other));
}

/** Canonical, so that the order of members does not matter. */
function textOf(value: unknown): string {
  return value === undefined ? "" : canonicalJson(value);
}
