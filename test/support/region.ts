import { getFips, pbkdf2Sync, randomBytes, scryptSync } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { makeRegionKey, publicHalf, readRegionKey } from "@holdfast/regions";
import { createLocalRoot } from "@holdfast/root-of-trust";
import { purposes } from "@holdfast/server/base";
import { freePort } from "@holdfast/testing";
import { type Authority, createAuthority, type Issued, selfSigned } from "@holdfast/testing/pki";
import { stringify } from "yaml";
import { KmipSocket, type KmipTarget } from "./kmip-socket.ts";
import { NodeProcess } from "./node-process.ts";
import { rootOf } from "./node-root.ts";
import { type RedisGroup, RedisServer, sentinelName, startGroup } from "./redis.ts";
import { initStore, systemClock, systemIds } from "./redis-store.ts";

const inFips = getFips() === 1;

/** The validity of certificates. */
function lasting(days = 2) {
  return { notBeforeMs: Date.now() - 3_600_000, days };
}

/** The authority that clients trust, and the clients that nodes accept; the same in all regions. */
export interface Tenancy {
  readonly authority: Authority;
  /** Instance → client certificate. */
  readonly clients: ReadonlyMap<string, Issued>;
}

/** What a region needs to know about the other one. */
interface PeerOptions {
  readonly region: string;
  /** The addresses of the other region's nodes. */
  readonly addresses: readonly string[];
  /** The ports on which this region's nodes listen for the other region, one each. */
  readonly ports: readonly number[];
  /** The authority for the certificates with which regions authenticate each other. */
  readonly authority: Authority;
}

/** The options of a test's region. */
export interface RegionOptions {
  /** `a` unless given; nodes are named after it. */
  readonly name?: string;
  readonly tenancy?: Tenancy;
  readonly peer?: PeerOptions;
  /** The number of separate lock masters; the store itself is the lock master unless given. */
  readonly lockMasters?: number;
  /** Names of the instances; each has one pinned client certificate. */
  readonly instances: readonly string[];
  /** Instance → user name → password. */
  readonly users?: Readonly<Record<string, Readonly<Record<string, string>>>>;
  readonly nodes?: number;
  readonly replicas?: number;
  readonly sentinels?: number;
  readonly downAfterMs?: number;
  /** Directives of redis.conf. */
  readonly redisConfig?: Readonly<Record<string, string>>;
  /** Changed settings of the nodes, merged into groups of settings. */
  readonly settings?: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  /** Whether nodes have the management API, and write a one-time token. */
  readonly admin?: boolean;
  /** Whether nodes remember their store in a file. */
  readonly memory?: boolean;
  /** Whether nodes run with OpenSSL's FIPS provider, which must be installed; as the test itself does, unless given. */
  readonly fips?: boolean;
  /** How many days certificates are valid; 2 unless given. */
  readonly days?: number;
  /** The setting `store.replicas`; the number of replicas unless given. */
  readonly replicasRequired?: number;
}

/** Settings of a store that does not fail in a test: no busy machine meets their bounds. */
export const steadyStore = { leaseMs: 60_000, commandTimeoutMs: 60_000 } as const;

/** A region of real processes: Redis primary, replicas and Sentinels, and nodes. */
export class Region implements AsyncDisposable {
  readonly name: string;
  readonly redis: RedisGroup;
  readonly lockMasters: readonly RedisServer[];
  readonly nodes: readonly NodeProcess[];
  readonly ca: string;
  readonly folder: string;
  readonly #clients: ReadonlyMap<string, Issued>;

  constructor(parts: {
    readonly name: string;
    readonly redis: RedisGroup;
    readonly lockMasters: readonly RedisServer[];
    readonly nodes: readonly NodeProcess[];
    readonly ca: string;
    readonly folder: string;
    readonly clients: ReadonlyMap<string, Issued>;
  }) {
    this.name = parts.name;
    this.redis = parts.redis;
    this.lockMasters = parts.lockMasters;
    this.nodes = parts.nodes;
    this.ca = parts.ca;
    this.folder = parts.folder;
    this.#clients = parts.clients;
  }

  node(at: number): NodeProcess {
    const node = this.nodes[at % this.nodes.length];
    if (node === undefined) throw new Error("the region has no node");
    return node;
  }

  /** The address of a node, with the credentials of an instance's client. */
  target(instance: string, at = 0): KmipTarget {
    const client = this.#clients.get(instance);
    if (client === undefined) throw new Error(`no instance ${instance}`);
    const { host, kmip: port } = this.node(at);
    return { host, port, ca: this.ca, certificate: client.certificate, key: client.key };
  }

  /** Connects an instance's client to a node. */
  connect(instance: string, at = 0): Promise<KmipSocket> {
    return KmipSocket.open(this.target(instance, at));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.kill()));
    await Promise.all(this.lockMasters.map((one) => one[Symbol.asyncDispose]()));
    await this.redis[Symbol.asyncDispose]();
    await rm(this.folder, { recursive: true, force: true });
  }
}

/** Makes the certificates and files of a region, and starts everything. */
export async function startRegion(options: RegionOptions): Promise<Region> {
  await using stack = new AsyncDisposableStack();
  const region = stack.use(await layRegion(options));
  await Promise.all(region.nodes.map((node) => node.start()));
  stack.move();
  return region;
}

/** Makes a whole region without starting its nodes. */
export async function layRegion(options: RegionOptions): Promise<Region> {
  const { name = "a", replicas = 1 } = options;
  await using stack = new AsyncDisposableStack();
  const redis = stack.use(await startStore(options));
  const lockMasters = await startLockMasters(options.lockMasters ?? 0, stack);
  const folder = await mkdtemp(join(tmpdir(), `holdfast-region-${name}-`));
  stack.defer(() => rm(folder, { recursive: true, force: true }));
  const tenancy = options.tenancy ?? (await createTenancy(options.instances, options.days));
  const settings = {
    ...(await writeShared(folder, tenancy, options)),
    ...(options.peer === undefined ? {} : { peer: await writePeer(folder, name, options.peer) }),
    ...(lockMasters.length === 0
      ? {}
      : { locks: lockMasters.map(({ address }) => `redis://${address}`) }),
    region: name,
    store: storeOf(redis, options),
  };
  const nodes: NodeProcess[] = [];
  for (let at = 0; at < (options.nodes ?? 2); at++) {
    nodes.push(await writeNode(folder, at, settings, options));
  }
  const [first] = nodes;
  if (first === undefined) throw new Error("a region has at least one node");
  await using root = await rootOf(first);
  await initStore({ address: redis.primary.address, replicas, region: name, root });
  stack.move();
  const { authority, clients } = tenancy;
  const ca = authority.certificate;
  return new Region({ name, redis, lockMasters, nodes, ca, folder, clients });
}

function startStore(options: RegionOptions): Promise<RedisGroup> {
  return startGroup({
    replicas: options.replicas ?? 1,
    ...(options.sentinels === undefined ? {} : { sentinels: options.sentinels }),
    ...(options.downAfterMs === undefined ? {} : { downAfterMs: options.downAfterMs }),
    ...(options.redisConfig === undefined ? {} : { config: options.redisConfig }),
  });
}

function startLockMasters(count: number, stack: AsyncDisposableStack): Promise<RedisServer[]> {
  const config = { appendonly: "no" };
  const start = async () => stack.use(await RedisServer.start({ config }));
  return Promise.all(Array.from({ length: count }, start));
}

/** Makes an authority for servers, and a certificate for each instance's client. */
export async function createTenancy(instances: readonly string[], days?: number): Promise<Tenancy> {
  const authority = await createAuthority({ commonName: "Test CA", ...lasting(days) });
  const clients = new Map<string, Issued>();
  for (const name of instances) {
    clients.set(name, await selfSigned({ commonName: `client of ${name}`, ...lasting(days) }));
  }
  return { authority, clients };
}

/** Makes the authority for the certificates with which regions authenticate each other. */
export function createPeerAuthority(days?: number): Promise<Authority> {
  return createAuthority({ commonName: "Test peer CA", ...lasting(days) });
}

/** Issues the peer certificate of a node of a region: the first one's unless given. */
export function issuePeer(
  authority: Authority,
  region: string,
  days?: number,
  node: string = `${region}1`,
): Promise<Issued> {
  return authority.issue({
    commonName: `node ${node}`,
    hosts: [`${region}.peer.holdfast`, `${node}.${region}.peer.holdfast`],
    purposes: [purposes.serverAuth, purposes.clientAuth],
    ...lasting(days),
  });
}

const regionKeys = new Map<string, string>();

/** A region's key in this process: PEM, PKCS #8. */
export function regionKeyOf(region: string): string {
  const key = regionKeys.get(region) ?? makeRegionKey();
  regionKeys.set(region, key);
  return key;
}

/** Gives a node another peer certificate; the node reads it when it looks at its files again. */
export async function writePeerCertificate(
  folder: string,
  node: string,
  { certificate, key }: Issued,
): Promise<{ readonly certificate: string; readonly key: string }> {
  return {
    key: await secretFile(folder, `peer-${node}-key.pem`, key),
    certificate: await secretFile(folder, `peer-${node}.pem`, certificate),
  };
}

/** Writes a file that only its owner may read; returns its path. */
async function secretFile(
  folder: string,
  name: string,
  content: string | Uint8Array,
): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, content, { mode: 0o600 });
  return path;
}

/** The group `peer` of the settings, without a node's address. */
async function writePeer(folder: string, region: string, peer: PeerOptions): Promise<object> {
  const theirs = publicHalf(readRegionKey(regionKeyOf(peer.region)));
  return {
    region: peer.region,
    addresses: peer.addresses,
    regionKeyFile: await secretFile(folder, "region.key", regionKeyOf(region)),
    keys: [await secretFile(folder, "peer-region.pem", theirs)],
    tls: { ca: await secretFile(folder, "peer-ca.pem", peer.authority.certificate) },
  };
}

/** Files and settings that all nodes of a region share. */
async function writeShared(
  folder: string,
  { authority, clients }: Tenancy,
  { users = {}, days, fips = inFips }: RegionOptions,
): Promise<Readonly<Record<string, unknown>>> {
  const server = await authority.issue({
    commonName: "holdfast",
    hosts: ["127.0.0.1", "localhost"],
    ...lasting(days),
  });
  const rootFile = join(folder, "root.json");
  await createLocalRoot(rootFile, { clock: systemClock, ids: systemIds });
  return {
    tls: {
      certificate: await secretFile(folder, "server.pem", server.certificate),
      key: await secretFile(folder, "server-key.pem", server.key),
    },
    rootOfTrust: { type: "local", file: rootFile },
    instances: [...clients].map(([name, { certificate }]) => ({
      name,
      certificates: [certificate],
      users: Object.entries(users[name] ?? {}).map(([user, password]) => ({
        name: user,
        passwordHash: fips ? approvedHashOf(password) : hashOf(password),
      })),
    })),
  };
}

/** A hash like that of `holdfast hash-password`, from separate code. */
function hashOf(password: string): string {
  const salt = randomBytes(16);
  const hash = scryptSync(password, salt, 32, { N: 16_384, r: 8, p: 1 });
  return `scrypt$16384$8$1$${salt.toString("base64url")}$${hash.toString("base64url")}`;
}

/** A hash like that of `holdfast hash-password --for-fips`, from separate code. */
function approvedHashOf(password: string): string {
  const salt = randomBytes(16);
  const hash = pbkdf2Sync(password, salt, 600_000, 32, "sha256");
  return `pbkdf2-sha256$600000$${salt.toString("base64url")}$${hash.toString("base64url")}`;
}

function storeOf(redis: RedisGroup, options: RegionOptions): object {
  const replicas = options.replicasRequired ?? options.replicas ?? 1;
  return redis.sentinels.length === 0
    ? { address: redis.primary.address, replicas }
    : { sentinels: redis.sentinels.map((one) => one.address), name: sentinelName, replicas };
}

/** The group `admin` of a node's settings, with the certificate of the KMIP endpoint. */
function adminOf(node: NodeProcess, shared: Readonly<Record<string, unknown>>): object {
  const { certificate, key } = shared["tls"] as { readonly certificate: string; key: string };
  return {
    listen: `${node.host}:${node.admin}`,
    tls: { certificate, key },
    bootstrapFile: node.bootstrapFile,
  };
}

interface SharedPeer {
  readonly tls: object;
}

/** The group `peer` of a node's settings, with a certificate of its own. */
async function peerOf(
  folder: string,
  { name, host, peer: port }: NodeProcess,
  shared: SharedPeer,
  { name: region = "a", peer, days }: RegionOptions,
): Promise<object> {
  if (peer === undefined) return {};
  const issued = await issuePeer(peer.authority, region, days, name);
  const tls = { ...shared.tls, ...(await writePeerCertificate(folder, name, issued)) };
  return { ...shared, tls, listen: `${host}:${port}` };
}

async function writeNode(
  folder: string,
  place: number,
  shared: Readonly<Record<string, unknown>>,
  options: RegionOptions,
): Promise<NodeProcess> {
  const peerPort = options.peer?.ports[place];
  const ports = [await freePort(), await freePort(), await freePort(), peerPort] as const;
  const node = new NodeProcess(`${options.name ?? "a"}${place + 1}`, ports, folder);
  const at = (port: number) => `${node.host}:${port}`;
  if (options.admin === true) node.admin = await freePort();
  const base: Record<string, unknown> = {
    node: node.name,
    kmip: { listen: at(node.kmip) },
    http: { listen: at(node.http) },
    health: { listen: at(node.health) },
    log: { level: "info" },
    ...((options.fips ?? inFips) ? { fips: "required" } : {}),
    ...shared,
    ...(options.memory === true
      ? {
          store: {
            ...(shared["store"] as object),
            memoryFile: join(folder, `${node.name}.memory`),
          },
        }
      : {}),
    ...(options.admin === true ? { admin: adminOf(node, shared) } : {}),
    ...(peerPort === undefined
      ? {}
      : { peer: await peerOf(folder, node, shared["peer"] as SharedPeer, options) }),
  };
  for (const [group, values] of Object.entries(options.settings ?? {})) {
    base[group] = { ...(base[group] as object | undefined), ...values };
  }
  await writeFile(node.configFile, stringify(base));
  return node;
}
