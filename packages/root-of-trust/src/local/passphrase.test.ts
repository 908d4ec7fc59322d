import { getFips, randomBytes, randomUUID } from "node:crypto";
import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SealBroken } from "@holdfast/engine";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { openRootOfTrust } from "../open.ts";
import { createLocalRoot, openLocalRoot, rotateLocalRoot } from "./local-root.ts";
import { createSealingKey, rotateSealingKey, SealingKey } from "./sealing-key.ts";

const ids = { uuid: randomUUID, randomBytes: (length: number) => randomBytes(length) };
const clock = { wallMs: () => Date.UTC(2026, 0, 2), monotonicMs: () => 0 };
const sources = { clock, ids };
const data = Buffer.from("instance");
const secret = Buffer.alloc(32, 7);

let directory: string;
let path: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "key-file-"));
  path = join(directory, "root.json");
});
afterEach(async () => {
  await rm(directory, { recursive: true });
});

const noScrypt = getFips() === 1;

/** A low cost, so that tests are fast. */
const scryptN = 1 << 12;
const under = (text: string) => ({ path, passphrase: async () => text, scryptN });

describe("a root key file under a passphrase", () => {
  test.skipIf(noScrypt)(
    "shows no key, keeps mode and versions through a rotation, and opens with the passphrase only (needs scrypt)",
    async () => {
      await createLocalRoot(under("correct horse"), sources);
      const first = await openLocalRoot(under("correct horse"), ids);
      const { blob } = await first.wrap(secret, data);
      await rotateLocalRoot(under("correct horse"), sources);
      const text = await readFile(path, "utf8");
      expect(JSON.parse(text)).toMatchObject({ format: "encrypted-1", scrypt: { N: scryptN } });
      expect(text).not.toMatch(/versions|"key"|created/);
      expect((await stat(path)).mode & 0o777).toBe(0o600);
      const opened = await first.unwrap(blob, data);
      expect(opened.plaintext).toEqual(secret);
      expect(opened.rewrapped?.version).toBe("2");
      await expect(openLocalRoot(under("battery staple"), ids)).rejects.toMatchObject({
        failure: "denied",
        message: expect.stringContaining("the passphrase is not the one"),
      });
      await expect(openLocalRoot(path, ids)).rejects.toMatchObject({
        failure: "unavailable",
        message: expect.stringContaining("encrypted under a passphrase, and none is given"),
      });
      await expect(rotateLocalRoot(path, sources)).rejects.toThrow("none is given");
    },
  );

  test("for FIPS mode is under a key from PBKDF2, and is not opened by another passphrase or cost", async () => {
    const approved = (text: string) => ({ path, passphrase: async () => text, approved: true });
    await createLocalRoot(approved("correct horse"), sources);
    const text = await readFile(path, "utf8");
    expect(JSON.parse(text)).toMatchObject({
      format: "encrypted-2",
      pbkdf2: { iterations: 1_000_000 },
    });
    expect(text).not.toMatch(/versions|"key"|created|scrypt/);
    const { blob } = await (await openLocalRoot(approved("correct horse"), ids)).wrap(secret, data);
    await rotateLocalRoot(approved("correct horse"), sources);
    const again = await openLocalRoot(approved("correct horse"), ids);
    expect((await again.unwrap(blob, data)).plaintext).toEqual(secret);
    const refused = {
      failure: "denied",
      message: expect.stringContaining("the passphrase is not"),
    };
    await expect(openLocalRoot(approved("battery staple"), ids)).rejects.toMatchObject(refused);
    for (const iterations of [999_999, 10_000_001, 0, "1000000"]) {
      const altered = { ...JSON.parse(await readFile(path, "utf8")), pbkdf2: { iterations } };
      await writeFile(path, JSON.stringify(altered), { mode: 0o600 });
      await expect(openLocalRoot(approved("correct horse"), ids)).rejects.toMatchObject(refused);
    }
  });

  test("for FIPS mode stays so at each rotation, also by a process without that mode and with another passphrase", async () => {
    const approved = { path, passphrase: async () => "correct horse", approved: true };
    await createLocalRoot(approved, sources);
    const newPassphrase = async () => "battery staple";
    await rotateLocalRoot({ ...under("correct horse"), newPassphrase }, sources);
    await rotateLocalRoot(under("battery staple"), sources);
    expect(JSON.parse(await readFile(path, "utf8"))).toMatchObject({ format: "encrypted-2" });
    const root = await openLocalRoot(under("battery staple"), ids);
    expect(await root.describe()).toMatchObject({ currentVersion: "3" });
  });

  test("by scrypt is refused in FIPS mode, with the way out", async () => {
    const file = { format: "encrypted-1", scrypt: { N: 4096, r: 8, p: 1 }, salt: "", nonce: "" };
    await writeFile(path, JSON.stringify({ ...file, ciphertext: "" }), { mode: 0o600 });
    await expect(openLocalRoot(under("correct horse"), ids)).rejects.toMatchObject({
      failure: "denied",
      message: expect.stringMatching(
        noScrypt ? /by scrypt, .*run `holdfast root rotate --for-fips`/ : /the passphrase is not/,
      ),
    });
  });

  test("that was not encrypted is encrypted by its next rotation", async () => {
    await createLocalRoot(path, sources);
    const { blob } = await (await openLocalRoot(path, ids)).wrap(secret, data);
    await rotateLocalRoot(under("correct horse"), sources);
    expect(await readFile(path, "utf8")).not.toContain("versions");
    const settings = {
      type: "local",
      file: path,
      passphrase: async () => "correct horse",
    } as const;
    await using root = await openRootOfTrust(settings, { clock, ids, observe: () => undefined });
    expect((await root.unwrap(blob, data)).plaintext).toEqual(secret);
  });

  test("can get another passphrase by a rotation", async () => {
    await createLocalRoot(under("correct horse"), sources);
    const { blob } = await (await openLocalRoot(under("correct horse"), ids)).wrap(secret, data);
    const newPassphrase = async () => "battery staple";
    await rotateLocalRoot({ ...under("correct horse"), newPassphrase }, sources);
    await expect(openLocalRoot(under("correct horse"), ids)).rejects.toMatchObject({
      failure: "denied",
    });
    const root = await openLocalRoot(under("battery staple"), ids);
    expect((await root.unwrap(blob, data)).plaintext).toEqual(secret);
  });

  test.skipIf(noScrypt)(
    "does not open if it was altered, or if its scrypt cost is too high (needs scrypt)",
    async () => {
      await createLocalRoot(under("correct horse"), sources);
      const made = JSON.parse(await readFile(path, "utf8"));
      const flipped = Buffer.from(made.ciphertext, "base64");
      flipped[20] = (flipped[20] ?? 0) ^ 1;
      for (const change of [
        { ciphertext: flipped.toString("base64") },
        { ciphertext: "" },
        { salt: Buffer.alloc(16).toString("base64") },
        { nonce: "AAAA" },
        { scrypt: { ...made.scrypt, N: 2 ** 40 } },
        { scrypt: { ...made.scrypt, r: 0 } },
        { scrypt: null },
        { salt: 1 },
      ]) {
        await writeFile(path, JSON.stringify({ ...made, ...change }));
        await expect(openLocalRoot(under("correct horse"), ids)).rejects.toMatchObject({
          failure: "denied",
        });
      }
    },
  );

  test("derives from a wrong passphrase once, refuses every use, and notices a corrected one", async () => {
    await createLocalRoot(under("correct horse"), sources);
    let passphrase = "correct horse";
    const root = await openLocalRoot({ path, passphrase: async () => passphrase }, ids);
    const { blob } = await root.wrap(secret, data);
    await rotateLocalRoot(under("correct horse"), sources);
    passphrase = "battery staple";
    const refusal = await root.wrap(secret, data).catch((error: unknown) => error);
    expect(refusal).toMatchObject({ failure: "denied" });
    for (let at = 0; at < 3; at++) await expect(root.unwrap(blob, data)).rejects.toBe(refusal);
    passphrase = "correct horse";
    expect((await root.unwrap(blob, data)).plaintext).toEqual(secret);
  });

  test("is refused with the reason if its passphrase cannot be read or is empty", async () => {
    await createLocalRoot(under("correct horse"), sources);
    const unreadable = { path, passphrase: () => Promise.reject(new Error("no such file")) };
    await expect(openLocalRoot(unreadable, ids)).rejects.toThrow(
      `root key file ${path}: its passphrase: no such file`,
    );
    await expect(openLocalRoot(under(""), ids)).rejects.toThrow("its passphrase is empty");
  });

  test("derives its key once for all concurrent callers", async () => {
    await createLocalRoot(under("correct horse"), sources);
    let asked = 0;
    const counting = {
      path,
      passphrase: async () => {
        asked += 1;
        return "correct horse";
      },
    };
    const root = await openLocalRoot(counting, ids);
    await rotateLocalRoot(under("correct horse"), sources);
    await Promise.all(Array.from({ length: 8 }, () => root.wrap(secret, data)));
    expect(asked).toBeLessThanOrEqual(3);
  });
});

describe("a region's sealing key", () => {
  test("seals for one purpose, through rotations, and reseals under a newer version", async () => {
    await createSealingKey(path, sources);
    await using key = await SealingKey.open(path, ids);
    const sealed = await key.seal(secret, data);
    expect(Buffer.from(sealed).includes(secret.subarray(0, 8))).toBe(false);
    expect(await key.open(sealed, data)).toEqual({ plaintext: secret });
    await expect(key.open(sealed, Buffer.from("other"))).rejects.toThrow(SealBroken);
    expect(await rotateSealingKey(path, sources)).toBe(2);
    expect(await key.version()).toBe("2");
    const { plaintext, resealed = new Uint8Array() } = await key.open(sealed, data);
    expect(plaintext).toEqual(secret);
    expect(await key.open(resealed, data)).toEqual({ plaintext: secret });
  });

  test("is kept apart from a root of trust, even with the same file", async () => {
    await createSealingKey(path, sources);
    await using key = await SealingKey.open(path, ids);
    const root = await openLocalRoot(path, ids);
    const { blob } = await root.wrap(secret, data);
    await expect(key.open(blob, data)).rejects.toThrow(SealBroken);
    await expect(root.unwrap(await key.seal(secret, data), data)).rejects.toThrow(SealBroken);
  });

  test("is refused if others may read its file, or if the file exists already, and the error names the file", async () => {
    await createSealingKey(path, sources);
    await expect(createSealingKey(path, sources)).rejects.toThrow(
      `sealing key file ${path} exists already`,
    );
    await writeFile(join(directory, "open.json"), await readFile(path), { mode: 0o644 });
    await expect(SealingKey.open(join(directory, "open.json"), ids)).rejects.toThrow(
      /^sealing key file .*open\.json: mode 0644 lets others read or change it; run: chmod 0600/,
    );
  });
});
