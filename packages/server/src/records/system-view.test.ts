import {
  changeRecord,
  type ManagedObject,
  makeRecord,
  markedIdentifier,
  StoreUnavailable,
  systemInstance,
  withDestroyed,
} from "@holdfast/engine";
import { MemoryOwnStore } from "@holdfast/engine/testing";
import { afterEach, describe, expect, test } from "vitest";
import { tokenValues } from "../testing/system-records.ts";
import { SystemView, type ViewSource } from "./system-view.ts";

const id = "6f1f0e9e-3f0f-4b8a-8f5c-2a8d8f4c1a00";
const now = (us: number) => ({ us, region: "a" });
const token = makeRecord("Token", id, { ...tokenValues, name: "ci" }, now(1));
const renamed = (name: string, us: number) => changeRecord("Token", token, { name }, now(us));

async function create(store: MemoryOwnStore, after: ManagedObject): Promise<void> {
  const outcome = await store.commit(systemInstance, [{ kind: "create", after }], []);
  expect(outcome.kind).toBe("committed");
}

async function update(store: MemoryOwnStore, after: ManagedObject): Promise<void> {
  const [before] = await store.read(systemInstance, [after.uniqueIdentifier]);
  if (before === undefined) throw new Error("nothing to update");
  await store.commit(systemInstance, [{ kind: "update", before, after }], []);
}

const open: SystemView[] = [];

function view(
  own: MemoryOwnStore,
  peer?: MemoryOwnStore,
  reachable = () => true,
  source: () => ViewSource = () => "own",
): SystemView {
  const peers =
    peer === undefined
      ? []
      : [
          {
            state: () => (reachable() ? "up" : "down") as "up" | "down",
            position: async () => ({ ...(await peer.position()), operations: [] }),
            changes: (...args: Parameters<MemoryOwnStore["changes"]>) => peer.changes(...args),
          },
        ];
  const made = new SystemView({
    own,
    peers,
    source,
    monotonicMs: () => performance.now(),
    observe: () => undefined,
    everyMs: 5,
  });
  open.push(made);
  return made;
}

afterEach(async () => {
  for (const one of open.splice(0)) await one[Symbol.asyncDispose]();
});

describe("the view of the system records", () => {
  test("shows what was written, and reports it to listeners", async () => {
    const store = new MemoryOwnStore();
    const seen = view(store);
    const told: string[] = [];
    seen.onChange((changed) =>
      told.push(...changed.map(({ uniqueIdentifier }) => uniqueIdentifier)),
    );
    await create(store, token);
    await seen.refresh();
    expect(seen.get("Token", id)).toMatchObject({ hash: tokenValues.hash, name: "ci" });
    expect(seen.get("User", id)).toBeUndefined();
    expect(told).toEqual([id]);
    await update(store, renamed("other", 2));
    await expect.poll(() => seen.get("Token", id)?.name).toBe("other");
    expect(seen.freshAtMs).toBeGreaterThan(0);
  });

  test("reads the other region while its own store is out of reach, and never forgets a deletion", async () => {
    const [own, peer] = [new MemoryOwnStore(), new MemoryOwnStore({ replicationId: "peer" })];
    await create(own, token);
    await create(peer, token);
    const seen = view(own, peer);
    await update(own, withDestroyed(token, now(3_000_000)));
    await seen.refresh();
    expect(seen.get("Token", id)?.destroyed).toBeDefined();
    own.setState("none");
    await update(peer, renamed("renamed", 4_000_000));
    await seen.refresh();
    const read = seen.get("Token", id);
    expect(read?.name).toBe("renamed");
    expect(read?.destroyed).toBeDefined();
  });

  test("does not count an old copy as complete while another region may have more", async () => {
    const [own, peer] = [new MemoryOwnStore(), new MemoryOwnStore({ replicationId: "peer" })];
    await create(own, token);
    await create(peer, token);
    await update(peer, withDestroyed(token, now(3_000_000)));
    let source: ViewSource = "other";
    let reachable = true;
    const seen = view(
      own,
      peer,
      () => reachable,
      () => source,
    );
    await seen.refresh();
    expect(seen.get("Token", id)?.destroyed).toBeDefined();
    reachable = false;
    await expect(seen.refresh()).rejects.toBeInstanceOf(StoreUnavailable);
    source = "any";
    await seen.refresh();
  });

  test("does not take what no region makes: the end of a kind that is never deleted", async () => {
    const [own, peer] = [new MemoryOwnStore(), new MemoryOwnStore({ replicationId: "peer" })];
    const region = makeRecord("Region", id, { region: "a", generation: 0, retired: 0 }, now(1));
    await create(own, region);
    await create(peer, withDestroyed(region, now(3_000_000)));
    const seen = view(own, peer);
    await seen.refresh();
    own.setState("none");
    await seen.refresh();
    expect(seen.get("Region", id)?.destroyed).toBeUndefined();
  });

  test("names a denial that cannot be read, until the other region shows it", async () => {
    const [own, peer] = [new MemoryOwnStore(), new MemoryOwnStore({ replicationId: "peer" })];
    const values = { match: "subject cn=x", reason: "r", createdMs: 1, createdBy: "t" };
    const denial = makeRecord("Deny", markedIdentifier("Deny", id), values, now(1));
    const unread = [denial.uniqueIdentifier];
    for (const store of [own, peer]) {
      await create(store, token);
      await create(store, denial);
    }
    const before = view(own);
    await before.refresh();
    own.damage(id);
    own.damage(denial.uniqueIdentifier);
    let reachable = false;
    const seen = view(own, peer, () => reachable);
    let told = 0;
    seen.onChange(() => {
      told += 1;
    });
    await seen.refresh();
    expect([...seen.unreadDenials]).toEqual(unread);
    expect(told).toBe(1);
    reachable = true;
    await seen.refresh();
    expect([...seen.unreadDenials]).toEqual([]);
    expect(seen.get("Deny", denial.uniqueIdentifier)?.match).toBe("subject cn=x");
    // A node that has read it needs no store for it.
    await before.refresh();
    expect([...before.unreadDenials]).toEqual([]);
  });

  test("names a version of the approval policy that cannot be read, until the other region shows it", async () => {
    const [own, peer] = [new MemoryOwnStore(), new MemoryOwnStore({ replicationId: "peer" })];
    const values = { text: "t", signatures: "s", createdMs: 1, createdBy: "t" };
    const policy = makeRecord(
      "ApprovalPolicy",
      markedIdentifier("ApprovalPolicy", id),
      values,
      now(1),
    );
    for (const store of [own, peer]) await create(store, policy);
    own.damage(policy.uniqueIdentifier);
    let reachable = false;
    const seen = view(own, peer, () => reachable);
    await seen.refresh();
    expect([...seen.unreadPolicies]).toEqual([policy.uniqueIdentifier]);
    reachable = true;
    await seen.refresh();
    expect([...seen.unreadPolicies]).toEqual([]);
    expect(seen.all("ApprovalPolicy")).toHaveLength(1);
  });

  test("names a denial that no region makes, also if it was pushed", async () => {
    const seen = view(new MemoryOwnStore());
    let told = 0;
    seen.onChange(() => {
      told += 1;
    });
    const values = { match: "subject cn=x", reason: "r", createdMs: 1, createdBy: "t" };
    const denial = makeRecord("Deny", markedIdentifier("Deny", id), values, now(1));
    // Of a type that this release does not know, and deleted: see `refusalOf` of the regions.
    seen.take([withDestroyed({ ...denial, objectType: 0x8000_0063 }, now(2))]);
    expect([...seen.unreadDenials]).toEqual([denial.uniqueIdentifier]);
    expect(told).toBe(1);
    seen.take([denial]);
    expect([...seen.unreadDenials]).toEqual([]);
  });

  test("keeps a bounded number of names of denials that cannot be read, and forgets none", async () => {
    const [own, peer] = [new MemoryOwnStore(), new MemoryOwnStore({ replicationId: "peer" })];
    await create(peer, token);
    own.setState("none");
    const nth = (at: number) => `8000000a-0000-4000-8000-${String(at).padStart(12, "0")}`;
    const names = Array.from({ length: 1_500 }, (_, at) => nth(at));
    const long = `8000000a-${"x".repeat(10_000)}`;
    const changes = peer.changes.bind(peer);
    peer.changes = async (...given) => ({
      ...(await changes(...given)),
      damaged: ["8000000a-", long, `${nth(0)}0`, ...names],
    });
    const seen = view(own, peer);
    await seen.refresh();
    expect([...seen.unreadDenials]).toEqual([...names.slice(0, 1_000), "(more)"]);
    const values = { match: "subject cn=x", reason: "r", createdMs: 1, createdBy: "t" };
    const odd = makeRecord("Deny", nth(5_000), { ...values, match: "something else" }, now(1));
    await create(peer, odd);
    await seen.refresh();
    expect([...seen.unreadDenials]).not.toContain(odd.uniqueIdentifier);
    // The others are found again as soon as there is room.
    let told = 0;
    seen.onChange(() => {
      told += 1;
    });
    seen.take(names.slice(0, 1_000).map((each) => makeRecord("Deny", each, values, now(1))));
    expect([...seen.unreadDenials]).toEqual(["(more)"]);
    await seen.refresh();
    await seen.refresh();
    expect(seen.unreadDenials).toEqual(new Set([odd.uniqueIdentifier, ...names.slice(1_000)]));
    expect(told).toBeGreaterThan(1);
  });

  test("names a denial that is no valid record, until that is deleted", async () => {
    const own = new MemoryOwnStore();
    const values = { match: "something else", reason: "r", createdMs: 1, createdBy: "t" };
    const denial = makeRecord("Deny", markedIdentifier("Deny", id), values, now(1));
    await create(own, denial);
    const seen = view(own);
    await seen.refresh();
    expect([...seen.unreadDenials]).toEqual([denial.uniqueIdentifier]);
    await update(own, withDestroyed(denial, now(2_000_000)));
    await seen.refresh();
    expect([...seen.unreadDenials]).toEqual([]);
  });

  test("cannot be refreshed when no store can be read", async () => {
    const own = new MemoryOwnStore();
    const seen = view(own, own, () => false);
    own.setState("none");
    await expect(seen.refresh()).rejects.toBeInstanceOf(StoreUnavailable);
  });
});
