import {
  type CommitOutcome,
  KeyRingUnavailable,
  type ManagedObject,
  StoreUnavailable,
} from "@holdfast/engine";
import { groupItem, sampleRegister } from "@holdfast/engine/testing";
import { describe, expect, test } from "vitest";
import { firstSight } from "../join/first-sight.ts";
import type { MayJoin } from "../join/may-join.ts";
import {
  adding,
  creation,
  instance,
  must,
  newKey,
  regionsWithInstance,
} from "../testing/test-keys.ts";
import { copyOf, type TestRegion, type TestRegions } from "../testing/test-regions.ts";

const fact = { time: 9, region: "b" };
type Failed = { readonly failure: string };

async function world(options: Parameters<typeof regionsWithInstance>[0] = {}) {
  const regions = await regionsWithInstance(options);
  const { a, b, time } = regions;
  const key = newKey(regions);
  await time.until(a.store.commit(instance, [creation(key)], []));
  return { regions, a, b, time, key, link: regions.link };
}

/** Destroys as the engine does: read, decide, commit; once. */
async function destroyOnce(
  { time }: TestRegions,
  { store }: TestRegion,
  key: ManagedObject,
): Promise<CommitOutcome["kind"] | string> {
  const before = await time.until(must(store, key));
  const destroy = store.commit(instance, [adding(before, "destroyed", fact)], [], { agreed: true });
  try {
    return (await time.until(destroy)).kind;
  } catch (error) {
    return (error as Failed).failure;
  }
}

function agreements({ events }: TestRegion): readonly string[] {
  return events.flatMap((event) => (event.type === "agreement" ? [event.result] : []));
}

function sealed(kekId: string, byte = 0) {
  return { kekId, nonce: new Uint8Array(12).fill(byte), ciphertext: new Uint8Array(48) };
}

const withheld = sealed("11111111-0000-8000-8000-000000000000");
const served = sealed("22222222-0000-4000-8000-000000000000");

/**
 * Restores in region `name` a key that is withheld there; the other region has the material `there`, and finds it to be
 * the same as what it gets, or not, or cannot tell (undefined).
 */
async function restored(name: "a" | "b", isSame: boolean | undefined, there: typeof withheld) {
  const releases = async (): Promise<boolean> => {
    if (isSame === undefined) throw new KeyRingUnavailable(true, "closed");
    return isSame;
  };
  const newer = async (own: ManagedObject) => own;
  const { regions, key, time } = await world({
    seals: { opens: async () => true, newer, releases },
  });
  const other = regions[name === "a" ? "b" : "a"];
  const destruction = { ...fact, until: 9e9, state: "pending", us: 1 } as const;
  for (const [{ own }, material] of [
    [regions[name], withheld],
    [other, there],
  ] as const) {
    const before = await must(own, key);
    const after = { ...before.object, facts: { destruction }, material };
    await own.commit(instance, [{ kind: "update", before, after }], [], { joined: true });
  }
  const before = await time.until(must(regions[name].store, key));
  const facts = { destruction: { ...destruction, state: "restored", us: 2 } } as const;
  const after = { ...before.object, facts, material: served };
  const change = { kind: "update", before, after } as const;
  const made = regions[name].store.commit(instance, [change], [], { agreed: true });
  const result = await time.until(made).then(
    ({ kind }) => kind,
    () => "refused",
  );
  return { regions, other, key, facts, result };
}

describe.each(["a", "b"] as const)("an agreed operation of region %s", (name) => {
  test("is made in both regions before it is acknowledged", async () => {
    const { regions, a, b, key } = await world();
    expect(await destroyOnce(regions, regions[name], key)).toBe("committed");
    for (const region of [a, b]) {
      expect(await copyOf(region, key)).toMatchObject({
        facts: { destroyed: fact },
        material: undefined,
      });
      expect(await region.own.reservations()).toEqual([]);
    }
    expect(agreements(regions[name])).toEqual(["agreed"]);
    await regions.close();
  });

  test("that the other region would not take is refused before anything is decided", async () => {
    const { regions, a, b, key } = await world({
      mayJoin: async (_, { facts }, from) =>
        from === name && facts.destroyed !== undefined ? "nobody approved it" : undefined,
    });
    expect(await destroyOnce(regions, regions[name], key)).toBe("noAgreement");
    for (const region of [a, b]) {
      expect(await copyOf(region, key)).toEqual(key);
      expect(await region.own.reservations()).toEqual([]);
    }
    expect(regions[name].other.calls).not.toContain("write");
    expect(agreements(regions[name])).toEqual(["refused"]);
    await regions.close();
  });

  test("is refused while the other region does not take a revocation, until the same one is made there", async () => {
    const there = name === "a" ? "b" : "a";
    const { regions, time, key } = await world({
      mayJoin: async (before, { facts }, from) => {
        const known = before === undefined || before === "damaged" ? undefined : before.facts;
        const isNew = facts.deactivated !== undefined && known?.deactivated === undefined;
        return from === name && isNew ? "nobody approved it" : undefined;
      },
    });
    const revoke = async ({ store }: TestRegion, seconds: number) => {
      const before = await time.until(must(store, key));
      const revoked = { time: seconds, region: "b", reasonCode: 6 };
      return await time.until(store.commit(instance, [adding(before, "deactivated", revoked)], []));
    };
    await revoke(regions[name], 5);
    expect((await copyOf(regions[there], key))?.facts).toEqual({});
    for (const region of [regions[name], regions[there]]) {
      expect(await destroyOnce(regions, region, key)).toBe("noAgreement");
      expect(await region.own.reservations()).toEqual([]);
    }
    // Clients of the other region go on, and the same command ends it there, whatever the first region says.
    expect((await time.until(must(regions[there].store, key))).object.facts).toEqual({});
    expect((await revoke(regions[there], 8)).kind).toBe("committed");
    for (let tries = 0; tries < 3; tries++) {
      if ((await destroyOnce(regions, regions[name], key)) === "committed") break;
    }
    for (const region of [regions.a, regions.b]) {
      const copy = await copyOf(region, key);
      expect(copy).toMatchObject({ facts: { deactivated: { time: 5 }, destroyed: fact } });
    }
    await regions.close();
  });

  test("reserves and writes in the order of the regions' names", async () => {
    const { regions, a, b, key } = await world();
    const steps: string[] = [];
    for (const { own, name: at } of [a, b]) {
      const { reserve, commit } = own;
      own.reserve = (...given) => {
        steps.push(`reserve ${at}`);
        return reserve.apply(own, given);
      };
      own.commit = (...given) => {
        if (given[3]?.operation !== undefined) steps.push(`write ${at}`);
        return commit.apply(own, given);
      };
    }
    await destroyOnce(regions, regions[name], key);
    expect(steps).toEqual(["reserve a", "reserve b", "write a", "write b"]);
    await regions.close();
  });

  test("says that another node should be asked while this one may write nothing before an upgrade is complete", async () => {
    const { regions, a, b, key } = await world();
    const { own } = name === "a" ? a : b;
    const { reserve } = own;
    own.reserve = async () => {
      throw new StoreUnavailable("formatNotAgreed", "some node reads formats up to 1 only");
    };
    expect(await destroyOnce(regions, regions[name], key)).toBe("formatNotAgreed");
    own.reserve = reserve;
    expect(await destroyOnce(regions, regions[name], key)).toBe("committed");
    await regions.close();
  });

  test("is made on copies under different KEKs, of which each region keeps its own", async () => {
    const { regions, a, b, key, time } = await world();
    const other = "11111111-0000-4000-8000-000000000000";
    const resealed = { kekId: other, nonce: new Uint8Array(12), ciphertext: new Uint8Array(48) };
    const before = await must(b.own, key);
    const after = { ...before.object, material: resealed };
    await b.own.commit(instance, [{ kind: "update", before, after }], [], { joined: true });
    const activated = { time: 8, region: name };
    const read = await time.until(must(regions[name].store, key));
    const change = adding(read, "activated", activated);
    const made = regions[name].store.commit(instance, [change], [], { agreed: true });
    expect((await time.until(made)).kind).toBe("committed");
    expect(await copyOf(a, key)).toMatchObject({ facts: { activated }, material: key.material });
    expect(await copyOf(b, key)).toMatchObject({ facts: { activated }, material: resealed });
    expect(await destroyOnce(regions, regions[name], key)).toBe("committed");
    for (const region of [a, b]) {
      expect(await copyOf(region, key)).toMatchObject({
        facts: { destroyed: fact },
        material: undefined,
      });
    }
    await regions.close();
  });

  test("is made on a key that only one region had withheld, and which both restored under one KEK", async () => {
    const newer = async (own: ManagedObject) => ({ ...own, material: sealed(served.kekId, 1) });
    const { regions, a, b, key } = await world({
      seals: { opens: async () => true, newer, releases: async () => false },
    });
    for (const [{ own }, byte] of [
      [a, 1],
      [b, 2],
    ] as const) {
      const before = await must(own, key);
      const after = { ...before.object, material: sealed(served.kekId, byte) };
      await own.commit(instance, [{ kind: "update", before, after }], [], { joined: true });
    }
    expect(await destroyOnce(regions, regions[name], key)).toBe("conflict");
    expect(await destroyOnce(regions, regions[name], key)).toBe("committed");
    for (const region of [a, b]) {
      expect((await copyOf(region, key))?.facts).toEqual({ destroyed: fact });
      expect(await region.own.quarantined()).toBe(0);
    }
    await regions.close();
  });

  test.each([
    ["holds the same", true, "served"],
    ["cannot be told", undefined, "withheld"],
    ["is something else", false, "destroyed"],
  ] as const)(
    "restores withheld material in both regions, where it %s",
    async (_, isSame, there) => {
      const { regions, other, key, result } = await restored(name, isSame, withheld);
      if (there !== "destroyed") expect(result).toBe("committed");
      const material = there === "served" ? served : withheld;
      expect(await copyOf(other, key)).toMatchObject({ material });
      await regions.close();
    },
  );

  test.each([
    ["takes its new seal", true],
    ["keeps its own", undefined],
  ] as const)(
    "restores a key that the other region has not withheld yet, which %s",
    async (_, isSame) => {
      const theirs = sealed(served.kekId, 1);
      const { regions, other, key, facts, result } = await restored(name, isSame, theirs);
      expect(result).toBe("committed");
      expect(await copyOf(regions[name], key)).toMatchObject({ facts, material: served });
      const material = isSame === true ? served : theirs;
      expect(await copyOf(other, key)).toMatchObject({ facts, material });
      await regions.close();
    },
  );

  test("destroys in both regions although their delays differ, and the later end counts", async () => {
    const mayJoin: MayJoin = async (before, object) =>
      firstSight(before, object, {
        ...{ region: "?", delaySeconds: 1_000, nowSeconds: 5_000, earliestSeconds: 5_000 },
      });
    const { regions, key, time } = await world({ mayJoin });
    const other = regions[name === "a" ? "b" : "a"];
    const before = await time.until(must(regions[name].store, key));
    const destruction = { ...fact, until: 5_010, state: "pending", us: 1 } as const;
    const after = { ...before.object, facts: { destruction } };
    const change = { kind: "update", before, after } as const;
    const made = regions[name].store.commit(instance, [change], [], { agreed: true });
    expect((await time.until(made)).kind).toBe("committed");
    const later = { destruction: { ...destruction, until: 6_000, us: 2 } };
    expect((await copyOf(other, key))?.facts).toEqual(later);
    await regions.close();
  });

  test("is refused while the other region is out of reach, and nothing is held", async () => {
    const { regions, a, b, key, link } = await world();
    link.open = false;
    expect(await destroyOnce(regions, regions[name], key)).toBe("noAgreement");
    for (const region of [a, b]) {
      expect((await copyOf(region, key))?.facts).toEqual({});
      expect(await region.own.reservations()).toEqual([]);
    }
    expect(agreements(regions[name])).toEqual([]);
    await regions.close();
  });

  test("is refused while the other region does not serve from its own store", async () => {
    const { regions, a, b, key, time } = await world();
    const other = regions[name === "a" ? "b" : "a"];
    const before = await must(regions[name].store, key);
    other.own.setState("none");
    other.own.setState("full");
    await time.pass(100);
    const destroy = adding(before, "destroyed", fact);
    const outcome = regions[name].store.commit(instance, [destroy], [], { agreed: true });
    await expect(time.until(outcome)).rejects.toMatchObject({ failure: "noAgreement" });
    for (const region of [a, b]) expect(await region.own.reservations()).toEqual([]);
    await regions.close();
  });

  test("joins copies that differ, and decides again on the joined copy", async () => {
    const { regions, a, b, key, time } = await world();
    const other = regions[name === "a" ? "b" : "a"];
    const before = await must(other.own, key);
    await other.own.commit(instance, [adding(before, "activated", fact)], []);
    expect(await destroyOnce(regions, regions[name], key)).toBe("conflict");
    for (const region of [a, b]) {
      expect((await copyOf(region, key))?.facts).toEqual({ activated: fact });
      expect(await region.own.reservations()).toEqual([]);
    }
    // An Active key is not destroyed: the engine sees that now.
    expect((await time.until(must(regions[name].store, key))).object.facts.activated).toEqual(fact);
    expect(agreements(regions[name])).toEqual(["refused"]);
    await regions.close();
  });

  test("brings the record to a region that lacks it", async () => {
    const { regions, a, b } = await world();
    const key = newKey(regions);
    await regions[name].own.commit(instance, [creation(key)], []);
    expect(await destroyOnce(regions, regions[name], key)).toBe("conflict");
    expect(await destroyOnce(regions, regions[name], key)).toBe("committed");
    for (const region of [a, b]) {
      expect((await copyOf(region, key))?.facts.destroyed).toEqual(fact);
    }
    await regions.close();
  });

  test("waits for another one that holds the record, releases its own reservations meanwhile, and ends", async () => {
    const { regions, a, b, key, time } = await world({ reservedMs: 1_000 });
    await b.own.reserve(instance, [key.uniqueIdentifier], "other");
    const before = await must(a.own, key);
    const destroy = adding(before, "destroyed", fact);
    const outcome = regions[name].store.commit(instance, [destroy], [], { agreed: true });
    const seen: number[] = [];
    const watching = (async () => {
      for (let at = 0; at < 30; at++) {
        await time.sleep(10);
        seen.push((await a.own.reservations()).length);
      }
    })();
    await expect(time.until(outcome)).rejects.toMatchObject({ failure: "reserved" });
    await watching;
    expect(seen).toContain(0);
    expect(await a.own.reservations()).toEqual([]);
    expect((await b.own.reservations()).map(({ operation }) => operation)).toEqual(["other"]);
    await b.own.release(instance, "other");
    expect(await destroyOnce(regions, regions[name], key)).toBe("committed");
    await regions.close();
  });

  test("has another name at each try, so that a late request of an earlier one does not count", async () => {
    const { regions, a, b, key, time } = await world({ reservedMs: 1_000 });
    await b.own.reserve(instance, [key.uniqueIdentifier], "other");
    const names: string[] = [];
    const reserve = b.own.reserve.bind(b.own);
    b.own.reserve = (...given) => {
      names.push(given[2]);
      return reserve(...given);
    };
    const destroy = adding(await must(a.own, key), "destroyed", fact);
    const outcome = regions[name].store.commit(instance, [destroy], [], { agreed: true });
    await expect(time.until(outcome)).rejects.toMatchObject({ failure: "reserved" });
    expect(names.length).toBeGreaterThan(1);
    expect(new Set(names).size).toBe(names.length);
    await regions.close();
  });

  test("releases a region whose answer was lost, since that may have reserved", async () => {
    const { regions, a, b, key } = await world();
    regions[name].other.after = (method) => {
      if (method === "reserve") throw new StoreUnavailable("timeout", "the answer was lost");
    };
    expect(await destroyOnce(regions, regions[name], key)).toBe("noAgreement");
    for (const region of [a, b]) expect(await region.own.reservations()).toEqual([]);
    await regions.close();
  });

  test("does not decide where its reservation has ended meanwhile", async () => {
    const { regions, a, b, key } = await world();
    const commit = a.own.commit.bind(a.own);
    a.own.commit = async (...given) => {
      const operation = given[3]?.operation;
      if (operation !== undefined) await a.own.release(instance, operation);
      return await commit(...given);
    };
    expect(await destroyOnce(regions, regions[name], key)).toBe("reserved");
    for (const region of [a, b]) {
      expect((await copyOf(region, key))?.facts).toEqual({});
      expect(await region.own.reservations()).toEqual([]);
    }
    await regions.close();
  });

  test("is made in the later region too where only the reservation there has ended", async () => {
    const { regions, a, b, key } = await world();
    const commit = b.own.commit.bind(b.own);
    b.own.commit = async (...given) => {
      const operation = given[3]?.operation;
      if (operation !== undefined) await b.own.release(instance, operation);
      return await commit(...given);
    };
    expect(await destroyOnce(regions, regions[name], key)).toBe("committed");
    for (const region of [a, b]) {
      expect((await copyOf(region, key))?.facts.destroyed).toEqual(fact);
    }
    await regions.close();
  });
});

test("copies that differ in their immutable parts are not agreed on", async () => {
  const { regions, a, b, key } = await world();
  const twin = { ...newKey(regions), objectType: 4 };
  await b.own.commit(instance, [creation(twin)], []);
  await a.own.commit(instance, [creation({ ...twin, objectType: 2 })], []);
  expect(await destroyOnce(regions, a, twin)).toBe("corrupt");
  expect(await destroyOnce(regions, a, key)).toBe("committed");
  for (const region of [a, b]) expect(await region.own.reservations()).toEqual([]);
  await regions.close();
});

describe("a cut in the middle", () => {
  const methods = ["reserve", "fetch", "write", "release"] as const;
  const cuts = methods.flatMap((method) =>
    (["before", "after"] as const).flatMap((when) =>
      (["a", "b"] as const).map((name) => [when, method, name] as const),
    ),
  );

  test.each(cuts)("%s %s of region %s leaves no contradiction", async (when, method, name) => {
    const { regions, a, b, key, link } = await world();
    if (method === "release") {
      // Nothing is released where all goes well.
      const other = regions[name === "a" ? "b" : "a"];
      const before = await must(other.own, key);
      const register = sampleRegister(groupItem("other"), 5);
      const after = { ...before.object, registers: [register] };
      await other.own.commit(instance, [{ kind: "update", before, after }], []);
    }
    regions[name].other[when] = (called) => {
      if (called === method) link.open = false;
    };
    const outcome = await destroyOnce(regions, regions[name], key);
    const destroyed = await Promise.all(
      [a, b].map(async (region) => (await copyOf(region, key))?.facts.destroyed !== undefined),
    );
    const held = await Promise.all(
      [a, b].map(async ({ own }) => (await own.reservations()).length),
    );
    // Acknowledged only if both have it.
    if (outcome === "committed") expect(destroyed).toEqual([true, true]);
    // Refused as not agreed only if neither has it.
    if (outcome === "noAgreement") expect(destroyed).toEqual([false, false]);
    // A region without the other's copy holds the record, and asks the other.
    if (destroyed[0] !== destroyed[1]) {
      expect(destroyed[0]).toBe(true);
      expect(held[1]).toBe(1);
      expect(outcome).toBe("barrierShort");
    }
    await regions.close();
  });
});

test("while an agreed operation is under way, no read sees the later region's copy without the first one's", async () => {
  const { regions, a, b, key, link, time } = await world();
  link.delayMs = 40;
  const states = new Set<string>();
  let over = false;
  const before = await must(a.own, key);
  const destroy = a.store
    .commit(instance, [adding(before, "destroyed", fact)], [], { agreed: true })
    .finally(() => {
      over = true;
    });
  const reading = (async () => {
    let gone = false;
    while (!over) {
      const first = (await copyOf(a, key))?.facts.destroyed !== undefined;
      const seen = (await must(b.store, key)).object.facts.destroyed !== undefined;
      // What region a had before the read began is in what region b answers.
      expect(first && !seen).toBe(false);
      expect(gone && !seen).toBe(false);
      gone = seen;
      states.add(`${first} ${seen}`);
      await time.sleep(7);
    }
  })();
  expect((await time.until(destroy)).kind).toBe("committed");
  await time.until(reading);
  expect(states.has("true true")).toBe(true);
  await regions.close();
});
