import { setImmediate as turn } from "node:timers/promises";
import { type Contract, ManagementError, type Reply } from "@holdfast/admin";
import {
  type AuditEvent,
  type AuditLog,
  decodeAudit,
  type Fact,
  type ManagedObject,
  pendingDestruction,
  type Revocation,
  StoreUnavailable,
  type Timers,
  trailsOf,
} from "@holdfast/engine";
import { enumerationText, tags } from "@holdfast/kmip";
import { askOfTrail } from "../../audit/trail/peer-trail.ts";
import { entriesAtOnce } from "../../audit/trail/trail.ts";
import type { PeerCommands } from "../../records/peer-commands.ts";
import { createdSeconds, timeOf } from "./key-answer.ts";

/** Something that happened to an object. */
type FactAnswer = Reply<Contract["readKey"]>["history"][number];

/** Where evidence is looked up; the region's own. */
export type Evidence = Pick<AuditLog, "seek" | "entries">;

/** Which events are looked for: a key's, about these times, in milliseconds since the epoch. */
export interface KeyEventsAsked {
  readonly instance: string;
  readonly key: string;
  readonly times: readonly number[];
}

/** A key's event as it is shown. */
export type KeyEvent = Pick<AuditEvent, "time" | "action" | "initiator">;

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

/**
 * What happened to an object, oldest first; with who did it, where evidence still shows it. The other regions are asked
 * by `elsewhere` for what this region's evidence does not show.
 */
export async function historyOf(
  object: ManagedObject,
  evidence: Evidence | undefined,
  elsewhere: (asked: KeyEventsAsked) => Promise<readonly KeyEvent[]> = async () => [],
): Promise<FactAnswer[]> {
  const happened = happenedTo(object).toSorted((one, other) => one.fact.time - other.fact.time);
  const { instance, uniqueIdentifier: key } = object;
  const askedFor = (some: readonly Happened[]): KeyEventsAsked => {
    return { instance, key, times: some.map(({ fact }) => fact.time * 1000) };
  };
  const own = evidence === undefined ? [] : await keyEvents(evidence, askedFor(happened));
  const untold = happened.filter((one) => eventOf(one, own) === undefined);
  const events = [...own, ...(untold.length === 0 ? [] : await elsewhere(askedFor(untold)))];
  return happened.flatMap((one) => {
    const { what, fact, detail } = one;
    const time = timeOf(fact.time);
    if (time === undefined) return [];
    const event = eventOf(one, events);
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

function eventOf({ fact, actions }: Happened, events: readonly KeyEvent[]): KeyEvent | undefined {
  return events.find((event) => actions.includes(event.action) && isAbout(fact.time * 1000, event));
}

function happenedTo(object: ManagedObject): readonly Happened[] {
  const { served, activated, deactivated, compromised, destroyed, destruction } = object.facts;
  const pending = pendingDestruction(object.facts);
  const back = destruction?.state === "restored" ? destruction : undefined;
  const created = createdSeconds(object);
  // The region that made an object is not stored as such; its first registers show it.
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
    ["restored", back, ["key.restore"]],
    ["destroyed", destroyed ?? pending, ["kmip-key.destroy", "instance.wipe"]],
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

/**
 * A key's events about these times, the first of each action at each: a bounded search, since the trail has no index by
 * object.
 */
export async function keyEvents(
  evidence: Evidence,
  { instance, key, times }: KeyEventsAsked,
): Promise<KeyEvent[]> {
  const found: KeyEvent[] = [];
  try {
    for (const timeMs of times) {
      const events: KeyEvent[] = [];
      for (const trail of trailsOf(instance)) {
        const first = await evidence.seek(trail, timeMs - beforeMs);
        const range = { from: { after: first - 1 }, limit: entriesMax, covered: false };
        for (const [at, { bytes }] of (await evidence.entries(trail, range)).entries()) {
          if (at % entriesAtOnce === entriesAtOnce - 1) await turn();
          events.push(...successesIn(bytes, instance, key));
        }
      }
      found.push(...firstsAbout(timeMs, events));
    }
  } catch (error) {
    // The facts alone are still a history.
    if (!(error instanceof StoreUnavailable)) throw error;
  }
  return found;
}

/** The first event of each action about a time. */
function firstsAbout(timeMs: number, events: readonly KeyEvent[]): readonly KeyEvent[] {
  const firsts = new Map<string, KeyEvent>();
  for (const event of events) {
    if (isAbout(timeMs, event) && !firsts.has(event.action)) firsts.set(event.action, event);
  }
  return [...firsts.values()];
}

function isAbout(timeMs: number, { time }: KeyEvent): boolean {
  return time >= timeMs - beforeMs && time <= timeMs + afterMs;
}

/** What an entry says was done to a key. */
function successesIn(bytes: Uint8Array, instance: string, key: string): readonly KeyEvent[] {
  const content = decoded(bytes);
  if (content?.instance !== instance) return [];
  return content.events
    .filter(({ target, outcome }) => target === key && outcome === "success")
    .map(({ time, action, initiator }) => ({ time, action, initiator }));
}

/** The other regions' events of a key; nothing of a region that cannot be asked. */
export async function keyEventsElsewhere(
  commands: Pick<PeerCommands, "others" | "ask">,
  timers: Pick<Timers, "sleep">,
  { instance, key, times }: KeyEventsAsked,
): Promise<readonly KeyEvent[]> {
  const asked = commands.others.map(async (region) => {
    try {
      const input = { instance, key, times: [...times] };
      return (await askOfTrail(commands, timers, region, "readKeyEvents", input)).events;
    } catch (error) {
      if (!(error instanceof ManagementError)) throw error;
      return [];
    }
  });
  return (await Promise.all(asked)).flat();
}

function decoded(bytes: Uint8Array) {
  try {
    return decodeAudit(bytes);
  } catch {
    return undefined;
  }
}
