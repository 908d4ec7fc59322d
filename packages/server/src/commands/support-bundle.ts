import { readFileSync } from "node:fs";
import { arch, cpus, release, totalmem } from "node:os";
import { dirname, resolve } from "node:path";
import { parseDocument, stringify } from "yaml";
import { isPem } from "../base/certificates.ts";
import { reasonOf } from "../base/operator-error.ts";
import type { Environment, Machine } from "../base/system.ts";
import { version } from "../base/version.ts";
import { configTable } from "../config/config-table.ts";
import type { SettingRows } from "../config/setting.ts";
import { checkConfig } from "./check-config.ts";

/** One part of a support bundle: its title, and the text or the reason why it is missing. */
export interface BundlePart {
  readonly title: string;
  readonly text: string;
}

const removed = "(removed)";
const answerMs = 5_000;
/** Shorter lines of a secret file would match harmless text everywhere. */
const secretCharsMin = 6;

/** What a node's machine knows: versions, redacted configuration, its check, readiness and metrics. Never rejects. */
export async function nodeParts(file: string, machine: Machine): Promise<readonly BundlePart[]> {
  const value = readValue(file);
  const listen = addressOf(value);
  return [
    { title: "versions", text: versions(machine) },
    { title: `configuration ${file}`, text: redactedConfig(value) },
    { title: "config check", text: await checked(file, machine) },
    ...(await Promise.all(
      ["livez", "readyz?verbose", "metrics"].map(async (path) => {
        return { title: `http://${listen}/${path}`, text: await fetched(listen, path) };
      }),
    )),
  ];
}

/**
 * The bundle as text, without any secret: what the files hold that the configuration names (but for certificates), the
 * values of environment variables that are called secrets, tokens, password hashes and private keys are taken out
 * wherever they occur.
 */
export function bundleText(
  parts: readonly BundlePart[],
  file: string,
  environment: Environment,
): string {
  const secrets = [...fileSecrets(file), ...environmentSecrets(environment)].toSorted(
    (a, b) => b.length - a.length,
  );
  const sections = parts.map(({ title, text }) => `=== ${title}\n${text.trimEnd()}\n`);
  let text = sections.join("\n");
  for (const secret of secrets) text = text.replaceAll(secret, removed);
  return text
    .replaceAll(/\bhfs?_[\w-]{20,}/g, removed)
    .replaceAll(/\b(?:scrypt|pbkdf2-sha256)(?:\$[\w-]+){3,}/g, removed)
    .replaceAll(/-----BEGIN [^-]*PRIVATE KEY-----[\s\S]*?-----END [^-]*PRIVATE KEY-----/g, removed)
    .replaceAll(/\/\/[^\s/@:]*:[^\s/@]+@/g, `//${removed}@`);
}

function versions({ clock }: Machine): string {
  const { openssl, node } = process.versions;
  return [
    `holdfast ${version}`,
    `node ${node}, OpenSSL ${openssl}`,
    `${process.platform} ${release()} ${arch()}, ${cpus().length} CPUs, ${Math.round(totalmem() / 2 ** 20)} MiB`,
    `time ${new Date(clock.wallMs()).toISOString()}`,
  ].join("\n");
}

function readValue(file: string): unknown {
  try {
    return parseDocument(readFileSync(file, "utf8")).toJS();
  } catch {
    return undefined;
  }
}

/** The configuration as YAML: secrets, PEM text and what is not a setting are taken out. */
function redactedConfig(value: unknown): string {
  if (value === undefined) return "cannot be read";
  return stringify(redacted(configTable, value));
}

function redacted(rows: SettingRows, value: unknown): unknown {
  if (typeof value !== "object" || value === null) return removed;
  const entries = Object.entries(value).map(([name, inner]: [string, unknown]) => {
    const row = rows[name];
    if (row === undefined) return [name, `${removed}: not a setting`];
    if (row.kind === "setting") {
      const isSecret = row.secret === true || isPem(String(inner));
      return [name, isSecret ? removed : withoutQuery(inner)];
    }
    if (row.kind === "list" && Array.isArray(inner)) {
      return [name, inner.map((item) => redacted(row.rows, item))];
    }
    return [name, redacted(row.rows, inner)];
  });
  return Object.fromEntries(entries);
}

/** The query of a URL, such as that of a webhook, may hold its receiver's secret. */
function withoutQuery(value: unknown): unknown {
  return typeof value === "string" ? value.replace(/^(https?:[^?]*\?).*/s, `$1${removed}`) : value;
}

async function checked(file: string, machine: Machine): Promise<string> {
  try {
    return (await checkConfig(file, machine)).join("\n");
  } catch (error) {
    return reasonOf(error);
  }
}

function addressOf(value: unknown): string {
  const listen: unknown = (value as { http?: { listen?: unknown } } | undefined)?.http?.listen;
  const address = typeof listen === "string" ? listen : configTable.http.rows.listen.default;
  return String(address).replace(/^(0\.0\.0\.0|\[::\])/, "127.0.0.1");
}

async function fetched(listen: string, path: string): Promise<string> {
  try {
    const signal = AbortSignal.timeout(answerMs);
    const answer = await fetch(`http://${listen}/${path}`, { signal });
    return `${answer.status}\n${await answer.text()}`;
  } catch (error) {
    return `no answer: ${reasonOf(error)}`;
  }
}

/** The lines of every file that the configuration names, but for certificates and revocation lists. */
function fileSecrets(file: string): readonly string[] {
  const folder = dirname(resolve(file));
  return pathsIn(configTable, readValue(file)).flatMap((path) => {
    try {
      const text = readFileSync(resolve(folder, path), "utf8");
      if (isPem(text) && !text.includes("PRIVATE KEY")) return [];
      return text.split("\n").filter(isWorthIt);
    } catch {
      return [];
    }
  });
}

function isWorthIt(line: string): boolean {
  const text = line.trim();
  return text.length >= secretCharsMin && !text.startsWith("-----") && !/^[[\]{},]*$/.test(text);
}

function pathsIn(rows: SettingRows, value: unknown): readonly string[] {
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([name, inner]: [string, unknown]) => {
    const row = rows[name];
    if (row === undefined) return [];
    if (row.kind === "setting") {
      if (row.path !== true || row.isPublic === true) return [];
      return [inner].flat().filter((path) => typeof path === "string" && !isPem(path)) as string[];
    }
    const items: readonly unknown[] = Array.isArray(inner) ? inner : [inner];
    return items.flatMap((item) => pathsIn(row.rows, item));
  });
}

function environmentSecrets(environment: Environment): readonly string[] {
  return Object.entries(environment).flatMap(([name, value = ""]) => {
    const isSecret = /PASSWORD|PASSPHRASE|SECRET|TOKEN|_PIN|API_?KEY/.test(name);
    return isSecret && value.length >= secretCharsMin ? [value] : [];
  });
}
