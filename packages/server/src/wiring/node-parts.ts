import { Writer } from "@holdfast/engine";
import type { RedisConnectionOptions, ShownCertificate } from "@holdfast/redis";
import { checkFipsMode } from "../base/fips.ts";
import { type Environment, systemClock, systemIds } from "../base/system.ts";
import { loadConfig } from "../config/config.ts";
import type { Config } from "../config/config-table.ts";
import { AloneChanges } from "../observe/alone.ts";
import type { NodeEvent, NodeObserver } from "../observe/events.ts";
import { Health } from "../observe/health.ts";
import { Log } from "../observe/log.ts";
import { LoopProbe } from "../observe/loop-probe.ts";
import { Metrics } from "../observe/metrics/metrics.ts";
import { ShownCertificates } from "../store/shown-certificates.ts";
import { storeConnection } from "../store/store-access.ts";

/** What every part of a node uses. */
export interface Parts {
  readonly configFile: string;
  readonly config: Config;
  readonly connection: RedisConnectionOptions;
  /** The certificates of the servers that `connection` leads to, and of the lock masters. */
  readonly shown: ShownCertificates;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly health: Health;
  readonly alone: AloneChanges;
  readonly loop: LoopProbe;
  readonly observe: NodeObserver;
  /** Everything that is open, closed in reverse order. */
  readonly opened: AsyncDisposableStack;
}

/** The node's clocks and waiting. */
export const clock = systemClock;
/** The node's source of identifiers. */
export const ids = systemIds;
/** Marks the values that this process adds. */
export const writer = new Writer(ids);

/** Reads the configuration and makes what everything else reports to. */
export function readParts(
  configFile: string,
  environment: Environment,
  opened: AsyncDisposableStack,
): Parts {
  const config = loadConfig(configFile);
  if (config.fips === "required") checkFipsMode();
  const { region, node, peer } = config;
  const access = storeConnection(config.store, environment);
  const shown = new ShownCertificates(access.tls, clock.monotonicMs);
  const connection = { ...access, onCertificate: (one: ShownCertificate) => shown.note(one) };
  const log = new Log({ level: config.log.level, region, node, monotonicMs: clock.monotonicMs });
  const metrics = new Metrics(clock.wallMs);
  const settings = { ...config.health, rootOfTrustGraceMs: config.rootOfTrust.graceMs };
  const health = new Health(settings, clock.monotonicMs);
  health.starting();
  if (peer !== undefined) health.peer(peer.region, "down", "not asked yet");
  const loop = opened.use(new LoopProbe(health, metrics, clock.monotonicMs));
  const alone = new AloneChanges();
  const observe = (event: NodeEvent): void => {
    metrics.observe(event);
    log.observe(event);
    alone.observe(event);
    hear(health, event);
  };
  const heard = { log, metrics, health, alone, loop, observe };
  return { configFile, config, connection, shown, ...heard, opened };
}

function hear(health: Health, event: NodeEvent): void {
  if (event.type === "lease") {
    health.note({ lease: { state: event.state, reason: event.reason } });
  } else if (event.type === "storageKey") {
    health.note({ storageKey: { ok: event.state === "open", reason: event.reason } });
  } else if (event.type === "rollbackMemory") {
    health.note({ memory: { ok: event.state === "kept", reason: event.reason } });
  } else if (event.type === "storeDoubt") {
    health.note({ storeNewest: { ok: !event.doubted } });
  } else if (event.type === "peer") {
    health.peer(event.region, event.state, event.reason);
  } else if (event.type === "leader") {
    health.note({ leader: { leads: event.state === "leader", epoch: event.epoch } });
  } else if (event.type === "serving") {
    const { from, writes, reason } = event;
    health.note({ serving: { from, writes, reason } });
  }
}
