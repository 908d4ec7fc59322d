import { randomBytes } from "node:crypto";
import {
  Engine,
  InstanceKeyRing,
  type Locks,
  MemoryLocks,
  type RootOfTrust,
} from "@holdfast/engine";
import { type RedisConnectionOptions, RedisLocks, RedisStore } from "@holdfast/redis";
import { defaultLimits } from "@holdfast/ttlv";
import { CertificateFiles } from "./certificate-files.ts";
import { loadConfig } from "./config.ts";
import type { Config } from "./config-table.ts";
import { ensureInstances, reloadInstances } from "./ensure-instances.ts";
import type { NodeEvent, NodeObserver } from "./events.ts";
import { openGrpcHealth } from "./grpc-health.ts";
import { Health } from "./health.ts";
import { openHttp } from "./http.ts";
import { type Instance, loadInstances } from "./instances.ts";
import { KmipEndpoint } from "./kmip-endpoint.ts";
import { ListenerGuard } from "./listener-guard.ts";
import { Log } from "./log.ts";
import { certificatesOf } from "./metric-certificates.ts";
import { Metrics } from "./metrics.ts";
import { Passwords } from "./passwords.ts";
import { checkRoot, openRootFile } from "./root-check.ts";
import { RootProbe } from "./root-probe.ts";
import { StartError } from "./start-error.ts";
import { lockUrls, storeConnection } from "./store-access.ts";
import { storeFault } from "./store-faults.ts";
import { systemClock, systemIds } from "./system.ts";
import { readTicketSecret } from "./tls.ts";
import { Trust } from "./trust.ts";
import { version } from "./version.ts";

/** A node that runs. */
export interface RunningNode {
  readonly log: Log;
  /** Reads certificates and instances again. */
  reload(): Promise<void>;
  /** NOT_SERVING, listener shut, requests in flight answered, everything closed. */
  drain(): Promise<void>;
}

type Environment = Readonly<Record<string, string | undefined>>;

/** What every part of a node gets. */
interface Parts {
  readonly configFile: string;
  readonly config: Config;
  readonly connection: RedisConnectionOptions;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly health: Health;
  readonly observe: NodeObserver;
  /** Everything that is open, closed in reverse order. */
  readonly opened: AsyncDisposableStack;
}

const healthTickMs = 50;
const warnBeforeMs = 30 * 86_400_000;
const clock = systemClock;
const ids = systemIds;

/** Starts a node from its configuration file; rejects with a `StartError`. */
export async function startNode(
  configFile: string,
  environment: Environment,
): Promise<RunningNode> {
  await using opened = new AsyncDisposableStack();
  const parts = readParts(configFile, environment, opened);
  const { config, log, health, observe } = parts;

  // Files first: a fault in one is told before anything is opened.
  const files = opened.adopt(new CertificateFiles(config.tls, observe), (one) => one.close());
  const ticketSecret = readTicketSecret(config.tls.ticketKeysFile) ?? randomBytes(48);
  let instances = loadInstances(config.instances);

  const root = await openRoot(parts);
  const store = await openStore(parts);
  const keyRing = openKeyRing(parts, store, root);
  const ensure = async (all: readonly Instance[]): Promise<void> => {
    await ensureInstances(store, all);
    await checkRoot(keyRing, all, config.rootOfTrust.file);
  };
  await ensure(instances).catch((error: unknown) => {
    throw storeFault(error, config, configFile);
  });
  const engine = await openEngine(parts, store, keyRing);

  const endpoint = opened.adopt(
    new KmipEndpoint({
      limits: config.kmip,
      suites: config.tls.suites,
      identity: files.identity,
      ticketSecret,
      trust: new Trust(instances),
      passwords: new Passwords(),
      execute: (request, client, requestId) => engine.execute(request, client, requestId),
      clock,
      requestId: ids.uuid,
      observe,
    }),
    (one) => one.close(),
  );
  files.onChange((identity) => endpoint.setIdentity(identity));
  parts.metrics.watch({
    build: { version, region: config.region, node: config.node },
    endpoint: () => endpoint,
    health: () => health.report(),
    certificates: () => certificatesOf(files.identity, instances),
  });
  const guard = await openListeners(parts, endpoint);
  warn(parts, certificatesOf(files.identity, instances));

  const reload = async (): Promise<void> => {
    files.reload();
    // Who is new needs the store; who is gone is cut off although it cannot be reached.
    const known = new Set(instances.map(({ id }) => id));
    const ensureNew = (all: readonly Instance[]) => ensure(all.filter(({ id }) => !known.has(id)));
    const newer = await reloadInstances(configFile, config, ensureNew, log);
    if (newer === undefined) return;
    instances = newer;
    endpoint.setTrust(new Trust(newer));
  };
  let reloading = Promise.resolve();
  const running = opened.move();
  return {
    log,
    // One after another: what was read first must not come into force last.
    reload: () => {
      reloading = reloading.then(reload, reload);
      return reloading;
    },
    drain: async () => {
      log.say("info", "draining", { connections: endpoint.connectionCount });
      health.drain();
      guard.close();
      await endpoint.drain(config.drainMs);
      await running.disposeAsync();
      log.say("info", "node ended");
    },
  };
}

function readParts(
  configFile: string,
  environment: Environment,
  opened: AsyncDisposableStack,
): Parts {
  const config = loadConfig(configFile);
  const { region, node } = config;
  const connection = storeConnection(config.store, environment);
  const log = new Log({ level: config.log.level, region, node, monotonicMs: clock.monotonicMs });
  const metrics = new Metrics();
  const settings = { ...config.health, rootOfTrustGraceMs: config.rootOfTrust.graceMs };
  const health = new Health(settings, clock.monotonicMs);
  const observe = (event: NodeEvent): void => {
    metrics.observe(event);
    log.observe(event);
    if (event.type === "lease") health.lease(event.state, event.reason);
  };
  return { configFile, config, connection, log, metrics, health, observe, opened };
}

async function openRoot({ config, health, opened }: Parts): Promise<RootOfTrust> {
  const root = await openRootFile(config.rootOfTrust.file);
  const probe = opened.adopt(new RootProbe(root, health), (one) => one.close());
  const fault = await probe.run();
  if (fault !== undefined) throw new StartError(`rootOfTrust: ${fault}`);
  return root;
}

async function openStore(parts: Parts): Promise<RedisStore> {
  const { config, configFile, connection, observe, health, opened } = parts;
  const options = {
    ...connection,
    clock,
    observe,
    storeLeaseMs: config.store.leaseMs,
    externalFailover: config.store.externalFailover,
    auditEntriesMax: config.audit.entriesMax,
  };
  const store = await RedisStore.open(options).catch((error: unknown) => {
    throw storeFault(error, config, configFile);
  });
  health.lease(store.state(), "");
  return opened.use(store);
}

function openKeyRing(parts: Parts, store: RedisStore, root: RootOfTrust): InstanceKeyRing {
  const { config, observe, opened } = parts;
  const { kekCacheMs, graceMs } = config.rootOfTrust;
  const { region } = config;
  const keyRing = new InstanceKeyRing({
    root,
    keks: store,
    clock,
    ids,
    observe,
    region,
    kekCacheMs,
    graceMs,
  });
  opened.defer(() => keyRing.drop());
  const sweeper = setInterval(() => keyRing.sweep(), kekCacheMs / 4);
  opened.adopt(sweeper, clearInterval);
  return keyRing;
}

async function openEngine(
  parts: Parts,
  store: RedisStore,
  keyRing: InstanceKeyRing,
): Promise<Engine> {
  const { config, observe } = parts;
  return new Engine({
    store,
    locks: await openLocks(parts),
    keyRing,
    clock,
    ids,
    observe,
    region: config.region,
    interop: config.kmip.interop,
    auditReads: config.audit.reads,
    vendorIdentification: "Holdfast",
    serverVersion: version,
    profileSuites: config.tls.suites === "kmip-basic",
    limits: { ...defaultLimits, bytesMax: config.kmip.requestBytesMax },
  });
}

async function openLocks({ config, connection, observe, opened }: Parts): Promise<Locks> {
  const urls = lockUrls(config, connection);
  if (urls === undefined) return new MemoryLocks({ observe });
  const tls = connection.tls === undefined ? {} : { tls: connection.tls };
  return opened.use(await RedisLocks.open({ urls, observe, ...tls }));
}

/** What runs, but hardly as it was meant. */
function warn({ config, log }: Parts, certificates: ReturnType<typeof certificatesOf>): void {
  const soonMs = clock.wallMs() + warnBeforeMs;
  for (const { kind, owner, subject, notAfterMs } of certificates) {
    if (notAfterMs > soonMs) continue;
    const notAfter = new Date(notAfterMs).toISOString();
    log.say("warn", "a certificate has ended or ends soon", { kind, owner, subject, notAfter });
  }
  if (certificates.every(({ kind }) => kind === "server")) {
    log.say("warn", "no client can connect: instances name no certificates and no authorities");
  }
  if (config.kmip.interop) log.say("warn", "kmip.interop is on: for conformance runs only");
  if (config.locks.length === 0 && config.store.address === undefined) {
    log.say("warn", "locks order the requests of this node only: name lock masters under locks");
  }
}

async function openListeners(parts: Parts, endpoint: KmipEndpoint): Promise<ListenerGuard> {
  const { config, connection, metrics, health, observe, log, opened } = parts;
  const http = await openHttp(config.http.listen, { metrics, health });
  opened.defer(() => http.close());
  const grpc = await openGrpcHealth(config.health.listen, health);
  opened.defer(() => grpc.close());
  await endpoint.open();
  const guard = new ListenerGuard(endpoint, health, observe, clock.monotonicMs);
  opened.defer(() => guard.close());
  opened.adopt(
    setInterval(() => guard.tick(), healthTickMs),
    clearInterval,
  );
  log.say("info", "node ready", {
    version,
    kmip: endpoint.address,
    http: http.address,
    health: grpc.address,
    store: connection.address ?? connection.name,
    instances: config.instances.map(({ name }) => name),
  });
  return guard;
}
