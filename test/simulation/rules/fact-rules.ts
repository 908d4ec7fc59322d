import type { Change, Facts } from "@holdfast/engine";

/** Facts that stay: of two, the earliest counts. A delayed destruction can be taken back. */
const lasting = ["served", "activated", "deactivated", "compromised", "destroyed"] as const;

/** What a change must not do: take a fact away, or put a later one in its place. */
export function laterFact(changes: readonly Change[]): string | undefined {
  for (const change of changes) {
    if (change.kind === "create") continue;
    const { facts } = change.before.object;
    const name = lasting.find((each) => isLater(facts, change.after.facts, each));
    if (name === undefined) continue;
    return `changes when ${change.after.uniqueIdentifier} was ${name} to a later time, or to never`;
  }
  return undefined;
}

function isLater(before: Facts, after: Facts, name: (typeof lasting)[number]): boolean {
  const [known, now] = [before[name]?.time, after[name]?.time];
  return known !== undefined && (now === undefined || now > known);
}
