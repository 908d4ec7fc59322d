import { randomBytes, randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { KekStore } from "../../ports/keys.ts";
import type { KekWrap, WrappedKek } from "../../system/wrapped-kek.ts";

/** A KEK store to test. */
export interface KekStoreSubject {
  readonly subject: KekStore;
  close(): Promise<void>;
}

/** What every `KekStore` does. The subject is opened once; each test uses an instance of its own. */
export function kekStoreConformance(name: string, open: () => Promise<KekStoreSubject>): void {
  describe(`${name} as a KEK store`, () => {
    let opened: KekStoreSubject;
    let store: KekStore;
    beforeAll(async () => {
      opened = await open();
      store = opened.subject;
    });
    afterAll(async () => {
      await opened?.close();
    });

    test("an instance without KEKs has an empty list", async () => {
      expect(await store.list(randomUUID())).toEqual([]);
    });

    test("an added KEK is listed unchanged, in its own instance only", async () => {
      const [instance, other] = [randomUUID(), randomUUID()];
      const [first, second] = [kek(["a", "b"]), kek(["a"])];
      expect(await store.add(instance, first, false)).toBe(true);
      expect(await store.add(instance, second, false)).toBe(true);
      expect(byId(await store.list(instance))).toEqual(byId([first, second]));
      expect(await store.list(other)).toEqual([]);
    });

    test("with onlyIfNone, the first KEK is added and the second is not", async () => {
      const instance = randomUUID();
      const [first, second] = [kek(["a"]), kek(["a"])];
      expect(await store.add(instance, first, true)).toBe(true);
      expect(await store.add(instance, second, true)).toBe(false);
      expect(byId(await store.list(instance))).toEqual(byId([first]));
    });

    test("with onlyIfNone, one of many concurrent additions wins", async () => {
      const instance = randomUUID();
      const keks = [0, 1, 2, 3, 4].map(() => kek(["a"]));
      const added = await Promise.all(keks.map((made) => store.add(instance, made, true)));
      expect(added.filter(Boolean)).toHaveLength(1);
      expect(byId(await store.list(instance))).toEqual(byId(keks.filter((_, at) => added[at])));
    });

    test("rewrap replaces one region's wrap if it is still the expected one", async () => {
      const instance = randomUUID();
      const [made, untouched] = [kek(["a", "b"]), kek(["a"])];
      await store.add(instance, made, false);
      await store.add(instance, untouched, false);
      const [old, kept] = made.wraps as [KekWrap, KekWrap];
      const replacement = wrap("a", "2");
      expect(await store.rewrap(instance, made.id, randomBytes(8), replacement)).toBe(false);
      expect(byId(await store.list(instance))).toEqual(byId([made, untouched]));
      expect(await store.rewrap(instance, made.id, old.blob, replacement)).toBe(true);
      const after = { ...made, wraps: [replacement, kept] };
      expect(byId(await store.list(instance))).toEqual(byId([after, untouched]));
      expect(await store.rewrap(instance, made.id, old.blob, wrap("a", "3"))).toBe(false);
      expect(byId(await store.list(instance))).toEqual(byId([after, untouched]));
    });

    test("rewrap gives a region its first wrap if none is expected, once", async () => {
      const instance = randomUUID();
      const made = kek(["a"]);
      await store.add(instance, made, true);
      const [first, second] = [wrap("b", "1"), wrap("b", "2")];
      expect(await store.rewrap(instance, made.id, new Uint8Array(), first)).toBe(true);
      expect(await store.rewrap(instance, made.id, new Uint8Array(), second)).toBe(false);
      const after = { ...made, wraps: [...made.wraps, first] };
      expect(byId(await store.list(instance))).toEqual(byId([after]));
    });

    test("none of many first wraps by many regions is lost", async () => {
      const instance = randomUUID();
      const made = kek([]);
      await store.add(instance, made, true);
      const wraps = ["a", "b", "c", "d"].map((region) => wrap(region, "1"));
      const done = await Promise.all(
        wraps.map((each) => store.rewrap(instance, made.id, new Uint8Array(), each)),
      );
      expect(done).toEqual([true, true, true, true]);
      expect(byId(await store.list(instance))).toEqual(byId([{ ...made, wraps }]));
    });

    test("rewrap of a KEK that does not exist returns false, and adds nothing", async () => {
      const instance = randomUUID();
      const blob = randomBytes(8);
      expect(await store.rewrap(instance, randomUUID(), blob, wrap("a", "2"))).toBe(false);
      expect(await store.list(instance)).toEqual([]);
    });
  });
}

function wrap(region: string, rootKeyVersion: string): KekWrap {
  return { region, rootOfTrust: "local", rootKeyVersion, blob: randomBytes(60) };
}

function kek(regions: readonly string[]): WrappedKek {
  const wraps = regions.map((region) => wrap(region, "1"));
  return { id: randomUUID(), createdMs: 1_700_000_000_123, check: randomBytes(16), wraps };
}

/** In an order that does not depend on the store, with bytes as hex. */
function byId(keks: readonly WrappedKek[]): unknown {
  return keks
    .map(({ wraps, check, ...rest }) => ({
      ...rest,
      check: Buffer.from(check).toString("hex"),
      wraps: wraps
        .map(({ blob, ...said }) => ({ ...said, blob: Buffer.from(blob).toString("hex") }))
        .toSorted((a, b) => a.region.localeCompare(b.region)),
    }))
    .toSorted((a, b) => a.id.localeCompare(b.id));
}
