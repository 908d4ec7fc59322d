import { type ManagedObject, recordTags, type SealedMaterial } from "@holdfast/engine";
import { groupItem, sampleObject } from "@holdfast/engine/testing";
import { describe, expect, test } from "vitest";
import { areSealedApart, join, joinKeepingSeals, withSealsOf } from "./join.ts";

const destroyed = { time: 9, region: "b" };

/** What a KEK sealed, named by the byte that its identifier is made of. */
function sealOf(kek: number): SealedMaterial {
  const [a, b] = [8, 4].map((digits) =>
    kek
      .toString(16)
      .padStart(2, "0")
      .repeat(digits / 2),
  );
  const kekId = `${a}-${b}-${b}-${b}-${b}${a}`;
  return { kekId, nonce: new Uint8Array(12), ciphertext: new Uint8Array(32).fill(kek) };
}

/** The same as a record's sealed Digest. */
function digestOf(kek: number) {
  const value = new Uint8Array(60).fill(0).fill(kek, 0, 16).fill(kek, 28);
  return { tag: recordTags.SealedDigest, type: 8, value } as const;
}

interface Copy {
  /** The KEKs of its material and its Digest; undefined where it has none. */
  readonly material?: number;
  readonly digest?: number;
  readonly facts?: ManagedObject["facts"];
}

function copyOf({ material, digest, facts = {} }: Copy): ManagedObject {
  return {
    ...sampleObject("instance", "00000000-0000-4000-8000-000000000001"),
    fixed: [groupItem("g"), ...(digest === undefined ? [] : [digestOf(digest)])],
    material: material === undefined ? undefined : sealOf(material),
    facts,
  };
}

const gone = { destroyed };
const served = { served: { time: 3, region: "b" } };

describe("a copy that other KEKs sealed", () => {
  test.each<[string, Copy, Copy, Copy]>([
    [
      "has the own seals, and its own facts",
      { material: 1, digest: 1 },
      { material: 2, digest: 2, facts: served },
      { material: 1, digest: 1, facts: served },
    ],
    ["has them where only the material differs", { material: 1 }, { material: 2 }, { material: 1 }],
    [
      "has them where only the Digest differs",
      { material: 1, digest: 1 },
      { material: 1, digest: 2 },
      { material: 1, digest: 1 },
    ],
    ["has the own Digest where neither has material", { digest: 1 }, { digest: 2 }, { digest: 1 }],
    [
      "has the own Digest and no material if it is destroyed for good",
      { material: 1, digest: 1 },
      { digest: 2, facts: gone },
      { digest: 1, facts: gone },
    ],
    [
      "brings no material to an own copy that is destroyed for good",
      { digest: 1, facts: gone },
      { material: 2, digest: 2 },
      { digest: 1 },
    ],
    [
      "has the own Digest where both are destroyed for good",
      { digest: 1, facts: gone },
      { digest: 2, facts: gone },
      { digest: 1, facts: gone },
    ],
  ])("%s", (_rule, own, copy, expected) => {
    expect(withSealsOf(copyOf(own), copyOf(copy))).toEqual(copyOf(expected));
    expect(joinKeepingSeals(copyOf(own), copyOf(copy))).toMatchObject({
      kind: "joined",
      object: { fixed: copyOf(own).fixed, material: copyOf(expected).material },
    });
  });

  test.each<[string, Copy, Copy]>([
    ["lacks the material of the own one", { material: 1, digest: 1 }, { digest: 2 }],
    ["has material that the own one lacks", { digest: 1 }, { material: 2, digest: 2 }],
    [
      "lacks material that only a destruction with a delay would withhold",
      { material: 1, digest: 1 },
      {
        digest: 2,
        facts: { destruction: { ...destroyed, state: "pending", until: 99, us: 9 } },
      },
    ],
  ])("is left as it is, and contradicts the own one, if it %s", (_rule, own, copy) => {
    const other = copyOf(copy);
    expect(withSealsOf(copyOf(own), other)).toBe(other);
    expect(joinKeepingSeals(copyOf(own), other).kind).toBe("conflict");
  });
});

describe("copies that the same KEK sealed differently", () => {
  const pending = {
    destruction: { ...destroyed, state: "pending", until: 99, us: 9 },
  } as const;
  const restored = { destruction: { ...pending.destruction, state: "restored", us: 10 } } as const;
  const anew = { ...sealOf(1), nonce: new Uint8Array(12).fill(7) };
  const from = (facts: ManagedObject["facts"], material = anew) => ({
    ...copyOf({ material: 1, facts }),
    material,
  });

  test.each<[string, ManagedObject["facts"], ManagedObject["facts"]]>([
    ["a restore that one region knows", pending, restored],
    ["a restore that the other copy lacks yet", restored, {}],
    ["a restore that both know", restored, restored],
  ])("join with the first one's seals after %s", (_which, own, other) => {
    const outcome = joinKeepingSeals(copyOf({ material: 1, facts: own }), from(other));
    expect(outcome).toEqual({ kind: "joined", object: copyOf({ material: 1, facts: restored }) });
  });

  test("contradict each other where nothing was restored, or anything else differs", () => {
    expect(joinKeepingSeals(copyOf({ material: 1 }), from({})).kind).toBe("conflict");
    const other = { ...from(restored), fixed: [groupItem("h")] };
    expect(joinKeepingSeals(copyOf({ material: 1 }), other).kind).toBe("conflict");
  });

  test("are sealed apart only if their seals differ", () => {
    expect(areSealedApart(from(pending), copyOf({ material: 1, facts: restored }))).toBe(true);
    expect(areSealedApart(from(pending), from(restored))).toBe(false);
    expect(areSealedApart(from({}), copyOf({ material: 1 }))).toBe(false);
  });
});

test.each<[string, Copy, Copy]>([
  ["that the same KEK sealed", { material: 1, digest: 1 }, { material: 1, digest: 1 }],
  ["without a seal", { material: 1 }, { facts: gone }],
])("a copy %s is left as it is", (_which, own, copy) => {
  const other = copyOf(copy);
  expect(withSealsOf(copyOf(own), other)).toBe(other);
});

test("a plain join takes no seals of another KEK, and an object with itself is no new object", () => {
  const one = copyOf({ material: 1 });
  expect(join(one, copyOf({ material: 2 })).kind).toBe("conflict");
  const outcome = join(one, one);
  expect(outcome.kind === "joined" && outcome.object).toBe(one);
});
