import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { TlsCredentials } from "@holdfast/client";
import { findRedisServer, OperatorError, printAddress } from "@holdfast/server/base";
import { type Folder, makeFolder, refuseOld, writeJson } from "../base/folder.ts";
import { checkFree } from "../base/ports.ts";
import type { Dashboards } from "../dashboards/dashboards.ts";
import { claim, type Run, releaseRun, writeRun } from "../processes/run-file.ts";
import type { Supervised } from "../processes/supervised.ts";
import { redisHost, redisRoles } from "../redis/redis.ts";
import { noteForgotten, type Settings, settleRedisPorts } from "../redis/redis-ports.ts";
import { Load } from "../vcenter/load.ts";
import { Control, type ControlReply, type ControlRequest } from "./control.ts";
import { Faults } from "./faults.ts";
import { Line } from "./line.ts";
import { bootstrapFile, ensureManager } from "./manager-token.ts";
import { devKeyProtect } from "./node-config.ts";
import {
  ensurePeerPki,
  ensureRegionFiles,
  ensureServerPki,
  type RegionFiles,
  type ServerFiles,
} from "./pki.ts";
import { type DevNode, nodesInTurn, type Plan } from "./plan.ts";
import { type NodeNeeds, RunningRegion, settled } from "./region.ts";
import { inWords, type NodeView, view } from "./view.ts";

export interface ClusterOptions {
  readonly folder: Folder;
  readonly plan: Plan;
  readonly say: (line: string) => void;
}

/** Nothing should take this long; the margin is for a busy machine. */
const readyTimeoutMs = 300_000;
/** Each look takes some milliseconds of the processors on which the nodes start. */
const pollMs = 100;

/** Regions on this machine, each with nodes, a Redis with a replica and a lock master, and a line between them. */
export class Cluster {
  readonly plan: Plan;
  readonly folder: Folder;
  readonly pki: ServerFiles;
  readonly faults: Faults;
  readonly #line: Line;
  readonly #regions: readonly RunningRegion[];
  #control: Control | undefined;
  #load: Load | undefined;
  #dashboards: Dashboards | undefined;
  #run: Run;
  #ready = false;

  private constructor(
    { plan, folder, say }: ClusterOptions,
    parts: {
      readonly pki: ServerFiles;
      readonly redisProgram: string;
      readonly settings: Settings;
      readonly run: Run;
    },
  ) {
    this.plan = plan;
    this.folder = folder;
    this.pki = parts.pki;
    this.#run = parts.run;
    this.#line = new Line(plan.wanMs);
    this.#regions = plan.regions.map((region) => {
      const settings = parts.settings.regions[region.name];
      if (settings === undefined) throw new TypeError(`no settings of region ${region.name}`);
      const { redisProgram } = parts;
      const started = () => this.#note();
      return new RunningRegion({ folder, region, redisProgram, settings, say, started });
    });
    this.faults = new Faults(this.#regions, this.#line);
  }

  /** Starts everything and waits until every node is ready; if that fails, ends what it started. */
  static async start(options: ClusterOptions, signal: AbortSignal): Promise<Cluster> {
    const { folder, plan } = options;
    const redisProgram = findRedisServer(process.env["PATH"]);
    const prometheusProgram =
      plan.dashboards && (await import("../dashboards/prometheus.ts")).findPrometheus();
    refuseOld(folder);
    makeFolder(folder);
    const run = await claim(folder);
    let cluster: Cluster | undefined;
    try {
      const nodes = nodesInTurn(plan);
      await checkFree([
        ...nodes.flatMap((node) => listeners(node, plan.regions.length > 1)),
        ...dashboardListeners(plan),
      ]);
      const names = plan.regions.map(({ name }) => name);
      const settings = await settleRedisPorts(folder, names, options.say);
      const hosts = [...nodes.map(({ kmip }) => kmip.host), "127.0.0.1", "localhost"];
      const pki = await ensureServerPki(folder.pki, [...new Set(hosts)]);
      cluster = new Cluster(options, { pki, redisProgram, settings, run });
      await cluster.#start(settings, signal);
      if (prometheusProgram !== undefined)
        await cluster.#startDashboards(prometheusProgram, options);
      return cluster;
    } catch (error) {
      await cluster?.stop();
      releaseRun(folder);
      throw error;
    }
  }

  /** The credentials of the demo client, and the authority that it trusts. */
  get client(): TlsCredentials {
    return {
      ca: readFileSync(this.pki.ca, "utf8"),
      certificate: readFileSync(this.pki.clientCertificate, "utf8"),
      key: readFileSync(this.pki.clientKey, "utf8"),
    };
  }

  /** Clients that make keys and fetch them at all nodes, once somebody starts them. */
  get load(): Load {
    const endpoints = nodesInTurn(this.plan).map(({ kmip }) => printAddress(kmip));
    this.#load ??= new Load(endpoints, this.client);
    return this.#load;
  }

  /** The address of the web console at the first node. */
  get console(): string {
    const [first] = nodesInTurn(this.plan);
    if (first === undefined) throw new TypeError("a cluster has nodes");
    return `https://${printAddress(first.admin)}/console/`;
  }

  /** Creates a manager token if the folder has no valid one. */
  async ensureManager(signal: AbortSignal): Promise<void> {
    const { folder, plan, pki } = this;
    const ca = readFileSync(pki.ca, "utf8");
    await ensureManager({ folder, nodes: nodesInTurn(plan), ca, signal });
  }

  /** Writes `cluster.json`, restarts processes that end from now on, and accepts commands. */
  async ready(carryOut: (request: ControlRequest) => Promise<ControlReply>): Promise<void> {
    this.#control = await Control.open(this.folder, carryOut);
    for (const part of this.#parts()) part.watch();
    this.#ready = true;
    this.#note();
  }

  /** Ends nodes first, then Redis; the data stays for the next start. */
  async stop(): Promise<void> {
    rmSync(this.folder.cluster, { force: true });
    await this.#load?.stop();
    await this.#control?.[Symbol.asyncDispose]();
    await this.#dashboards?.[Symbol.asyncDispose]();
    // With the line open, the last changes still reach the other region.
    this.#line.cut(false);
    await Promise.all(this.#regions.map((region) => region.stopNodes()));
    await this.#line[Symbol.asyncDispose]();
    await Promise.all(this.#regions.map((region) => region.stopStore()));
    releaseRun(this.folder);
  }

  async #start(settings: Settings, signal: AbortSignal): Promise<void> {
    const needs = await this.#needs();
    await this.#openLine();
    await settled(this.#regions.map((region) => region.startStore(needs, signal)));
    noteForgotten(this.folder, settings);
    signal.throwIfAborted();
    await settled(this.#regions.map((region) => region.startNodes()));
    await this.#untilReady(signal);
  }

  async #startDashboards(program: string, { folder, plan, say }: ClusterOptions): Promise<void> {
    if (plan.dashboards === undefined) return;
    // Most clusters have none, and their code loads much of a node's.
    const { Dashboards } = await import("../dashboards/dashboards.ts");
    this.#dashboards = await Dashboards.start({
      program,
      folder,
      plan: plan.dashboards,
      targets: nodesInTurn(plan),
      say,
      started: () => this.#note(),
    });
    this.#note();
  }

  /** The files that each node's configuration names; creates missing certificates. */
  async #needs(): Promise<NodeNeeds> {
    const { regions } = this.plan;
    const files = new Map<string, RegionFiles>();
    for (const { name } of regions) {
      files.set(name, await ensureRegionFiles(join(this.folder.pki, name)));
    }
    const nodes = nodesInTurn(this.plan).map(({ region, name }) => ({ region, node: name }));
    const peers = regions.length > 1 ? await ensurePeerPki(this.folder.pki, nodes) : undefined;
    return (node) => {
      const own = files.get(node.region);
      if (own === undefined) throw new TypeError(`no region ${node.region}`);
      const other = regions.find(({ name }) => name !== node.region);
      const region = regions.find(({ name }) => name === node.region);
      return {
        server: this.pki,
        files: own,
        bootstrapFile: bootstrapFile(this.folder, node),
        consoles: nodesInTurn(this.plan).map(({ admin }) => `https://${printAddress(admin)}`),
        signInFolder: this.folder.signIn,
        controlSocket: this.folder.control,
        endpoints: (region?.nodes ?? []).map(({ kmip }) => printAddress(kmip)),
        ...(other === undefined || peers === undefined
          ? {}
          : {
              peer: {
                region: other,
                ca: peers.ca,
                own: peers.of(node.name),
                key: files.get(other.name)?.regionPublicKey ?? "",
              },
            }),
      };
    };
  }

  async #openLine(): Promise<void> {
    if (this.plan.regions.length < 2) return;
    for (const { line, peer } of nodesInTurn(this.plan)) await this.#line.add(line, peer);
  }

  /** Waits until all nodes are ready at once: a node may stop serving again when it first reaches the other region. */
  async #untilReady(signal: AbortSignal): Promise<void> {
    const deadline = performance.now() + readyTimeoutMs;
    const nodes = nodesInTurn(this.plan);
    for (;;) {
      signal.throwIfAborted();
      const views = await Promise.all(nodes.map(({ http }) => view(http)));
      const at = views.findIndex((one) => !isReady(one));
      const [node, seen] = [nodes[at], views[at]];
      if (node === undefined || seen === undefined) return;
      const child = this.#regions.map((region) => region.node(node)).find(Boolean)?.child;
      if (child?.alive !== true) {
        const words = child?.lastWords() ?? "it printed nothing";
        throw new OperatorError(`node ${node.name} ended at its start: ${words} (${child?.log})`);
      }
      if (performance.now() > deadline) {
        throw new OperatorError(
          `node ${node.name} was not ready within ${readyTimeoutMs} ms: it serves ${inWords(seen)} (${child.log})`,
        );
      }
      await sleep(pollMs);
    }
  }

  #parts(): readonly Supervised[] {
    const { prometheus } = this.#dashboards ?? {};
    const own = this.#regions.flatMap(({ parts }) => [...parts.values()]);
    return prometheus === undefined ? own : [...own, prometheus];
  }

  /** Writes the running processes, and the file that tools read to connect. */
  #note(): void {
    const processes = this.#regions.flatMap(({ parts }) =>
      [...parts].map(([name, { child }]) => ({ name, ...child.identity })),
    );
    const prometheus = this.#dashboards?.prometheus.child.identity;
    if (prometheus !== undefined) processes.push({ name: "prometheus", ...prometheus });
    this.#run = { ...this.#run, processes };
    writeRun(this.folder, this.#run);
    const { ca, clientCertificate, clientKey } = this.pki;
    writeJson(this.folder.cluster, {
      ready: this.#ready,
      wanMs: this.plan.wanMs,
      nodes: this.#regions.flatMap((region) =>
        region.region.nodes.flatMap((node) => {
          const part = region.node(node);
          return part === undefined ? [] : [describeNode(node, part)];
        }),
      ),
      redis: this.#regions.flatMap((region) =>
        redisRoles.flatMap((role) => {
          const part = region.redisOf(role);
          const address = { host: redisHost, port: region.redis.ports[role] };
          return part === undefined
            ? []
            : [
                {
                  region: region.region.name,
                  role,
                  address: printAddress(address),
                  pid: part.child.identity.pid,
                },
              ];
        }),
      ),
      ca,
      clientCertificate,
      clientKey,
      managerToken: this.folder.managerToken,
      console: this.console,
      keyProtectApi: { url: new URL(this.console).origin, ...devKeyProtect },
      ...(this.plan.dashboards === undefined
        ? {}
        : { dashboards: `http://${printAddress(this.plan.dashboards.page)}/` }),
    });
  }
}

function isReady({ ready, writes, peer }: NodeView): boolean {
  return ready && writes && (peer === undefined || peer.startsWith("up"));
}

function describeNode(node: DevNode, { child }: Supervised) {
  return {
    region: node.region,
    node: node.name,
    kmip: printAddress(node.kmip),
    // Health for probes, without TLS; the regions' own protocol is at `peer`.
    grpc: printAddress(node.health),
    health: printAddress(node.health),
    http: printAddress(node.http),
    peer: printAddress(node.peer),
    line: printAddress(node.line),
    admin: printAddress(node.admin),
    pid: child.identity.pid,
  };
}

function dashboardListeners({ dashboards }: Plan) {
  if (dashboards === undefined) return [];
  const options = "--dashboards PORT";
  return [
    { ...dashboards.page, what: "the page of the dashboards", options },
    { ...dashboards.prometheus, what: "Prometheus of the dashboards", options },
  ];
}

function listeners({ name, kmip, http, health, peer, line, admin }: DevNode, withPeers: boolean) {
  const peers = [
    { ...peer, what: `peers of node ${name}` },
    { ...line, what: `line to node ${name}` },
  ];
  return [
    { ...kmip, what: `KMIP of node ${name}` },
    { ...http, what: `metrics of node ${name}` },
    { ...health, what: `health of node ${name}` },
    { ...admin, what: `management of node ${name}` },
    ...(withPeers ? peers : []),
  ];
}
