import { existsSync } from "node:fs";
import { join } from "node:path";
import { printAddress } from "../address.ts";
import { reasonOf, StartError } from "../start-error.ts";
import { Cluster } from "./cluster.ts";
import { type Folder, readJson, writeJson, writePrivate } from "./folder.ts";
import type { DevNode } from "./node-config.ts";
import { commandAgeMs } from "./process-identity.ts";
import { tableHead, tableRow } from "./table.ts";
import { type MadeKey, playVcenter, SequenceFailed } from "./vcenter.ts";

export interface StartOptions {
  readonly folder: Folder;
  readonly nodes: readonly DevNode[];
  /** How this cluster is named on the command line, such as ` --dir /tmp/x`; empty for the default one. */
  readonly commandOptions: string;
  /** It runs in the background: no Ctrl-C reaches it. */
  readonly detached: boolean;
  readonly say: (line: string) => void;
  /** Called when the sequence has passed. */
  readonly ready: () => void;
  readonly signal: AbortSignal;
}

/** Starts a cluster, plays vCenter's sequence, says what to try, and stays until told to end; the exit code. */
export async function start(options: StartOptions): Promise<number> {
  const { folder, nodes, say, signal } = options;
  const again = existsSync(folder.initialised);
  say(
    `Holdfast: region ${nodes[0]?.region}, ${nodes.length} KMIP nodes, Redis with one replica and a lock master; ${again ? "data of the last start" : "new data"} in ${folder.root}`,
  );
  let cluster: Cluster;
  try {
    cluster = await Cluster.start({ folder, nodes, say }, signal);
  } catch (error) {
    if (!signal.aborted) throw error;
    say("Ended before it was ready.");
    return 1;
  }
  try {
    await play(cluster, options);
    cluster.ready();
    options.ready();
    if (!signal.aborted) await new Promise((resolve) => signal.addEventListener("abort", resolve));
    say("Ending; the data stays for the next start.");
    return 0;
  } finally {
    await cluster.stop();
  }
}

async function play(cluster: Cluster, options: StartOptions): Promise<void> {
  const { folder, nodes, say } = options;
  const earlier = readJson<MadeKey>(folder.lastKey);
  let firstAnswerMs: number | undefined;
  say("");
  say("vCenter's key sequence: KMIP 1.1 over mutual TLS, one connection a line, nodes in turn");
  say(tableHead());
  try {
    const made = await playVcenter({
      nodes: nodes.map(({ name, kmip }) => ({ name, endpoint: printAddress(kmip) })),
      tls: cluster.client,
      ...(earlier === undefined ? {} : { earlier }),
      answered: () => {
        firstAnswerMs ??= commandAgeMs();
      },
      report: (outcome) => say(tableRow(outcome)),
    });
    writeJson(folder.lastKey, made);
  } catch (error) {
    if (!(error instanceof SequenceFailed)) throw error;
    throw new StartError(
      `vCenter's sequence failed: ${reasonOf(error)}; logs are in ${folder.log}`,
    );
  }
  say("");
  say(
    `Ready. First request answered ${seconds(firstAnswerMs)} after the command, the whole sequence done after ${seconds(commandAgeMs())}.`,
  );
  for (const line of whatToTry(cluster, options)) say(line);
}

function seconds(ms: number | undefined): string {
  return ms === undefined ? "?" : `${(ms / 1000).toFixed(2)} s`;
}

function whatToTry(
  cluster: Cluster,
  { commandOptions, detached }: StartOptions,
): readonly string[] {
  const { folder, nodes, pki } = cluster;
  const [first] = nodes;
  if (first === undefined) return [];
  const pykmip = join(folder.root, "pykmip.conf");
  writePrivate(pykmip, pykmipConfig(first, pki));
  const list = (pick: (node: DevNode) => string) =>
    nodes.map((node) => `${pick(node)} (${node.name})`).join("  ");
  const dev = commandOptions === "" ? "" : ` --dev ${folder.root}`;
  const python = `from kmip.pie.client import ProxyKmipClient as C; from kmip import enums as e; c = C(config_file='${pykmip}'); c.open(); print(c.create(e.CryptographicAlgorithm.AES, 256))`;
  return [
    "",
    `  KMIP         ${list(({ kmip }) => printAddress(kmip))}`,
    `  metrics      ${list(({ http }) => `http://${printAddress(http)}/metrics`)}`,
    `  certificate  ${pki.clientCertificate}  (demo client)`,
    `  its key      ${pki.clientKey}`,
    `  authority    ${pki.ca}  (of the servers)`,
    `  logs         ${folder.log}`,
    `  for tools    ${folder.cluster}`,
    "",
    "Try it:",
    `  npx holdfast kmip create --name my-first-key${dev}`,
    `  npx holdfast kmip locate${dev}`,
    `  /usr/bin/python3 -c "${python}"   # Debian package python3-pykmip`,
    "",
    `${detached ? "" : "Ctrl-C or "}\`npx holdfast dev stop${commandOptions}\` ends it. The keys stay for the next start.`,
  ];
}

/** What PyKMIP's client reads; without username and password, or it would send empty ones. */
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
