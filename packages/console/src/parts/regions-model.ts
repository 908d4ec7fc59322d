import type { AnswerOf } from "../base/contract.ts";

type Status = AnswerOf<"readStatus">;

/** What a node says of itself, or why it says nothing. */
export interface Heard {
  readonly node: string;
  readonly status?: Status;
  /** Why it gave no answer. */
  readonly silent?: string;
  /** Its answer, where it is a refusal. */
  readonly refused?: string;
}

/** The last answers of nodes, by their address: a silent one still has its name, its region and its peers. */
export type Known = ReadonlyMap<string, Pick<Status, "node" | "region" | "peers">>;

/** The line between two regions, as the nodes that answer see it. */
export interface LineSeen {
  readonly state: "up" | "down" | "unknown";
  readonly text: string;
  /** What only one of the regions has, or that this is not known. */
  readonly alone: readonly string[];
}

/** The names of all regions, those that are silent now included. */
export function regionsOf(heard: readonly Heard[], known: Known): readonly string[] {
  const named = heard.flatMap(({ node, status = known.get(node) }) =>
    status === undefined ? [] : [status.region, ...status.peers.map(({ region }) => region)],
  );
  return [...new Set(named)].toSorted();
}

/** What is known of the line between two regions. What a side has not said is not known. */
export function lineOf(
  [one, other]: readonly [string, string],
  heard: readonly Heard[],
  known: Known,
): LineSeen {
  const sides = [sideOf(one, other, heard, known), sideOf(other, one, heard, known)];
  const views = sides.flatMap((side) => side.views);
  const away = views.filter(({ state }) => state !== "up");
  if (away.length > 0) {
    const whom = away.map(({ node, region }) => `${node} cannot reach ${region}`).join(", ");
    const text = `${whom}. ${away[0]?.reason ?? ""}`;
    return { state: "down", text, alone: sides.flatMap(aloneText) };
  }
  const behind = sides.reduce((sum, side) => sum + (side.behind ?? 0), 0);
  const unknown = sides.filter((side) => side.behind === undefined).map(({ region }) => region);
  const text =
    behind > 0
      ? `${unknown.length === 0 ? "" : "At least "}${behind} changes are on their way`
      : unknown.length > 0
        ? `Whether each region has all changes of the other one is not known: no node of region ${unknown.join(" and ")} has said it.`
        : "Both regions have everything: if one failed now, nothing would be lost.";
  return { state: views.length === 0 ? "unknown" : "up", text, alone: [] };
}

/** How the nodes of a region see another one. */
interface Side {
  readonly region: string;
  readonly views: readonly (Status["peers"][number] & { readonly node: string })[];
  /** How many changes of the other region it has not processed yet; undefined if no node says it. */
  readonly behind: number | undefined;
  /** Whether all of its nodes answer, as far as this page knows them. */
  readonly isWhole: boolean;
}

function sideOf(region: string, other: string, heard: readonly Heard[], known: Known): Side {
  const views = heard.flatMap(({ status }) =>
    status?.region === region
      ? status.peers
          .filter((peer) => peer.region === other)
          .map((peer) => ({ ...peer, node: status.node }))
      : [],
  );
  const counts = views.flatMap(({ behind }) => behind ?? []);
  return {
    region,
    views,
    behind: counts.length === 0 ? undefined : Math.max(...counts),
    // A node that never answered may be of this region.
    isWhole: heard.every(
      ({ node, status }) => status !== undefined || (known.get(node)?.region ?? region) !== region,
    ),
  };
}

function aloneText({ region, views, isWhole }: Side): readonly string[] {
  const count = views.reduce((sum, { alone = 0 }) => sum + alone, 0);
  const lost = "if it failed for good now, they would be lost.";
  if (isWhole && count === 0) return [];
  if (isWhole) return [`Only region ${region} has ${count} changes: ${lost}`];
  return count === 0
    ? [`Whether region ${region} alone has some changes is not known: not all of its nodes answer.`]
    : [`Only region ${region} has at least ${count} changes: ${lost} Not all of its nodes answer.`];
}
