import { type Facts, isDestroyed, partitionOf, StoreUnavailable, stateOf } from "@holdfast/engine";
import { readTrail } from "./archive.ts";
import { Violation } from "./checker.ts";
import { instance } from "./client.ts";
import { objectsIn, openIn } from "./look.ts";
import { epochMs } from "./machine.ts";
import type { SimNode } from "./node.ts";
import type { World } from "./world.ts";

/** The dates of an object, in seconds since the epoch. */
export interface Dates {
  readonly activation: number;
  readonly deactivation?: number | undefined;
}

/** How much later than a date its fact may be written. */
const lateSeconds = 4;
/** Nodes decide no date while clocks are about a minute apart. */
const apartMs = 50_000;

/** A date that has come by every clock and is not written in some region; undefined if there is none. */
export function overdue({ nodes, groups, dated, record, scheduler }: World): string | undefined {
  const skews = nodes.filter(({ stopped }) => !stopped).map(({ machine }) => machine.skewMs);
  if (skews.some((ms) => Math.abs(ms) > apartMs)) return undefined;
  const now = (epochMs + scheduler.nowMs + Math.min(...skews)) / 1_000 - lateSeconds;
  for (const [id, dates] of dated) {
    for (const { region } of groups) {
      const late = lateFact(record(region, id)?.facts, dates, now);
      if (late !== undefined) return `the ${late} of ${id} is not written in ${region}`;
    }
  }
  return undefined;
}

/** What a date before `now`, in seconds, should have made of an object, and has not. */
function lateFact(
  facts: Facts | undefined,
  { activation, deactivation = Number.POSITIVE_INFINITY }: Dates,
  now: number,
): "activation" | "deactivation" | undefined {
  if (facts === undefined || isDestroyed(facts)) return undefined;
  if ((facts.compromised ?? facts.deactivated) !== undefined) return undefined;
  if (activation < now && facts.activated === undefined) return "activation";
  return deactivation < now ? "deactivation" : undefined;
}

/** What is wrong with a region's counts or its audit trail, as one of its nodes sees them; it may be right a little later. */
export async function wrongIn(world: World, node: SimNode): Promise<string | undefined> {
  const { own, region } = node;
  if (own === undefined) return `${node.machine.name} has no store`;
  try {
    const aside = await own.quarantined();
    const there = openIn(world.group(region).primary).aside;
    if (aside !== there) return `${there} records of ${region} are put aside, and ${aside} counted`;
    return (await wrongCounts(world, node)) ?? (await wrongTrail(world, node));
  } catch (error) {
    if (error instanceof StoreUnavailable) return `the store of ${region}: ${error.message}`;
    throw error;
  }
}

async function wrongCounts(world: World, { own, region }: SimNode): Promise<string | undefined> {
  const counts = await own?.counts(instance);
  if (counts === undefined) return `the objects of ${region} are not counted`;
  const states = objectsIn(world.group(region).primary, instance).map(({ facts }) =>
    stateOf(facts),
  );
  const wrong = Object.entries(counts).find(
    ([state, count]) => states.filter((each) => each === state).length !== count,
  );
  return wrong && `${wrong[1]} objects of ${region} are counted as ${wrong[0]}`;
}

async function wrongTrail(world: World, { own, region }: SimNode): Promise<string | undefined> {
  const archive = world.archives.get(region);
  if (own === undefined || archive === undefined) return undefined;
  const standings = await own.audit.standings();
  const behind = standings.findIndex(({ last, head }) => head.number < last);
  if (behind >= 0) return `audit events of partition ${behind} are not chained in ${region}`;
  const lacking = archive.lacks(own.storeId ?? "", standings);
  if (lacking !== undefined && world.group(region).losses === 0) {
    return `the archive of ${region} lacks ${lacking}`;
  }
  await readTrail(own.audit, partitionOf(instance));
  return undefined;
}

/** Every acknowledged change has left an audit event in some region. */
export function requireEvidence({ archives, evidence, groups, checker }: World): void {
  if (archives.size === 0 || groups.some(({ losses }) => losses > 0) || checker.excusesLost) return;
  const successes = [...archives.values()].map((archive) => archive.successes());
  for (const [key, count] of evidence) {
    const found = successes.reduce((sum, each) => sum + (each.get(key) ?? 0), 0);
    if (found >= count) continue;
    throw new Violation(
      `${count} changes ${key} are acknowledged, and ${found} have an audit event`,
    );
  }
}
