import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createSealingKey, type RootSettings, SealingKey } from "@holdfast/root-of-trust";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { systemClock, systemIds } from "../base/system.ts";
import { parseConfig } from "../config/config.ts";
import type { Config } from "../config/config-table.ts";
import {
  checkRootFiles,
  defaultRootPlace,
  holderOf,
  rootSettingsOf,
  sealSecret,
} from "./root-settings.ts";

const instanceId = "0a1b2c3d-0000-4000-8000-000000000001";
const other = "0a1b2c3d-0000-4000-8000-000000000002";
const keyProtect = { region: "eu-de", instanceId, rootKey: "crk", keyRing: "ring" };
const hsm = { module: "/opt/vendor.so", token: "one", rootKey: "crk" };

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "root-settings-"));
});
afterEach(async () => {
  await rm(folder, { recursive: true });
});

function textWith(rootOfTrust: object, more: object = {}): string {
  return JSON.stringify({
    region: "a",
    node: "a1",
    tls: { certificate: "c", key: "k" },
    store: { address: "127.0.0.1:1" },
    rootOfTrust,
    ...more,
  });
}

function configOf(rootOfTrust: object): Config {
  return parseConfig(textWith(rootOfTrust), join(folder, "node.yaml"));
}

function faultsOf(rootOfTrust: object): string[] {
  try {
    configOf(rootOfTrust);
    return [];
  } catch (error) {
    return (error as Error).message.split("\n").map((line) => line.replace(/^[^ ]+ /, ""));
  }
}

/** The secret that these settings provide. */
async function secretOf(settings: RootSettings): Promise<string | undefined> {
  if ("pin" in settings) return settings.pin();
  return "apiKey" in settings ? settings.apiKey() : settings.passphrase?.();
}

describe("the configuration of roots of trust", () => {
  test.each<[string, object, string[]]>([
    [
      "local without its file",
      {},
      ["rootOfTrust.file is missing: the local root of trust is a file"],
    ],
    [
      "pkcs11 without its group",
      { type: "pkcs11" },
      ["rootOfTrust.pkcs11 is missing: rootOfTrust.type is pkcs11"],
    ],
    [
      "pkcs11 as default that names nothing",
      { type: "pkcs11", pkcs11: { module: "m.so" } },
      ["token", "rootKey", "pinFile"].map((name) => `rootOfTrust.pkcs11.${name} is missing`),
    ],
    [
      "Key Protect that is nowhere",
      { type: "key-protect", keyProtect: { instanceId, rootKey: "crk", apiKeyFile: "k" } },
      ["rootOfTrust.keyProtect.region is missing: set it, or host"],
    ],
    [
      "a secret in two places",
      { file: "f", pkcs11: { module: "m.so", pinFile: "p", pinEnv: "P" } },
      ["rootOfTrust.pkcs11.pinEnv and rootOfTrust.pkcs11.pinFile exclude each other"],
    ],
    [
      "a passphrase in two places",
      { file: "f", passphraseFile: "p", passphraseEnv: "P" },
      ["rootOfTrust.passphraseEnv and rootOfTrust.passphraseFile exclude each other"],
    ],
    [
      "a host with a path",
      { file: "f", hpcs: { host: "kms.example/evil" } },
      ["rootOfTrust.hpcs.host must be a host, or a host and a port"],
    ],
    [
      "a key ring of HPCS, which has none",
      { file: "f", hpcs: { region: "eu-de", keyRing: "ring" } },
      ["rootOfTrust.hpcs.keyRing is not a setting"],
    ],
  ])("with %s is refused", (_name, rootOfTrust, says) => {
    const faults = faultsOf(rootOfTrust);
    expect(faults).toHaveLength(says.length);
    for (const [at, text] of says.entries()) expect(faults[at]).toContain(text);
  });

  test("needs, in groups other than the default, only where to reach the key manager", () => {
    const config = configOf({
      file: "root.key",
      keyProtect: { region: "eu-de" },
      hpcs: { host: "{instanceId}.hpcs.example:8443" },
      pkcs11: { module: "m.so" },
    });
    expect(config.rootOfTrust).toMatchObject({ type: "local", file: join(folder, "root.key") });
    expect(config.rootOfTrust.pkcs11?.module).toBe(join(folder, "m.so"));
    expect(defaultRootPlace(config)).toBe(`rootOfTrust.file: ${join(folder, "root.key")}`);
  });
});

describe("the files and variables in a configuration", () => {
  test.each<[string, object, string]>([
    ["a PIN file", { pkcs11: { ...hsm, pinFile: "pin" } }, "rootOfTrust.pkcs11.pinFile: "],
    ["a variable", { pkcs11: { ...hsm, pinEnv: "PIN" } }, "rootOfTrust.pkcs11.pinEnv: "],
    ["a module", { pkcs11: hsm }, "rootOfTrust.pkcs11.module: /opt/vendor.so: no such file"],
    ["an authority", { hpcs: { region: "eu-de", ca: "ca.pem" } }, "rootOfTrust.hpcs.ca: "],
    [
      "an API key's file",
      { keyProtect: { ...keyProtect, apiKeyFile: "key" } },
      "rootOfTrust.keyProtect.apiKeyFile: ",
    ],
  ])("are checked: %s that does not exist is refused", async (_name, rootOfTrust, says) => {
    const config = configOf({ file: "f", ...rootOfTrust });
    await expect(checkRootFiles(config, {})).rejects.toThrow(says);
  });
});

describe("the root of trust of an instance", () => {
  const environment = { HOME: "/root", HOLDFAST_ROOT_PIN: "1234", API_KEY: "own-key", PIN: "own" };

  test("is the configuration's if it names none, and its secret is read whenever it is needed", async () => {
    await writeFile(join(folder, "pass"), "first\nsecond\n");
    const config = configOf({ file: "root.key", passphraseFile: "pass" });
    const settings = rootSettingsOf(config, { environment });
    expect(settings).toMatchObject({ type: "local", file: join(folder, "root.key") });
    expect(await secretOf(settings)).toBe("first");
    await writeFile(join(folder, "pass"), "replaced");
    expect(await secretOf(settings)).toBe("replaced");
    await rm(join(folder, "pass"));
    await expect(secretOf(settings)).rejects.toThrow(
      `rootOfTrust.passphraseFile: ${join(folder, "pass")}: no such file`,
    );
  });

  test("in Key Protect is reached over the private network, and never on another host", () => {
    const config = configOf({ file: "f", keyProtect: { ...keyProtect, apiKeyEnv: "API_KEY" } });
    const own = rootSettingsOf(config, { environment }, { type: "key-protect" });
    expect(own).toMatchObject({
      type: "key-protect",
      url: "https://private.eu-de.kms.cloud.ibm.com",
      iamUrl: "https://private.iam.cloud.ibm.com",
      instanceId,
      rootKey: "crk",
      keyRing: "ring",
    });
    const named = { type: "key-protect", instanceId: other, rootKey: "theirs" } as const;
    const theirs = rootSettingsOf(config, { environment }, named);
    expect(theirs).toMatchObject({
      url: "https://private.eu-de.kms.cloud.ibm.com",
      instanceId: other,
      rootKey: "theirs",
    });
    // The configured key ring belongs to the configured instance only.
    expect("keyRing" in theirs).toBe(false);
    const evil = { type: "key-protect", instanceId: "x.evil.example/", rootKey: "k" } as const;
    expect(() => rootSettingsOf(config, { environment }, evil)).toThrow("instanceId");
  });

  test("in HPCS is reached on the instance's own host", () => {
    const config = configOf({ file: "f", hpcs: { region: "us-east", apiKeyEnv: "API_KEY" } });
    const named = { type: "hpcs", instanceId, rootKey: "crk" } as const;
    expect(rootSettingsOf(config, { environment }, named)).toMatchObject({
      url: `https://${instanceId}.api.private.us-east.hs-crypto.appdomain.cloud`,
    });
  });

  test("in a PKCS#11 token uses the configured PIN for the configured token only", async () => {
    const config = configOf({ file: "f", pkcs11: { ...hsm, pinEnv: "PIN" } });
    const own = rootSettingsOf(config, { environment }, { type: "pkcs11", rootKey: "another" });
    expect(own).toMatchObject({ module: "/opt/vendor.so", token: "one", rootKey: "another" });
    expect(await secretOf(own)).toBe("own");
    const two = { type: "pkcs11", token: "two", rootKey: "crk" } as const;
    expect([{ type: "pkcs11" } as const, two].map((one) => holderOf(config, one))).toEqual([
      "one",
      "two",
    ]);
    expect(() => rootSettingsOf(config, { environment }, two)).toThrow("token two has no PIN here");
    const given = { ...two, secret: { env: "HOLDFAST_ROOT_PIN" } };
    expect(await secretOf(rootSettingsOf(config, { environment }, given))).toBe("1234");
  });

  test("in a PKCS#11 token passes the environment to the vendor's module, but no secret of Holdfast", () => {
    const config = configOf({
      file: "f",
      keyProtect: { ...keyProtect, apiKeyEnv: "API_KEY" },
      pkcs11: { ...hsm, pinEnv: "PIN" },
    });
    const settings = rootSettingsOf(config, { environment }, { type: "pkcs11" });
    expect(settings.type === "pkcs11" && settings.environment).toEqual({ HOME: "/root" });
  });

  test("is refused if this node has no group for its kind, and the error names the group", () => {
    const config = configOf({ file: "f" });
    for (const [type, group] of [
      ["key-protect", "keyProtect"],
      ["hpcs", "hpcs"],
      ["pkcs11", "pkcs11"],
    ] as const) {
      expect(() => rootSettingsOf(config, { environment }, { type, instanceId })).toThrow(
        `rootOfTrust.${group}: this node has no such group`,
      );
    }
  });
});

describe("a secret that an instance names", () => {
  const environment = { HOLDFAST_ROOT_PIN: "1234", PATH: "/bin" };
  const named = { type: "pkcs11", token: "one", rootKey: "crk" } as const;

  test("cannot be one of the node's other environment variables", () => {
    const config = configOf({ file: "f", pkcs11: hsm });
    const secret = { env: "PATH" };
    expect(() => rootSettingsOf(config, { environment }, { ...named, secret })).toThrow(
      "must begin with HOLDFAST_ROOT_",
    );
  });

  test("in a file must be in the secrets folder", async () => {
    const config = configOf({ file: "f", secretsFolder: "secrets", pkcs11: hsm });
    for (const file of ["../root.key", "/etc/passwd", ".hidden", "a/b", ""]) {
      const secret = { file };
      expect(() => rootSettingsOf(config, { environment }, { ...named, secret })).toThrow(
        "rootOfTrust.secretsFolder",
      );
    }
    const settings = rootSettingsOf(config, { environment }, { ...named, secret: { file: "pin" } });
    await expect(secretOf(settings)).rejects.toThrow(join(folder, "secrets", "pin"));
    const without = configOf({ file: "f", pkcs11: hsm });
    expect(() =>
      rootSettingsOf(without, { environment }, { ...named, secret: { file: "pin" } }),
    ).toThrow("rootOfTrust.secretsFolder");
  });

  test("cannot be one that the node uses for itself", () => {
    const own = { file: "f", passphraseFile: "secrets/root.pass", secretsFolder: "secrets" };
    const wrong = (config: Config, secret: { file: string } | { env: string }) => () =>
      rootSettingsOf(config, { environment }, { ...named, secret });
    const group = { ...hsm, pinFile: "secrets/pin" };
    const config = configOf({ ...own, pkcs11: group });
    expect(wrong(config, { file: "root.pass" })).toThrow("the node's own configuration");
    expect(wrong(config, { file: "pin" })).not.toThrow();
    const { passphraseFile: _, ...rest } = own;
    const byName = configOf({ ...rest, passphraseEnv: "HOLDFAST_ROOT_PASS", pkcs11: group });
    expect(wrong(byName, { env: "HOLDFAST_ROOT_PASS" })).toThrow("the node's own configuration");
  });

  test("opens only for the token that it was sealed for", async () => {
    const file = join(folder, "sealing.key");
    await createSealingKey(file, { clock: systemClock, ids: systemIds });
    await using sealingKey = await SealingKey.open(file, systemIds);
    const config = configOf({ file: "f", pkcs11: { ...hsm, pinEnv: "P" } });
    const secret = await sealSecret(sealingKey, named, "s3cret-pin");
    expect(Buffer.from(secret.sealed, "base64").toString("latin1")).not.toContain("s3cret");
    const places = { environment, sealingKey };
    expect(await secretOf(rootSettingsOf(config, places, { ...named, secret }))).toBe("s3cret-pin");
    const moved = rootSettingsOf(config, places, { ...named, token: "two", secret });
    await expect(secretOf(moved)).rejects.toThrow();
    expect(() => rootSettingsOf(config, { environment }, { ...named, secret })).toThrow(
      "sealingKeyFile: is missing",
    );
  });
});
