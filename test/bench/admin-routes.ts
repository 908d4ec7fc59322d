import { execFileSync } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { Agent, request } from "node:https";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { type AdminClient, type Contract, contract, type Route } from "@holdfast/admin";
import { until } from "@holdfast/testing";
import { selfSigned } from "@holdfast/testing/pki";
import { adminClient, firstToken } from "../support/admin-api.ts";
import { layRegion, type Region } from "../support/region.ts";
import { type AdminTargets, callsOf, pathOf } from "./admin-calls.ts";
import { latencyMs } from "./figures.ts";
import { makeKeys } from "./holdfast.ts";
import { command } from "./keys-at-scale.ts";
import type { LoadGenerator } from "./load-generator.ts";
import type { LoadPlan, LoadResult } from "./load-plan.ts";
import type { Extent } from "./options.ts";

/** KMIP Get before and during the heaviest calls of one route. */
interface RouteFigures {
  readonly operation: string;
  /** HTTP status → number of calls with it; 0: the connection was closed. */
  readonly statuses: Readonly<Record<number, number>>;
  readonly before: LoadResult;
  readonly beside: LoadResult;
  /** The longest turn of the node's event loop, before and during the calls, in processor ms. */
  readonly turnMs: { readonly before: number; readonly beside: number };
  /** How often the node closed its listener or reset connections: the measurement then restarts. */
  readonly interruptions: number;
}

/** The cost of the management API for KMIP clients. */
export interface AdminFigures {
  readonly keys: number;
  /** In the order of the contract. */
  readonly routes: readonly RouteFigures[];
}

const instance = "bench";
const spare = "spare";
const getKeys = 100;
const getConnections = 16;
const getsPerSecond = 400;
/** How many callers use a route at the same time, with one token. */
const callers = 4;
const refusedPauseMs = 20;
const interruptionsMax = 10;
const limitMs = 600_000;

/** Measures Get at a fixed rate, in turn alone and during each operation of the contract. */
export async function measureAdmin(
  generator: LoadGenerator,
  extent: Extent,
  signal: AbortSignal,
): Promise<AdminFigures> {
  await using opened = new AsyncDisposableStack();
  const turns = join(
    opened.adopt(await mkdtemp(join(tmpdir(), "holdfast-turns-")), remove),
    "turns",
  );
  const region = opened.use(await startManaged(turns));
  const target = { node: region.node(0), ca: region.ca };
  const admin = opened.use(adminClient(target, await firstToken(target)));
  const gets = await makeKeys(region.target(instance), getKeys);
  const plan: LoadPlan = {
    connections: getConnections,
    targets: [region.target(instance)],
    persistent: true,
    operations: gets.map((message) => [[message]]),
    warmMs: extent.warmMs,
    measureMs: extent.measureMs,
    ratePerSecond: getsPerSecond,
    pids: {},
  };
  const targets = await fill(region, admin, extent.adminKeys, signal);
  // This makes as many events as keys; it also warms up the compiler.
  const { ratePerSecond: _, ...unlimited } = plan;
  await generator.load({ ...unlimited, measureMs: limitMs, operationsMax: extent.adminKeys });
  const routes: RouteFigures[] = [];
  for (const operation of Object.keys(contract) as (keyof Contract)[]) {
    // Each operation has its own token, since calls and bytes per token are limited.
    const { secret } = await admin.call<"createToken">("createToken", {
      body: { name: `bench-${operation}`, roles: ["manager", "security-officer"] },
    });
    using route = new RouteCallers(region, secret, operation, targets);
    await longestTurnMs(turns);
    const { result: before } = await insist(generator, plan, signal);
    const turnBefore = await longestTurnMs(turns);
    route.start();
    const { result: beside, interruptions } = await insist(generator, plan, signal);
    const statuses = await route.stop();
    const turnMs = { before: turnBefore, beside: await longestTurnMs(turns) };
    routes.push({ operation, before, beside, turnMs, interruptions, statuses });
  }
  return { keys: extent.adminKeys, routes };
}

/** Measures again after refused or reset connections: a node without a lease closes its listener. */
async function insist(
  generator: LoadGenerator,
  plan: LoadPlan,
  signal: AbortSignal,
): Promise<{ readonly result: LoadResult; readonly interruptions: number }> {
  for (let interruptions = 0; ; interruptions += 1) {
    try {
      return { result: await generator.load(plan), interruptions };
    } catch (error) {
      if (signal.aborted || interruptions >= interruptionsMax) throw error;
      await sleep(1_000);
    }
  }
}

/** Asks the probe in the node. */
async function longestTurnMs(socketFile: string): Promise<number> {
  return Number(await text(connect(socketFile))) / 1000;
}

function remove(folder: string): Promise<void> {
  return rm(folder, { recursive: true, force: true });
}

function startManaged(turns: string): Promise<Region> {
  return layRegion({
    instances: [instance],
    nodes: 1,
    replicas: 1,
    admin: true,
    settings: { log: { level: "info" } },
  }).then(async (region) => {
    await using guard = new AsyncDisposableStack();
    guard.use(region);
    process.env["NODE_OPTIONS"] = `--import=${join(import.meta.dirname, "turn-probe.ts")}`;
    process.env["HOLDFAST_BENCH_TURNS"] = turns;
    await Promise.all(region.nodes.map((node) => node.start()));
    delete process.env["NODE_OPTIONS"];
    guard.move();
    return region;
  });
}

/** Loads keys, makes the spare instance, and returns what calls can ask for. */
async function fill(
  region: Region,
  admin: AdminClient,
  keys: number,
  signal: AbortSignal,
): Promise<AdminTargets> {
  const { configFile } = region.node(0);
  const load = ["--instance", instance, "--keys", String(keys)];
  await command(["dev", "load", ...load, "--config", configFile], signal);
  const rootOfTrust = { regions: { a: { type: "local" as const } } };
  await admin.call("createInstance", { body: { name: spare, rootOfTrust } });
  const params = { instance: spare };
  await until("the spare instance is Installed", async () => {
    return (await admin.call("readInstance", { params })).status === "Installed";
  });
  // The newest keys are the ones just loaded.
  const { items } = await admin.call("listKeys", { params: { instance }, query: { limit: 1_000 } });
  const { certificate } = await selfSigned({
    commonName: "bench",
    notBeforeMs: Date.now(),
    days: 1,
  });
  return { instance, spare, keys: items.map(({ id }) => id), certificate, csr: await makeCsr() };
}

async function makeCsr(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "holdfast-bench-csr-"));
  try {
    const made = ["-newkey", "rsa:4096", "-nodes", "-keyout", "key", "-out", "csr"];
    const subject = ["-subj", "/CN=bench"];
    execFileSync("openssl", ["req", "-new", ...made, ...subject], { cwd: folder, stdio: "ignore" });
    return await readFile(join(folder, "csr"), "utf8");
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Calls one operation without a pause, until it is stopped. */
class RouteCallers implements Disposable {
  readonly #operation: keyof Contract;
  readonly #targets: AdminTargets;
  readonly #token: string;
  readonly #origin: string;
  readonly #agent: Agent;
  readonly #ending = new AbortController();
  readonly #statuses: Record<number, number> = {};
  readonly #bodies = new Map<unknown, Buffer>();
  #running: Promise<unknown> = Promise.resolve();
  #begun = 0;

  constructor(region: Region, token: string, operation: keyof Contract, targets: AdminTargets) {
    const { host, admin } = region.node(0);
    this.#origin = `https://${host}:${admin}`;
    this.#agent = new Agent({ ca: region.ca, keepAlive: true, maxSockets: callers });
    this.#token = token;
    this.#operation = operation;
    this.#targets = targets;
    // Made before the measurement: a million identifiers take a while.
    for (const { body } of callsOf(operation, targets, 0)) this.#bytesOf(body);
  }

  start(): void {
    this.#running = Promise.all(Array.from({ length: callers }, () => this.#repeat()));
  }

  async stop(): Promise<Readonly<Record<number, number>>> {
    this.#ending.abort();
    await this.#running;
    return this.#statuses;
  }

  [Symbol.dispose](): void {
    this.#ending.abort();
    this.#agent.destroy();
  }

  async #repeat(): Promise<void> {
    const { signal } = this.#ending;
    while (!signal.aborted) {
      const number = this.#begun++;
      for (const call of callsOf(this.#operation, this.#targets, number)) {
        const status = await this.#ask(call).catch(() => 0);
        // A call that the end cut off does not count, unless it is a stream.
        if (signal.aborted && contract[this.#operation].path !== contract.followEvents.path) return;
        this.#statuses[status] = (this.#statuses[status] ?? 0) + 1;
        if (status === 429 || status === 0) await sleep(refusedPauseMs);
      }
    }
  }

  #ask(call: ReturnType<typeof callsOf>[number]): Promise<number> {
    const { method }: Route = contract[this.#operation];
    const bytes = this.#bytesOf(call.body);
    const headers = {
      authorization: `Bearer ${this.#token}`,
      ...(bytes && { "content-type": "application/json", "content-length": bytes.length }),
      ...(call.dryRun && { "dry-run": "true" }),
    };
    const { signal } = this.#ending;
    const url = `${this.#origin}${pathOf(this.#operation, call)}`;
    return new Promise((resolve, reject) => {
      const sent = request(url, { method, agent: this.#agent, headers, signal }, (response) => {
        const { statusCode = 0 } = response;
        response.on("end", () => resolve(statusCode));
        // The end of the measurement cuts off a stream.
        response.on("error", () => resolve(statusCode));
        response.resume();
      });
      sent.on("error", reject);
      sent.end(bytes);
    });
  }

  /** Large bodies, which do not differ from call to call, are encoded once. */
  #bytesOf(body: unknown): Buffer | undefined {
    if (body === undefined) return undefined;
    const { inUse } = body as { readonly inUse?: unknown };
    const known = inUse === undefined ? undefined : this.#bodies.get(inUse);
    const bytes = known ?? Buffer.from(JSON.stringify(body));
    if (inUse !== undefined) this.#bodies.set(inUse, bytes);
    return bytes;
  }
}

/** A line for each route, the worst last. */
export function adminLines({ keys, routes }: AdminFigures): string[] {
  const p99 = (result: LoadResult) => latencyMs([result], 0.99) ?? 0;
  const sorted = routes.toSorted((one, other) => p99(one.beside) - p99(other.beside));
  const times = (result: LoadResult) =>
    [0.5, 0.99, 1]
      .map((share) => (latencyMs([result], share) ?? 0).toFixed(1).padStart(7))
      .join("");
  return [
    `Get at ${getsPerSecond}/s beside the heaviest calls of each admin route, ${keys.toLocaleString("en")} keys; p50, p99 and longest in ms`,
    "turn: longest turn of the node's event loop, in ms of the processor, before and beside",
    `${"route".padEnd(24)}${"before".padStart(21)}${"beside".padStart(21)}${"turn".padStart(14)}  failed  reset  calls by status`,
    ...sorted.map(({ operation, before, beside, turnMs, interruptions, statuses }, at) => {
      const answered = Object.entries(statuses).map(([status, count]) => `${count} × ${status}`);
      const failed = String(beside.failures).padStart(6);
      const reset = String(interruptions).padStart(5);
      const worst = at === sorted.length - 1 ? "  ← worst" : "";
      const turn = [turnMs.before, turnMs.beside].map((ms) => ms.toFixed(1).padStart(7)).join("");
      return `${operation.padEnd(24)}${times(before)}${times(beside)}${turn}  ${failed}  ${reset}  ${answered.join(", ")}${worst}`;
    }),
  ];
}
