import { chmod, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openLocalRoot } from "@holdfast/root-of-trust";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { OperatorError } from "../base/operator-error.ts";
import { machine, systemIds } from "../base/system.ts";
import {
  checkSealingKey,
  initRoot,
  initSealingKey,
  rotateRoot,
  rotateSealing,
} from "./root-commands.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "root-commands-"));
});
afterEach(async () => {
  await rm(folder, { recursive: true });
});

async function configure(rootOfTrust: object, more: object = {}): Promise<string> {
  const file = join(folder, "node.yaml");
  const config = {
    region: "a",
    node: "a1",
    tls: { certificate: "c", key: "k" },
    store: { address: "127.0.0.1:1" },
    rootOfTrust,
    ...more,
  };
  await writeFile(file, JSON.stringify(config));
  return file;
}

describe("the root key commands", () => {
  test("create the file once, and rotate it under another passphrase", async () => {
    const config = await configure({ file: "root.key", passphraseEnv: "PASS" });
    const path = join(folder, "root.key");
    const environment = { PASS: "first" };
    expect(await initRoot(config, { ...machine, environment })).toContain(
      `${path}: made, with version 1`,
    );
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    await expect(initRoot(config, { ...machine, environment })).rejects.toThrow(
      `rootOfTrust.file: root key file ${path} exists already; it is kept`,
    );
    await expect(rotateRoot(config, { ...machine, environment: {} })).rejects.toThrow(
      "the variable PASS is not set",
    );
    await expect(
      rotateRoot(
        config,
        { ...machine, environment },
        { newPassphraseFile: join(folder, "absent") },
      ),
    ).rejects.toMatchObject({
      message: expect.stringMatching(/^--new-passphrase-file: .*: no such file$/),
      exit: "wrong",
    });
    await writeFile(join(folder, "new"), "second\n");
    const said = await rotateRoot(
      config,
      { ...machine, environment },
      { newPassphraseFile: join(folder, "new") },
    );
    expect(said).toContain(`${path}: version 2 wraps from now on`);
    const root = await openLocalRoot({ path, passphrase: async () => "second" }, systemIds);
    expect(await root.describe()).toMatchObject({ currentVersion: "2" });
    // Key derivation from a passphrase is expensive, and slower on a busy machine.
  });

  test("refer to the key manager if the root key is in one", async () => {
    const keyProtect = {
      region: "eu-de",
      instanceId: "0a1b2c3d-0000-4000-8000-000000000001",
      rootKey: "crk",
      apiKeyFile: "key",
    };
    const config = await configure({ type: "key-protect", keyProtect });
    await expect(rotateRoot(config, { ...machine, environment: {} })).rejects.toThrow(
      /^rootOfTrust\.keyProtect: root key crk of instance .*: rotate it in IBM Cloud/,
    );
    const given = (options: Parameters<typeof rotateRoot>[2]) =>
      rotateRoot(config, { ...machine, environment: {} }, options);
    await expect(given({ newPassphraseFile: "new" })).rejects.toThrow(
      "--new-passphrase-file: only",
    );
    await expect(given({ forFips: true })).rejects.toThrow("--for-fips: only the local");
  });
});

describe("the sealing key commands", () => {
  test("create, check and rotate the file, and say what is wrong with it", async () => {
    const config = await configure({ file: "root.key" }, { sealingKeyFile: "sealing.key" });
    const path = join(folder, "sealing.key");
    await expect(checkSealingKey(config, machine)).rejects.toThrow(
      `sealingKeyFile: sealing key file ${path} does not exist`,
    );
    expect(await initSealingKey(config, machine)).toContain(`${path}: made, with version 1`);
    await expect(initSealingKey(config, machine)).rejects.toThrow(OperatorError);
    expect(await rotateSealing(config, machine)).toContain("version 2 seals from now on");
    expect(await checkSealingKey(config, machine)).toBe(`${path}: good (version 2 seals)`);
    await chmod(path, 0o644);
    await expect(checkSealingKey(config, machine)).rejects.toThrow(`run: chmod 0600 ${path}`);
    expect(await readFile(path, "utf8")).toContain('"versions"');
  });

  test("require the setting", async () => {
    const config = await configure({ file: "root.key" });
    for (const command of [checkSealingKey, initSealingKey, rotateSealing]) {
      await expect(command(config, machine)).rejects.toThrow("sealingKeyFile: is missing");
    }
  });
});
