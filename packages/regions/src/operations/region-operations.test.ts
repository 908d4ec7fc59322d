import { StoreUnavailable, systemInstance } from "@holdfast/engine";
import { groupItem, MemoryOwnStore, sampleRegister } from "@holdfast/engine/testing";
import { describe, expect, test } from "vitest";
import { regionIdentifier } from "../serving/region-records.ts";
import {
  adding,
  creation,
  get,
  instance,
  must,
  newKey,
  put,
  regionsWithInstance,
} from "../testing/test-keys.ts";
import { copyOf, toolsOf } from "../testing/test-regions.ts";
import { changedRegion, entryOf, RegionRefused, retireRegion } from "./region-operations.ts";
import { rejoinAlone, rejoinRegion } from "./rejoin.ts";

const fact = { time: 9, region: "b" };

/** Region a was lost, and b's operator retired it; the link is still cut. */
async function retired() {
  const regions = await regionsWithInstance();
  const { a, b, time, link } = regions;
  link.open = false;
  await time.pass(200);
  const entry = await time.until(retireRegion("a", { endpointsAreOff: true }, toolsOf(regions, b)));
  await time.pass(1_200);
  return { regions, a, b, time, link, entry };
}

describe("retire", () => {
  test("retiring a region is refused if it answers, is this region or unknown, or is not confirmed", async () => {
    const regions = await regionsWithInstance();
    const { b, time, link } = regions;
    const tools = toolsOf(regions, b);
    const refused = async (lost: string, off: boolean) =>
      await expect(
        time.until(retireRegion(lost, { endpointsAreOff: off }, tools)),
      ).rejects.toBeInstanceOf(RegionRefused);
    await refused("a", true);
    // Its nodes are up, and cannot read their own store.
    b.other.before = (method) => {
      if (method === "hello") throw new StoreUnavailable("noLease", "no lease");
    };
    await refused("a", true);
    b.other.before = undefined;
    link.open = false;
    await refused("a", false);
    await refused("b", true);
    await refused("c", true);
    expect(b.store.records.isRetired("a")).toBe(false);
    await regions.close();
  });

  test("a region whose store is not level retires another one only if the operator confirms that too", async () => {
    const regions = await regionsWithInstance();
    const { b, time, link } = regions;
    // A resync is under way, as after the loss of its Redis; then one is needed that no node asked for.
    for (const lacking of [() => b.own.requestResync(), () => b.own.loseLevel()]) {
      link.open = true;
      await time.pass(200);
      await regions.bothLevel();
      link.open = false;
      await lacking();
      const retire = time.until(retireRegion("a", { endpointsAreOff: true }, toolsOf(regions, b)));
      await expect(retire).rejects.toThrow(
        /^the store of region b is not level: .* give --although-not-level a too$/,
      );
      expect((await entryOf(b.own, "a")).retired).toBe(0);
    }
    const confirmed = { endpointsAreOff: true, althoughNotLevel: true };
    const { retired } = await time.until(retireRegion("a", confirmed, toolsOf(regions, b)));
    expect(retired).toBe(1);
    await regions.close();
  });

  test("a new store that no node has used yet retires the other region, so that a backup can be restored into it", async () => {
    const regions = await regionsWithInstance();
    const { b, time, link } = regions;
    link.open = false;
    const tools = { ...toolsOf(regions, b), own: new MemoryOwnStore({ storeId: "new" }) };
    const { retired } = await time.until(retireRegion("a", { endpointsAreOff: true }, tools));
    expect(retired).toBe(1);
    await regions.close();
  });

  test("after retiring the other region, the survivor answers misses, Destroy and changes alone", async () => {
    const { regions, b, time, entry } = await retired();
    expect(entry).toEqual({ region: "a", generation: 1, retired: 1 });
    const key = newKey(regions);
    expect(await time.until(get(b.store, key))).toBeUndefined();
    await time.until(b.store.commit(instance, [creation(key)], []));
    const destroy = adding(await must(b.store, key), "destroyed", fact);
    const outcome = b.store.commit(instance, [destroy], [], { agreed: true });
    expect((await time.until(outcome)).kind).toBe("committed");
    expect(b.store.health().peers).toEqual([{ region: "a", state: "retired" }]);
    expect(await entryOf(b.own, "a")).toEqual(entry);
    expect(await entryOf(b.own, "b")).toEqual({ region: "b", generation: 1, retired: 0 });
    await regions.close();
  });

  test("ends as soon as the region is back: nothing more is destroyed without it", async () => {
    const { regions, b, time } = await retired();
    const key = newKey(regions);
    await put(b, key);
    const destroy = adding(await must(b.own, key), "destroyed", fact);
    const [before] = await b.own.read(systemInstance, [regionIdentifier("a")]);
    if (before === undefined) throw new Error("no record");
    const back = () => ({ generation: 2 });
    const after = changedRegion(before.object, "a", "a", time.wallMs(), back);
    await b.own.commit(systemInstance, [{ kind: "update", before, after }], []);
    // Its client follows the records a moment later.
    Object.assign(b.other.peer, { state: () => "retired" });
    const miss = time.until(get(b.store, newKey(regions)));
    await expect(miss).rejects.toMatchObject({ failure: "peerUnreachable" });
    const outcome = b.store.commit(instance, [destroy], [], { agreed: true });
    await expect(time.until(outcome)).rejects.toMatchObject({ failure: "noAgreement" });
    expect((await copyOf(b, key))?.facts).toEqual({});
    await regions.close();
  });

  test("holds after a restart of the region that stays", async () => {
    const { regions, b } = await retired();
    const [copy] = await b.own.read(systemInstance, [regionIdentifier("a")]);
    expect(copy).toBeDefined();
    await regions.close();
  });
});

describe("a retired region", () => {
  test("continues with its own data when an operator says that the region that stayed is lost for good", async () => {
    const { regions, a, b, time, link } = await retired();
    link.open = true;
    await time.pass(1_500);
    link.open = false;
    await time.pass(200);
    const tools = toolsOf(regions, a);
    const early = time.until(rejoinRegion(a.other.peer, tools));
    await expect(early).rejects.toMatchObject({ failure: "peerUnreachable" });
    const alone = () => time.until(rejoinAlone(a.other.peer, tools));
    await expect(alone()).rejects.toThrow(
      /^region b is not retired here: .* region retire b` first$/,
    );
    await time.until(retireRegion("b", { endpointsAreOff: true }, tools));
    await time.pass(1_200);
    expect(a.store.serving().from).toBe("none");
    link.open = true;
    await expect(alone()).rejects.toThrow("region b answers: it is not lost, so leave out --alone");
    link.open = false;
    expect((await entryOf(a.own, "a")).generation).toBe(1);
    expect(await alone()).toBe(2);
    await expect(alone()).rejects.toThrow("region a is not retired: nothing to do");
    await time.pass(1_200);
    expect(a.store.serving()).toMatchObject({ from: "local", writes: true });
    expect(await time.until(get(a.store, newKey(regions)))).toBeUndefined();
    // The lost one, back with its data, is the one that must rejoin.
    link.open = true;
    await time.pass(10_000);
    expect(b.store.serving().from).toBe("none");
    expect(a.store.serving().from).toBe("local");
    expect((await time.until(rejoinRegion(b.other.peer, toolsOf(regions, b)))).generation).toBe(2);
    await time.pass(10_000);
    await regions.bothLevel();
    expect(b.store.serving().from).toBe("local");
    await regions.close();
  });

  test("stops serving at its first contact, and does not serve when the link is cut again", async () => {
    const { regions, a, time, link } = await retired();
    expect(a.store.serving().from).toBe("local");
    link.open = true;
    await time.pass(150);
    expect(a.store.serving()).toMatchObject({ from: "none", writes: false });
    const key = newKey(regions);
    await expect(time.until(get(a.store, key))).rejects.toMatchObject({ failure: "retired" });
    const commit = a.store.commit(instance, [creation(key)], []);
    await expect(time.until(commit)).rejects.toMatchObject({ failure: "retired" });
    expect(await copyOf(a, key)).toBeUndefined();
    link.open = false;
    await time.pass(10_000);
    expect(a.store.serving().from).toBe("none");
    // The retirement is stored: another node of the region sees it without a contact to the other
    // region.
    await a.store.records.refresh();
    expect(a.store.records.of("a").retired).toBe(1);
    await regions.close();
  });

  test("gets nothing from the region that stays, and its pushes are still joined", async () => {
    const { regions, a, b, time, link } = await retired();
    const alone = newKey(regions);
    await time.until(a.store.commit(instance, [creation(alone)], []));
    link.open = true;
    const { peer } = a.other;
    await expect(time.until(peer.remote.read(instance, ["x"]))).rejects.toMatchObject({
      failure: "retired",
    });
    expect(await time.until(peer.push([alone]))).toEqual(["durable"]);
    expect(await copyOf(b, alone)).toEqual(alone);
    await regions.close();
  });
});

describe("rejoin", () => {
  test("announces nothing where there is nothing to do, and each step where there is", async () => {
    const steps: string[] = [];
    const progress = ({ step }: { readonly step: string }) => void steps.push(step);
    const settled = await regionsWithInstance();
    await expect(
      settled.time.until(
        rejoinRegion(settled.a.other.peer, toolsOf(settled, settled.a), { progress }),
      ),
    ).rejects.toBeInstanceOf(RegionRefused);
    expect(steps).toEqual([]);
    await settled.close();
    const { regions, a, time, link } = await retired();
    link.open = true;
    await time.pass(1_200);
    await time.until(rejoinRegion(a.other.peer, toolsOf(regions, a), { progress }));
    expect(steps[0]).toBe("checked");
    expect(steps.at(-1)).toBe("done");
    await regions.close();
  });

  test("joins old data into the survivor, fills up from it, and only then serves", async () => {
    const { regions, a, b, time, link } = await retired();
    const [alone, destroyed, fresh, both] = Array.from({ length: 4 }, () => newKey(regions));
    if (!(alone && destroyed && fresh && both)) throw new Error("no keys");
    await put(a, alone);
    for (const region of [a, b]) {
      await put(region, destroyed);
      await put(region, both);
    }
    const register = sampleRegister(groupItem("old data"), 5);
    const old = await must(a.own, both);
    const changed = { ...old.object, registers: [register] };
    await a.own.commit(instance, [{ kind: "update", before: old, after: changed }], []);
    const gone = adding(await must(b.store, destroyed), "destroyed", fact);
    await time.until(b.store.commit(instance, [gone], [], { agreed: true }));
    await put(b, fresh);
    link.open = true;
    await time.pass(200);
    const served: string[] = [];
    a.store.onServing(({ from }) => served.push(from));
    const tools = toolsOf(regions, a);
    const result = await time.until(rejoinRegion(a.other.peer, tools, { settleMs: 5_000 }));
    expect(result.generation).toBe(2);
    expect(served).toEqual([]);
    expect(await copyOf(a, destroyed)).toMatchObject({
      facts: { destroyed: fact },
      material: undefined,
    });
    expect(await copyOf(a, fresh)).toEqual(fresh);
    expect(await copyOf(b, alone)).toEqual(alone);
    expect((await copyOf(b, both))?.registers).toHaveLength(1);
    expect((await copyOf(b, destroyed))?.material).toBeUndefined();
    await time.pass(1_500);
    await regions.bothLevel();
    expect(a.store.serving()).toMatchObject({ from: "local", writes: true });
    expect(b.store.health().peers).toEqual([{ region: "a", state: "up" }]);
    // Both agree again.
    const destroy = adding(await must(a.store, alone), "destroyed", fact);
    const agreed = a.store.commit(instance, [destroy], [], { agreed: true });
    expect((await time.until(agreed)).kind).toBe("committed");
    expect((await copyOf(b, alone))?.facts.destroyed).toEqual(fact);
    await regions.close();
  });

  test("waits for operations that began without the region before it serves", async () => {
    const { regions, a, b, time, link } = await retired();
    const key = newKey(regions);
    for (const region of [a, b]) await put(region, key);
    link.open = true;
    await time.pass(200);
    const destroy = adding(await must(b.own, key), "destroyed", fact);
    const late = time.sleep(4_000).then(() => b.own.commit(instance, [destroy], []));
    await time.until(rejoinRegion(a.other.peer, toolsOf(regions, a), { settleMs: 5_000 }));
    await late;
    expect((await copyOf(a, key))?.facts.destroyed).toEqual(fact);
    await regions.close();
  });

  test("reads everything again where the survivor's store was replaced meanwhile: its numbers begin anew", async () => {
    const { regions, a, b, time, link } = await retired();
    const [known, late] = [newKey(regions), newKey(regions)];
    for (const key of [known, newKey(regions), newKey(regions)]) await put(b, key);
    link.open = true;
    await time.pass(200);
    const replaced = time.sleep(4_000).then(async () => {
      b.own.empty("another store", "b2");
      await b.own.instances.ensure(instance, instance);
      await put(b, late);
    });
    await time.until(rejoinRegion(a.other.peer, toolsOf(regions, a), { settleMs: 5_000 }));
    await replaced;
    expect(await copyOf(a, known)).toEqual(known);
    expect(await copyOf(a, late)).toEqual(late);
    await regions.close();
  });

  test("brings more records than a page has, both ways", async () => {
    const { regions, a, b, time, link } = await retired();
    const many = () => Array.from({ length: 600 }, () => newKey(regions));
    const [old, fresh] = [many(), many()];
    await a.own.commit(instance, old.map(creation), []);
    await b.own.commit(instance, fresh.map(creation), []);
    link.open = true;
    await time.pass(200);
    const tools = toolsOf(regions, a);
    await time.until(rejoinRegion(a.other.peer, tools, { settleMs: 0 }));
    for (const key of old) expect(await copyOf(b, key)).toEqual(key);
    for (const key of fresh) expect(await copyOf(a, key)).toEqual(key);
    await regions.close();
  });

  test("counts as given and taken only what was, also where copies contradict each other or are refused", async () => {
    const { regions, a, b, time, link } = await retired();
    const [given, taken, refused, both] = Array.from({ length: 4 }, () => newKey(regions));
    if (!(given && taken && refused && both)) throw new Error("no keys");
    for (const key of [given, refused, both]) await put(a, key);
    await put(b, taken);
    await put(b, { ...both, objectType: 4 });
    link.open = true;
    await time.pass(1_200);
    const { peer } = a.other;
    const { push } = peer;
    Object.assign(peer, {
      push: async (...[objects]: Parameters<typeof push>) => {
        const outcomes = await push(objects);
        const isRefused = (at: number) =>
          objects[at]?.uniqueIdentifier === refused.uniqueIdentifier;
        return outcomes.map((outcome, at) => (isRefused(at) ? "refused" : outcome));
      },
    });
    const { pushed, pulled } = await time.until(rejoinRegion(peer, toolsOf(regions, a)));
    // With the record of region a, which is read a second time after the rejoin has changed it.
    expect(pushed).toEqual({ records: 1 + 1, quarantined: 1, refused: 1 });
    expect(pulled).toEqual({ records: 3 + 2, quarantined: 1, refused: 0 });
    await regions.close();
  });

  test("takes a key that the survivor destroyed with a delay and restored, which sealed it anew", async () => {
    const { regions, a, b, time, link } = await retired();
    const material = {
      kekId: instance,
      nonce: new Uint8Array(12),
      ciphertext: new Uint8Array(32),
    };
    const key = { ...newKey(regions), material };
    await put(a, key);
    const destruction = { time: 9, region: "b", state: "restored", until: 99, us: 9e6 } as const;
    const anew = { ...material, nonce: new Uint8Array(12).fill(7) };
    await put(b, { ...key, facts: { destruction }, material: anew });
    link.open = true;
    await time.pass(200);
    const { pushed, pulled } = await time.until(
      rejoinRegion(a.other.peer, toolsOf(regions, a), { settleMs: 0 }),
    );
    expect([pushed.quarantined, pulled.quarantined]).toEqual([0, 0]);
    expect(await a.own.quarantined()).toBe(0);
    expect(await copyOf(a, key)).toMatchObject({ facts: { destruction }, material });
    await regions.close();
  });

  test("changes nothing where the survivor cannot read a record, or an operation keeps holding one here", async () => {
    const { regions, a, b, time, link } = await retired();
    const key = newKey(regions);
    for (const region of [a, b]) await put(region, key);
    const gone = adding(await must(b.own, key), "destroyed", fact);
    await b.own.commit(instance, [gone], []);
    link.open = true;
    await time.pass(1_200);
    const { peer } = a.other;
    const { push } = peer;
    const rejoin = () => time.until(rejoinRegion(peer, toolsOf(regions, a)));
    const unreadable = [
      async () => ["unread"],
      async () => {
        throw new StoreUnavailable("unknownFormat", "cannot be read");
      },
    ];
    for (const unread of unreadable) {
      Object.assign(peer, { push: unread });
      await expect(rejoin()).rejects.toMatchObject({
        message: expect.stringMatching(/^region b does not know the format of a record: /),
        by: "again",
      });
    }
    const refusal = "region b: it changes nothing before all nodes are upgraded";
    const notAgreed = async () => {
      throw new StoreUnavailable("formatNotAgreed", refusal);
    };
    Object.assign(peer, { push: notAgreed });
    const again = { message: `${refusal}; then give the command again`, by: "again" };
    await expect(rejoin()).rejects.toMatchObject(again);
    Object.assign(peer, { push });
    await a.own.reserve(instance, [key.uniqueIdentifier], "operation");
    await expect(rejoin()).rejects.toMatchObject({ failure: "reserved" });
    expect(await entryOf(a.own, "a")).toEqual({ region: "a", generation: 1, retired: 1 });
    await a.own.release(instance, "operation");
    expect((await rejoin()).generation).toBe(2);
    expect((await copyOf(a, key))?.facts.destroyed).toEqual(fact);
    await regions.close();
  });

  test("does not serve where the survivor does not take the record of the rejoin", async () => {
    const { regions, a, time, link } = await retired();
    link.open = true;
    await time.pass(1_200);
    const { peer } = a.other;
    Object.assign(peer, {
      push: async (objects: readonly unknown[]) => objects.map(() => "refused"),
    });
    await expect(time.until(rejoinRegion(peer, toolsOf(regions, a)))).rejects.toThrow(
      /^region b did not take the record of the rejoin: /,
    );
    await time.pass(1_200);
    expect(a.store.serving().from).toBe("none");
    await regions.close();
  });

  test("may be run again where it failed, and is refused where there is nothing to do", async () => {
    const { regions, a, time, link } = await retired();
    link.open = true;
    await time.pass(200);
    a.other.before = (method) => {
      if (method === "position") link.open = false;
    };
    const tools = toolsOf(regions, a);
    await expect(time.until(rejoinRegion(a.other.peer, tools))).rejects.toMatchObject({
      failure: "peerUnreachable",
    });
    expect(a.store.serving().from).toBe("none");
    a.other.before = undefined;
    link.open = true;
    expect((await time.until(rejoinRegion(a.other.peer, tools))).generation).toBe(2);
    await time.pass(1_500);
    await expect(time.until(rejoinRegion(a.other.peer, tools))).rejects.toBeInstanceOf(
      RegionRefused,
    );
    await regions.close();
  });

  test("brings both regions back, one after the other, where each retired the other", async () => {
    const { regions, a, b, time, link } = await retired();
    await time.until(retireRegion("b", { endpointsAreOff: true }, toolsOf(regions, a)));
    const [ofA, ofB] = [newKey(regions), newKey(regions)];
    await time.until(a.store.commit(instance, [creation(ofA)], []));
    await time.until(b.store.commit(instance, [creation(ofB)], []));
    link.open = true;
    await time.pass(6_000);
    expect([a.store.serving().from, b.store.serving().from]).toEqual(["none", "none"]);
    // One that does not answer is not lost for that: nothing is decided without it.
    link.open = false;
    const early = time.until(rejoinRegion(a.other.peer, toolsOf(regions, a)));
    await expect(early).rejects.toThrow(
      /^region b does not answer, and nothing was changed: .* with --alone b$/,
    );
    await expect(early).rejects.toMatchObject({ by: "again" });
    expect(await entryOf(a.own, "a")).toEqual({ region: "a", generation: 1, retired: 1 });
    link.open = true;
    await time.until(rejoinRegion(a.other.peer, toolsOf(regions, a)));
    await time.pass(6_000);
    expect([a.store.serving().from, b.store.serving().from]).toEqual(["local", "none"]);
    await time.until(rejoinRegion(b.other.peer, toolsOf(regions, b)));
    await time.pass(6_000);
    await regions.bothLevel();
    expect([a.store.serving().from, b.store.serving().from]).toEqual(["local", "local"]);
    for (const region of [a, b]) {
      for (const key of [ofA, ofB]) expect(await copyOf(region, key)).toEqual(key);
    }
    await regions.close();
  });
});

test("a survivor with old data, which knows nothing of a rejoin, hears of it before it continues alone", async () => {
  const { regions, b, time, link } = await retired();
  b.own.setState("none");
  link.open = true;
  // What the other region says about itself by now.
  const { hello } = b.other.peer;
  Object.assign(b.other.peer, { hello: async () => ({ ...(await hello()), generation: 2 }) });
  await time.pass(6_000);
  expect(b.store.records.of("a")).toEqual({ region: "a", generation: 1, retired: 1 });
  expect(b.store.health().peers).toEqual([{ region: "a", state: "up" }]);
  await regions.close();
});
