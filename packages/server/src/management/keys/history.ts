import type { Contract, Reply } from "@holdfast/admin";
import {
  type AuditEvent,
  type AuditLog,
  decodeAudit,
  type Fact,
  type ManagedObject,
  partitionOf,
  type Revocation,
  StoreUnavailable,
} from "@holdfast/engine";
import { enumerationText, tags } from "@holdfast/kmip";
import { createdSeconds, timeOf } from "./key-answer.ts";

/** Something that happened to an object. */
type FactAnswer = Reply<Contract["readKey"]>["history"][number];

/** Where evidence is looked up; the region's own. */
export type Evidence = Pick<AuditLog, "seek" | "entries">;

interface Happened {
  readonly what: string;
  readonly fact: Fact;
  /** Actions that leave evidence of it. */
  readonly actions: readonly string[];
  readonly detail?: string;
}

/** Evidence is written with the change, whose fact counts whole seconds. */
const beforeMs = 2_000;
const afterMs = 4_000;
const entriesMax = 400;

/** What happened to an object, oldest first; with who did it, where this region's evidence still tells. */
export async function historyOf(
  object: ManagedObject,
  evidence: Evidence | undefined,
): Promise<FactAnswer[]> {
  const happened = happenedTo(object).toSorted((one, other) => one.fact.time - other.fact.time);
  const events = evidence === undefined ? [] : await eventsOf(object, happened, evidence);
  return happened.flatMap(({ what, fact, actions, detail }) => {
    const time = timeOf(fact.time);
    if (time === undefined) return [];
    const event = events.find(
      (one) =>
        actions.includes(one.action) &&
        one.time >= fact.time * 1000 - beforeMs &&
        one.time <= fact.time * 1000 + afterMs,
    );
    return [
      {
        time,
        what,
        region: fact.region,
        ...(event !== undefined && { by: event.initiator }),
        ...(detail !== undefined && { detail }),
      },
    ];
  });
}

function happenedTo(object: ManagedObject): readonly Happened[] {
  const { served, activated, deactivated, compromised, destroyed } = object.facts;
  const created = createdSeconds(object);
  // The region that made an object is not kept by itself; its first registers tell.
  const region = object.registers[0]?.stamp.region ?? "";
  const rows: readonly (readonly [string, Fact | undefined, readonly string[]])[] = [
    [
      "created",
      created === undefined ? undefined : { time: created, region },
      ["kmip-key.create", "kmip-key.register"],
    ],
    ["first read", served, ["kmip-key.read"]],
    ["activated", activated, ["kmip-key.activate", "kmip-key.create", "kmip-key.register"]],
    ["deactivated", deactivated, ["kmip-key.revoke", "kmip-key.deactivate"]],
    ["compromised", compromised, ["kmip-key.revoke"]],
    ["destroyed", destroyed, ["kmip-key.destroy", "instance.wipe"]],
  ];
  return rows.flatMap(([what, fact, actions]) => {
    if (fact === undefined) return [];
    const detail = detailOf(fact);
    return [{ what, fact, actions, ...(detail !== undefined && { detail }) }];
  });
}

function detailOf({ reasonCode, message }: Revocation): string | undefined {
  const code =
    reasonCode === undefined
      ? []
      : [enumerationText(tags.RevocationReasonCode.tag, reasonCode) ?? String(reasonCode)];
  const parts = [...code, ...(message === undefined ? [] : [message])];
  return parts.length === 0 ? undefined : parts.join(": ");
}

/** The object's events around what happened to it: a bounded look at each time, since the trail has no index by object. */
async function eventsOf(
  { instance, uniqueIdentifier }: ManagedObject,
  happened: readonly Happened[],
  evidence: Evidence,
): Promise<readonly AuditEvent[]> {
  const partition = partitionOf(instance);
  const found: AuditEvent[] = [];
  try {
    for (const { fact } of happened) {
      const first = await evidence.seek(partition, fact.time * 1000 - beforeMs);
      const from = { after: first - 1 };
      const range = { from, limit: entriesMax, covered: false };
      for (const { bytes } of await evidence.entries(partition, range)) {
        const content = decoded(bytes);
        if (content?.instance !== instance) continue;
        found.push(...content.events.filter(({ target }) => target === uniqueIdentifier));
      }
    }
  } catch (error) {
    // Facts alone are a history too.
    if (!(error instanceof StoreUnavailable)) throw error;
  }
  return found.filter(({ outcome }) => outcome === "success");
}

function decoded(bytes: Uint8Array) {
  try {
    return decodeAudit(bytes);
  } catch {
    return undefined;
  }
}
