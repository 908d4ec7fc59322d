import type { Observed } from "./health.ts";

/** The reported abilities of the node, smoothed. */
interface Said {
  readonly read: boolean;
  readonly write: boolean;
  readonly keysUsable: boolean;
  /** Why the node wants no traffic, even if it could serve. */
  readonly unwanted: "starting" | "opening" | "draining" | undefined;
}

/** The lines of `/readyz?verbose`: first what the node can do, or why not, then one line per part. */
export function healthLines(observed: Observed, said: Said): readonly string[] {
  const { serving, lease, roundTrip, storageKey, rootOfTrust, peers, leader, records } = observed;
  const { certificates, eventLoop, memory } = observed;
  return [
    `read: ${ability(said.read, said, whyNoReads(observed, said))}`,
    `write: ${ability(said.write, said, whyNoWrites(observed, said))}`,
    `serving: ${from(serving)}`,
    `store: ${lease.state}${because(lease.reason)}`,
    `store round trip: ${word(roundTrip.ok)}${because(roundTrip.reason)}`,
    `storage key: ${word(storageKey.ok)}${because(storageKey.reason)}`,
    `memory: ${word(memory.ok)}${because(memory.reason)}`,
    `root of trust: ${rootOfTrust.state}${because(rootOfTrust.reason)}`,
    ...[...peers].map(
      ([region, { state, reason }]) => `peer ${region}: ${state}${because(reason)}`,
    ),
    ...(leader === undefined ? [] : [`leader: ${leads(leader)}`]),
    `system records: ${word(records.ok)}${because(records.reason)}`,
    `certificates: ${word(certificates.ok)}${because(certificates.reason)}`,
    `event loop: ${word(eventLoop.ok)}${because(eventLoop.reason)}`,
    ...(said.unwanted === undefined ? [] : [said.unwanted]),
  ];
}

const servingWord = {
  local: "own store",
  remote: "the other region's store",
  none: "nothing",
} as const;

function from({ from, reason }: Observed["serving"]): string {
  const word = servingWord[from];
  return reason === word ? word : `${word}${because(reason)}`;
}

function ability(able: boolean, { unwanted }: Said, why: string): string {
  if (unwanted !== undefined) return `no (${unwanted})`;
  if (able) return why === "" ? "ok" : `ok (but now ${why})`;
  return why === "" ? "no (it could again, and waits a moment to be sure)" : `no (${why})`;
}

function whyNoReads(
  { serving, roundTrip, remote, records, rootOfTrust }: Observed,
  { keysUsable }: Said,
): string {
  if (!records.ok) return records.reason;
  if (!keysUsable) return `root of trust ${rootOfTrust.state}: ${rootOfTrust.reason}`;
  if (serving.from === "none") return `no store: ${serving.reason}`;
  if (serving.from === "remote" && !remote.ok) return `no store: ${remote.reason}`;
  if (serving.from === "local" && !roundTrip.ok) return `store round trip: ${roundTrip.reason}`;
  return "";
}

function whyNoWrites(observed: Observed, said: Said): string {
  const reads = whyNoReads(observed, said);
  const { serving, lease } = observed;
  if (reads !== "" || serving.writes) return reads;
  const local = serving.from === "local" && lease.state !== "full";
  return local ? `store ${lease.state}: ${lease.reason}` : serving.reason;
}

function leads({ leads, epoch }: NonNullable<Observed["leader"]>): string {
  return leads ? `this node (epoch ${epoch})` : "not this node";
}

function word(ok: boolean): string {
  return ok ? "ok" : "no";
}

function because(reason: string): string {
  return reason === "" ? "" : ` (${reason})`;
}
