import { kindNames, rootKinds, secretNames } from "@holdfast/root-of-trust/kinds";
import { Failure, readGiven } from "../terminal/failure.ts";

/** A root of trust as `--root` gives it, and the region that it is for. */
export interface GivenRoot {
  readonly region: string | undefined;
  readonly root: Readonly<Record<string, unknown>>;
}

const form =
  "REGION:TYPE,NAME=VALUE,… such as a:key-protect,instanceId=ID,rootKey=ID,apiKey=@key.txt";
/** The form of `--root` for each kind, such as `pkcs11,token=,rootKey=,pin=`. */
export const rootForms = rootKinds.map(({ kind, reference }) =>
  [kind, ...Object.keys(reference).map((name) => `${name}=`)].join(","),
);

/**
 * Reads `--root`. A secret is `@FILE` (read here and sealed by the service), or `env:NAME` or
 * `file:NAME` (read by each node). Never the secret itself: a list of processes would show it.
 */
export function parseRoot(text: string): GivenRoot {
  const [head = "", ...pairs] = text.split(",");
  const [type = "", region] = head.split(":").reverse();
  if (!kindNames.some((kind) => kind === type)) {
    throw new Failure(
      `--root ${text}: the type must be one of ${kindNames.join(", ")}; give ${form}`,
    );
  }
  const root: Record<string, unknown> = { type };
  for (const pair of pairs) {
    const at = pair.indexOf("=");
    const [name, value] = [pair.slice(0, at), pair.slice(at + 1)];
    if (at < 1 || value === "")
      throw new Failure(`--root ${text}: ${pair} is not NAME=VALUE; give ${form}`);
    root[name] = secretNames.includes(name) ? secretOf(name, value) : value;
  }
  return { region, root };
}

/** Reads the place of a secret. The error message never contains what may be the secret itself. */
function secretOf(name: string, place: string): Readonly<Record<string, string>> {
  const [kind, rest] = [place.slice(0, place.indexOf(":")), place.slice(place.indexOf(":") + 1)];
  if (kind === "env") return { env: rest };
  if (kind === "file") return { file: rest };
  if (!place.startsWith("@")) {
    throw new Failure(
      `--root: ${name} is on the command line, where others can see it; give ${name}=@FILE, ${name}=env:NAME or ${name}=file:NAME`,
    );
  }
  return { value: firstLine(`--root ${name}`, place.slice(1)) };
}

/** The first line of a file that holds a secret. */
export function firstLine(option: string, path: string): string {
  const [line = ""] = readGiven(option, path).toString("utf8").split(/\r?\n/);
  if (line === "") throw new Failure(`${option} ${path}: its first line is empty`);
  return line;
}

/** The roots of a request, by region. Each root must name its region, and each region only once. */
export function rootsByRegion(given: readonly GivenRoot[]): Readonly<Record<string, unknown>> {
  const roots: Record<string, unknown> = {};
  for (const { region, root } of given) {
    if (region === undefined) {
      throw new Failure(`--root ${String(root["type"])}: its region is missing; give ${form}`);
    }
    if (roots[region] !== undefined) throw new Failure(`--root: region ${region} is given twice`);
    roots[region] = root;
  }
  return roots;
}
