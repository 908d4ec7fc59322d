import type { Event, RootOfTrust } from "@holdfast/engine";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { type KeyManager, startKeyManager } from "../support/key-protect/index.ts";
import { openRoot, type RootOptions } from "../support/key-protect/root.ts";

const secret = Uint8Array.from({ length: 32 }, (_, at) => at);
const data = Buffer.from("instance 1");

const kinds = ["key-protect", "dedicated-key-protect", "hpcs"] as const;

describe.each(kinds)("a root key in %s", (kind) => {
  let manager: KeyManager;
  let rootKey: string;

  beforeAll(async () => {
    manager = await startKeyManager({ kind });
  });
  afterAll(async () => {
    await manager.close();
  });
  beforeEach(async () => {
    rootKey = await manager.createRootKey();
    await manager.calls({ reset: true });
  });
  afterEach(async () => {
    await manager.role("Manager");
  });

  function open(options: RootOptions = {}): Promise<RootOfTrust & AsyncDisposable> {
    return openRoot(manager, { rootKey, ...options });
  }

  test("rewrap moves a wrapped key to the new version, and returns that version", async () => {
    await using root = await open();
    const before = await root.wrap(secret, data);
    expect(await root.rewrap(before.blob, data)).toBeUndefined();
    await manager.change(rootKey, "rotate");
    await manager.calls({ reset: true });
    const after = await root.rewrap(before.blob, data);
    expect((await manager.calls()).calls.map(({ action }) => action)).toEqual([
      kind === "hpcs" ? "unwrap" : "rewrap",
    ]);
    expect(after?.version).toBe((await root.describe()).currentVersion);
    const opens = await root.unwrap(after?.blob ?? new Uint8Array(), data);
    expect(Buffer.from(opens.plaintext)).toEqual(Buffer.from(secret));
    expect(opens).not.toHaveProperty("rewrapped");
  });

  test("an alias is resolved once; moving it does not affect wrapped keys", async () => {
    const alias = `crk-${kind}`;
    const first = await manager.createRootKey("first", { alias });
    await using root = await open({ rootKey: alias });
    const { blob } = await root.wrap(secret, data);
    expect((await root.describe()).name).toBe(`${kind} ${manager.instanceId}/${first}`);
    await manager.change(first, "dropAliases");
    await manager.createRootKey("second", { alias });
    expect(Buffer.from((await root.unwrap(blob, data)).plaintext)).toEqual(Buffer.from(secret));
    expect((await root.describe()).name).toContain(first);
  });

  describe("validation", () => {
    test("of a valid root key succeeds", async () => {
      await using root = await open();
      await root.validate();
    });

    test("denies a service ID whose role is too small, unless a smaller role is configured", async () => {
      await manager.role("Writer");
      await using root = await open();
      await expect(root.validate()).rejects.toMatchObject({
        failure: "denied",
        message: expect.stringContaining("Manager"),
      });
      await using modest = await open({ role: "reader" });
      await modest.validate();
      await manager.role("Reader");
      await modest.validate();
    });

    test.each([
      ["disable", "disabled"],
      ["delete", "gone"],
      ["purge", "gone"],
    ] as const)("after %s says that the root key is %s", async (change, failure) => {
      await manager.change(rootKey, change);
      await using root = await open();
      await expect(root.validate()).rejects.toMatchObject({ failure });
    });

    test("warns of an expired root key, which unwraps but no longer wraps", async () => {
      const expirationDate = new Date(Date.now() + 60_000).toISOString();
      const expiring = await manager.createRootKey("expiring", { expirationDate });
      const warnings: string[] = [];
      const observe = (event: Event) => {
        if (event.type === "warning") warnings.push(event.message);
      };
      await using root = await open({ rootKey: expiring, observe });
      await root.validate();
      const { blob } = await root.wrap(secret, data);
      await manager.advance(61_000);
      await root.validate();
      await root.validate();
      expect(warnings).toEqual([
        expect.stringContaining("expires in 0 days"),
        expect.stringContaining("has expired"),
      ]);
      await expect(root.wrap(secret, data)).rejects.toMatchObject({ failure: "disabled" });
      await expect(root.probe()).rejects.toMatchObject({ failure: "disabled" });
      expect(Buffer.from((await root.unwrap(blob, data)).plaintext)).toEqual(Buffer.from(secret));
      const listed = (await root.rootKeys()).find(({ id }) => id === expiring);
      expect(listed).toMatchObject({ state: "Deactivated", usable: false });
    });

    test("denies a standard key", async () => {
      const standard = await manager.createRootKey("standard", { extractable: true });
      await using root = await open({ rootKey: standard });
      await expect(root.validate()).rejects.toMatchObject({ failure: "denied" });
      await expect(root.wrap(secret, data)).rejects.toMatchObject({ failure: "denied" });
    });

    test.each(kind === "hpcs" ? [kind] : [])(
      "(%s) says that an instance that is not initialised is unavailable",
      async () => {
        await manager.settings({ initialised: false });
        await using root = await open({ deadlineMs: 300 });
        await expect(root.validate()).rejects.toMatchObject({ failure: "unavailable" });
        await manager.settings({ initialised: true });
        await using patient = await open();
        await patient.validate();
      },
    );
  });

  test("root keys are listed over several pages, with the state of each", async () => {
    const names = Array.from({ length: 2003 }, (_, at) => `many ${at}`);
    const made = await manager.createKeys(names);
    await manager.createKeys(["standard"], { extractable: true });
    const [suspended = "", deleted = ""] = made;
    await manager.change(suspended, "disable");
    await manager.change(deleted, "delete");
    await manager.change(rootKey, "rotate");
    await using root = await open();
    const keys = await root.rootKeys();
    const mine = keys.filter(({ name }) => name.startsWith("many"));
    expect(mine).toHaveLength(2002);
    expect(keys.filter(({ name }) => name === "standard")).toEqual([]);
    expect(mine.find(({ id }) => id === suspended)).toMatchObject({
      state: "Suspended",
      usable: false,
    });
    expect(keys.find(({ id }) => id === rootKey)).toMatchObject({
      state: "Active",
      usable: true,
      currentVersion: (await root.describe()).currentVersion,
      createdMs: expect.any(Number),
    });
  });

  test("Key Protect searches the named key ring, HPCS only the default ring", async () => {
    const ring = `ring-${kind}`;
    await manager.createRing(ring);
    const inRing = await manager.createRootKey("in a ring", { ring });
    await using anywhere = await open();
    const listed = (await anywhere.rootKeys()).some(({ id }) => id === inRing);
    expect(listed).toBe(kind !== "hpcs");
    await using elsewhere = await open({ rootKey: inRing, keyRing: "default" });
    await expect(elsewhere.validate()).rejects.toMatchObject({ failure: "gone" });
    if (kind === "hpcs") return;
    await using inside = await open({ rootKey: inRing, keyRing: ring });
    expect((await inside.rootKeys()).map(({ id }) => id)).toEqual([inRing]);
    await inside.validate();
    await using none = await open({ keyRing: "no-such-ring" });
    await expect(none.describe()).rejects.toMatchObject({ failure: "gone" });
  });
});
