import { randomBytes } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { RootOfTrustError, SealBroken } from "../../base/errors.ts";
import type { RootOfTrust, RootOfTrustFailure } from "../../ports/keys.ts";

/** A root of trust to test, and what its owner can do to it. */
export interface RootOfTrustSubject {
  readonly subject: RootOfTrust;
  close(): Promise<void>;
  /** Makes a new version of the root key. */
  rotate?(): Promise<void>;
  /** Causes a failure, if possible. */
  readonly fail?: Readonly<Partial<Record<RootOfTrustFailure, () => Promise<void>>>>;
  /** Ends the failure, if possible. */
  mend?(failure: RootOfTrustFailure): Promise<void>;
}

/** What a subject can cause. */
export interface RootOfTrustAbilities {
  readonly rotates: boolean;
  readonly failures: readonly RootOfTrustFailure[];
  /** Failures that `mend` ends. */
  readonly mends?: readonly RootOfTrustFailure[];
}

type Open = () => Promise<RootOfTrustSubject>;

const data = Buffer.from("instance 1");
const mendedWithinMs = 20_000;
const againMs = 50;
/** Most bytes of a blob that may name the version of its key. */
const versionBytesMax = 8;

/** What every `RootOfTrust` does; `can` says what the subject can cause. */
export function rootOfTrustConformance(name: string, open: Open, can: RootOfTrustAbilities): void {
  describe(`${name} as a root of trust`, () => {
    let opened: RootOfTrustSubject;
    beforeEach(async () => {
      opened = await open();
    });
    afterEach(async () => {
      await opened.close();
    });
    const root = () => opened.subject;
    wraps(root);
    refusesOthers(root);
    tellsOfItself(root);
    if (can.rotates) describe("rotation", () => rotates(root, async () => opened.rotate?.()));
    if (can.failures.length > 0) describe("failures", () => fails(() => opened, can));
    closes(root);
  });
}

function wraps(root: () => RootOfTrust): void {
  test("wrapped bytes are unwrapped, and the current version is used", async () => {
    const secret = randomBytes(32);
    const { currentVersion } = await root().describe();
    const { blob, version } = await root().wrap(secret, data);
    expect(version).toBe(currentVersion);
    const unwrapped = await root().unwrap(blob, data);
    expect(Buffer.from(unwrapped.plaintext)).toEqual(secret);
    expect(unwrapped.version).toBe(version);
    expect(unwrapped.rewrapped).toBeUndefined();
    expect(await root().rewrap(blob, data)).toBeUndefined();
  });

  test.each([0, 1, 31, 33, 64])("%i bytes of additional data are accepted", async (length) => {
    const [secret, other] = [randomBytes(32), randomBytes(length)];
    const { blob } = await root().wrap(secret, other);
    expect(Buffer.from((await root().unwrap(blob, other)).plaintext)).toEqual(secret);
  });

  test("a blob shows neither the secret nor a repetition", async () => {
    const secret = randomBytes(32);
    const [first, second] = [await root().wrap(secret, data), await root().wrap(secret, data)];
    for (const form of ["latin1", "hex", "base64"] as const) {
      const shown = secret.toString(form).slice(0, 16);
      expect(Buffer.from(first.blob).toString("latin1")).not.toContain(shown);
    }
    expect(Buffer.from(first.blob)).not.toEqual(Buffer.from(second.blob));
  });

  test("the caller's bytes stay unchanged, and returned bytes are shared with nobody", async () => {
    const [secret, bound] = [randomBytes(32), Buffer.from(data)];
    const before = Buffer.from(secret);
    const { blob } = await root().wrap(secret, bound);
    const kept = Buffer.from(blob);
    const first = await root().unwrap(blob, bound);
    expect([secret, bound, Buffer.from(blob)]).toEqual([before, data, kept]);
    first.plaintext.fill(0);
    secret.fill(0);
    expect(Buffer.from((await root().unwrap(blob, bound)).plaintext)).toEqual(before);
  });

  test("many calls at the same time get their own results", async () => {
    const secrets = Array.from({ length: 32 }, () => randomBytes(32));
    const opened = await Promise.all(
      secrets.map(async (secret, at) => {
        const bound = Buffer.from(`instance ${at}`);
        const { blob } = await root().wrap(secret, bound);
        return Buffer.from((await root().unwrap(blob, bound)).plaintext);
      }),
    );
    expect(opened).toEqual(secrets);
  });
}

function refusesOthers(root: () => RootOfTrust): void {
  test("other additional data is reported as a broken seal", async () => {
    const { blob } = await root().wrap(randomBytes(32), data);
    for (const other of ["instance 2", "instance 1 ", "instance ", ""]) {
      await broken(root().unwrap(blob, Buffer.from(other)));
      await broken(root().rewrap(blob, Buffer.from(other)));
    }
  });

  test("a blob with any byte changed is a broken seal, or under a version that does not exist", async () => {
    const { blob } = await root().wrap(randomBytes(32), data);
    let notThere = 0;
    for (let at = 0; at < blob.length; at++) {
      const changed = Uint8Array.from(blob);
      changed[at] = (changed[at] ?? 0) ^ 0x01;
      const error = await errorOf(root().unwrap(changed, data));
      if (error instanceof SealBroken) continue;
      const versionGone =
        error instanceof RootOfTrustError && ["gone", "unavailable"].includes(error.failure);
      expect(versionGone, `byte ${at}: ${String(error)}`).toBe(true);
      notThere += 1;
    }
    expect(notThere).toBeLessThanOrEqual(versionBytesMax);
  });

  test("a blob that is cut, prolonged, empty or foreign is a broken seal", async () => {
    const { blob } = await root().wrap(randomBytes(32), data);
    const strange = [
      blob.subarray(0, -1),
      blob.subarray(0, Math.floor(blob.length / 2)),
      Buffer.concat([blob, Buffer.of(0)]),
      Buffer.concat([blob, blob]),
      new Uint8Array(),
      Buffer.of(0),
      randomBytes(blob.length),
      Buffer.from(JSON.stringify({ ciphertext: "AAAA", iv: "AAAA", version: "4.0.0" })),
    ];
    for (const bytes of strange) await broken(root().unwrap(bytes, data));
  });
}

function tellsOfItself(root: () => RootOfTrust): void {
  test("it describes itself the same each time, and a working one passes probe and validation", async () => {
    const first = await root().describe();
    expect(first.kind).toBe(root().kind);
    expect(first.kind).toMatch(/^[a-z0-9-]+$/);
    expect([first.name, first.currentVersion].every((text) => text.length > 0)).toBe(true);
    await root().probe();
    await root().validate();
    expect(await root().describe()).toEqual(first);
  });

  test("it lists root keys that can be used, each once", async () => {
    const keys = await root().rootKeys();
    expect(keys.some(({ usable }) => usable)).toBe(true);
    expect(new Set(keys.map(({ id }) => id)).size).toBe(keys.length);
    for (const { id, name, state } of keys) {
      expect([id, name, state].every((text) => text.length > 0)).toBe(true);
    }
  });
}

function rotates(root: () => RootOfTrust, rotate: () => Promise<void>): void {
  test("the old blob opens and comes back rewrapped under the new version", async () => {
    const secret = randomBytes(32);
    const { name } = await root().describe();
    const before = await root().wrap(secret, data);
    await rotate();
    const { name: after, currentVersion } = await root().describe();
    expect(after).toBe(name);
    expect(currentVersion).not.toBe(before.version);
    expect((await root().wrap(secret, data)).version).toBe(currentVersion);
    const old = await root().unwrap(before.blob, data);
    expect(Buffer.from(old.plaintext)).toEqual(secret);
    expect(old.version).toBe(before.version);
    expect(old.rewrapped?.version).toBe(currentVersion);
    const again = await root().unwrap(old.rewrapped?.blob ?? new Uint8Array(), data);
    expect(Buffer.from(again.plaintext)).toEqual(secret);
    expect([again.version, again.rewrapped]).toEqual([currentVersion, undefined]);
  });

  test("blobs of all versions open and are rewrapped, bound to the same additional data", async () => {
    const secrets = [randomBytes(32), randomBytes(32), randomBytes(32)];
    const blobs: Uint8Array[] = [];
    for (const secret of secrets) {
      blobs.push((await root().wrap(secret, data)).blob);
      await rotate();
    }
    const { currentVersion } = await root().describe();
    for (const [at, blob] of blobs.entries()) {
      const rewrapped = await root().rewrap(blob, data);
      expect(rewrapped?.version).toBe(currentVersion);
      const { plaintext } = await root().unwrap(rewrapped?.blob ?? new Uint8Array(), data);
      expect(Buffer.from(plaintext)).toEqual(secrets[at]);
      expect(Buffer.from((await root().unwrap(blob, data)).plaintext)).toEqual(secrets[at]);
      await broken(root().unwrap(rewrapped?.blob ?? new Uint8Array(), Buffer.from("instance 2")));
    }
  });
}

function fails(opened: () => RootOfTrustSubject, can: RootOfTrustAbilities): void {
  const usesOf = (root: RootOfTrust, secret: Uint8Array, blob: Uint8Array) => [
    () => root.unwrap(blob, data),
    () => root.wrap(secret, data),
    () => root.rewrap(blob, data),
    () => root.probe(),
    () => root.validate(),
  ];

  test.each(can.failures)("%s: every use reports it and hides the secret", async (failure) => {
    const { subject, fail } = opened();
    const secret = randomBytes(32);
    const { blob } = await subject.wrap(secret, data);
    await fail?.[failure]?.();
    // Twice: what has been refused once is refused in the same way again.
    for (const use of [...usesOf(subject, secret, blob), ...usesOf(subject, secret, blob)]) {
      const error = await errorOf(use());
      expect(error).toMatchObject({ name: "RootOfTrustError", failure });
      const text = `${String(error)} ${JSON.stringify(error)}`;
      for (const form of ["hex", "base64"] as const) {
        expect(text).not.toContain(secret.toString(form).slice(0, 16));
      }
      expect(text).not.toContain("\n");
    }
  });

  test.each(can.mends ?? [])(
    "%s: once it is over, what was wrapped opens again",
    async (failure) => {
      const { subject, fail, mend } = opened();
      const secret = randomBytes(32);
      const { blob } = await subject.wrap(secret, data);
      await fail?.[failure]?.();
      expect(await errorOf(subject.unwrap(blob, data))).toMatchObject({ failure });
      await mend?.(failure);
      const untilMs = performance.now() + mendedWithinMs;
      for (;;) {
        const plaintext = await subject.unwrap(blob, data).then(
          (unwrapped) => Buffer.from(unwrapped.plaintext),
          (error: unknown) => error,
        );
        if (plaintext instanceof Buffer) {
          expect(plaintext).toEqual(secret);
          break;
        }
        if (performance.now() > untilMs) throw plaintext;
        await delay(againMs);
      }
      await subject.validate();
    },
  );
}

function closes(root: () => RootOfTrust): void {
  test("calls under way when it is closed end, and later calls are unavailable", async () => {
    const secret = randomBytes(32);
    const { blob } = await root().wrap(secret, data);
    const underWay = Array.from({ length: 8 }, () => root().unwrap(blob, data));
    const ended = Promise.allSettled(underWay);
    await root().close();
    await root().close();
    for (const result of await ended) {
      if (result.status === "fulfilled") {
        expect(Buffer.from(result.value.plaintext)).toEqual(secret);
      } else {
        expect(result.reason).toMatchObject({ failure: "unavailable" });
      }
    }
    const uses = [
      () => root().unwrap(blob, data),
      () => root().wrap(secret, data),
      () => root().validate(),
      () => root().probe(),
    ];
    for (const use of uses) {
      expect(await errorOf(use())).toMatchObject({
        name: "RootOfTrustError",
        failure: "unavailable",
      });
    }
  });
}

async function broken(use: Promise<unknown>): Promise<void> {
  const error = await errorOf(use);
  expect(error, `refused with ${String(error)}`).toBeInstanceOf(SealBroken);
}

async function errorOf(use: Promise<unknown>): Promise<unknown> {
  return use.then(
    () => undefined,
    (caught: unknown) => caught,
  );
}
