import type { LooseRequest } from "./api.ts";
import type { Operation } from "./contract.ts";

/** The same call as a command of `holdfast`; secrets, files and roots of trust as places to fill in. */
export function commandLine(
  { command, params: names, query, body }: Operation,
  { params = {}, query: given = {}, body: sent = {} }: LooseRequest,
): string {
  const { words, files = {}, secrets = [], hidden = [], roots } = command;
  const values = { ...given, ...(sent as Readonly<Record<string, unknown>>) };
  const fields = Object.keys({ ...query?.properties, ...body?.properties });
  const options = fields
    .filter((name) => !hidden.includes(name) && name !== "cursor")
    .flatMap((name) => {
      const file = files[name];
      if (values[name] === undefined) return [];
      if (file !== undefined) return [`--${file} FILE`];
      if (secrets.includes(name)) return [`${optionOf(name)}-file FILE`];
      return optionTexts(optionOf(name), values[name]);
    });
  const root = roots === undefined ? [] : rootTexts(rootsIn(values, roots));
  const places = names.map((name) => quoted(String(params[name] ?? name.toUpperCase())));
  return ["holdfast", words, ...places, ...options, ...root].join(" ");
}

/** `createdAfter` as `--created-after`. */
function optionOf(name: string): string {
  return `--${name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}

function optionTexts(option: string, value: unknown): readonly string[] {
  if (value === true || value === "true") return [option];
  if (value === false || value === "false") return [];
  if (Array.isArray(value)) return value.map((each) => `${option} ${quoted(String(each))}`);
  if (typeof value === "object" && value !== null) {
    return Object.entries(value).map(([name, each]) => `${option} ${quoted(`${name}=${each}`)}`);
  }
  return [`${option} ${quoted(String(value))}`];
}

/** The roots of trust of a request, by region; a lookup without a region asks the region of the node. */
function rootsIn(
  { regions, root, rootOfTrust, region = "REGION" }: Readonly<Record<string, unknown>>,
  kind: "rootOfTrust" | "regions" | "lookup",
): unknown {
  if (kind === "lookup") return { [String(region)]: root };
  return kind === "regions" ? regions : (rootOfTrust as { regions?: unknown } | undefined)?.regions;
}

/** `--root a:local` for each region. What is secret is left to fill in. */
function rootTexts(roots: unknown): readonly string[] {
  if (typeof roots !== "object" || roots === null) return [];
  return Object.entries(roots).flatMap(([region, root]: readonly [string, unknown]) => {
    if (typeof root !== "object" || root === null) return [];
    const { type = "TYPE", ...fields } = root as Readonly<Record<string, unknown>>;
    const pairs = Object.entries(fields).map(([name, each]) => `${name}=${rootText(each)}`);
    return [`--root ${quoted([`${region}:${String(type)}`, ...pairs].join(","))}`];
  });
}

/** A field of a root of trust. An object is the place of a secret, or has the secret itself, which is never shown. */
function rootText(field: unknown): string {
  if (typeof field !== "object" || field === null) return String(field);
  const { env, file } = field as { readonly env?: unknown; readonly file?: unknown };
  if (typeof env === "string") return `env:${env || "NAME"}`;
  return typeof file === "string" ? `file:${file || "NAME"}` : "@FILE";
}

/** A word as a POSIX shell reads it. */
function quoted(text: string): string {
  return /^[\w.,:@%+=/-]+$/.test(text) ? text : `'${text.replaceAll("'", String.raw`'\''`)}'`;
}
