import { generateKeyPairSync } from "node:crypto";
import { mkdtempSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { leafHash, writeNoteKey } from "@holdfast/engine";
import { afterAll, describe, expect, test } from "vitest";
import { OperatorError } from "../../base/operator-error.ts";
import { describeLogKey, initLogKey, readLogKey, rotateLogKey } from "./log-key.ts";

const folder = mkdtempSync(join(tmpdir(), "holdfast-log-key-"));
afterAll(() => rm(folder, { recursive: true }));

const settingsOf = (name: string) => ({ keyFile: join(folder, name), name: "log.example/a" });

describe("the key file", () => {
  test("is made once, mode 0600; a rotation adds a key that signs, and a new origin", () => {
    const settings = settingsOf("made.pem");
    initLogKey(settings);
    expect(statSync(settings.keyFile).mode & 0o777).toBe(0o600);
    expect(() => initLogKey(settings)).toThrow("exists already; it is kept");
    const first = readLogKey(settings);
    rotateLogKey(settings);
    const second = readLogKey(settings);
    expect(second.signer.former).toEqual([first.signer.origin]);
    expect(second.signer.origin).toMatch(/^log\.example\/a\/[0-9a-f]{64}$/);
    const note = second.signer.sign(1, leafHash(Buffer.of()));
    expect(second.signer.isSigned(note)).toBe(true);
    expect(first.signer.isSigned(note)).toBe(false);
    expect(describeLogKey(second)).toEqual([
      `origin: ${second.signer.origin}`,
      `verifier key: ${writeNoteKey(second.key)}`,
      expect.stringMatching(/^OpenSSH: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI[A-Za-z0-9+/]{43}$/),
    ]);
  });

  test("signs with its newest key, however often it was rotated", () => {
    const settings = settingsOf("often.pem");
    initLogKey(settings);
    const origins = new Set([readLogKey(settings).signer.origin]);
    for (let rotation = 1; rotation <= 65; rotation += 1) {
      rotateLogKey(settings);
      origins.add(readLogKey(settings).signer.origin);
    }
    expect(origins.size).toBe(66);
  });

  const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey;
  test.each([
    ["absent", undefined, "no such file"],
    ["empty", "", "make one with `holdfast audit-key init`"],
    ["of another kind", rsa.export({ format: "pem", type: "pkcs8" }), "not an Ed25519 key"],
    ["cut", "-----BEGIN PRIVATE KEY-----\nMC4C\n-----END PRIVATE KEY-----\n", "cannot be read"],
  ])("that is %s is refused with one line", (name, content, says) => {
    const settings = settingsOf(`bad-${name}`);
    if (content !== undefined) writeFileSync(settings.keyFile, content);
    for (const use of [readLogKey, rotateLogKey]) {
      expect(() => use(settings)).toThrow(OperatorError);
      expect(() => use(settings)).toThrow(says);
      expect(() => use(settings)).toThrow(/^audit\.log\.keyFile: [^\n]*$/);
    }
    if (content !== undefined) expect(readFileSync(settings.keyFile, "utf8")).toBe(content);
  });
});
