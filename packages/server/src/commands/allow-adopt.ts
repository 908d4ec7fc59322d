import { ObjectKekStore } from "@holdfast/engine";
import { RegionKeys, readPeerKey, readRegionKey } from "@holdfast/regions";
import { OperatorError } from "../base/operator-error.ts";
import { readPeerIdentity } from "../base/peer-tls.ts";
import type { Machine } from "../base/system.ts";
import { loadConfig } from "../config/config.ts";
import { KekOrders } from "../roots/kek-orders.ts";
import { appendTo, withEvidence } from "../store/operator-evidence.ts";
import { atRegions } from "../store/region-commands.ts";

/** Lets the other region, which has lost a root key, get the KEKs that it wrapped: each within an hour. */
export async function allowAdopt(
  configFile: string,
  machine: Machine,
  lost: string,
): Promise<string> {
  const config = loadConfig(configFile);
  const { region, peer } = config;
  if (peer === undefined) {
    throw new OperatorError("peer: is missing: there is no other region whose root key is lost");
  }
  const { regionKey, peerKeys } = readPeerIdentity(peer, config);
  const regionKeys = new RegionKeys(readRegionKey(regionKey), peerKeys.map(readPeerKey));
  return await atRegions(configFile, machine, async ({ own, timers }) => {
    const entries = await new ObjectKekStore(own, { clock: timers, region }).all();
    const wraps = entries.flatMap(({ kek }) =>
      kek.wraps.flatMap((wrap) => (wrap.region === peer.region ? [{ id: kek.id, wrap }] : [])),
    );
    const ids = wraps.filter(({ wrap }) => wrap.rootOfTrust === lost).map(({ id }) => id);
    if (ids.length === 0) {
      const makers = [...new Set(wraps.map(({ wrap }) => wrap.rootOfTrust))].join(", ") || "none";
      throw new OperatorError(
        `--lost ${lost}: no key of region ${peer.region} is under it; there are keys under ${makers}`,
      );
    }
    const detail = { keys: ids.length, lost };
    const act = { action: "root.allow-adopt", target: peer.region, detail } as const;
    const { wallMs } = timers;
    const orders = new KekOrders({ region, own, keys: regionKeys, wallMs });
    await withEvidence(appendTo(own), machine, act, async () => {
      if (await orders.give(ids, peer.region)) return;
      throw new OperatorError("another order was given at the same time: run this again", "again");
    });
    return `region ${peer.region} may get ${ids.length} key-encryption keys that it wrapped under ${lost}, for an hour: run \`holdfast root adopt\` there now, or \`holdfast root-of-trust rewrap\` for an instance with its own root of trust`;
  });
}
