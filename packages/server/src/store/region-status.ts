import {
  type LeaderStore,
  type OwnStore,
  type StoreState,
  StoreUnavailable,
} from "@holdfast/engine";
import type { Peer, PeerHello } from "@holdfast/regions";
import { reasonOf } from "../base/operator-error.ts";

interface Entry {
  readonly generation: number;
  readonly retired: number;
}

/** What `holdfast region status` looks at. */
export interface StatusSources {
  readonly region: string;
  readonly own: Pick<
    OwnStore,
    "state" | "storeId" | "levels" | "reservations" | "quarantined" | "position" | "cursor"
  >;
  /** Where the own store is. */
  readonly address: string;
  /** What the own store says of a region; undefined where it cannot answer. */
  readonly entryOf: (region: string) => Entry | undefined;
  /** Undefined for a region alone. */
  readonly peer: Pick<Peer, "region" | "state" | "hello" | "position"> | undefined;
  readonly wallMs: () => number;
}

/** What this region may do with its store. */
const leaseWords: Readonly<Record<StoreState, string>> = {
  full: "held: reads and changes",
  readOnly: "held: reads only",
  none: "not held",
};

/** Clocks this far apart are reported, since they decide which of two writes is the last. */
const clockMs = 1000;

/** Lines about both regions: who serves, what was read of the other, and held or quarantined records. */
export async function regionStatus(sources: StatusSources): Promise<readonly string[]> {
  const { region, own, address, entryOf, peer } = sources;
  const [levels, reservations, quarantined, cursors, met] = await Promise.all([
    shown(own.levels(), ({ asked, reached }) =>
      reached >= asked
        ? "yes"
        : `no: resync ${asked} is asked for, ${reached} is done; the leader continues`,
    ),
    shown(own.reservations(), (all) => describeReservations(all, sources.wallMs())),
    shown(own.quarantined(), (count) => `${count} records`),
    peer === undefined ? undefined : shown(behind(sources.own, peer), (text) => text),
    peer === undefined ? undefined : meet(peer, sources.wallMs),
  ]);
  const store =
    own.storeId === undefined ? `${address}, not reached` : `${own.storeId} at ${address}`;
  const rows: (readonly [string, string])[] = [
    [`region ${region}`, describeEntry(ownEntry(entryOf(region), met?.hello))],
    ["  store", store],
    ["  store lease", leaseWords[own.state()]],
    ["  level", levels],
    ["  reservations", reservations],
    ["  quarantine", quarantined],
  ];
  if (peer === undefined) return table([...rows, ["alone", "the configuration names no peer"]]);
  const reached = peer.state() === "retired" ? "retired" : (met as Met).says;
  return table([
    ...rows,
    [`region ${peer.region}`, describeEntry(otherEntry(entryOf(peer.region), (met as Met).hello))],
    ["  reached", reached],
    ...clockRow(met as Met),
    ["  changes read", cursors ?? ""],
  ]);
}

interface Met {
  readonly hello: PeerHello | undefined;
  readonly says: string;
  /** The other region read its clock between these two times of this machine's clock. */
  readonly askedMs: number;
  readonly answeredMs: number;
}

async function meet(peer: Pick<Peer, "hello">, wallMs: () => number): Promise<Met> {
  const askedMs = wallMs();
  try {
    const hello = await peer.hello();
    const serves = hello.serving ? "serves" : "does not serve";
    return { hello, says: `yes; it ${serves} from its own store`, askedMs, answeredMs: wallMs() };
  } catch (error) {
    return { hello: undefined, says: `no: ${reasonOf(error)}`, askedMs, answeredMs: wallMs() };
  }
}

/** How far the own store's leader has read the other region's changes. */
async function behind(
  own: Pick<LeaderStore, "cursor">,
  peer: Pick<Peer, "region" | "position">,
): Promise<string> {
  const { replicationId, numbers } = await peer.position();
  const cursors = await Promise.all(numbers.map((_, at) => own.cursor(at, peer.region)));
  let left = 0;
  let unknown = 0;
  for (const [at, number] of numbers.entries()) {
    const cursor = cursors[at];
    if (number === 0) continue;
    if (cursor?.replicationId === replicationId) left += Math.max(0, number - cursor.number);
    else unknown += 1;
  }
  if (unknown > 0) {
    return `${left} are left, and ${unknown} of ${numbers.length} partitions are not compared yet`;
  }
  return left === 0 ? "all" : `all but ${left}`;
}

/** A region learns from the other one that it was retired, where its own store missed it. */
function ownEntry(entry: Entry | undefined, hello: PeerHello | undefined): Entry | undefined {
  if (entry === undefined || hello === undefined) return entry;
  return { ...entry, retired: Math.max(entry.retired, hello.retired) };
}

/** What the own store says, with the generation that the region itself has by now. */
function otherEntry(entry: Entry | undefined, hello: PeerHello | undefined): Entry | undefined {
  if (hello === undefined) return entry;
  return { generation: hello.generation, retired: entry?.retired ?? 0 };
}

function describeEntry(entry: Entry | undefined): string {
  if (entry === undefined) return "generation not known";
  const { generation, retired } = entry;
  const state = retired > 0 && retired >= generation ? ", RETIRED" : "";
  return `generation ${generation}${state}`;
}

function describeReservations(
  all: readonly { readonly operation: string; readonly sinceMs: number }[],
  nowMs: number,
): string {
  if (all.length === 0) return "none";
  const oldest = Math.min(...all.map(({ sinceMs }) => sinceMs));
  const seconds = Math.max(0, Math.round((nowMs - oldest) / 1000));
  return `${all.length} operations hold records, the oldest for ${seconds} s`;
}

/** Shows only a difference that the answer's duration cannot explain: a region whose store is out answers slowly. */
function clockRow({ hello, askedMs, answeredMs }: Met): [string, string][] {
  if (hello === undefined) return [];
  const ahead = Math.max(0, hello.wallMs - answeredMs) + Math.min(0, hello.wallMs - askedMs);
  if (Math.abs(ahead) < clockMs) return [];
  const seconds = Math.round(ahead / 100) / 10;
  const side = seconds > 0 ? "ahead of" : "behind";
  return [["  clock", `${Math.abs(seconds)} s ${side} this machine's: set both by NTP`]];
}

/** What is known, or why it is not. */
async function shown<Answer>(
  answer: Promise<Answer>,
  print: (answer: Answer) => string,
): Promise<string> {
  try {
    return print(await answer);
  } catch (error) {
    if (!(error instanceof StoreUnavailable)) throw error;
    return `not known: ${reasonOf(error)}`;
  }
}

function table(rows: readonly (readonly [string, string])[]): string[] {
  const width = Math.max(...rows.map(([name]) => name.length)) + 2;
  return rows.map(([name, value]) => `${name.padEnd(width)}${value}`);
}
