import { dirname, resolve } from "node:path";
import { faultsOf, type InputFault } from "@holdfast/admin";
import { kindNames, secretNames } from "@holdfast/root-of-trust/kinds";
import { parseDocument } from "yaml";
import { z } from "zod";
import { firstLine } from "../sites/root-option.ts";
import { Failure, readCertificate, readGiven, reasonOf } from "../terminal/failure.ts";

const text = z.string().min(1).max(1024);
/** A secret: a place that the nodes can read, or a file beside this one. */
const secret = z.union(
  [
    z.object({ env: text }).strict(),
    z.object({ file: text }).strict(),
    z.object({ fromFile: text }).strict(),
  ],
  {
    error:
      "{ fromFile: FILE }, or { env: NAME } or { file: NAME }, which the nodes find by themselves",
  },
);
const root = z.looseObject({
  type: z.enum(kindNames),
  ...Object.fromEntries(secretNames.map((name) => [name, secret.optional()])),
});
/** The service knows which words are operations. */
const operations = z.array(text).optional();
const certificate = z
  .object({
    name: text,
    kind: z.enum(["client", "authority"]).default("client"),
    file: text,
    operations,
  })
  .strict();
const user = z.object({ name: text, passwordFile: text, operations }).strict();
const instance = z
  .object({
    name: text,
    description: z.string().max(1024).optional(),
    labels: z.record(z.string(), z.string()).optional(),
    destroyOverKmip: z.enum(["refused", "allowed"]).optional(),
    destroyDelay: z.number().int().min(0).max(31_536_000).optional(),
    rootOfTrust: z.record(z.string(), root).default({}),
    certificates: z.array(certificate).default([]),
    users: z.array(user).default([]),
  })
  .strict();
const file = z.object({ instances: z.array(instance) }).strict();
/** The fields of a list's entries. */
const fields: Readonly<Record<string, object>> = {
  instances: instance.shape,
  certificates: certificate.shape,
  users: user.shape,
};

/** A certificate as declared, read from its file. */
export interface WantedCertificate {
  readonly name: string;
  readonly kind: "client" | "authority";
  readonly pem: string;
  /** The KMIP operations that it is limited to; undefined = stays as it is. */
  readonly operations?: readonly string[] | undefined;
}

/** A user as declared. */
export interface WantedUser {
  readonly name: string;
  readonly password: () => string;
  /** As of a certificate. */
  readonly operations?: readonly string[] | undefined;
}

/** An instance as declared; every file that it names is read. */
export interface WantedInstance {
  readonly name: string;
  readonly description: string | undefined;
  readonly labels: Readonly<Record<string, string>> | undefined;
  readonly destroyOverKmip?: string | undefined;
  /** Seconds. */
  readonly destroyDelay?: number | undefined;
  readonly roots: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  readonly certificates: readonly WantedCertificate[];
  readonly users: readonly WantedUser[];
}

/** Reads the declaration. An invalid one causes a `Failure` with the place in the file. */
export function readDeclaration(path: string): readonly WantedInstance[] {
  const source = readGiven("--file", path).toString("utf8");
  const document = parseDocument(source, { prettyErrors: false, logLevel: "error" });
  const [broken] = document.errors;
  if (broken?.code === "MULTIPLE_DOCS") {
    throw new Failure(`${path}: has a second YAML document, after a line with ---: keep one`);
  }
  if (broken !== undefined) throw new Failure(`${path}: not YAML: ${reasonOf(broken)}`);
  const given: unknown = document.toJS();
  const parsed = file.safeParse(given);
  if (!parsed.success) {
    // Report an unknown field first: a mistyped name often causes a missing field.
    const faults = faultsOf(parsed.error.issues);
    const fault = faults.find(({ says }) => says === unknownSays) ?? faults[0];
    throw new Failure(`${path}: ${fault === undefined ? "is wrong" : faultText(fault, given)}`);
  }
  const folder = path === "-" ? process.cwd() : dirname(resolve(path));
  const { instances } = parsed.data;
  refuseTwice(path, instances);
  return instances.map((one) => ({
    name: one.name,
    description: one.description,
    labels: one.labels,
    destroyOverKmip: one.destroyOverKmip,
    destroyDelay: one.destroyDelay,
    roots: Object.fromEntries(
      Object.entries(one.rootOfTrust).map(([region, given]) => [
        region,
        withSecrets(given, folder),
      ]),
    ),
    certificates: one.certificates.map(({ file: pemFile, ...rest }) => ({
      ...rest,
      pem: readCertificate("", resolve(folder, pemFile)),
    })),
    users: one.users.map(({ passwordFile, ...rest }) => ({
      ...rest,
      password: () => firstLine("passwordFile", resolve(folder, passwordFile)),
    })),
  }));
}

const unknownSays = "is an unknown field";

/** `instance "acme": certificates[0].file is missing`; an instance without a name is `instances[0]`. */
function faultText({ path, says }: InputFault, given: unknown): string {
  const [list, at, ...inside] = path;
  const name =
    list === "instances" && typeof at === "number"
      ? (given as { instances: ({ name?: unknown } | null)[] }).instances[at]?.name
      : undefined;
  const named = typeof name === "string" && name !== "" && inside.length > 0;
  const [owner, place] = named ? [`instance "${name}": `, inside] : ["", path];
  if (says !== unknownSays) {
    return `${owner}${place.length === 0 ? "the file" : placeText(place)} ${says}`;
  }
  const around = placeText(place.slice(0, -1));
  const known = fields[String(path.findLast((step, nth) => nth < path.length - 1 && isName(step)))];
  const there = Object.keys(known ?? file.shape).join(", ");
  const where = around === "" ? owner : `${owner}${around}: `;
  return `${where}unknown field "${String(path.at(-1))}"; there are: ${there}`;
}

const isName = (step: PropertyKey): boolean => typeof step === "string";

/** `certificates[0].file`. */
function placeText(path: readonly PropertyKey[]): string {
  return path
    .map((step, nth) =>
      isName(step) ? `${nth === 0 ? "" : "."}${String(step)}` : `[${String(step)}]`,
    )
    .join("");
}

function refuseTwice(path: string, instances: readonly { readonly name: string }[]): void {
  const names = instances.map(({ name }) => name);
  const again = names.find((name, at) => names.indexOf(name) !== at);
  if (again !== undefined) throw new Failure(`${path}: instance ${again} is declared twice`);
}

function withSecrets(
  given: z.output<typeof root>,
  folder: string,
): Readonly<Record<string, unknown>> {
  const read = (name: string, value: unknown) => {
    if (!secretNames.includes(name)) return value;
    const place = value as z.output<typeof secret>;
    if (!("fromFile" in place)) return value;
    return { value: firstLine(`${name}.fromFile`, resolve(folder, place.fromFile)) };
  };
  return Object.fromEntries(
    Object.entries(given).map(([name, value]) => [name, read(name, value)]),
  );
}
