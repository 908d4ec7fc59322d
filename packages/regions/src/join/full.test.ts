import { type ManagedObject, StoreUnavailable } from "@holdfast/engine";
import { describe, expect, test } from "vitest";
import {
  adding,
  creation,
  get,
  instance,
  must,
  newKey,
  regionsWithInstance,
} from "../testing/test-keys.ts";
import { copyOf, fill, type TestRegion } from "../testing/test-regions.ts";

const activation = { time: 8, region: "a" };

function failing(failure: string) {
  return expect.objectContaining({ name: "StoreUnavailable", failure });
}

describe("a level store without room", () => {
  const query = { live: true, destroyed: false, limit: 10 };

  async function found({ store }: TestRegion): Promise<readonly string[]> {
    const { objects } = await store.find(instance, query);
    return objects.map(({ object }) => object.uniqueIdentifier).toSorted();
  }

  test("lets the other region make changes that need room, and is level again when it has them", async () => {
    const regions = await regionsWithInstance();
    const { a, b, time } = regions;
    const [before, there, here] = [newKey(regions), newKey(regions), newKey(regions)];
    await time.until(a.store.commit(instance, [creation(before)], []));
    const empty = fill(a.own);
    expect(await time.until(a.store.commit(instance, [creation(here)], []))).toEqual({
      kind: "committed",
      regions: ["b"],
    });
    // A client that got the acknowledgement finds it at once, here too.
    expect(a.store.serving()).toMatchObject({ from: "remote", agrees: true });
    const ids = [before, here].map(({ uniqueIdentifier }) => uniqueIdentifier).toSorted();
    expect(await time.until(found(a))).toEqual(ids);
    await time.until(b.store.commit(instance, [creation(there)], []));
    expect(await time.until(found(a))).toEqual([...ids, there.uniqueIdentifier].toSorted());
    expect((await time.until(get(a.store, there)))?.object).toEqual(there);
    // Destroy still works; a key that the store lacks cannot be agreed on.
    const destroy = async (key: ManagedObject) => {
      const change = adding(await must(a.store, key), "destroyed", activation);
      return await a.store.commit(instance, [change], [], { agreed: true });
    };
    expect((await time.until(destroy(before))).kind).toBe("committed");
    expect((await copyOf(a, before))?.facts.destroyed).toEqual(activation);
    await expect(time.until(destroy(here))).rejects.toEqual(failing("noAgreement"));
    empty();
    await regions.levelOf(a);
    expect(a.store.serving()).toMatchObject({ from: "local", through: false });
    expect(await copyOf(a, here)).toEqual(here);
    expect((await time.until(destroy(here))).kind).toBe("committed");
    expect(await time.until(found(a))).toEqual([there.uniqueIdentifier]);
    await regions.close();
  });

  test("is no longer level when the other region made its change, although nothing of that arrived here", async () => {
    const regions = await regionsWithInstance();
    const { a, b, time } = regions;
    const empty = fill(a.own);
    b.other.before = (method) => {
      if (method === "push") throw new StoreUnavailable("peerUnreachable", "the push is lost");
    };
    const key = newKey(regions);
    await time.until(a.store.commit(instance, [creation(key)], []));
    expect(a.store.serving()).toMatchObject({ from: "remote", agrees: true });
    expect(await time.until(found(a))).toEqual([key.uniqueIdentifier]);
    empty();
    await regions.levelOf(a);
    expect(a.store.serving().from).toBe("local");
    expect(await copyOf(a, key)).toEqual(key);
    await regions.close();
  });

  test("is no longer level before it answers a push that it has no room for", async () => {
    const regions = await regionsWithInstance();
    const { a, b, time } = regions;
    fill(a.own);
    const key = newKey(regions);
    expect(await time.until(b.store.commit(instance, [creation(key)], []))).toEqual({
      kind: "committed",
      regions: ["b"],
    });
    const { lost, reached } = await a.own.levels();
    expect(lost).toBeGreaterThan(reached);
    await time.pass(300);
    expect(a.store.serving().from).toBe("remote");
    expect(await time.until(found(a))).toEqual([key.uniqueIdentifier]);
    await regions.close();
  });

  test("refuses with the reason where the other region cannot help: it is full too, is cut off, or both regions must have the change", async () => {
    const regions = await regionsWithInstance();
    const { a, b, time, link } = regions;
    const key = newKey(regions);
    await time.until(a.store.commit(instance, [creation(key)], []));
    const create = (of: TestRegion) =>
      time.until(of.store.commit(instance, [creation(newKey(regions))], []));
    fill(a.own);
    const empty = fill(b.own);
    for (const region of [a, b]) await expect(create(region)).rejects.toEqual(failing("full"));
    // Neither lacks anything.
    await time.pass(300);
    for (const { store } of [a, b]) expect(store.serving()).toMatchObject({ from: "local" });
    empty();
    link.open = false;
    await time.pass(300);
    await expect(create(a)).rejects.toEqual(failing("full"));
    expect((await time.until(get(a.store, key)))?.object).toEqual(key);
    await create(b);
    link.open = true;
    await time.pass(300);
    await create(a);
    expect(a.store.serving().from).toBe("remote");
    link.open = false;
    await time.pass(300);
    expect(a.store.serving()).toMatchObject({ from: "local", through: true });
    await expect(create(a)).rejects.toEqual(failing("full"));
    expect((await time.until(get(a.store, key)))?.object).toEqual(key);
    await regions.close();

    const strict = await regionsWithInstance({ peerAcknowledgement: "required" });
    fill(strict.a.own);
    const refused = strict.a.store.commit(instance, [creation(newKey(strict))], []);
    await expect(strict.time.until(refused)).rejects.toEqual(failing("full"));
    expect(strict.a.other.calls).not.toContain("remote.commit");
    await strict.close();
  });

  test("serves its own data where each region lacks something that the other has", async () => {
    const regions = await regionsWithInstance();
    const { a, b, time } = regions;
    const [one, other] = [newKey(regions), newKey(regions)];
    const empty = fill(a.own);
    await time.until(b.store.commit(instance, [creation(one)], []));
    empty();
    const emptyB = fill(b.own);
    await a.own.commit(instance, [creation(other)], []);
    await b.own.loseLevel();
    fill(a.own);
    await time.pass(300);
    const both = async () => {
      for (const { store } of [a, b]) {
        for (const key of [one, other]) expect((await get(store, key))?.object).toEqual(key);
      }
    };
    await time.until(both());
    // Their leaders find no room again and again.
    for (let round = 0; round < 3; round += 1) {
      for (const { own } of [a, b]) await own.loseLevel();
      await time.pass(300);
      expect([a, b].map(({ store }) => store.serving().from)).toContain("local");
      await time.until(both());
    }
    emptyB();
    await regions.levelOf(b);
    await time.until(a.store.commit(instance, [creation(newKey(regions))], []));
    await regions.close();
  });

  test("lets the other region write the audit event that a read waits for", async () => {
    const regions = await regionsWithInstance();
    const { a, time } = regions;
    a.own.appendAudit = async () => {
      throw new StoreUnavailable("full", "no room");
    };
    const event = { time: 1, action: "kmip-key.read", outcome: "success" } as const;
    const audit = { ...event, initiator: "test", requestId: "r" };
    await time.until(a.store.appendAudit(instance, [audit], true));
    expect(a.other.calls).toContain("remote.appendAudit");
    expect(a.store.serving().from).toBe("local");
    await regions.close();
  });
});
