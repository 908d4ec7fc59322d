import type { Contract } from "../contract/index.ts";
import type { Reply } from "../contract/route.ts";

type Listed = Reply<Contract["listServerCertificates"]>["items"][number];

/**
 * The certificates of every node, from the answers of several nodes: for each node its own answer if there is one, otherwise
 * its newest report. Sorted by region and node.
 */
export function newestCertificates(all: readonly Listed[]): readonly Listed[] {
  const placeOf = ({ region, node }: Listed) => `${region} ${node}`;
  const best = new Map<string, Listed>();
  for (const one of all) {
    const known = best.get(placeOf(one));
    const better = one.asked === known?.asked ? one.toldAt > known.toldAt : one.asked;
    if (known === undefined || better) best.set(placeOf(one), one);
  }
  const seen = new Set<string>();
  return all
    .filter((one) => {
      const { asked, toldAt } = best.get(placeOf(one)) as Listed;
      const key = `${placeOf(one)} ${one.sha256}`;
      if (one.asked !== asked || one.toldAt !== toldAt || seen.has(key)) return false;
      return seen.add(key) !== undefined;
    })
    .toSorted((one, other) => (placeOf(one) < placeOf(other) ? -1 : 1));
}
