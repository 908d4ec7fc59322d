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
  "    certificate: pki/peer.pem # eu-de.peer.holdfast",
  "    key: pki/peer.key",
];

/** The reference of a node's settings. */
export function configuration(): string {
  const groups = Object.entries(configTable).filter(([, row]) => row.kind !== "setting");
  return [
    "# Configuration",
    "",
    madeFrom("`configTable` in `packages/server/src/config/config-table.ts`"),
    "",
    "A node reads one YAML file, given with `--config`. An unknown setting is an error, and so is a value that does not fit: the node then says which setting, in which file and line, and does not start (exit code 2). `holdfast config check --config FILE` says the same without starting. Paths of files are relative to the configuration file. Secrets are never written into it: passwords come from files or environment variables, users' passwords are stored as scrypt hashes (`holdfast hash-password`).",
    "",
    "Every listener has an address of its own, loopback unless set. A wildcard or public address needs `allowPublic: true` beside it.",
    "",
    "On SIGHUP the node reads its certificates and the `instances` again, without a restart: who is no longer trusted is cut off, and sessions cannot be resumed. Certificates are also read when their files change. Every other setting takes effect at the next start.",
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
    "A node's peer certificate holds the DNS name `REGION.peer.holdfast` of its own region and no other region's, is for server and client authentication, and comes from an authority that issues nothing else: whoever has such a certificate is trusted with the keys of both regions. To replace the authority, put the old and the new one into `peer.tls.ca` at every node, then give out certificates of the new one, then take the old one away; each step needs no restart.",
    "",
    "`holdfast region status --config FILE` shows the state of both regions, how far this one has read the other's changes, and what is held or set aside. A region that is lost for good is retired by an operator (`holdfast region retire REGION --endpoints-are-off REGION --config FILE`, in the region that stays); from then on nothing waits for it. When it returns, its nodes start and let nobody in until `holdfast region rejoin --config FILE` has been run there.",
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
  return table(["setting", "is", "default", "for"], lines);
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
