import { access, readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { type Ids, type Observer, type RootOfTrust, SealBroken } from "@holdfast/engine";
import {
  openRootOfTrust,
  Pkcs11Hosts,
  type RootContext,
  type RootSettings,
  SealingKey,
  type SecretSource,
} from "@holdfast/root-of-trust";
import {
  type KindSetting,
  type RootKind,
  rootKind,
  rootKinds,
  secretField,
} from "@holdfast/root-of-trust/kinds";
import { readCertificates, readText } from "../base/certificates.ts";
import { codeOf, OperatorError, reasonOf } from "../base/operator-error.ts";
import type { Environment, Machine } from "../base/system.ts";
import { kindValues } from "../config/config-root.ts";
import type { Config } from "../config/config-table.ts";
import type { RootReference } from "../records/root-reference.ts";

type Values = Readonly<Record<string, unknown>>;

/** The sources of secrets. */
export interface SecretPlaces {
  readonly environment: Environment;
  /** The region's sealing key, if it has one. */
  readonly sealingKey?: SealingKey | undefined;
}

/** The prefix of variables that an instance may name; the rest of the node's environment is not available to it. */
const secretVariablePrefix = "HOLDFAST_ROOT_";
const secretFileForm = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;

/**
 * The settings to open the root of trust that an instance names, or else the node's own. Hosts, modules and paths come
 * only from the configuration. An `OperatorError` says what the configuration lacks.
 */
export function rootSettingsOf(
  config: Config,
  places: SecretPlaces,
  named: RootReference = { type: config.rootOfTrust.type },
): RootSettings {
  const kind = rootKind(named.type);
  const at = pathOf(kind);
  const values = kindValues(config.rootOfTrust, kind);
  if (values === undefined) {
    throw new OperatorError(
      `${at}: this node has no such group; add it to the configuration of the region's nodes`,
    );
  }
  const [fault] = kind.faults?.(values) ?? [];
  if (fault !== undefined) throw new OperatorError(`${at}.${fault.setting}: ${fault.says}`);
  const { field, ownSecret } = kind.holder ?? {};
  const holder = field === undefined ? "" : ((named as Values)[field] ?? values[field]);
  if (holder === undefined) throw new OperatorError(`${at}.${field}: is missing`);
  const own = field === undefined || holder === values[field];
  const secret =
    stored(places, config, named) ??
    (own || ownSecret === false ? configuredSecret(kind, values, places.environment) : undefined);
  const settings = kind.settingsFrom({
    values: withTexts(kind, values),
    holder: String(holder),
    named: { ...(own && namedIn(kind, values)), ...namedIn(kind, named) },
    secret: secret ?? missingSecret(kind, String(holder)),
    environment: moduleEnvironment(config, places.environment),
  });
  return settings as RootSettings;
}

/** What holds the root keys of a reference: what it names, or else what the configuration has. */
export function holderOf({ rootOfTrust }: Config, named: Pick<RootReference, "type">): unknown {
  const kind = rootKind(named.type);
  const { field = "" } = kind.holder ?? {};
  return (named as Values)[field] ?? kindValues(rootOfTrust, kind)?.[field];
}

/** The fields of a reference that identify the root key. */
function namedIn({ reference, holder }: RootKind, from: Values): Record<string, string> {
  return Object.fromEntries(
    Object.entries(reference).flatMap(([name, { secret }]) => {
      const value = from[name];
      const isNamed = secret === undefined && name !== holder?.field && value !== undefined;
      return isNamed ? [[name, String(value)]] : [];
    }),
  );
}

function missingSecret(kind: RootKind, holder: string): undefined {
  const field = secretField(kind);
  if (field === undefined) return undefined;
  const { secret } = kind.reference[field] ?? {};
  throw new OperatorError(`${pathOf(kind)}: ${kind.holder?.word} ${holder} has no ${secret} here`);
}

/** The values, with certificate files replaced by their text. */
function withTexts(kind: RootKind, values: Values): Values {
  const texts = Object.entries(kind.settings).flatMap(([name, setting]) => {
    const path = values[name];
    const isText = "file" in setting && setting.file === "certificates";
    return isText && typeof path === "string"
      ? [[name, readText(path, `${pathOf(kind)}.${name}`)]]
      : [];
  });
  return { ...values, ...Object.fromEntries(texts) };
}

/** The path of a kind's settings in the configuration. */
function pathOf({ group }: RootKind): string {
  return group === undefined ? "rootOfTrust" : `rootOfTrust.${group.name}`;
}

/** The node's own root of trust, as it appears in the configuration. */
export function defaultRootPlace(config: Config): string {
  return placeOf(rootKind(config.rootOfTrust.type), config).join(": ");
}

/** The setting of a kind's root key, and the root key. */
export function placeOf(
  kind: RootKind,
  { rootOfTrust }: Config,
): readonly [setting: string, rootKey: string] {
  const [setting, rootKey] = kind.place(kindValues(rootOfTrust, kind) ?? {});
  return [`rootOfTrust.${setting}`, rootKey];
}

/** The dependencies of all roots of trust in a process, with the PKCS#11 hosts that they share. */
export function rootContext(
  { clock, ids }: Pick<Machine, "clock" | "ids">,
  observe: Observer = () => undefined,
): RootContext {
  return { clock, ids, observe, pkcs11: new Pkcs11Hosts() };
}

/** Opens the node's own root of trust; throws an `OperatorError` that says what is wrong with it. */
export async function openDefaultRoot(
  config: Config,
  environment: Environment,
  context: RootContext,
): Promise<RootOfTrust> {
  const settings = rootSettingsOf(config, { environment });
  return await openRootOfTrust(settings, context).catch((error: unknown) => {
    const [setting] = placeOf(rootKind(config.rootOfTrust.type), config);
    throw new OperatorError(`${setting}: ${reasonOf(error)}`);
  });
}

/** Reads every file and variable in the settings of roots of trust; throws an `OperatorError` if one is invalid. */
export async function checkRootFiles(config: Config, environment: Environment): Promise<void> {
  for (const kind of rootKinds) {
    const values = kindValues(config.rootOfTrust, kind);
    if (values === undefined) continue;
    await configuredSecret(kind, values, environment)?.();
    for (const [name, setting] of Object.entries<KindSetting>(kind.settings)) {
      const path = values[name];
      if (!("file" in setting) || typeof path !== "string") continue;
      const at = `${pathOf(kind)}.${name}`;
      if (setting.file === "certificates") readCertificates(path, at);
      if (setting.file === "library") {
        await access(path).catch((error: unknown) => {
          throw new OperatorError(`${at}: ${path}: ${faultOf(error)}`);
        });
      }
    }
  }
}

/** Opens the region's sealing key, if one is configured; throws an `OperatorError` if its file is invalid. */
export async function openSealingKey(
  { sealingKeyFile }: Config,
  ids: Ids,
): Promise<SealingKey | undefined> {
  if (sealingKeyFile === undefined) return undefined;
  return await SealingKey.open(sealingKeyFile, ids).catch((error: unknown) => {
    throw new OperatorError(`sealingKeyFile: ${reasonOf(error)}`);
  });
}

/** The additional data of a sealed secret, which binds it to the key manager's instance or token that it opens. */
function secretBinding(named: RootReference): Uint8Array {
  const { type } = named;
  const { holder } = rootKind(type);
  const opens = holder && (named as Values)[holder.field];
  return Buffer.from(["holdfast root secret", type, opens ?? ""].join("\0"));
}

/** Seals a secret for an instance's record. */
export async function sealSecret(
  sealingKey: SealingKey,
  named: RootReference,
  secret: string,
): Promise<{ readonly sealed: string }> {
  const bytes = Buffer.from(secret);
  const sealed = await sealingKey.seal(bytes, secretBinding(named));
  bytes.fill(0);
  return { sealed: Buffer.from(sealed).toString("base64") };
}

/** The environment for a vendor's module, which finds its own configuration there, without Holdfast's secrets. */
function moduleEnvironment(config: Config, environment: Environment): Environment {
  const secret = new Set(secretVariables(config));
  const entries = Object.entries(environment).filter(
    ([name]) => !name.startsWith("HOLDFAST_") && !secret.has(name),
  );
  return Object.fromEntries(entries);
}

/** Variables that the configuration names, in settings that end in `Env`. */
function secretVariables(settings: object): string[] {
  return Object.entries(settings).flatMap(([name, value]: [string, unknown]) => {
    if (typeof value === "string") return name.endsWith("Env") ? [value] : [];
    return typeof value === "object" && value !== null ? secretVariables(value) : [];
  });
}

/** A secret whose source is in the configuration. */
function configuredSecret(
  kind: RootKind,
  values: Values,
  environment: Environment,
): SecretSource | undefined {
  const name = Object.keys(kind.settings).find((each) => "secret" in (kind.settings[each] ?? {}));
  const [file, variable] = [values[`${name}File`], values[`${name}Env`]];
  const setting = `${pathOf(kind)}.${name}`;
  if (typeof file === "string") return () => firstLine(`${setting}File`, file);
  if (typeof variable !== "string") return undefined;
  return async () => variableOf(`${setting}Env`, variable, environment);
}

/** A secret whose source is in an instance's record. */
function stored(
  { environment, sealingKey }: SecretPlaces,
  config: Config,
  named: RootReference,
): SecretSource | undefined {
  const { secret } = named;
  const { secretsFolder } = config.rootOfTrust;
  if (secret === undefined) return undefined;
  if ("env" in secret) {
    if (!secret.env.startsWith(secretVariablePrefix)) {
      throw new OperatorError(`the secret's variable must begin with ${secretVariablePrefix}`);
    }
    refuseOwn(config, (text) => text === secret.env);
    return async () => variableOf("the secret", secret.env, environment);
  }
  if ("file" in secret) {
    if (secretsFolder === undefined || !secretFileForm.test(secret.file)) {
      throw new OperatorError(
        "rootOfTrust.secretsFolder: a secret's file is a plain name in this folder, which has to be set",
      );
    }
    const path = join(secretsFolder, secret.file);
    refuseOwn(config, (text) => resolve(text) === resolve(path));
    return () => firstLine("the secret", path);
  }
  if (sealingKey === undefined) {
    throw new OperatorError("sealingKeyFile: is missing: an instance's secret is sealed under it");
  }
  return async () => {
    const sealed = Buffer.from(secret.sealed, "base64");
    const { plaintext } = await sealingKey
      .open(sealed, secretBinding(named))
      .catch((error: unknown) => {
        throw error instanceof SealBroken
          ? new OperatorError("sealingKeyFile: the secret was sealed under another sealing key")
          : error;
      });
    const text = Buffer.from(plaintext).toString("utf8");
    plaintext.fill(0);
    return text;
  };
}

/** Refuses the node's own secrets, such as its root key's passphrase: never send them to an instance's key manager. */
function refuseOwn(config: Config, isNamed: (text: string) => boolean): void {
  const groups = new Set<string | undefined>(rootKinds.map((kind: RootKind) => kind.group?.name));
  const root = Object.entries(config.rootOfTrust).filter(([name]) => !groups.has(name));
  if (!textsIn({ ...config, rootOfTrust: root }).some(isNamed)) return;
  throw new OperatorError(
    "the secret's file or variable is one that the node's own configuration uses",
  );
}

function textsIn(settings: unknown): readonly string[] {
  if (typeof settings === "string") return [settings];
  if (typeof settings !== "object" || settings === null) return [];
  return Object.values(settings).flatMap(textsIn);
}

/** Reads a secret from the first line of a file. */
export async function firstLine(setting: string, path: string): Promise<string> {
  const text = await readFile(path, "utf8").catch((error: unknown) => {
    throw new OperatorError(`${setting}: ${path}: ${faultOf(error)}`);
  });
  const [first = ""] = text.split(/\r?\n/, 1);
  if (first === "") throw new OperatorError(`${setting}: ${path}: its first line is empty`);
  return first;
}

function faultOf(error: unknown): string {
  return codeOf(error) === "ENOENT" ? "no such file" : reasonOf(error);
}

function variableOf(setting: string, name: string, environment: Environment): string {
  const value = environment[name];
  if (value !== undefined && value !== "") return value;
  throw new OperatorError(`${setting}: the variable ${name} is not set`);
}
