import { RootOfTrustError } from "@holdfast/engine";
import {
  createLocalRoot,
  createPkcs11Root,
  createSealingKey,
  rotateLocalRoot,
  rotatePkcs11Root,
  rotateSealingKey,
  SealingKey,
} from "@holdfast/root-of-trust";
import { reasonOf, StartError } from "../base/start-error.ts";
import { systemClock, systemIds } from "../base/system.ts";
import { loadConfig } from "../config/config.ts";
import type { Config } from "../config/config-table.ts";
import { withEvidenceIfReached } from "../store/operator-evidence.ts";
import { defaultRootPlace, firstLine, rootContext, rootSettingsOf } from "./root-settings.ts";

type Environment = Readonly<Record<string, string | undefined>>;

const sources = { clock: systemClock, ids: systemIds };
const giveAll = "give this file to every node of the region now, and keep a copy";

/** Makes the configured local root key file; tells what to do with it. */
export async function initRoot(configFile: string, environment: Environment): Promise<string> {
  const config = loadConfig(configFile);
  const { file, passphrase } = localOf(config, environment);
  const of = { path: file, ...(passphrase && { passphrase }) };
  await createLocalRoot(of, sources).catch(blame("rootOfTrust.file"));
  return `${file}: made, with version 1; ${giveAll}`;
}

/** Adds a version to the configured root key, where that is done here; tells what to do then. */
export async function rotateRoot(
  configFile: string,
  environment: Environment,
  newPassphraseFile?: string,
): Promise<string> {
  const config = loadConfig(configFile);
  const { type } = config.rootOfTrust;
  if (newPassphraseFile !== undefined && type !== "local") {
    throw new StartError("--new-passphrase-file: only the local root key file has a passphrase");
  }
  if (type === "pkcs11") return await changeToken(config, environment, false);
  if (type !== "local") {
    throw new StartError(
      `${defaultRootPlace(config)}: rotate it in IBM Cloud (ibmcloud kp key rotate); nodes notice when they validate it again`,
    );
  }
  const { file, passphrase } = localOf(config, environment);
  const of = {
    path: file,
    ...(passphrase && { passphrase }),
    ...(newPassphraseFile !== undefined && {
      newPassphrase: () => firstLine("--new-passphrase-file", newPassphraseFile),
    }),
  };
  const version = await rotateLocalRoot(of, sources).catch(blame("rootOfTrust.file"));
  return `${file}: version ${version} wraps from now on; ${giveAll}`;
}

/** Makes the first version of the configured root key in its token. */
export async function initPkcs11(configFile: string, environment: Environment): Promise<string> {
  return await changeToken(loadConfig(configFile), environment, true);
}

/** Makes the configured sealing key file. */
export async function initSealingKey(configFile: string): Promise<string> {
  const file = sealingKeyFile(configFile);
  await createSealingKey(file, sources).catch(blame("sealingKeyFile"));
  return `${file}: made, with version 1; ${giveAll}`;
}

/** Adds a version to the configured sealing key, with evidence in the region's store where that can be reached. */
export async function rotateSealing(configFile: string, environment: Environment): Promise<string> {
  const file = sealingKeyFile(configFile);
  const version = await withEvidenceIfReached(
    { configFile, environment },
    { action: "sealing-key.rotate", target: file },
    () => rotateSealingKey(file, sources).catch(blame("sealingKeyFile")),
    (made) => ({ detail: { version: made } }),
  );
  return `${file}: version ${version} seals from now on; ${giveAll}`;
}

/** Tells whether the configured sealing key file is sound: its mode, its content, and that it opens what it seals. */
export async function checkSealingKey(configFile: string): Promise<string> {
  const file = sealingKeyFile(configFile);
  await using key = await SealingKey.open(file, systemIds).catch(blame("sealingKeyFile"));
  const [sample, purpose] = [systemIds.randomBytes(32), Buffer.from("check")];
  const { plaintext } = await key.open(await key.seal(sample, purpose), purpose);
  if (!Buffer.from(plaintext).equals(sample)) {
    throw new StartError(`sealingKeyFile: ${file} does not open what it seals`);
  }
  return `${file}: good (version ${await key.version()} seals)`;
}

async function changeToken(
  config: Config,
  environment: Environment,
  first: boolean,
): Promise<string> {
  const settings = rootSettingsOf(config, { environment }, { type: "pkcs11" });
  if (settings.type !== "pkcs11") throw new StartError("rootOfTrust.pkcs11: is missing");
  const change = first ? createPkcs11Root : rotatePkcs11Root;
  const version = await change(settings, rootContext()).catch(blame("rootOfTrust.pkcs11"));
  const { rootKey, token } = settings;
  const copies = "bring it to the region's other tokens where they are copies";
  return `root key ${rootKey} in token ${token}: version ${version} wraps from now on; ${copies}`;
}

function localOf(config: Config, environment: Environment) {
  const settings = rootSettingsOf(config, { environment }, { type: "local" });
  if (settings.type !== "local") throw new StartError("rootOfTrust.file: is missing");
  return settings;
}

function sealingKeyFile(configFile: string): string {
  const { sealingKeyFile: file } = loadConfig(configFile);
  if (file === undefined) throw new StartError("sealingKeyFile: is missing in the configuration");
  return file;
}

function blame(setting: string): (error: unknown) => never {
  return (error) => {
    const again = error instanceof RootOfTrustError && error.failure === "unavailable";
    throw new StartError(`${setting}: ${reasonOf(error)}`, again ? "again" : "wrong");
  };
}
