import { printAddress } from "./address.ts";
import { openGrpcHealth } from "./grpc-health.ts";
import { openHttp } from "./http.ts";
import type { KmipEndpoint } from "./kmip-endpoint.ts";
import { ListenerGuard } from "./listener-guard.ts";
import { LoopProbe } from "./loop-probe.ts";
import { clock, type Parts } from "./node-parts.ts";
import type { Regions } from "./node-regions.ts";
import { version } from "./version.ts";

const healthTickMs = 50;

/**
 * Opens what probes ask, then the KMIP endpoint, which from then on is shut while the node can answer nothing. What is
 * known of the store is looked at many times a second, so that no probe has to.
 */
export async function openListeners(
  parts: Parts,
  endpoint: KmipEndpoint,
  { store, peers }: Regions,
): Promise<ListenerGuard> {
  const { config, connection, metrics, health, observe, log, opened } = parts;
  opened.adopt(new LoopProbe(health), (one) => one.close());
  const guard = new ListenerGuard(endpoint, health, observe, clock.monotonicMs);
  const look = (): void => {
    for (const peer of peers) peer.setRetired(store.records.isRetired(peer.region));
    health.note({ serving: store.serving() });
  };
  look();
  const http = await openHttp(config.http.listen, { metrics, health });
  opened.defer(() => http.close());
  const grpc = await openGrpcHealth(config.health.listen, health);
  opened.defer(() => grpc.close());
  // Where nobody can be answered yet, the guard opens it as soon as somebody can.
  if (health.canRead) await endpoint.open();
  opened.defer(() => guard.close());
  const tick = setInterval(() => {
    look();
    guard.tick();
  }, healthTickMs);
  opened.adopt(tick, clearInterval);
  const { from, reason } = store.serving();
  const how = health.canRead ? "node ready" : "node up, and lets nobody in yet";
  log.say(health.canRead ? "info" : "warn", how, {
    version,
    kmip: endpoint.address,
    http: http.address,
    health: grpc.address,
    store: connection.address ?? connection.name,
    serving: from,
    ...(health.canRead ? {} : { reason }),
    ...(config.peer && { peer: printAddress(config.peer.listen), other: config.peer.region }),
    instances: config.instances.map(({ name }) => name),
  });
  return guard;
}
