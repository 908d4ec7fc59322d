import { randomBytes } from "node:crypto";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { RootOfTrustError, SealBroken } from "../errors.ts";
import type { RootOfTrust, RootOfTrustFailure } from "../ports.ts";

/** A root of trust to test, and what its owner can do to it. */
export interface RootOfTrustSubject {
  readonly subject: RootOfTrust;
  close(): Promise<void>;
  /** Makes a new version of the root key. */
  rotate?(): Promise<void>;
  /** Brings about a failure, where one can. */
  readonly fail?: Readonly<Partial<Record<RootOfTrustFailure, () => Promise<void>>>>;
}

/** What every `RootOfTrust` does. `failures` and `rotates` say what the subject can bring about. */
export function rootOfTrustConformance(
  name: string,
  open: () => Promise<RootOfTrustSubject>,
  can: { readonly rotates: boolean; readonly failures: readonly RootOfTrustFailure[] },
): void {
  describe(`${name} as a root of trust`, () => {
    let opened: RootOfTrustSubject;
    let root: RootOfTrust;
    const secret = Uint8Array.from({ length: 32 }, (_, at) => at);
    const data = Buffer.from("instance 1");
    beforeEach(async () => {
      opened = await open();
      root = opened.subject;
    });
    afterEach(async () => {
      await opened.close();
    });

    test("what was wrapped is unwrapped, under the version that is current", async () => {
      const { currentVersion } = await root.describe();
      const { blob, version } = await root.wrap(secret, data);
      expect(version).toBe(currentVersion);
      const opened = await root.unwrap(blob, data);
      expect(Buffer.from(opened.plaintext)).toEqual(Buffer.from(secret));
      expect(opened.version).toBe(version);
      expect(opened.rewrapped).toBeUndefined();
    });

    test.each([0, 1, 31, 33, 64])("%i bytes of additional data", async (length) => {
      const other = randomBytes(length);
      const { blob } = await root.wrap(secret, other);
      const { plaintext } = await root.unwrap(blob, other);
      expect(Buffer.from(plaintext)).toEqual(Buffer.from(secret));
    });

    test("neither the secret nor a repetition shows", async () => {
      const [first, second] = [await root.wrap(secret, data), await root.wrap(secret, data)];
      expect(Buffer.from(first.blob).includes(Buffer.from(secret.subarray(0, 8)))).toBe(false);
      expect(Buffer.from(first.blob)).not.toEqual(Buffer.from(second.blob));
    });

    test("other additional data is refused", async () => {
      const { blob } = await root.wrap(secret, data);
      await refused(root.unwrap(blob, Buffer.from("instance 2")));
    });

    test("a blob with any byte changed, cut or prolonged is refused", async () => {
      const { blob } = await root.wrap(secret, data);
      for (let at = 0; at < blob.length; at++) {
        const changed = Uint8Array.from(blob);
        changed[at] = (changed[at] ?? 0) ^ 0x01;
        await notOpened(root.unwrap(changed, data));
      }
      await refused(root.unwrap(blob.subarray(0, -1), data));
      await refused(root.unwrap(Buffer.concat([blob, Buffer.of(0)]), data));
      await refused(root.unwrap(new Uint8Array(), data));
    });

    test("it says what it is, and a probe of a sound one resolves", async () => {
      expect(root.kind).toMatch(/^[a-z0-9-]+$/);
      const { name: said, currentVersion } = await root.describe();
      expect([said, currentVersion].every((text) => text.length > 0)).toBe(true);
      await root.probe();
    });

    test.runIf(can.rotates)(
      "after a rotation the old blob opens and comes back rewrapped",
      async () => {
        const before = await root.wrap(secret, data);
        await opened.rotate?.();
        const { currentVersion } = await root.describe();
        expect(currentVersion).not.toBe(before.version);
        expect((await root.wrap(secret, data)).version).toBe(currentVersion);
        const old = await root.unwrap(before.blob, data);
        expect(Buffer.from(old.plaintext)).toEqual(Buffer.from(secret));
        expect(old.version).toBe(before.version);
        expect(old.rewrapped?.version).toBe(currentVersion);
        const again = await root.unwrap(old.rewrapped?.blob ?? new Uint8Array(), data);
        expect(Buffer.from(again.plaintext)).toEqual(Buffer.from(secret));
        expect(again.rewrapped).toBeUndefined();
      },
    );

    test.each(can.failures)("%s: every use says so", async (failure) => {
      const { blob } = await root.wrap(secret, data);
      await opened.fail?.[failure]?.();
      const uses = [
        () => root.unwrap(blob, data),
        () => root.wrap(secret, data),
        () => root.probe(),
      ];
      for (const use of uses) {
        await expect(use()).rejects.toMatchObject({ name: "RootOfTrustError", failure });
      }
    });
  });
}

/** Not opened; a changed version may also be one that this root does not know yet. */
async function notOpened(use: Promise<unknown>): Promise<void> {
  const error = await errorOf(use);
  const said = error instanceof RootOfTrustError || error instanceof SealBroken;
  expect(said, `not opened with ${String(error)}`).toBe(true);
}

async function errorOf(use: Promise<unknown>): Promise<unknown> {
  return use.then(
    () => undefined,
    (caught: unknown) => caught,
  );
}

/** Refused for good: not a matter of trying again. */
async function refused(use: Promise<unknown>): Promise<void> {
  const error = await errorOf(use);
  const final = error instanceof RootOfTrustError && error.failure !== "unavailable";
  expect(final || error instanceof SealBroken, `refused with ${String(error)}`).toBe(true);
}
