import { ObjectKekStore } from "@holdfast/engine";
import { RegionKeys, readPeerKey, readRegionKey } from "@holdfast/regions";
import {
  type GivenApprovals,
  storeClock,
  withLocalApprovals,
} from "../approvals/local-approvals.ts";
import { OperatorError } from "../base/operator-error.ts";
import { readPeerIdentity } from "../base/peer-tls.ts";
import type { Machine } from "../base/system.ts";
import { loadConfig } from "../config/config.ts";
import { KekOrders, lostKeks } from "../roots/kek-orders.ts";
import { appendTo, withEvidence } from "../store/operator-evidence.ts";
import { atRegions } from "../store/region-commands.ts";

/** Lets the other region, which has lost a root key, get the KEKs that it wrapped, and those whose wrap it lost: within an hour. */
export async function allowAdopt(
  configFile: string,
  machine: Machine,
  lost: string,
  approvals: GivenApprovals = {},
): Promise<string> {
  const config = loadConfig(configFile);
  const { region, peer } = config;
  if (peer === undefined) {
    throw new OperatorError("peer: is missing: there is no other region whose root key is lost");
  }
  const { regionKey, peerKeys } = readPeerIdentity(peer, config);
  const regionKeys = new RegionKeys(readRegionKey(regionKey), peerKeys.map(readPeerKey));
  return await atRegions(configFile, machine, async ({ own, node, timers }) => {
    const records = await new ObjectKekStore(own, { clock: timers, region }).records();
    const { lost: under, unwrapped, roots } = lostKeks(records, peer.region, lost);
    const ids = [...under, ...unwrapped];
    if (ids.length === 0) {
      const makers = [...roots].join(", ") || "none";
      throw new OperatorError(
        `--lost ${lost}: no key of region ${peer.region} is under it; there are keys under ${makers}`,
      );
    }
    // The order says when it ends by this machine's clock, and the nodes judge it by theirs.
    if (storeClock({ own, machine }).doubt() !== undefined) {
      throw new OperatorError(
        `this machine's clock differs from that of the store by more than 60 s, so that no node would take the order for an hour: set it right, or run this on a node`,
      );
    }
    const detail = { keys: ids.length, lost };
    const target = peer.region;
    const event = { action: "root.allow-adopt", target, detail } as const;
    const operation = "root allow-adopt";
    const act = { operation, target, call: { lost } } as const;
    const { wallMs } = timers;
    const orders = new KekOrders({ region, own, keys: () => regionKeys, wallMs });
    await withLocalApprovals({ own, region, node, machine }, act, approvals, () =>
      withEvidence(appendTo(own), machine, event, async () => {
        if (await orders.give(ids, peer.region)) return;
        const again = "another order was given at the same time: run this again";
        throw new OperatorError(again, "again");
      }),
    );
    const more =
      unwrapped.length === 0
        ? ""
        : ` and ${unwrapped.length} whose wrap was removed or is not valid`;
    return `region ${peer.region} may get ${under.length} key-encryption keys that it wrapped under ${lost}${more}, for an hour: run \`holdfast root adopt\` there now, or \`holdfast root-of-trust rewrap\` for an instance with its own root of trust`;
  });
}
