import {
  type ManagedObject,
  type OwnStore,
  type Removal,
  readAnyRecord,
  readKekRecord,
  type SystemRecord,
  systemInstance,
  withKekWrap,
} from "@holdfast/engine";
import { sampleObject } from "@holdfast/engine/testing";
import { attributeItem } from "@holdfast/kmip";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { systemIds } from "../../base/system.ts";
import { instanceRecordId } from "../../records/records.ts";
import { leftOf, objectsOf, systemRecords } from "../../testing/gone.ts";
import { type MemoryRegion, MemoryRegions } from "../../testing/memory-regions.ts";
import { type DeletionStep, deletionSteps } from "./deletion.ts";

const instance = "5d0a7a52-3b0c-4b60-9c2f-0f3b7d9a1e01";
const actor = { principal: { name: "ci", id: "t" }, requestId: "r" };
const refused = (code: string) => expect.objectContaining({ name: "ManagementError", code });
const active = { activated: { time: 1, region: "a" } };

let regions: MemoryRegions;

beforeEach(async () => {
  regions = new MemoryRegions();
  await regions.instance(instance);
});

afterEach(() => regions[Symbol.asyncDispose]());

function entry({ view }: MemoryRegion = regions.a): SystemRecord<"Instance"> {
  const found = view.get("Instance", instanceRecordId(instance));
  if (found === undefined) throw new Error("no instance");
  return found;
}

async function create(
  { store }: MemoryRegion,
  facts: ManagedObject["facts"] = {},
  registers?: ManagedObject["registers"],
): Promise<string | undefined> {
  const object = sampleObject(instance, systemIds.uuid());
  const after = { ...object, facts, registers: registers ?? object.registers };
  const outcome = await store.commit(instance, [{ kind: "create", after }], []);
  return outcome.kind === "committed" ? after.uniqueIdentifier : undefined;
}

async function deleteAt(region: MemoryRegion, force = false): Promise<void> {
  const { deletion, view } = region;
  await deletion.decide(entry(region), force, actor);
  const { removal } = entry(region);
  if (removal === undefined) throw new Error("no removal");
  await deletion.finish(instance, removal);
  const fact = view.get("Instance", instanceRecordId(instance))?.destroyed;
  if (fact === undefined) throw new Error("no fact");
  await deletion.eraseObjects(instance, fact, 1_000, () => true);
}

/** Until the leaders have nothing to do any more. */
async function settled(): Promise<void> {
  for (let rounds = 0; rounds < 6; rounds += 1) await regions.lead();
}

/** How often a region has said that three records are left. */
function toldLeft({ events }: MemoryRegion): number {
  return events.filter((event) =>
    /instance .* 3 records of it are left/.test(JSON.stringify(event)),
  ).length;
}

/** As if no deletion had been tried. */
async function expectOpen(): Promise<void> {
  for (const region of regions.both) {
    expect(await region.own.status(instance)).toBe("Installed");
    await region.view.refresh();
    expect(entry(region)).toMatchObject({ status: "Installed", removal: undefined });
    expect(await create(region)).toBeDefined();
  }
}

describe("the deletion of an instance", () => {
  test("ends access, keys and objects in both regions, for ever", async () => {
    for (const region of regions.both) await create(region);
    await deleteAt(regions.a, true);
    for (const region of regions.both) expect(await create(region)).toBeUndefined();
    await settled();
    expect(await objectsOf(regions.b, instance)).toHaveLength(2);
    expect(await leftOf(regions, instance)).toEqual([]);
  });

  test("with Active keys is refused, says how many are where, and leaves everything as it was", async () => {
    for (const region of [regions.a, regions.a, regions.b]) await create(region, active);
    regions.linked = false;
    await create(regions.b, active);
    regions.linked = true;
    const failure = deleteAt(regions.a);
    await expect(failure).rejects.toEqual(refused("keysRemain"));
    await expect(failure).rejects.toMatchObject({ extra: { states: { Active: 4 } } });
    await expect(failure).rejects.toThrow("exist: 3 Active in region a; 4 Active in region b;");
    await expectOpen();
    await deleteAt(regions.b, true);
    await settled();
    expect(await leftOf(regions, instance)).toEqual([]);
  });

  const at = { time: 5, region: "b" } as const;
  // Dates long past, whose facts nobody has written: only facts are counted.
  const planned = (["ActivationDate", "DeactivationDate"] as const).map((name) => {
    const value = attributeItem(name, 1);
    const stamp = { us: 1, region: "a" };
    return { tag: value.tag, key: "", index: 0, origin: "", value, stamp };
  });
  test.each<[string, ManagedObject["facts"], ManagedObject["registers"]?]>([
    ["PreActive", {}],
    ["PreActive", {}, planned],
    ["Active", active],
    ["Active", active, planned],
    ["Deactivated", { ...active, deactivated: at }],
    ["Compromised", { ...active, compromised: at }],
  ])(
    "with a %s key is refused, and leaves everything as it was",
    async (state, facts, registers) => {
      await create(regions.b, facts, registers);
      const failure = deleteAt(regions.a);
      await expect(failure).rejects.toEqual(refused("keysRemain"));
      await expect(failure).rejects.toMatchObject({ extra: { states: { [state]: 1 } } });
      await expectOpen();
      await deleteAt(regions.a, true);
      await settled();
      expect(await leftOf(regions, instance)).toEqual([]);
    },
  );

  test("is refused while the other region cannot be reached", async () => {
    regions.linked = false;
    await expect(deleteAt(regions.a)).rejects.toEqual(refused("peerUnreachable"));
    regions.linked = true;
    await settled();
    await expectOpen();
  });

  test("that loses the other region before its decision keeps the instance closed until it is dropped or finished", async () => {
    regions.a.step = (step) => {
      if (step === "hold") regions.linked = false;
    };
    const failure = deleteAt(regions.a);
    await expect(failure).rejects.toEqual(refused("peerUnreachable"));
    await expect(failure).rejects.toThrow("stays closed until a leader");
    expect(await create(regions.a)).toBeUndefined();
    await settled();
    regions.linked = true;
    regions.a.step = () => undefined;
    await settled();
    expect(await leftOf(regions, instance)).toEqual([]);
  });

  test("erases a copy that another region still has, and a wrap that it makes meanwhile", async () => {
    const id = await create(regions.a);
    regions.linked = false;
    const alone = await create(regions.b);
    regions.linked = true;
    await deleteAt(regions.a, true);
    // Late changes: a copy that is not destroyed yet, and a wrap made a moment later.
    const [before] = await regions.b.own.read(instance, [alone ?? ""]);
    expect(before?.object.material).toBeDefined();
    const keks = (await systemRecords(regions.b)).filter((record) => readKekRecord(record));
    const [kek] = keks;
    if (kek === undefined) throw new Error("no KEK");
    const later = { us: Date.now() * 1_000 + 60_000_000, region: "b" };
    const wrap = { region: "b", rootOfTrust: "r", rootKeyVersion: "2", blob: new Uint8Array([2]) };
    const [known] = await regions.b.own.read(systemInstance, [kek.uniqueIdentifier]);
    if (known === undefined) throw new Error("no KEK");
    const after = withKekWrap(known.object, wrap, later);
    await regions.b.own.commit(systemInstance, [{ kind: "update", before: known, after }], []);
    await settled();
    expect(await leftOf(regions, instance)).toEqual([]);
    const ids = (await objectsOf(regions.a, instance)).map(
      ({ uniqueIdentifier }) => uniqueIdentifier,
    );
    expect(ids.toSorted()).toEqual([id, alone].toSorted());
  });

  test("counts the keys once nobody can create objects in the instance", async () => {
    const tries: Promise<string | undefined>[] = [];
    regions.b.step = (step) => {
      if (step !== "recount" && step !== "decide") return;
      for (const region of regions.both) tries.push(create(region, active));
    };
    await deleteAt(regions.b);
    expect(await Promise.all(tries)).toEqual([undefined, undefined, undefined, undefined]);
    await settled();
    expect(await leftOf(regions, instance)).toEqual([]);
  });

  test("leaves no credentials of a key manager in the deleted instance's record", async () => {
    const changes = { root: { a: { type: "local" } }, rootNext: { b: "x" }, rootLeft: { a: "y" } };
    const id = instanceRecordId(instance);
    await regions.a.records.change("Instance", id, () => changes, []);
    await deleteAt(regions.b);
    await settled();
    for (const { own } of regions.both) {
      const [mark] = await own.read(systemInstance, [id]);
      const left = mark?.object.registers.filter(({ value }) => value !== undefined) ?? [];
      expect(left.filter(({ key }) => key.startsWith("root"))).toEqual([]);
    }
    expect(await leftOf(regions, instance)).toEqual([]);
  });

  test("closes the instance, erases its keys' wraps and deletes its certificates by itself, before the leaders come", async () => {
    await deleteAt(regions.a, true);
    for (const { own } of regions.both) expect(await own.status(instance)).toBe("Deleted");
    const records = await systemRecords(regions.a);
    const keks = records.flatMap((record) => readKekRecord(record) ?? []);
    expect(keks.map(({ kek }) => kek.wraps)).toEqual([[]]);
    const certificates = records.filter((record) => readAnyRecord(record)?.type === "Certificate");
    expect(certificates.map(({ facts }) => facts.destroyed !== undefined)).toEqual([true]);
  });

  describe("with keys that are destroyed with a delay", () => {
    const destruction = { time: 1, region: "a", state: "pending", until: 9e9, us: 1 } as const;

    test("is refused, and says that they can still be restored", async () => {
      await create(regions.a, { destruction });
      await create(regions.a, { destroyed: { time: 1, region: "a" } });
      const failure = deleteAt(regions.a);
      await expect(failure).rejects.toMatchObject({ extra: { states: { Restorable: 1 } } });
      await expect(failure).rejects.toThrow("1 that can still be restored in region a");
      await settled();
      await expectOpen();
    });

    test("erases their material if it is forced", async () => {
      await create(regions.a, { destruction });
      await deleteAt(regions.a, true);
      await settled();
      expect(await objectsOf(regions.b, instance)).toHaveLength(1);
      expect(await leftOf(regions, instance)).toEqual([]);
    });
  });

  test("has not erased all objects while an agreed operation holds one, and leaves no material", async () => {
    const id = await create(regions.a);
    await regions.a.own.reserve(instance, [id ?? ""], "operation");
    const fact = { time: 9, region: "a" };
    const erase = () => regions.a.deletion.eraseObjects(instance, fact, 10, () => true);
    expect(await erase()).toMatchObject({ done: 0, all: false });
    await regions.a.own.release(instance, "operation");
    expect(await erase()).toEqual({ done: 1, all: true, unproven: 0 });
    const [erased] = await objectsOf(regions.a, instance);
    expect(erased?.facts.destroyed?.time).toBe(9);
    expect(erased?.material).toBeUndefined();
  });

  test("ends although records of it cannot be proven in any region, and says how many; those of others stay", async () => {
    const { view } = regions.a;
    const kept = (await create(regions.b, active)) ?? "";
    const other = "5d0a7a52-3b0c-4b60-9c2f-0f3b7d9a1e02";
    await regions.instance(other);
    const neighbour = sampleObject(other, systemIds.uuid());
    await regions.b.store.commit(other, [{ kind: "create", after: neighbour }], []);
    await view.refresh();
    const system = [view.of("Certificate", instance), view.of("Kek", instance)];
    const damaged: [string, string][] = system.flatMap((found) =>
      [...found.values()].map(({ id }): [string, string] => [systemInstance, id]),
    );
    const lost = (await create(regions.a)) ?? "";
    damaged.push([instance, lost], [other, neighbour.uniqueIdentifier]);
    for (const [, id] of damaged) for (const { own } of regions.both) own.damage(id);
    await deleteAt(regions.a, true);
    regions.linked = false;
    await settled();
    // Not before the other region says the same.
    expect(regions.both.map(toldLeft)).toEqual([0, 0]);
    regions.linked = true;
    await settled();
    expect(regions.both.map(toldLeft)).toEqual([1, 1]);
    for (const { own } of regions.both) {
      const [erased] = await own.read(instance, [kept]);
      expect(erased?.object.facts.destroyed).toBeDefined();
      const evidence = own.auditOf(systemInstance).map(({ detail }) => detail?.["unproven"]);
      expect(evidence.filter(Boolean)).toEqual([3, 3]);
      // Nothing that is not proven is touched, of whatever instance it is.
      const reads = await Promise.allSettled(damaged.map(([of, id]) => own.read(of, [id])));
      expect(reads.map(({ status }) => status)).toEqual(Array(4).fill("rejected"));
    }
  });

  test("is refused while a region still counts its keys", async () => {
    const counting: Pick<OwnStore, "counts"> = regions.b.own;
    counting.counts = async () => undefined;
    await expect(deleteAt(regions.a)).rejects.toEqual(refused("storeUnavailable"));
    await settled();
    await expectOpen();
  });

  test("is refused, and the process goes on, if the other region refuses before the own store has counted", async () => {
    const unhandled: unknown[] = [];
    const note = (error: unknown): void => void unhandled.push(error);
    process.on("unhandledRejection", note);
    const counts = regions.a.own.counts.bind(regions.a.own);
    const counting: Pick<OwnStore, "counts"> = regions.a.own;
    counting.counts = async (of) => {
      await turn();
      return await counts(of);
    };
    regions.linked = false;
    await expect(regions.a.deletion.remaining(instance)).rejects.toEqual(
      refused("peerUnreachable"),
    );
    await turn();
    process.off("unhandledRejection", note);
    expect(unhandled).toEqual([]);
  });

  test("cannot be dropped once it is decided", async () => {
    regions.a.step = (step) => {
      if (step === "certificates") throw new Error("died");
    };
    await expect(deleteAt(regions.a, true)).rejects.toThrow("died");
    const { removal } = entry();
    if (removal === undefined) throw new Error("no removal");
    await regions.a.deletion.drop(instance, removal);
    await regions.a.view.refresh();
    expect(entry()).toMatchObject({ status: "Removing", removal: { phase: "decided" } });
  });

  test("that was dropped meanwhile is not decided, nor is another one in its place", async () => {
    await create(regions.b, active);
    const forced = await abandoned(regions.a, true);
    await regions.b.deletion.drop(instance, forced);
    const { id } = await abandoned(regions.b, false);
    const late = regions.a.deletion.resume(instance, forced);
    await expect(late).rejects.toEqual(refused("conflict"));
    await regions.a.view.refresh();
    expect(entry()).toMatchObject({ status: "Removing", removal: { id, phase: "reserved" } });
    await settled();
    await expectOpen();
  });

  test("leaves objects that were destroyed before unchanged", async () => {
    const destroyed = { time: 5, region: "b" };
    const after = { ...sampleObject(instance, systemIds.uuid()), material: undefined };
    const gone = { ...after, facts: { destroyed } };
    await regions.a.store.commit(instance, [{ kind: "create", after: gone }], []);
    await deleteAt(regions.a);
    await settled();
    expect((await objectsOf(regions.b, instance))[0]?.facts.destroyed).toEqual(destroyed);
    expect(await leftOf(regions, instance)).toEqual([]);
  });
});

describe("a node that dies", () => {
  test.each(deletionSteps.flatMap((step) => [[step, true] as const, [step, false] as const]))(
    "before the step %s (forced: %s) leaves a deletion that leaders finish or drop",
    async (step: DeletionStep, force: boolean) => {
      if (force) await create(regions.b, active);
      const died = new Error(`died before ${step}`);
      regions.a.step = (now) => {
        // From then on the node does nothing more, not even report.
        if (deletionSteps.indexOf(now) >= deletionSteps.indexOf(step)) throw died;
      };
      regions.a.deletion.drop = () => Promise.reject(died);
      await expect(deleteAt(regions.a, force)).rejects.toBe(died);
      await takeOver();
      if (step === "reserve") await expectOpen();
      else expect(await leftOf(regions, instance)).toEqual([]);
    },
  );

  test("after its reservation, with Active keys, has its deletion dropped", async () => {
    await create(regions.b, active);
    await abandoned(regions.a, false);
    await settled();
    await expectOpen();
  });
});

describe("a creation that races with a deletion", () => {
  /** Creates in both regions while the instance is deleted in one of them; answers what was acknowledged. */
  async function race(round: number, facts: ManagedObject["facts"], force: boolean) {
    const ids: string[] = [];
    let over = false;
    const creating = regions.both.map(async (region, at) => {
      for (let count = 0; !over || count < 3; count += 1) {
        const id = await create(region, facts);
        if (id !== undefined) ids.push(id);
        for (let turns = (round * 7 + at * 3 + count) % 5; turns > 0; turns -= 1) await turn();
      }
    });
    for (let turns = round % 11; turns > 0; turns -= 1) await turn();
    const deleting = deleteAt(round % 2 === 0 ? regions.a : regions.b, force);
    const deleted = await deleting.then(
      () => true,
      (error: unknown) => {
        expect(error).toEqual(refused("keysRemain"));
        return false;
      },
    );
    over = true;
    await Promise.all(creating);
    await settled();
    return { ids, deleted };
  }

  async function expectAlive(ids: readonly string[]): Promise<void> {
    for (const region of regions.both) {
      const found = await objectsOf(region, instance);
      for (const { uniqueIdentifier, facts } of found) {
        if (ids.includes(uniqueIdentifier)) expect(facts.destroyed).toBeUndefined();
      }
    }
  }

  async function afresh(): Promise<void> {
    await regions[Symbol.asyncDispose]();
    regions = new MemoryRegions();
    await regions.instance(instance);
  }

  test("is refused, or erased too, in both regions and every time", async () => {
    let made = 0;
    for (let round = 0; round < 30; round += 1) {
      await afresh();
      const { ids, deleted } = await race(round, {}, true);
      expect(deleted).toBe(true);
      made += ids.length;
      expect(await leftOf(regions, instance)).toEqual([]);
      for (const region of regions.both) {
        const known = new Set(
          (await objectsOf(region, instance)).map((one) => one.uniqueIdentifier),
        );
        for (const id of ids) expect(known.has(id)).toBe(true);
      }
    }
    expect(made).toBeGreaterThan(30);
  });

  test("of keys stops the deletion, unless none was acknowledged", async () => {
    const outcomes = new Set<boolean>();
    for (let round = 0; round < 30; round += 1) {
      await afresh();
      const { ids, deleted } = await race(round, round % 2 === 0 ? active : {}, false);
      outcomes.add(deleted);
      if (deleted) {
        expect(ids).toEqual([]);
        expect(await leftOf(regions, instance)).toEqual([]);
        continue;
      }
      await expectOpen();
      await expectAlive(ids);
    }
    expect(outcomes.has(false)).toBe(true);
  });
});

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** A deletion whose node died once it had reserved the instance. */
async function abandoned(region: MemoryRegion, force: boolean): Promise<Removal> {
  const died = new Error("died");
  region.step = (now) => {
    if (now !== "reserve") throw died;
  };
  region.deletion.drop = () => Promise.reject(died);
  await expect(deleteAt(region, force)).rejects.toBe(died);
  revive(region);
  await region.view.refresh();
  const { removal } = entry(region);
  if (removal === undefined) throw new Error("no removal");
  return removal;
}

function revive(region: MemoryRegion): void {
  region.step = () => undefined;
  Reflect.deleteProperty(region.deletion, "drop");
}

/** The leaders of both regions, on nodes that live. */
async function takeOver(): Promise<void> {
  revive(regions.a);
  await settled();
}
