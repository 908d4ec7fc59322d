import { existsSync } from "node:fs";
import { join } from "node:path";
import { OperatorError, printAddress, reasonOf } from "@holdfast/server/base";
import { type Folder, readJson, writeJson, writePrivate } from "../base/folder.ts";
import { Cluster } from "../cluster/cluster.ts";
import type { FaultRequest } from "../cluster/faults.ts";
import { listenToKeys } from "../cluster/keys.ts";
import { type DevNode, nodesInTurn, type Plan } from "../cluster/plan.ts";
import { commandAgeMs } from "../processes/process-identity.ts";
import { tableHead, tableRow } from "../vcenter/table.ts";
import { type MadeKey, playVcenter, SequenceFailed } from "../vcenter/vcenter.ts";
import { signInLink } from "./console.ts";
import { status } from "./status.ts";
import { leaders, watchNodes } from "./watch.ts";

export interface StartOptions {
  readonly folder: Folder;
  readonly plan: Plan;
  /** Options that name this cluster on the command line, such as ` --dir /tmp/x`; empty for the default one. */
  readonly commandOptions: string;
  /** Whether it runs in the background, where Ctrl-C does not reach it. */
  readonly detached: boolean;
  readonly say: (line: string) => void;
  /** Called when the sequence has succeeded. */
  readonly ready: () => void;
  readonly ending: AbortController;
}

/** How long to wait for the election of the first leaders before the start prints "nobody yet". */
const leadersWithinMs = 3000;

/** Starts a cluster, plays vCenter's sequence, prints what to try, and runs until stopped; returns the exit code. */
export async function start(options: StartOptions): Promise<number> {
  const { folder, plan, say, ending } = options;
  const { signal } = ending;
  const again = existsSync(folder.settings);
  say(
    `Holdfast: ${summary(plan)}; ${again ? "data of the last start" : "new data"} in ${folder.root}`,
  );
  let cluster: Cluster;
  try {
    cluster = await Cluster.start({ folder, plan, say: sayWhen(say) }, signal);
  } catch (error) {
    if (!signal.aborted) throw error;
    say("Ended before it was ready.");
    return 1;
  }
  try {
    await play(cluster, options);
    const stayed = stay(cluster, options);
    options.ready();
    await stayed;
    say("Ending; the data stays for the next start.");
    return 0;
  } finally {
    await cluster.stop();
  }
}

function summary({ regions, wanMs }: Plan): string {
  const names = regions.map(({ name }) => name).join(" and ");
  const nodes = regions.map((region) => region.nodes.length);
  const each = regions.length > 1 ? "each with " : "";
  const wan = wanMs > 0 ? `, ${wanMs} ms each way between them` : "";
  return `region${regions.length > 1 ? "s" : ""} ${names}, ${each}${nodes[0]} KMIP nodes, Redis with one replica and a lock master${wan}`;
}

/** Adds the time to lines about events that no command caused. */
function sayWhen(say: (line: string) => void): (line: string) => void {
  return (line) => say(`${new Date().toISOString().slice(11, 23)} ${line}`);
}

/** Accepts commands and keys, and reports changes, until it is stopped. */
async function stay(cluster: Cluster, options: StartOptions): Promise<void> {
  const { ending, folder } = options;
  const say = sayWhen(options.say);
  const carryOut = async (request: FaultRequest) => {
    const done = await cluster.faults.carryOut(request);
    for (const line of done) say(line);
    return done;
  };
  await cluster.ready(async (request) => {
    if (!("load" in request)) return { lines: await carryOut(request) };
    if (request.load === "start") cluster.load.start();
    if (request.load === "stop") await cluster.load.stop();
    return { lines: [], load: cluster.load.report, parts: cluster.faults.names };
  });
  if (ending.signal.aborted) return;
  const stopKeys = listenToKeys(process.stdin, {
    names: cluster.faults.names,
    carryOut: (request) => void carryOut(request).catch((error) => say(reasonOf(error))),
    status: () => void status(folder, options.say),
    end: () => ending.abort(),
    say: options.say,
  });
  await watchNodes(nodesInTurn(cluster.plan), say, ending.signal);
  stopKeys?.();
}

async function play(cluster: Cluster, options: StartOptions): Promise<void> {
  const { folder, plan, say, ending } = options;
  const nodes = nodesInTurn(plan);
  const earlier = readJson<MadeKey>(folder.lastKey);
  let firstAnswerMs: number | undefined;
  let doneMs: number | undefined;
  say("");
  say("vCenter's key sequence: KMIP 1.1 over mutual TLS, one connection a line, nodes in turn");
  say(tableHead());
  try {
    const made = await playVcenter({
      nodes: nodes.map(({ name, region, kmip }) => ({
        name,
        region,
        endpoint: printAddress(kmip),
      })),
      tls: cluster.client,
      ...(earlier === undefined ? {} : { earlier }),
      answered: () => {
        firstAnswerMs ??= commandAgeMs();
      },
      report: (outcome) => say(tableRow(outcome)),
    });
    writeJson(folder.lastKey, made);
    doneMs = commandAgeMs();
  } catch (error) {
    if (!(error instanceof SequenceFailed)) throw error;
    throw new OperatorError(
      `vCenter's sequence failed: ${reasonOf(error)}; logs are in ${folder.log}`,
    );
  }
  await cluster.ensureManager(ending.signal);
  say("");
  say(
    `Ready. First request answered ${seconds(firstAnswerMs)} after the command, the whole sequence done after ${seconds(doneMs)}.`,
  );
  for (const line of await whoLeads(nodes)) say(line);
  for (const line of whatToTry(cluster, options)) say(line);
}

function seconds(ms: number | undefined): string {
  return ms === undefined ? "?" : `${(ms / 1000).toFixed(2)} s`;
}

async function whoLeads(nodes: readonly DevNode[]): Promise<readonly string[]> {
  const regions = [...new Set(nodes.map(({ region }) => region))];
  const found = await leaders(nodes, leadersWithinMs);
  const list = regions.map((region) => `${found.get(region) ?? "nobody yet"} (region ${region})`);
  return ["", `  leaders      ${list.join("  ")}`];
}

function whatToTry(
  cluster: Cluster,
  { commandOptions, detached }: StartOptions,
): readonly string[] {
  const { folder, plan, pki } = cluster;
  const nodes = plan.regions.flatMap((region) => region.nodes);
  const [first] = nodes;
  if (first === undefined) return [];
  const pykmip = join(folder.root, "pykmip.conf");
  writePrivate(pykmip, pykmipConfig(first, pki));
  const list = (pick: (node: DevNode) => string) =>
    nodes.map((node) => `${pick(node)} (${node.name})`).join("  ");
  const dev = commandOptions === "" ? "" : ` --dev ${folder.root}`;
  const roots = plan.regions.map(({ name }) => `--root ${name}:local`).join(" ");
  const python = `from kmip.pie.client import ProxyKmipClient as C; from kmip import enums as e; c = C(config_file='${pykmip}'); c.open(); print(c.create(e.CryptographicAlgorithm.AES, 256))`;
  const [, , third] = nodes;
  const watch =
    third === undefined
      ? [`  npx holdfast dev kill ${first.name}${commandOptions}`]
      : [
          `  npx holdfast dev kill ${first.name}${commandOptions}        # or freeze, thaw; --help says more`,
          `  npx holdfast dev cut${commandOptions}            # the line between the regions; heal repairs all`,
        ];
  return [
    `  console      ${signInLink(folder, cluster.console)}  (once; \`npx holdfast dev console${commandOptions}\` prints another)`,
    `  KMIP         ${list(({ kmip }) => printAddress(kmip))}`,
    `  management   ${list(({ admin }) => `https://${printAddress(admin)}`)}`,
    `  its token    ${folder.managerToken}  (manager, security-officer)`,
    `  metrics      ${list(({ http }) => `http://${printAddress(http)}/metrics`)}`,
    ...(plan.dashboards === undefined
      ? []
      : [`  dashboards   http://${printAddress(plan.dashboards.page)}/`]),
    `  certificate  ${pki.clientCertificate}  (demo client)`,
    `  its key      ${pki.clientKey}`,
    `  authority    ${pki.ca}  (of the servers)`,
    `  logs         ${folder.log}`,
    `  for tools    ${folder.cluster}`,
    "",
    "Try it:",
    `  npx holdfast kmip create --name my-first-key${dev}`,
    `  npx holdfast kmip locate${dev}`,
    `  npx holdfast instance order --name kmip-first ${roots}${dev}`,
    `  npx holdfast doctor${dev}`,
    `  /usr/bin/python3 -c "${python}"   # Debian package python3-pykmip`,
    ...watch,
    "",
    `${detached ? "" : "Ctrl-C or "}\`npx holdfast dev stop${commandOptions}\` ends it. The keys stay for the next start.`,
  ];
}

/** The configuration of PyKMIP's client; without user name and password, because it would send empty ones. */
function pykmipConfig(
  { kmip }: DevNode,
  pki: { readonly ca: string; readonly clientCertificate: string; readonly clientKey: string },
): string {
  return [
    "[client]",
    `host=${kmip.host}`,
    `port=${kmip.port}`,
    `certfile=${pki.clientCertificate}`,
    `keyfile=${pki.clientKey}`,
    `ca_certs=${pki.ca}`,
    "cert_reqs=CERT_REQUIRED",
    "ssl_version=PROTOCOL_SSLv23",
    "",
  ].join("\n");
}
