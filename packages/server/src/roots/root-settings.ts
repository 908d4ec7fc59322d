import { access, readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { type Observer, type RootOfTrust, SealBroken } from "@holdfast/engine";
import {
  type HpcsSettings,
  type KeyProtectSettings,
  keyManagerUrls,
  type LocalSettings,
  openRootOfTrust,
  Pkcs11Hosts,
  type Pkcs11Settings,
  type RootContext,
  type RootSettings,
  SealingKey,
  type SecretSource,
} from "@holdfast/root-of-trust";
import { readCertificates, readText } from "../base/certificates.ts";
import { codeOf, reasonOf, StartError } from "../base/start-error.ts";
import { systemClock, systemIds } from "../base/system.ts";
import type { Config } from "../config/config-table.ts";

type Environment = Readonly<Record<string, string | undefined>>;
type RootConfig = Config["rootOfTrust"];

/** A secret that an instance's record names for one region. */
type StoredSecret =
  | { readonly sealed: string }
  | { readonly env: string }
  | { readonly file: string };

/** What an instance's record says of its root of trust; the rest is this node's configuration. */
export interface NamedRoot {
  readonly type: RootSettings["type"];
  readonly instanceId?: string | undefined;
  readonly keyRing?: string | undefined;
  readonly rootKey?: string | undefined;
  readonly token?: string | undefined;
  readonly secret?: StoredSecret | undefined;
}

/** Where secrets come from. */
export interface SecretPlaces {
  readonly environment: Environment;
  /** The region's sealing key, where it has one. */
  readonly sealingKey?: SealingKey | undefined;
}

/** Variables that an instance may name begin so: what else a node's environment holds is none of its business. */
const secretVariablePrefix = "HOLDFAST_ROOT_";
const secretFileForm = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;

/**
 * How to open the root of trust that an instance names, or without one the node's own. Hosts, modules and paths come from
 * the configuration alone. A `StartError` says what the configuration lacks for it.
 */
export function rootSettingsOf(
  config: Config,
  places: SecretPlaces,
  named: NamedRoot = { type: config.rootOfTrust.type },
): RootSettings {
  const root = config.rootOfTrust;
  switch (named.type) {
    case "local":
      return localSettings(root, places.environment);
    case "key-protect":
    case "hpcs":
      return keyManagerSettings(config, places, { ...named, type: named.type });
    case "pkcs11":
      return pkcs11Settings(config, places, named);
  }
}

/** The node's own root of trust, as an operator finds it in the configuration. */
export function defaultRootPlace({ rootOfTrust }: Config): string {
  const { type, file, keyProtect, hpcs, pkcs11 } = rootOfTrust;
  if (type === "local") return `rootOfTrust.file: ${file}`;
  if (type === "pkcs11") {
    return `rootOfTrust.pkcs11: root key ${pkcs11?.rootKey} of token ${pkcs11?.token}`;
  }
  const [name, group] = type === "hpcs" ? ["hpcs", hpcs] : ["keyProtect", keyProtect];
  return `rootOfTrust.${name}: root key ${group?.rootKey} of instance ${group?.instanceId}`;
}

/** What roots of trust stand on: one for a whole process, whose PKCS#11 tokens they share. */
export function rootContext(observe: Observer = () => undefined): RootContext {
  return { clock: systemClock, ids: systemIds, observe, pkcs11: new Pkcs11Hosts() };
}

/** Opens the node's own root of trust; what is wrong with it is a `StartError`. */
export async function openDefaultRoot(
  config: Config,
  environment: Environment,
  context: RootContext = rootContext(),
): Promise<RootOfTrust> {
  const settings = rootSettingsOf(config, { environment });
  return await openRootOfTrust(settings, context).catch((error: unknown) => {
    const [setting = "rootOfTrust"] = defaultRootPlace(config).split(": ", 1);
    throw new StartError(`${setting}: ${reasonOf(error)}`);
  });
}

/** Reads every file and variable that roots of trust are configured with; what is wrong with one is a `StartError`. */
export async function checkRootFiles(config: Config, environment: Environment): Promise<void> {
  const { passphraseFile, passphraseEnv, keyProtect, hpcs, pkcs11 } = config.rootOfTrust;
  const at = "rootOfTrust";
  const secrets = [
    configured(`${at}.passphrase`, passphraseFile, passphraseEnv, environment),
    ...Object.entries({ keyProtect, hpcs }).map(([name, group]) =>
      configured(`${at}.${name}.apiKey`, group?.apiKeyFile, group?.apiKeyEnv, environment),
    ),
    configured(`${at}.pkcs11.pin`, pkcs11?.pinFile, pkcs11?.pinEnv, environment),
  ];
  for (const secret of secrets) await secret?.();
  for (const [name, group] of Object.entries({ keyProtect, hpcs })) {
    if (group?.ca !== undefined) readCertificates(group.ca, `${at}.${name}.ca`);
  }
  if (pkcs11 === undefined) return;
  await access(pkcs11.module).catch((error: unknown) => {
    throw new StartError(`${at}.pkcs11.module: ${pkcs11.module}: ${faultOf(error)}`);
  });
}

/** Opens the region's sealing key, where the configuration has one; what is wrong with its file is a `StartError`. */
export async function openSealingKey({ sealingKeyFile }: Config): Promise<SealingKey | undefined> {
  if (sealingKeyFile === undefined) return undefined;
  return await SealingKey.open(sealingKeyFile, systemIds).catch((error: unknown) => {
    throw new StartError(`sealingKeyFile: ${reasonOf(error)}`);
  });
}

/** What a sealed secret is bound to: the key manager's instance or the token that it opens, and nothing else. */
function secretBinding({ type, instanceId, token }: NamedRoot): Uint8Array {
  const parts = ["holdfast root secret", type, instanceId ?? token ?? ""];
  return Buffer.from(parts.join("\0"));
}

/** Seals a secret for an instance's record. */
export async function sealSecret(
  sealingKey: SealingKey,
  named: NamedRoot,
  secret: string,
): Promise<{ readonly sealed: string }> {
  const bytes = Buffer.from(secret);
  const sealed = await sealingKey.seal(bytes, secretBinding(named));
  bytes.fill(0);
  return { sealed: Buffer.from(sealed).toString("base64") };
}

function localSettings(root: RootConfig, environment: Environment): LocalSettings {
  const { file, passphraseFile, passphraseEnv } = root;
  if (file === undefined) throw new StartError("rootOfTrust.file: is missing in the configuration");
  const passphrase = configured(
    "rootOfTrust.passphrase",
    passphraseFile,
    passphraseEnv,
    environment,
  );
  return { type: "local", file, ...(passphrase && { passphrase }) };
}

function keyManagerSettings(
  config: Config,
  places: SecretPlaces,
  named: NamedRoot & { readonly type: "key-protect" | "hpcs" },
): KeyProtectSettings | HpcsSettings {
  const { type } = named;
  const root = config.rootOfTrust;
  const name = type === "hpcs" ? "hpcs" : "keyProtect";
  const group = root[name];
  if (group === undefined) {
    throw new StartError(
      `rootOfTrust.${name}: this node has no such group; add it to the configuration of the region's nodes`,
    );
  }
  const { region, endpoint, host, iamHost, role, deadlineMs, inFlightMax } = group;
  const instanceId = named.instanceId ?? group.instanceId;
  if (instanceId === undefined) throw new StartError(`rootOfTrust.${name}.instanceId: is missing`);
  const own = instanceId === group.instanceId;
  const rootKey = named.rootKey ?? (own ? group.rootKey : undefined);
  const keyRing = named.keyRing ?? (own && "keyRing" in group ? group.keyRing : undefined);
  const apiKey =
    stored(places, config, named) ??
    configured(`rootOfTrust.${name}.apiKey`, group.apiKeyFile, group.apiKeyEnv, places.environment);
  if (apiKey === undefined) throw new StartError(`rootOfTrust.${name}.apiKeyFile: is missing`);
  const common = {
    ...keyManagerUrls({ type, instanceId, region, endpoint, host, iamHost }),
    instanceId,
    apiKey,
    role,
    deadlineMs,
    inFlightMax,
    ...(rootKey !== undefined && { rootKey }),
    ...(group.ca !== undefined && { ca: readText(group.ca, `rootOfTrust.${name}.ca`) }),
  };
  if (type === "hpcs") return { ...common, type };
  return { ...common, type, ...(keyRing !== undefined && { keyRing }) };
}

function pkcs11Settings(config: Config, places: SecretPlaces, named: NamedRoot): Pkcs11Settings {
  const root = config.rootOfTrust;
  const group = root.pkcs11;
  if (group === undefined) {
    throw new StartError(
      "rootOfTrust.pkcs11: this node has no such group; add it to the configuration of the region's nodes",
    );
  }
  const { module, deadlineMs, inFlightMax } = group;
  const token = named.token ?? group.token;
  if (token === undefined) throw new StartError("rootOfTrust.pkcs11.token: is missing");
  const own = token === group.token;
  const rootKey = named.rootKey ?? (own ? group.rootKey : undefined);
  const ownPin = configured(
    "rootOfTrust.pkcs11.pin",
    group.pinFile,
    group.pinEnv,
    places.environment,
  );
  // One token's PIN, tried at another, would cost that one a try.
  const pin = stored(places, config, named) ?? (own ? ownPin : undefined);
  if (pin === undefined) throw new StartError(`rootOfTrust.pkcs11: token ${token} has no PIN here`);
  return {
    type: "pkcs11",
    module,
    token,
    pin,
    environment: moduleEnvironment(config, places.environment),
    deadlineMs,
    inFlightMax,
    ...(rootKey !== undefined && { rootKey }),
  };
}

/** A vendor's module sees the environment, where its own configuration is, but no secret of Holdfast's. */
function moduleEnvironment(config: Config, environment: Environment): Environment {
  const secret = new Set(secretVariables(config));
  const entries = Object.entries(environment).filter(
    ([name]) => !name.startsWith("HOLDFAST_") && !secret.has(name),
  );
  return Object.fromEntries(entries);
}

/** Variables that the configuration names: settings that end in `Env`. */
function secretVariables(settings: object): string[] {
  return Object.entries(settings).flatMap(([name, value]: [string, unknown]) => {
    if (typeof value === "string") return name.endsWith("Env") ? [value] : [];
    return typeof value === "object" && value !== null ? secretVariables(value) : [];
  });
}

/** A secret that the configuration places. */
function configured(
  setting: string,
  file: string | undefined,
  variable: string | undefined,
  environment: Environment,
): SecretSource | undefined {
  if (file !== undefined) return () => firstLine(`${setting}File`, file);
  if (variable !== undefined) return async () => variableOf(`${setting}Env`, variable, environment);
  return undefined;
}

/** A secret that an instance's record places. */
function stored(
  { environment, sealingKey }: SecretPlaces,
  config: Config,
  named: NamedRoot,
): SecretSource | undefined {
  const { secret } = named;
  const { secretsFolder } = config.rootOfTrust;
  if (secret === undefined) return undefined;
  if ("env" in secret) {
    if (!secret.env.startsWith(secretVariablePrefix)) {
      throw new StartError(`the secret's variable must begin with ${secretVariablePrefix}`);
    }
    refuseOwn(config, (text) => text === secret.env);
    return async () => variableOf("the secret", secret.env, environment);
  }
  if ("file" in secret) {
    if (secretsFolder === undefined || !secretFileForm.test(secret.file)) {
      throw new StartError(
        "rootOfTrust.secretsFolder: a secret's file is a plain name in this folder, which has to be set",
      );
    }
    const path = join(secretsFolder, secret.file);
    refuseOwn(config, (text) => resolve(text) === resolve(path));
    return () => firstLine("the secret", path);
  }
  if (sealingKey === undefined) {
    throw new StartError("sealingKeyFile: is missing: an instance's secret is sealed under it");
  }
  return async () => {
    const sealed = Buffer.from(secret.sealed, "base64");
    const { plaintext } = await sealingKey
      .open(sealed, secretBinding(named))
      .catch((error: unknown) => {
        throw error instanceof SealBroken
          ? new StartError("sealingKeyFile: the secret was sealed under another one")
          : error;
      });
    const text = Buffer.from(plaintext).toString("utf8");
    plaintext.fill(0);
    return text;
  };
}

/** What the node keeps for itself, such as its root key file's passphrase, is sent to no key manager for an instance. */
function refuseOwn(config: Config, isNamed: (text: string) => boolean): void {
  const { keyProtect: _k, hpcs: _h, pkcs11: _p, ...root } = config.rootOfTrust;
  if (!textsIn({ ...config, rootOfTrust: root }).some(isNamed)) return;
  throw new StartError("the secret's place is one that the node's own configuration names");
}

function textsIn(settings: unknown): readonly string[] {
  if (typeof settings === "string") return [settings];
  if (typeof settings !== "object" || settings === null) return [];
  return Object.values(settings).flatMap(textsIn);
}

/** A secret on a file's first line. */
export async function firstLine(setting: string, path: string): Promise<string> {
  const text = await readFile(path, "utf8").catch((error: unknown) => {
    throw new StartError(`${setting}: ${path}: ${faultOf(error)}`);
  });
  const [first = ""] = text.split(/\r?\n/, 1);
  if (first === "") throw new StartError(`${setting}: ${path}: its first line is empty`);
  return first;
}

function faultOf(error: unknown): string {
  return codeOf(error) === "ENOENT" ? "no such file" : reasonOf(error);
}

function variableOf(setting: string, name: string, environment: Environment): string {
  const value = environment[name];
  if (value !== undefined && value !== "") return value;
  throw new StartError(`${setting}: the variable ${name} is not set`);
}
