import { RootOfTrustError } from "@holdfast/engine";
import { createSealingKey, rotateSealingKey, SealingKey } from "@holdfast/root-of-trust";
import { type KindName, rootKind } from "@holdfast/root-of-trust/kinds";
import { OperatorError, reasonOf } from "../base/operator-error.ts";
import type { Machine } from "../base/system.ts";
import { loadConfig } from "../config/config.ts";
import { firstLine, placeOf, rootContext, rootSettingsOf } from "../roots/root-settings.ts";
import { withEvidenceIfReached } from "../store/operator-evidence.ts";

const giveAll = "give this file to every node of the region now, and keep a copy";

/** Creates the first version of the configured root key of a kind; returns what to do next. */
export async function initRoot(
  configFile: string,
  machine: Machine,
  type: KindName = "local",
): Promise<string> {
  const config = loadConfig(configFile);
  const kind = rootKind(type);
  const settings = rootSettingsOf(config, machine, { type });
  if (kind.init === undefined)
    throw new OperatorError(`${type}: holdfast makes no root keys of this kind`);
  return await kind.init.run(settings, rootContext(machine)).catch(blame(placeOf(kind, config)[0]));
}

/** Options of `holdfast root rotate`. */
interface RotateOptions {
  readonly newPassphraseFile?: string;
  readonly forFips?: true;
}

/** Adds a version to the configured root key, if its kind supports this; returns what to do next. */
export async function rotateRoot(
  configFile: string,
  machine: Machine,
  { newPassphraseFile, forFips }: RotateOptions = {},
): Promise<string> {
  const config = loadConfig(configFile);
  const kind = rootKind(config.rootOfTrust.type);
  const option = newPassphraseFile === undefined ? "--for-fips" : "--new-passphrase-file";
  if ((newPassphraseFile !== undefined || forFips === true) && kind.hasPassphrase !== true) {
    throw new OperatorError(`${option}: only the local root key file has a passphrase`);
  }
  const [setting, rootKey] = placeOf(kind, config);
  if (kind.rotate === undefined) {
    throw new OperatorError(`${setting}: ${rootKey}: ${kind.rotateElsewhere}`);
  }
  const settings = rootSettingsOf(config, machine);
  const passphrase =
    newPassphraseFile === undefined
      ? undefined
      : () => firstLine("--new-passphrase-file", newPassphraseFile);
  // Read the passphrase first: if this fails, the error is in the command line, not in the root of trust.
  await passphrase?.();
  const change = { newPassphrase: passphrase, approved: forFips };
  return await kind.rotate(settings, rootContext(machine), change).catch(blame(setting));
}

/** Creates the configured sealing key file. */
export async function initSealingKey(configFile: string, machine: Machine): Promise<string> {
  const file = sealingKeyFile(configFile);
  await createSealingKey(file, machine).catch(blame("sealingKeyFile"));
  return `${file}: made, with version 1; ${giveAll}`;
}

/** Adds a version to the configured sealing key, with evidence in the region's store if that can be reached. */
export async function rotateSealing(configFile: string, machine: Machine): Promise<string> {
  const file = sealingKeyFile(configFile);
  const version = await withEvidenceIfReached(
    configFile,
    machine,
    { action: "sealing-key.rotate", target: file },
    () => rotateSealingKey(file, machine).catch(blame("sealingKeyFile")),
    (made) => ({ detail: { version: made } }),
  );
  return `${file}: version ${version} seals from now on; ${giveAll}`;
}

/** Checks the configured sealing key file: its mode, its content, and that it opens what it seals. */
export async function checkSealingKey(configFile: string, { ids }: Machine): Promise<string> {
  const file = sealingKeyFile(configFile);
  await using key = await SealingKey.open(file, ids).catch(blame("sealingKeyFile"));
  const [sample, purpose] = [ids.randomBytes(32), Buffer.from("check")];
  const { plaintext } = await key.open(await key.seal(sample, purpose), purpose);
  if (!Buffer.from(plaintext).equals(sample)) {
    throw new OperatorError(`sealingKeyFile: ${file} does not open what it seals`);
  }
  return `${file}: good (version ${await key.version()} seals)`;
}

function sealingKeyFile(configFile: string): string {
  const { sealingKeyFile: file } = loadConfig(configFile);
  if (file === undefined)
    throw new OperatorError("sealingKeyFile: is missing in the configuration");
  return file;
}

function blame(setting: string): (error: unknown) => never {
  return (error) => {
    const again = error instanceof RootOfTrustError && error.failure === "unavailable";
    throw new OperatorError(`${setting}: ${reasonOf(error)}`, again ? "again" : "wrong");
  };
}
