import { printAddress } from "../base/address.ts";
import { version } from "../base/version.ts";
import type { KmipEndpoint } from "../kmip/kmip-endpoint.ts";
import { ListenerGuard } from "../kmip/listener-guard.ts";
import { openGrpcHealth } from "../observe/grpc-health.ts";
import { openHttp } from "../observe/http.ts";
import type { Management } from "./management/node-management.ts";
import { watchFreshness } from "./node-freshness.ts";
import { clock, type Parts } from "./node-parts.ts";
import type { Regions } from "./node-regions.ts";

/** Where probes are answered. */
export interface Probes {
  readonly http: string;
  readonly health: string;
}

/** Opens what probes ask, before the node waits until it can serve, so that they are answered meanwhile. */
export async function openProbes({ config, metrics, health, opened }: Parts): Promise<Probes> {
  const { monotonicMs } = clock;
  const http = await openHttp(config.http.listen, { metrics, health, monotonicMs });
  opened.defer(() => http.close());
  const grpc = await openGrpcHealth(config.health.listen, health);
  opened.defer(() => grpc.close());
  return { http: http.address, health: grpc.address };
}

/** Updates health with the state of the stores many times a second, so that no probe has to look. */
export function followRegions({ health, loop, opened }: Parts, { store, peers }: Regions): void {
  const look = (): void => {
    for (const peer of peers) peer.setRetired(store.records.isRetired(peer.region));
    health.note({ serving: store.serving() });
  };
  look();
  opened.defer(loop.onTick(look));
}

/** Opens the KMIP endpoint, which from then on is shut while the node can answer nothing. */
export async function openKmip(
  parts: Parts,
  endpoint: KmipEndpoint,
  { store, view }: Pick<Regions, "store"> & Pick<Management, "view">,
  probes: Probes,
): Promise<ListenerGuard> {
  const { config, connection, health, loop, observe, log, opened } = parts;
  const guard = new ListenerGuard(endpoint, health, observe, clock.monotonicMs);
  health.note({ serving: store.serving() });
  watchFreshness(parts, store, view, endpoint);
  // Where the node cannot read yet, the guard opens the listener as soon as it can.
  if (health.canRead) await endpoint.open();
  health.listening(endpoint.listening);
  opened.defer(() => guard.close());
  opened.defer(loop.onTick(() => guard.tick()));
  health.started();
  const { from, reason } = store.serving();
  const how = health.canRead ? "node ready" : "node started, but admits no client yet";
  log.say(health.canRead ? "info" : "warn", how, {
    version,
    kmip: endpoint.address,
    ...probes,
    store: connection.address ?? connection.name,
    serving: from,
    ...(health.canRead ? {} : { reason }),
    ...(config.peer && { peer: printAddress(config.peer.listen), other: config.peer.region }),
    instances: config.instances.map(({ name }) => name),
  });
  return guard;
}
