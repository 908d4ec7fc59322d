import { X509Certificate } from "node:crypto";
import { type ApprovalAction, canonicalJson } from "@holdfast/admin";
import { type ManagedObject, readAnyRecord, type SystemRecord } from "@holdfast/engine";
import type { OwnBefore } from "@holdfast/regions";
import { limitOf } from "../access/operation-limit.ts";
import { fingerprintOf } from "../base/certificates.ts";
import { storedReferenceSchema } from "../records/root-reference.ts";

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
  Certificate: (before, after) => {
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
    const target = `${instance}/${id}`;
    // An unlimited certificate is limited like any other.
    return [{ action: "admit-client", operations: ["updateCertificate"], target, atMs: 0, fits }];
  },
  User: (before, after, { object }) => {
    const target = `${after.instance}/${after.name}`;
    const atMs = writtenMs(object, "hash");
    const { hash } = after;
    if (before?.hash === hash && same(before?.operations, after.operations)) return [];
    if (before === undefined && hash === undefined) return [];
    const operations = hash === undefined ? ["deleteUser"] : ["setUser"];
    const old = before?.hash;
    const isSameLimit = same(before?.operations, after.operations);
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
  { object, damaged }: Given,
): readonly (Needed | undefined)[] {
  // One that was made and changed elsewhere meanwhile had no keys here.
  if (before === undefined && !damaged) return [];
  const { instance: target, removal } = after;
  const isDecided = before?.removal?.phase === "decided";
  const about = (
    action: ApprovalAction,
    operation: string,
    atMs: number,
    more: Pick<Needed, "fits" | "also"> = {},
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
    before?.destroyOverKmip === "refused" && after.destroyOverKmip !== "refused"
      ? about("allow-destroy", "updateInstance", writtenMs(object, "destroyOverKmip"), {
          fits: ({ body }) => body["destroyOverKmip"] === after.destroyOverKmip,
        })
      : undefined,
    ...entriesOf(after.shredded).map(([region, order]) =>
      before?.shredded[region]?.id === order.id
        ? undefined
        : about("shred", "shredInstance", order.atMs),
    ),
    ...entriesOf(after.opened).map(([region, order]) =>
      before?.opened[region]?.id === order.id
        ? undefined
        : about("open-keys", "revalidateRoot", order.atMs, {
            fits: ({ shreds }) => shreds.includes(order.ends),
          }),
    ),
    ...(isDecided || removal?.phase === "decided" ? [] : rootNeeds(before, after, object, about)),
  ];
}

/** A root of trust that an instance is moved to is approved; that it was moved there then is not. */
function rootNeeds(
  before: SystemRecord<"Instance"> | undefined,
  after: SystemRecord<"Instance">,
  object: ManagedObject,
  about: (
    action: ApprovalAction,
    operation: string,
    atMs: number,
    more: Pick<Needed, "fits">,
  ) => Needed,
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

/** An object of an instance whose clients may destroy nothing: what ends its use. */
function keyNeeds(before: OwnBefore, after: ManagedObject, around: Around): readonly Needed[] {
  // What this region never had, it cannot lose.
  if (before === undefined) return [];
  const { destroyed } = after.facts;
  const isLost = before === "damaged" || before.facts.destroyed === undefined;
  if (destroyed === undefined || !isLost || !around.keepsKeys(after.instance)) return [];
  const removal = around.instance(after.instance)?.removal;
  if (removal?.phase === "decided" || around.instance(after.instance)?.destroyed !== undefined)
    return [];
  const target = `${after.instance}/${after.uniqueIdentifier}`;
  return [
    { action: "destroy-key", operations: ["destroyKey"], target, atMs: destroyed.time * 1000 },
  ];
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
