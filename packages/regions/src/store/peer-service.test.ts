import {
  type AuditEvent,
  type Change,
  changeRecord,
  kekRecord,
  partitionOf,
  recordFormat,
  StoreUnavailable,
  systemInstance,
} from "@holdfast/engine";
import { describe, expect, test } from "vitest";
import {
  adding,
  creation,
  instance,
  must,
  newKey,
  put,
  regionsWithInstance,
} from "../testing/test-keys.ts";
import { copyOf } from "../testing/test-regions.ts";
import { PeerService } from "./peer-service.ts";

const fact = { time: 9, region: "a" };
const unserved = expect.objectContaining({ name: "StoreUnavailable", failure: "noLease" });

/** Region b as region a asks it, without a link between. */
async function world() {
  const regions = await regionsWithInstance();
  const { a, b, time } = regions;
  const shown: string[] = [];
  const ordered = new Set<string>();
  const service = new PeerService({
    region: "b",
    asking: "a",
    own: b.own,
    store: b.store,
    timers: time,
    observe: (event) => b.events.push(event),
    callingStores: () => [{ node: "a1", storeId: "store a" }],
    kek: async (of, id) => Buffer.from(`${of} ${id}`),
    ordered: async (...of) => ordered.has(of.join(" ")),
    givingEvents: ({ kekId, asking }) => [
      {
        ...{ time: 1, action: "kek.give", outcome: "success", initiator: `region ${asking}` },
        ...{ target: kekId, requestId: "r" },
      },
    ],
    pushed: (objects) => shown.push(...objects.map(({ uniqueIdentifier }) => uniqueIdentifier)),
  });
  /** Takes b's store out of service; it has a lease, but is not level. */
  const unlevel = () => {
    b.own.setState("none");
    b.own.setState("full");
    expect(b.store.serving().from).toBe("remote");
  };
  return { regions, a, b, time, service, shown, unlevel, ordered };
}

test("says who it is, and whether it serves", async () => {
  const { regions, b, time, service } = await world();
  expect(await service.hello()).toEqual({
    region: "b",
    generation: 1,
    retired: 0,
    serving: true,
    wallMs: time.wallMs(),
    recordFormat,
    storeId: "store b",
    callingStores: [{ node: "a1", storeId: "store a" }],
  });
  b.own.setState("readOnly");
  expect(await service.hello()).toMatchObject({ serving: false, storeId: "store b" });
  b.own.setState("none");
  expect((await service.hello()).storeId).toBe("");
  await regions.close();
});

test("answers the outcome of each pushed record, in order, and reports durable ones here", async () => {
  const { regions, b, service, shown } = await world();
  const [fresh, held, twin] = [newKey(regions), newKey(regions), newKey(regions)];
  await put(b, held);
  await put(b, twin);
  await b.own.reserve(instance, [held.uniqueIdentifier], "operation");
  const changed = { ...held, facts: { activated: fact } };
  expect(await service.push([{ ...twin, objectType: 4 }, changed, fresh, twin])).toEqual([
    "quarantined",
    "reserved",
    "durable",
    "durable",
  ]);
  expect(shown).toEqual([fresh.uniqueIdentifier, twin.uniqueIdentifier]);
  expect(b.events).toContainEqual({ type: "join", region: "a", result: "written" });
  b.own.instances.statusOf = () => "Deleted";
  expect(await service.push([newKey(regions)])).toEqual(["refused"]);
  await regions.close();
});

test("a pushed copy that is older than what both regions have does not take a damaged record's place", async () => {
  const { regions, a, b, time, service, unlevel } = await world();
  const key = newKey(regions);
  await time.until(a.store.commit(instance, [creation(key)], []));
  const older = { ...key, facts: { served: fact } };
  const before = await must(a.own, key);
  await time.until(a.store.commit(instance, [adding(before, "activated", fact)], []));
  b.own.damage(key.uniqueIdentifier);
  expect(await time.until(service.push([older]))).toEqual(["durable"]);
  expect((await copyOf(b, key))?.facts).toEqual({ served: fact, activated: fact });
  // No client is served from a store that is not level: it gets what it lacks before it is.
  b.own.damage(key.uniqueIdentifier);
  unlevel();
  const facts = { activated: fact };
  expect(await time.until(service.push([{ ...key, facts }]))).toEqual(["durable"]);
  expect((await copyOf(b, key))?.facts).toEqual(facts);
  await regions.close();
});

test("a store without a lease refuses pushes at once; a short lapse is not an outage", async () => {
  const { regions, b, time, service } = await world();
  for (const state of ["none", "readOnly"] as const) {
    b.own.setState(state);
    await time.pass(300);
    const began = time.monotonicMs();
    await expect(service.push([newKey(regions)])).rejects.toEqual(unserved);
    expect(time.monotonicMs()).toBe(began);
    b.own.setState("full");
    expect(await service.push([newKey(regions)])).toEqual(["durable"]);
  }
  b.own.setState("none");
  await time.pass(100);
  // Given to the store, which knows how long it waits.
  const given = service.push([newKey(regions)]).catch(() => undefined);
  b.own.setState("full");
  await time.until(given);
  await regions.close();
});

describe("a store with a lease that does not serve", () => {
  test("accepts pushes, and answers what it has", async () => {
    const { regions, b, service, unlevel } = await world();
    const key = newKey(regions);
    unlevel();
    expect(await service.push([key])).toEqual(["durable"]);
    const [copy] = await service.fetch(instance, [key.uniqueIdentifier]);
    expect(copy?.object).toEqual(key);
    const { numbers } = await service.position();
    const partition = partitionOf(instance);
    expect(numbers[partition]).toBeGreaterThan(0);
    expect((await service.changes(partition, 0, 10, 1 << 20)).objects).toEqual([key]);
    expect(await service.digests(partition)).toHaveLength(4_096);
    const mask = new Uint8Array(32).fill(255);
    expect((await service.leaves(partition, mask, undefined)).leaves).toHaveLength(1);
    expect((await service.records(partition, [key.uniqueIdentifier])).objects).toEqual([key]);
    expect(b.own.state()).toBe("full");
    await regions.close();
  });

  test("cannot answer a miss, cannot agree, and serves no clients of another region", async () => {
    const { regions, b, service, unlevel } = await world();
    const key = newKey(regions);
    await put(b, key);
    const before = await must(b.own, key);
    unlevel();
    await expect(service.fetch(instance, [newKey(regions).uniqueIdentifier])).rejects.toEqual(
      unserved,
    );
    await expect(service.reserve(instance, [key.uniqueIdentifier], "o")).rejects.toEqual(unserved);
    await expect(service.remote.read(instance, [key.uniqueIdentifier])).rejects.toEqual(unserved);
    const query = { live: true, destroyed: true, limit: 1 };
    await expect(service.remote.find(instance, query)).rejects.toEqual(unserved);
    const change = adding(before, "activated", fact);
    await expect(service.remote.commit(instance, [change], [])).rejects.toEqual(unserved);
    await expect(service.remote.appendAudit(instance, [], true)).rejects.toEqual(unserved);
    expect(await service.remote.markServed(instance, before, key)).toBe(false);
    expect((await copyOf(b, key))?.facts).toEqual({});
    await regions.close();
  });

  test("and that serves only reads serves no clients of another region either", async () => {
    const { regions, b, service } = await world();
    const key = newKey(regions);
    await put(b, key);
    regions.link.open = false;
    b.own.setState("readOnly");
    expect(b.store.serving()).toMatchObject({ from: "local", writes: false });
    await expect(service.reserve(instance, [key.uniqueIdentifier], "o")).rejects.toEqual(unserved);
    await expect(service.remote.read(instance, [key.uniqueIdentifier])).rejects.toEqual(unserved);
    const change = adding(await must(b.own, key), "activated", fact);
    await expect(service.remote.commit(instance, [change], [])).rejects.toEqual(unserved);
    const [copy] = await service.fetch(instance, [key.uniqueIdentifier]);
    expect(copy?.object).toEqual(key);
    await regions.close();
  });
});

test("nothing is forwarded: a miss, a read or a fetch is answered without asking a third store", async () => {
  const { regions, a, b, service } = await world();
  const key = newKey(regions);
  await put(a, key);
  b.other.calls.length = 0;
  expect(await service.fetch(instance, [key.uniqueIdentifier])).toEqual([undefined]);
  expect(await service.remote.read(instance, [key.uniqueIdentifier])).toEqual([undefined]);
  const query = { live: true, destroyed: true, limit: 1 };
  expect((await service.remote.find(instance, query)).objects).toEqual([]);
  expect(b.other.calls).toEqual([]);
  await regions.close();
});

test("the other region's clients cannot read a record that an agreed operation holds", async () => {
  const { regions, b, service } = await world();
  const key = newKey(regions);
  await put(b, key);
  expect(await service.reserve(instance, [key.uniqueIdentifier], "o")).toEqual({
    kind: "reserved",
  });
  const reserved = expect.objectContaining({ failure: "reserved" });
  await expect(service.remote.read(instance, [key.uniqueIdentifier])).rejects.toEqual(reserved);
  const query = { live: true, destroyed: true, limit: 1 };
  const found = await service.remote.find(instance, query);
  expect(found.objects[0]?.object.uniqueIdentifier).toBe(key.uniqueIdentifier);
  const [copy] = await service.fetch(instance, [key.uniqueIdentifier]);
  expect(copy?.reserved).toBe("o");
  const before = await must(b.own, key);
  const destroy = adding(before, "destroyed", fact);
  const agreed = service.remote.commit(instance, [destroy], [], { agreed: true });
  await expect(agreed).rejects.toMatchObject({ failure: "noAgreement" });
  expect((await service.write(instance, [destroy], [], "other")).kind).toBe("reserved");
  expect((await service.write(instance, [destroy], [], "o")).kind).toBe("committed");
  expect(await service.release(instance, "o")).toBe(0);
  await regions.close();
});

test("a compromised region cannot change an immutable part, take a fact back or bring material back", async () => {
  const { regions, b, service } = await world();
  const [key, dead] = [newKey(regions), newKey(regions)];
  await put(b, key);
  await put(b, dead);
  const alive = await must(b.own, dead);
  await b.own.commit(instance, [adding(alive, "destroyed", fact)], []);
  const [before, destroyed] = [await must(b.own, key), await must(b.own, dead)];
  const { material } = key;
  if (material === undefined) throw new Error("a key has material");
  const forged = { ...material, ciphertext: Buffer.from("another") };
  const bad: readonly Change[] = [
    { kind: "update", before, after: { ...key, material: forged } },
    { kind: "update", before, after: { ...key, material: undefined } },
    { kind: "update", before, after: { ...key, objectType: 4 } },
    // The object before is said to be what the change needs; only its tag is the record's.
    {
      kind: "update",
      before: { object: { ...key, material: forged }, tag: before.tag },
      after: { ...key, material: forged },
    },
    { kind: "update", before: destroyed, after: alive.object },
    { kind: "update", before: destroyed, after: { ...destroyed.object, material } },
    {
      kind: "update",
      before: { object: alive.object, tag: destroyed.tag },
      after: { ...alive.object, facts: { activated: fact } },
    },
    { kind: "create", after: { ...newKey(regions), facts: { destroyed: fact } } },
  ];
  const ids = [key.uniqueIdentifier, dead.uniqueIdentifier];
  for (const change of bad) {
    await expect(service.remote.commit(instance, [change], [])).rejects.toMatchObject({
      failure: "corrupt",
    });
    if (change.kind === "update") {
      expect(await service.remote.markServed(instance, change.before, change.after)).toBe(false);
    }
    await service.reserve(instance, ids, "o");
    await expect(service.write(instance, [change], [], "o")).rejects.toMatchObject({
      failure: "corrupt",
    });
    await service.release(instance, "o");
  }
  expect(await copyOf(b, key)).toEqual(key);
  expect(await copyOf(b, dead)).toEqual(destroyed.object);
  expect(b.events).toContainEqual(expect.objectContaining({ type: "warning" }));
  await regions.close();
});

test("a change for the other region's client is made here and pushed back", async () => {
  const { regions, a, b, time, service } = await world();
  const key = newKey(regions);
  await time.until(service.remote.commit(instance, [creation(key)], []));
  expect(await copyOf(b, key)).toEqual(key);
  expect(await copyOf(a, key)).toEqual(key);
  await regions.close();
});

test("an event that the other region sends cannot pass for one of this region, by any way", async () => {
  const { regions, b, time, service } = await world();
  const forged = (detail: Record<string, string>): AuditEvent => ({
    ...{ time: 1, action: "kmip-key.destroy", outcome: "success", initiator: "ab".repeat(32) },
    ...{ requestId: "r", detail },
  });
  const lies = [{}, { fromRegion: "b" }, { long: "x".repeat(70_000) }];
  for (const detail of lies) {
    const event = [forged(detail)];
    await service.remote.appendAudit(instance, event, true);
    await time.until(service.remote.commit(instance, [creation(newKey(regions))], event));
    const key = newKey(regions);
    await put(b, key);
    await service.reserve(instance, [key.uniqueIdentifier], "o");
    await service.write(instance, [adding(await must(b.own, key), "activated", fact)], event, "o");
    const kept = b.own.auditOf(instance).slice(-3);
    expect(kept.map(({ initiator }) => initiator)).toEqual(Array(3).fill("ab".repeat(32)));
    for (const each of kept) expect(each.detail).toMatchObject({ fromRegion: "a" });
  }
  expect(b.own.auditOf(instance)).toHaveLength(9);
  await regions.close();
});

describe("a KEK is given", () => {
  const id = "11111111-2222-4333-8444-555555555555";
  const wrapOf = (region: string) => ({
    ...{ region, rootOfTrust: "r", rootKeyVersion: "1", blob: new Uint8Array([1]) },
  });

  /** Region b has a KEK that these regions have wrapped. */
  async function withKek(...regions: readonly string[]) {
    const made = await world();
    const kek = { id, createdMs: 1, check: new Uint8Array([1]), wraps: regions.map(wrapOf) };
    const after = kekRecord({ instance: "i", kek }, true, { us: 1, region: "b" });
    await made.b.own.commit(systemInstance, [{ kind: "create", after }], []);
    const results = () =>
      made.b.events.flatMap((event) => (event.type === "kekGiven" ? [event.result] : []));
    const told: unknown[] = [];
    const { appendAudit } = made.b.own;
    made.b.own.appendAudit = async (of, events) => {
      told.push(...events.map(({ action, target }) => [of, action, target]));
      await appendAudit.call(made.b.own, of, events);
    };
    return { ...made, results, told };
  }

  test("to a region that has no wrap of it, once the event is kept", async () => {
    const { regions, b, service, results, told } = await withKek("b");
    expect(Buffer.from(await service.kek("i", id)).toString()).toBe(`i ${id}`);
    expect(told).toEqual([["i", "kek.give", id]]);
    expect(results()).toEqual(["missing"]);
    // Without the event, no KEK; and its bytes do not stay.
    b.own.appendAudit = () => Promise.reject(new StoreUnavailable("noLease", "away"));
    regions.link.open = false;
    await expect(service.kek("i", id)).rejects.toMatchObject({ name: "StoreUnavailable" });
    expect(results()).toEqual(["missing", "failed"]);
    await regions.close();
  });

  test("to a region that has wrapped it only by an order of this region", async () => {
    const { regions, ordered, service, results, told } = await withKek("b", "a");
    await expect(service.kek("i", id)).rejects.toThrow(
      "was wrapped for region a already; if that wrap is lost, run `holdfast root allow-adopt` in region b",
    );
    expect(told).toEqual([]);
    ordered.add(`${id} c`);
    await expect(service.kek("i", id)).rejects.toThrow("was wrapped for region a already");
    ordered.add(`${id} a`);
    expect(Buffer.from(await service.kek("i", id)).toString()).toBe(`i ${id}`);
    expect(told).toEqual([["i", "kek.give", id]]);
    expect(results()).toEqual(["refused", "refused", "ordered"]);
    await regions.close();
  });

  test("not to a region whose wrap was removed by a push, or is no valid wrap", async () => {
    const { regions, b, service, results } = await withKek("b", "a");
    const pushed = async (us: number, wraps: Readonly<Record<string, undefined>>) => {
      const [copy] = await service.fetch(systemInstance, [id]);
      if (copy === undefined) throw new Error("the KEK has a record");
      return changeRecord("Kek", copy.object, { wraps }, { us, region: "a" });
    };
    const removed = await pushed(2, { a: undefined });
    expect(await service.push([removed])).toEqual(["durable"]);
    expect((await b.own.read(systemInstance, [id]))[0]?.object).toEqual(removed);
    await expect(service.kek("i", id)).rejects.toThrow("was wrapped for region a already");
    const [text] = removed.fixed;
    if (text === undefined) throw new Error("a KEK's record names its instance");
    const stamp = { us: 3, region: "a" };
    const registers = removed.registers.map((register) =>
      register.key === "a"
        ? { ...register, value: { ...text, tag: register.tag }, stamp }
        : register,
    );
    expect(await service.push([{ ...removed, registers }])).toEqual(["durable"]);
    await expect(service.kek("i", id)).rejects.toThrow("was wrapped for region a already");
    expect(results()).toEqual(["refused", "refused"]);
    await regions.close();
  });

  test("not to a region that would write the record without its wrap", async () => {
    const { regions, b, service } = await withKek("b", "a");
    const [before] = await b.own.read(systemInstance, [id]);
    if (before === undefined) throw new Error("the KEK has a record");
    const registers = before.object.registers.filter(({ key }) => key !== "a");
    const change = { kind: "update", before, after: { ...before.object, registers } } as const;
    const corrupt = expect.objectContaining({ failure: "corrupt" });
    await expect(service.remote.commit(systemInstance, [change], [])).rejects.toEqual(corrupt);
    await service.reserve(systemInstance, [id], "o");
    await expect(service.write(systemInstance, [change], [], "o")).rejects.toEqual(corrupt);
    await service.release(systemInstance, "o");
    // A push without it changes nothing.
    expect(await service.push([change.after])).toEqual(["durable"]);
    await expect(service.kek("i", id)).rejects.toThrow("was wrapped for region a already");
    await regions.close();
  });

  test("while this region's own store is out, and its nodes make KEKs in the other region's", async () => {
    const { regions, a, b, time, service, results } = await withKek();
    b.own.setState("none");
    const made = id.replace("1", "3");
    const kek = { id: made, createdMs: 1, check: new Uint8Array([1]), wraps: [wrapOf("b")] };
    const after = kekRecord({ instance: "i", kek }, true, { us: 1, region: "b" });
    expect(b.store.serving().from).toBe("remote");
    await time.until(b.store.commit(systemInstance, [{ kind: "create", after }], []));
    const given = await time.until(service.kek("i", made));
    expect(Buffer.from(given).toString()).toBe(`i ${made}`);
    expect(results()).toEqual(["missing"]);
    expect(a.own.auditOf("i").map(({ action, target }) => [action, target])).toEqual([
      ["kek.give", made],
    ]);
    // Nobody has it then.
    regions.link.open = false;
    await expect(time.until(service.kek("i", made))).rejects.toMatchObject({
      name: "StoreUnavailable",
    });
    await regions.close();
  });

  test("not for another instance, not if it is unknown, and not if its wraps were erased", async () => {
    const { regions, service, told } = await withKek("b");
    await expect(service.kek("j", id)).rejects.toThrow("is not known");
    await expect(service.kek("i", id.replace("1", "2"))).rejects.toThrow("is not known");
    await regions.close();
    const erased = await withKek();
    await expect(erased.service.kek("i", id)).rejects.toThrow("was erased");
    expect([...told, ...erased.told]).toEqual([]);
    await erased.regions.close();
  });

  test("only to a region that is not retired", async () => {
    const { regions, b, service } = await withKek("b");
    b.store.records.isRetired = (region) => region === "a";
    await expect(service.kek("i", id)).rejects.toMatchObject({ failure: "retired" });
    await expect(service.reserve(instance, [], "o")).rejects.toMatchObject({ failure: "retired" });
    await expect(service.remote.read(instance, [])).rejects.toMatchObject({ failure: "retired" });
    await regions.close();
  });
});
