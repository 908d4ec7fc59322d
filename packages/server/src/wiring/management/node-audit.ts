import {
  AuditChain,
  AuditRetention,
  AuditShip,
  type AuditSink,
  AuditTree,
  AuditWitness,
  type Duty,
} from "@holdfast/regions";
import type { CadfSettings } from "../../audit/cadf.ts";
import { eventsHandlers } from "../../audit/event-handlers.ts";
import { readLogKey } from "../../audit/log/log-key.ts";
import { HttpWitness } from "../../audit/log/witness-client.ts";
import { FileSink } from "../../audit/sinks/file-sink.ts";
import {
  checkSinkFiles,
  syslogTls,
  webhookCa,
  webhookSecret,
} from "../../audit/sinks/sink-files.ts";
import { SyslogSink } from "../../audit/sinks/syslog-sink.ts";
import { WebhookSink } from "../../audit/sinks/webhook-sink.ts";
import { PeerTrail, serveTrail } from "../../audit/trail/peer-trail.ts";
import { AuditReader } from "../../audit/trail/reader.ts";
import { AuditCheck } from "../../audit/verify/audit-check.ts";
import type { Environment } from "../../base/system.ts";
import { auditBounds, logBytesMax } from "../../config/audit-bounds.ts";
import type { Config } from "../../config/config-table.ts";
import { clock, ids, type Parts } from "../node-parts.ts";
import type { Regions } from "../node-regions.ts";
import type { Management } from "./node-management.ts";

/** A node's part of the audit trail. */
export interface NodeAudit {
  readonly handlers: ReturnType<typeof eventsHandlers> & AuditCheck["handlers"];
  /** What its region's leader does. */
  readonly duties: readonly Duty[];
}

const dayMs = 86_400_000;
const hourMs = 3_600_000;

/** Opens the sinks that the configuration names, whose secrets must exist, and what reads and keeps the trail. */
export function openAudit(
  parts: Parts,
  { own }: Pick<Regions, "own">,
  { commands }: Pick<Management, "commands">,
  environment: Environment,
): NodeAudit {
  const { config, observe } = parts;
  const log = own.audit;
  const cadf = cadfSettings(config);
  const { retentionDays, retentionBytes } = config.audit;
  const bounds = async () => auditBounds(retentionBytes, await own.usage());
  const sinks = openSinks(parts, cadf, environment);
  const names = sinks.map(({ name }) => name);
  const tree = openTree(parts, { own });
  const [announce, chained] = [tree?.announce.bind(tree), tree?.offer.bind(tree)];
  const retention = { sinks: names, ageMs: retentionDays * dayMs, bounds, announce };
  const witnesses = config.audit.log?.witnesses.map((each) => new HttpWitness(each)) ?? [];
  const ask = (tree: AuditTree, witness: HttpWitness) =>
    new AuditWitness({ log, tree, witness, timers: clock, observe });
  const reader = new AuditReader({ log, cadf, clock });
  serveTrail(commands, reader);
  const trails = () => [
    reader,
    ...commands.others.map((region) => new PeerTrail(region, commands, clock)),
  ];
  const ending = new AbortController();
  parts.opened.defer(() => ending.abort());
  const check = new AuditCheck({
    ...{ region: config.region, node: config.node, log, timers: clock, signal: ending.signal },
    trust: () => {
      const { log: settings } = config.audit;
      return settings && { key: readLogKey(settings).key, witnesses, clock };
    },
  });
  return {
    handlers: { ...eventsHandlers({ trails, cadf, ...clock }), ...check.handlers },
    duties: [
      new AuditChain({ log, store: own, timers: clock, observe, chained }),
      ...sinks.map((sink) => new AuditShip({ log, store: own, sink, timers: clock, observe })),
      ...(tree === undefined ? [] : [tree, ...witnesses.map((witness) => ask(tree, witness))]),
      new AuditRetention({ log, store: own, timers: clock, observe, ...retention }),
    ],
  };
}

/** The log over the trail, if the configuration has one. */
function openTree(
  { config, observe }: Parts,
  { own }: Pick<Regions, "own">,
): AuditTree | undefined {
  const { log: settings, retentionBytes } = config.audit;
  if (settings === undefined) return undefined;
  const { signer } = readLogKey(settings);
  const witnesses = settings.witnesses.map(({ name }) => name);
  const bytesMax = async () => logBytesMax(retentionBytes, await own.usage());
  return new AuditTree({ log: own.audit, signer, timers: clock, observe, witnesses, bytesMax });
}

/** How a node's configuration wants events to be shown. */
export function cadfSettings({ region, audit: { account, names } }: Config): CadfSettings {
  return { region, account, names };
}

function openSinks(
  { config, opened }: Parts,
  cadf: CadfSettings,
  environment: Environment,
): readonly AuditSink[] {
  const { file, syslog, webhook } = config.audit;
  // A fault in the files is reported at the start.
  checkSinkFiles(config.audit, environment);
  const sinks: AuditSink[] = [];
  if (file !== undefined) {
    const { path, rotateBytes: bytesMax, rotateHours, filesMax } = file;
    const options = { path, bytesMax, ageMs: rotateHours * hourMs, filesMax, clock };
    sinks.push(opened.use(new FileSink(options, cadf)));
  }
  if (syslog !== undefined) {
    const { address, serverName, facility } = syslog;
    const tls = () => syslogTls(syslog);
    const options = { address, serverName, facility, hostname: config.node, tls };
    sinks.push(opened.use(new SyslogSink(options, cadf)));
  }
  if (webhook !== undefined) {
    const { url, batchMax } = webhook;
    const ca = () => webhookCa(webhook);
    const authorization = () => webhookSecret(webhook, environment);
    const chance = () => (ids.randomBytes(1)[0] ?? 0) / 255;
    sinks.push(new WebhookSink({ url, ca, authorization, batchMax, chance }, cadf));
  }
  return sinks;
}
