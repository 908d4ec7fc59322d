import { readFileSync } from "node:fs";
import { join } from "node:path";
import { configTable, type Setting, type SettingRows } from "@holdfast/server";
import { code, madeFrom, table } from "./markdown.ts";

const example = join(import.meta.dirname, "..", "..", "deploy", "holdfast.example.yaml");

const twoRegions = [
  "region: eu-de",
  "peer:",
  "  region: us-east",
  '  addresses: ["10.30.0.11:9443", "10.30.0.12:9443"]',
  "  listen: 10.20.0.11:9443",
  "  tls:",
  "    ca: pki/peer-ca.pem",
  "    certificate: pki/peer.pem # eu-de.peer.holdfast and a1.eu-de.peer.holdfast",
  "    key: pki/peer.key",
  "  regionKeyFile: secrets/region.key",
  "  keys: [pki/us-east-region.pub]",
];

/** The reference of a node's settings. */
export function configuration(): string {
  const groups = Object.entries(configTable).filter(([, row]) => row.kind !== "setting");
  return [
    "# Configuration",
    "",
    madeFrom("`configTable` in `packages/server/src/config/config-table.ts`"),
    "",
    "A node reads one YAML file, given with `--config`. An unknown setting or an invalid value is an error: the node reports the setting, file and line, and does not start (exit code 2). `holdfast config check --config FILE` reports the same without starting the node. Paths of files are relative to the configuration file. Never write a secret into it: passwords come from files or environment variables, and users' passwords are given as hashes (`holdfast hash-password`).",
    "",
    "Every listener has its own address; the default is a loopback address. A wildcard or public address needs `allowPublic: true` beside it.",
    "",
    "On SIGHUP the node reads its certificates and the `instances` again, without a restart: connections of clients that are no longer trusted are closed, and TLS sessions cannot be resumed. Certificates are also read when their files change. Every other setting takes effect at the next start.",
    "",
    "## Example",
    "",
    "```yaml",
    readFileSync(example, "utf8").trimEnd(),
    "```",
    "",
    "## Two regions",
    "",
    "Both regions' nodes get a `peer` group that names the other region. Each region has a Redis, lock masters and a root of trust of its own; the `instances` are the same in both.",
    "",
    "```yaml",
    ...twoRegions,
    "```",
    "",
    "A node's peer certificate holds the DNS names `REGION.peer.holdfast` and `NODE.REGION.peer.holdfast` of its own region and node and no other of these names, is for server and client authentication, and comes from an authority that issues nothing else. The certificate alone opens nothing: both sides also prove their region's key on every connection ([region-key.md](region-key.md)). `holdfast peer list` shows the certificates in use, and `holdfast deny add --fingerprint SHA256` ends one within a second. To replace the authority, put the old and the new one into `peer.tls.ca` at every node, then replace the certificates by those of the new one, then remove the old one. No step needs a restart.",
    "",
    "`holdfast region status --config FILE` shows the state of both regions, how far this one has read the other's changes, and which records are held or in quarantine. If a region is lost for good, an operator retires it (`holdfast region retire REGION --endpoints-are-off REGION --config FILE`, in the remaining region); from then on nothing waits for it. If it returns, its nodes start but refuse all clients until `holdfast region rejoin --config FILE` has been run there.",
    "",
    "## The node",
    "",
    settings("", configTable),
    ...groups.flatMap(([name, row]) => section(name, row)),
  ]
    .join("\n")
    .concat("\n");
}

function section(path: string, row: SettingRows[string]): string[] {
  if (row.kind === "setting") return [];
  const title = row.kind === "list" ? `${path}[]` : path;
  const inner = Object.entries(row.rows);
  return [
    "",
    `## \`${title}\``,
    "",
    row.doc,
    "",
    settings(`${title}.`, row.rows),
    ...inner.flatMap(([name, child]) => section(`${title}.${name}`, child)),
  ];
}

function settings(prefix: string, rows: SettingRows): string {
  const lines = Object.entries(rows).flatMap(([name, row]) =>
    row.kind === "setting" ? [line(`${prefix}${name}`, row)] : [],
  );
  return table(["setting", "value", "default", "meaning"], lines);
}

function line(name: string, setting: Setting<unknown>): readonly string[] {
  const unit = setting.unit === undefined ? "" : ` ${setting.unit}`;
  const value =
    setting.default === undefined ? "required" : setting.default === "" ? "none" : undefined;
  return [
    code(name),
    setting.expects,
    value ?? `${code(setting.default ?? "")}${unit}`,
    setting.doc,
  ];
}
