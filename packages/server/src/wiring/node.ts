import type { Engine } from "@holdfast/engine";
import type { LockLook, StoreUsage } from "@holdfast/redis";
import type { PeerClient } from "@holdfast/regions";
import type { Instance } from "../access/instances.ts";
import { Passwords } from "../access/passwords.ts";
import type { PeerIdentity } from "../base/peer-tls.ts";
import type { Environment } from "../base/system.ts";
import type { ServerIdentity } from "../base/tls.ts";
import { version } from "../base/version.ts";
import { KmipEndpoint } from "../kmip/kmip-endpoint.ts";
import type { TicketSecret } from "../kmip/ticket-secret.ts";
import type { Log } from "../observe/log.ts";
import type { NodeReadings } from "../observe/metrics/metric-row.ts";
import {
  adminCertificates,
  CertificateFiles,
  kmipCertificates,
  peerCertificates,
} from "./certificate-files.ts";
import { expiryDuty, openAccess } from "./management/node-access.ts";
import type { AdminParts } from "./management/node-admin.ts";
import { openAudit } from "./management/node-audit.ts";
import { watchCertificates } from "./management/node-certificates.ts";
import { openLifeOfInstances } from "./management/node-instances.ts";
import { keepingHandlers, openKeeping } from "./management/node-keeping.ts";
import { followTenants, openManagement } from "./management/node-management.ts";
import { openDefault, openRoots } from "./management/node-roots.ts";
import { followRegions, openKmip, openProbes } from "./node-listeners.ts";
import { clock, ids, type Parts, readParts } from "./node-parts.ts";
import { type Control, openControl, openRegions, type Regions } from "./node-regions.ts";
import { openInstances, waitUntilServing } from "./node-start.ts";
import { openEngine, openStore, openTickets } from "./node-store.ts";
import { Tenants } from "./node-tenants.ts";

/** A node that runs. */
export interface RunningNode {
  readonly log: Log;
  /** Reads certificates and instances again. */
  reload(): Promise<void>;
  /** Reports NOT_SERVING, shuts the listener, answers the requests in flight and closes everything. */
  drain(): Promise<void>;
}

/** Certificate files of a node, watched. */
interface Files {
  readonly kmip: CertificateFiles<ServerIdentity>;
  readonly peer: CertificateFiles<PeerIdentity> | undefined;
  readonly admin: CertificateFiles<ServerIdentity> | undefined;
}

const watchEveryMs = 10_000;

/** Starts a node from its configuration file; rejects with an `OperatorError`. */
export async function startNode(
  configFile: string,
  environment: Environment,
): Promise<RunningNode> {
  await using opened = new AsyncDisposableStack();
  const parts = readParts(configFile, environment, opened);
  const { config, log, health } = parts;
  // Files first: a fault in one is reported before anything is opened.
  const files = openFiles(parts);
  const tenants = new Tenants(parts);

  const ownRoot = await openDefault(parts, environment);
  const own = await openStore(parts, ownRoot.root);
  const regions = openRegions(parts, own, files.peer?.identity, tenants.trust);
  const { store, peers } = regions;
  followRegions(parts, regions);
  const management = openManagement(parts, regions, tenants);
  const roots = await openRoots(parts, regions, management, ownRoot, tenants.isDeclared);
  const { keyRing } = roots;
  const keeping = openKeeping(parts, regions, management);
  const audit = openAudit(parts, regions, management, environment);
  const life = openLifeOfInstances(parts, regions, management, roots, tenants);
  const duties = [...[keeping, roots, audit, life].flatMap((one) => one.duties)];
  duties.push(expiryDuty(parts, management));
  const used = { management, duties, trust: tenants.trust };
  const control = await openControl(parts, regions, keyRing, used, files.peer?.identity);
  followPeers(files, tenants, [...peers, control.peerServer]);
  const keeper = await openInstances(parts, regions, keyRing, tenants);
  const probes = await openProbes(parts);
  await waitUntilServing(regions, keeper);
  await followTenants(parts, management, keyRing, tenants);
  const engine = await openEngine(parts, store, keyRing, regions.clocks);
  const tickets = openTickets(parts, own, ownRoot.root, control);
  const endpoint = openEndpoint(parts, files, tenants, tickets, engine);
  const certificates = watchCertificates(parts, files, tenants, management);
  const readings: NodeReadings = {
    build: { version, region: config.region, node: config.node },
    endpoint: () => endpoint,
    health: () => health.report(),
    peers: () => store.health().peers,
    alone: (region) => parts.alone.of(region),
    leads: () => control.leader && control.leader.state === "leader",
    ...watchOwnStore(parts, regions, control.lockMasters),
    ...certificates.readings,
    ...keeping.readings,
    ...{ ...roots.readings, ...life.readings },
  };
  parts.metrics.watch(readings);
  const link = { ...regions, ...control };
  const access = openAccess(parts, management, link, keyRing, tenants, endpoint, files);
  const kept = keepingHandlers(parts, regions, management, tenants, {
    ...{ engine, keyRing, hasLeader: control.leader !== undefined },
  });
  await openManagementApi(parts, {
    ...{ ...management, ...regions, ...roots, files: files.admin, readings, ...access, ...control },
    handlers: { ...access.handlers, ...audit.handlers, ...life.handlers, ...kept },
  });
  const guard = await openKmip(parts, endpoint, { ...regions, ...management }, probes);
  certificates.warn();

  const running = opened.move();
  return {
    log,
    reload: () => {
      files.kmip.reload();
      files.peer?.reload();
      files.admin?.reload();
      const ensure = (all: readonly Instance[]) => keeper.ensure(all);
      return tenants.reload(ensure);
    },
    drain: async () => {
      log.say("info", "draining", { connections: endpoint.connectionCount });
      health.drain();
      guard.close();
      // Another node leads from now on, while this one's last requests are answered.
      await Promise.all([control.leader?.close(), endpoint.drain(config.drainMs)]);
      await running.disposeAsync();
      log.say("info", "node ended");
    },
  };
}

/** Has the link to the other region use new certificates, and end what the deny list names. */
function followPeers(
  { peer }: Files,
  tenants: Tenants,
  link: readonly (Pick<PeerClient, "setTls" | "recheck"> | undefined)[],
): void {
  peer?.onChange((identity) => {
    for (const each of link) each?.setTls(identity);
  });
  tenants.onTrust(() => {
    for (const each of link) each?.recheck();
  });
}

/** Opens the management API where the configuration has one; another node need not hold its modules in memory. */
async function openManagementApi(parts: Parts, admin: AdminParts): Promise<void> {
  if (parts.config.admin === undefined) return;
  const { openAdmin } = await import("./management/node-admin.ts");
  await openAdmin(parts, admin);
}

function openEndpoint(
  { config, observe, opened }: Parts,
  files: Files,
  tenants: Tenants,
  tickets: TicketSecret,
  engine: Engine,
): KmipEndpoint {
  const endpoint = new KmipEndpoint({
    limits: config.kmip,
    suites: config.tls.suites,
    identity: files.kmip.identity,
    ticketSecret: tickets.secret,
    trust: tenants.trust,
    passwords: new Passwords(),
    execute: (request, client, requestId) => engine.execute(request, client, requestId),
    refuse: (...message) => engine.refuse(...message),
    clock,
    requestId: ids.uuid,
    observe,
  });
  tickets.onChange((secret) => endpoint.setTicketSecret(secret));
  files.kmip.onChange((identity) => endpoint.setIdentity(identity));
  tenants.onTrust(() => endpoint.trustChanged());
  return opened.adopt(endpoint, (one) => one.close());
}

function openFiles({ config, health, observe, opened }: Parts): Files {
  const { peer } = config;
  const kmip = new CertificateFiles(kmipCertificates(config.tls), observe);
  opened.defer(() => kmip.close());
  const between = peer && new CertificateFiles(peerCertificates(peer, config), observe);
  opened.defer(() => between?.close());
  const admin = config.admin && new CertificateFiles(adminCertificates(config.admin), observe);
  opened.defer(() => admin?.close());
  const look = (): void => {
    const faults = [kmip.fault, between?.fault ?? "", admin?.fault ?? ""];
    const reason = faults.filter((fault) => fault !== "").join("; ");
    health.note({ certificates: { ok: reason === "", reason } });
  };
  opened.adopt(setInterval(look, 1000), clearInterval);
  return { kmip, peer: between, admin };
}

/** Reads the values that the own store and the lock masters are asked for from time to time. */
function watchOwnStore(
  { opened }: Parts,
  { own, stores }: Regions,
  lockMasters: Control["lockMasters"],
): Pick<NodeReadings, "quarantined" | "store" | "lockMasters" | "regionStores"> {
  let count: number | undefined;
  let usage: StoreUsage | undefined;
  let locks: LockLook | undefined;
  const look = async (): Promise<void> => {
    [count, usage, locks] = await Promise.all([
      own.quarantined().catch(() => undefined),
      own.usage().catch(() => undefined),
      lockMasters?.(),
    ]);
  };
  void look();
  opened.adopt(
    setInterval(() => void look(), watchEveryMs),
    clearInterval,
  );
  return {
    quarantined: () => count,
    store: () => usage,
    lockMasters: () => locks,
    regionStores: () => stores.counts(),
  };
}
