import { type AuditEvent, StoreUnavailable } from "@holdfast/engine";
import { expect, test } from "vitest";
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

const activation = { time: 8, region: "a" };

test("a second try that finds another writer's change is a conflict in doubt, not a success", async () => {
  const regions = await regionsWithInstance();
  const { a, b, time } = regions;
  const key = newKey(regions);
  for (const region of [a, b]) await put(region, key);
  const change = adding(await must(a.own, key), "activated", activation);
  await b.own.commit(instance, [adding(await must(b.own, key), "compromised", activation)], []);
  a.own.commit = async () => {
    a.own.setState("none");
    throw new StoreUnavailable("noLease", "lost before it was written");
  };
  const outcome = await time.until(a.store.commit(instance, [change], []));
  expect(outcome).toMatchObject({ kind: "conflict", doubt: true });
  await regions.close();
});

test("a second try that is refused does not say that the first one was not made", async () => {
  const regions = await regionsWithInstance();
  const { a, b, time } = regions;
  const key = newKey(regions);
  const commit = a.own.commit.bind(a.own);
  a.own.commit = async (...given) => {
    await commit(...given);
    a.own.setState("none");
    throw new StoreUnavailable("noLease", "lost after it was written");
  };
  a.other.before = async (method) => {
    if (method === "push") throw new StoreUnavailable("peerUnreachable", "the push is lost");
  };
  b.own.instances.setStatus(instance, "Removing");
  const created = a.store.commit(instance, [creation(key)], []);
  await expect(time.until(created)).rejects.toMatchObject({ failure: "barrierShort" });
  a.own.setState("readOnly");
  expect(await copyOf(a, key)).toEqual(key);
  await regions.close();
});

test("a second try that finds its change made by the first one's push leaves the event here too", async () => {
  const regions = await regionsWithInstance();
  const { a, b, time } = regions;
  const key = newKey(regions);
  for (const region of [a, b]) await put(region, key);
  const change = adding(await must(a.own, key), "activated", activation);
  const event: AuditEvent = {
    time: 8,
    action: "kmip-key.activate",
    outcome: "success",
    initiator: "client",
    requestId: "request",
    target: key.uniqueIdentifier,
  };
  a.own.commit = async () => {
    // The first try is made, and pushed; then its store is lost, and its events with it.
    await b.own.commit(instance, [change], [], { joined: true });
    a.own.setState("none");
    throw new StoreUnavailable("noLease", "lost after it was written");
  };
  const outcome = await time.until(a.store.commit(instance, [change], [event]));
  expect(outcome).toMatchObject({ kind: "committed" });
  expect(b.own.auditOf(instance)).toContainEqual({ ...event, detail: { fromRegion: "a" } });
  await regions.close();
});

test("a change that another region has after two tries there is not acknowledged where both regions must have it", async () => {
  for (const peerAcknowledgement of ["required", "preferred"] as const) {
    const regions = await regionsWithInstance({ peerAcknowledgement });
    const { a, b, time } = regions;
    const key = newKey(regions);
    const commit = b.store.commitOwn.bind(b.store);
    b.store.commitOwn = async (...given) => {
      // What it says is lost; another node finds the change made.
      await commit(...given).catch(() => undefined);
      return { kind: "committed", regions: ["b"] };
    };
    a.own.setState("none");
    await time.pass(200);
    const outcome = a.store.commit(instance, [creation(key)], []);
    if (peerAcknowledgement === "required") {
      await expect(time.until(outcome)).rejects.toMatchObject({ failure: "barrierShort" });
    } else expect(await time.until(outcome)).toEqual({ kind: "committed", regions: ["b"] });
    expect(await copyOf(b, key)).toEqual(key);
    await regions.close();
  }
});
