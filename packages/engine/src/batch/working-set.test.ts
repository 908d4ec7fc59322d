import { attributeItem, type ImplementedOperation } from "@holdfast/kmip";
import { ItemType } from "@holdfast/ttlv";
import { beforeEach, describe, expect, test } from "vitest";
import type { Locks } from "../concurrency/locks.ts";
import type { CommitOptions } from "../ports/objects.ts";
import type { ManagedObject } from "../record/record.ts";
import { aesKey, named } from "../testing/test-attributes.ts";
import { type TestEngine, testEngine } from "../testing/test-engine.ts";

let engine: TestEngine;

beforeEach(async () => {
  engine = await testEngine();
});

async function stored(id: string, subject = engine): Promise<ManagedObject> {
  const [found] = await subject.store.read("i", [id]);
  if (found === undefined) throw new Error("not stored");
  return found.object;
}

async function created(
  given: Parameters<typeof aesKey>[0] = {},
  subject = engine,
): Promise<string> {
  return (await subject.ask("2.1", "Create", aesKey(given))).uniqueIdentifier;
}

const comment = (value: string) => ({ item: attributeItem("ObjectGroup", value) });

describe("without a lock", () => {
  const noLocks: Locks = { withLock: (_resource, body) => body() };

  test("twenty writers of one object lose nothing", async () => {
    const subject = await testEngine({ locks: noLocks });
    const uniqueIdentifier = await created({}, subject);
    const groups = Array.from({ length: 20 }, (_, at) => `group ${at}`);
    await Promise.all(
      groups.map((group) =>
        subject.ask("2.1", "AddAttribute", { uniqueIdentifier, newAttribute: comment(group) }),
      ),
    );
    const kept = (await stored(uniqueIdentifier, subject)).registers.flatMap(({ value }) =>
      value?.type === ItemType.TextString ? [value.value] : [],
    );
    expect(kept.toSorted()).toEqual(groups.toSorted());
    expect(subject.events.some(({ type }) => type === "casConflict")).toBe(true);
  });

  test("two hosts that race to activate both get Success, and one date", async () => {
    const subject = await testEngine({ locks: noLocks });
    const uniqueIdentifier = await created({}, subject);
    const both = [1, 2].map(() => subject.ask("1.1", "Activate", { uniqueIdentifier }));
    expect(await Promise.all(both)).toEqual([{ uniqueIdentifier }, { uniqueIdentifier }]);
  });

  test("one of Activate and Destroy wins, and the other is refused", async () => {
    const subject = await testEngine({ locks: noLocks });
    const uniqueIdentifier = await created({}, subject);
    const reasons = await Promise.all([
      subject.reason("2.1", "Activate", { uniqueIdentifier }),
      subject.reason("2.1", "Destroy", { uniqueIdentifier }),
    ]);
    expect(reasons.filter((reason) => reason === undefined)).toHaveLength(1);
    expect(["ObjectDestroyed", "WrongKeyLifecycleState"]).toContain(
      reasons.find((reason) => reason !== undefined),
    );
  });
});

test("lifecycle transitions hold the object's lock, attribute changes and reads do not", async () => {
  const held: string[] = [];
  const locks: Locks = {
    withLock: (resource, body) => {
      held.push(resource);
      return body();
    },
  };
  const subject = await testEngine({ locks });
  const uniqueIdentifier = await created({}, subject);
  await subject.ask("2.1", "Get", { uniqueIdentifier });
  await subject.ask("2.1", "AddAttribute", { uniqueIdentifier, newAttribute: comment("g") });
  expect(held).toEqual([]);
  await subject.ask("2.1", "Activate", { uniqueIdentifier });
  expect(held).toEqual([`i/${uniqueIdentifier}`]);
});

test("a store that always reports a conflict causes an error that is not Not Found", async () => {
  const uniqueIdentifier = await created();
  engine.store.commit = async () => ({ kind: "conflict", uniqueIdentifier });
  expect(await engine.reason("2.1", "Activate", { uniqueIdentifier })).toBe("GeneralFailure");
});

test.each([
  [
    "is unknown where it may have been made before another writer's",
    { doubt: true },
    "GeneralFailure",
  ],
  ["is refused where it was not made", {}, "WrongKeyLifecycleState"],
] as const)("a Revoke that finds the object revoked %s", async (_, doubt, reason) => {
  const uniqueIdentifier = await created();
  const commit = engine.store.commit.bind(engine.store);
  engine.store.commit = async (...given) => {
    engine.store.commit = commit;
    await commit(...given);
    return { kind: "conflict", uniqueIdentifier, ...doubt };
  };
  const revocationReason = { code: "KeyCompromise" } as const;
  const request = { uniqueIdentifier, revocationReason };
  expect(await engine.reason("2.1", "Revoke", request)).toBe(reason);
  expect(await engine.reason("2.1", "Revoke", request)).toBe("WrongKeyLifecycleState");
});

test("no item of an Undo batch is undone or refused if an earlier attempt may have been made", async () => {
  const uniqueIdentifier = await created();
  const commit = engine.store.commit.bind(engine.store);
  engine.store.commit = async (...given) => {
    engine.store.commit = commit;
    await commit(...given);
    return { kind: "conflict", uniqueIdentifier, doubt: true };
  };
  const revocationReason = { code: "KeyCompromise" } as const;
  const { items } = await engine.send(
    "1.4",
    [
      ["Create", aesKey()],
      ["Revoke", { uniqueIdentifier, revocationReason }],
    ],
    { batchErrorContinuationOption: "Undo" },
  );
  const unknown = { status: "OperationFailed", reason: "GeneralFailure" };
  expect(items).toMatchObject([unknown, unknown]);
  expect((await stored(uniqueIdentifier)).facts.compromised).toBeDefined();
});

test.each([["Stop"], ["Undo"]] as const)(
  "the outcome of a change is unknown if its first try may have been made, and all later ones met other writers (%s)",
  async (batchErrorContinuationOption) => {
    const uniqueIdentifier = await created();
    let tries = 0;
    engine.store.commit = async () => {
      tries += 1;
      return { kind: "conflict", uniqueIdentifier, ...(tries === 1 && { doubt: true }) };
    };
    const { items } = await engine.send("1.4", [["Activate", { uniqueIdentifier }]], {
      batchErrorContinuationOption,
    });
    expect(items).toMatchObject([{ status: "OperationFailed", reason: "GeneralFailure" }]);
    const outcomes = engine.store
      .auditOf("i")
      .filter(({ action }) => action === "kmip-key.activate")
      .map(({ outcome }) => outcome);
    expect(outcomes.at(-1)).toBe("unknown");
  },
);

test("an instance that is not open takes no changes and can still be read", async () => {
  const uniqueIdentifier = await created();
  engine.store.commit = async () => ({ kind: "instanceClosed" });
  expect(await engine.reason("1.1", "Create", aesKey())).toBe("PermissionDenied");
  expect(await engine.reason("1.1", "Activate", { uniqueIdentifier })).toBe("PermissionDenied");
  expect(await engine.reason("1.1", "Get", { uniqueIdentifier })).toBeUndefined();
});

test("an impossible identifier is not looked up in the store, and is cut in events", async () => {
  const asked: string[] = [];
  const read = engine.store.read.bind(engine.store);
  engine.store.read = (instance, ids) => {
    asked.push(...ids);
    return read(instance, ids);
  };
  for (const uniqueIdentifier of ["", "x".repeat(100_000)]) {
    expect(await engine.reason("1.1", "Get", { uniqueIdentifier })).toBe("ItemNotFound");
  }
  expect(asked).toEqual([]);
  const events = engine.events.filter((event) => event.type === "operation");
  expect(events.map(({ uniqueIdentifier }) => uniqueIdentifier?.length)).toEqual([0, 255]);
});

test("a transition that meets a planned date takes the lock once", async () => {
  const held: string[] = [];
  const subject = await testEngine({
    locks: {
      withLock: (resource, body) => {
        held.push(resource);
        return body();
      },
    },
  });
  const uniqueIdentifier = await created({ ActivationDate: subject.now + 5 }, subject);
  subject.now += 10;
  await subject.reason("2.1", "Destroy", { uniqueIdentifier });
  expect(held).toEqual([`i/${uniqueIdentifier}`]);
});

describe("planned dates", () => {
  test("are written as facts by the first reader after they have come, before it answers", async () => {
    const activation = engine.now + 10;
    const uniqueIdentifier = await created({ ActivationDate: activation });
    expect((await stored(uniqueIdentifier)).facts).toEqual({});
    engine.now += 60;
    await engine.ask("2.1", "Get", { uniqueIdentifier });
    const { facts, lastChange } = await stored(uniqueIdentifier);
    expect(facts.activated).toEqual({ time: activation, region: "r" });
    expect(lastChange).toBe(engine.now);
    expect(engine.store.auditOf("i")).toContainEqual(
      expect.objectContaining({ action: "kmip-key.activate", initiator: "planned-date" }),
    );
  });

  test("decide what an operation may do", async () => {
    const dates = { ActivationDate: engine.now + 10, DeactivationDate: engine.now + 20 };
    const uniqueIdentifier = await created(dates);
    engine.now += 15;
    expect(await engine.reason("2.1", "Destroy", { uniqueIdentifier })).toBe(
      "WrongKeyLifecycleState",
    );
    expect((await stored(uniqueIdentifier)).facts.activated).toBeDefined();
    engine.now += 15;
    expect(await engine.reason("2.1", "Destroy", { uniqueIdentifier })).toBeUndefined();
    expect((await stored(uniqueIdentifier)).facts).toMatchObject({
      deactivated: { time: dates.DeactivationDate },
      destroyed: { time: engine.now },
    });
  });

  test("are staged in an Undo batch like all changes", async () => {
    const uniqueIdentifier = await created({ ActivationDate: engine.now + 10 });
    engine.now += 60;
    const { items } = await engine.send(
      "2.1",
      [
        ["Get", { uniqueIdentifier }],
        ["Destroy", { uniqueIdentifier }],
      ],
      { batchErrorContinuationOption: "Undo" },
    );
    expect(items.map(({ status }) => status)).toEqual(["OperationUndone", "OperationFailed"]);
    expect((await stored(uniqueIdentifier)).facts.activated).toBeUndefined();
  });
});

test("an object of another instance is answered like an unknown one", async () => {
  const uniqueIdentifier = await created({ Name: named("n") });
  const other = { ...engine.client, instance: "j" };
  const ask = (id: string) => engine.sendAs(other, "1.4", [["Get", { uniqueIdentifier: id }]]);
  expect(await ask(uniqueIdentifier)).toEqual(await ask("00000000-0000-4000-8000-000000000000"));
});

test("an Undo batch with a Destroy needs the agreement of every region, and one without does not", async () => {
  const made = await engine.ask("1.1", "Create", aesKey());
  const commit = engine.store.commit.bind(engine.store);
  const agreed: boolean[] = [];
  engine.store.commit = async (...given) => {
    const options: CommitOptions | undefined = given[3];
    agreed.push(options?.agreed === true);
    return await commit(...given);
  };
  const undo = { batchErrorContinuationOption: "Undo" } as const;
  const destroys = await engine.send(
    "1.1",
    [
      ["Create", aesKey()],
      ["Destroy", made],
    ],
    undo,
  );
  expect(destroys.items.map(({ status }) => status)).toEqual(["Success", "Success"]);
  expect(agreed).toEqual([true]);
  await engine.send(
    "1.1",
    [
      ["Create", aesKey()],
      ["Create", aesKey()],
    ],
    undo,
  );
  expect(agreed).toEqual([true, false]);
});

test.each<[string, readonly (readonly [ImplementedOperation, object])[]]>([
  ["Pre-Active", []],
  [
    "Deactivated",
    [
      ["Activate", {}],
      ["Revoke", { revocationReason: { code: "CessationOfOperation" } }],
    ],
  ],
  ["Compromised", [["Revoke", { revocationReason: { code: "KeyCompromise" } }]]],
])("Destroy of a %s key needs the agreement of every region", async (_state, before) => {
  const uniqueIdentifier = await created();
  for (const [operation, more] of before) {
    await engine.ask("2.1", operation, { uniqueIdentifier, ...more });
  }
  const commit = engine.store.commit.bind(engine.store);
  const agreed: boolean[] = [];
  engine.store.commit = async (...given) => {
    const options: CommitOptions | undefined = given[3];
    agreed.push(options?.agreed === true);
    return await commit(...given);
  };
  await engine.ask("2.1", "Destroy", { uniqueIdentifier });
  expect(agreed).toEqual([true]);
});

test("the date of the last change does not go back where a node's clock is behind", async () => {
  const uniqueIdentifier = await created();
  const { lastChange } = await stored(uniqueIdentifier);
  engine.now -= 100;
  await engine.ask("2.1", "Activate", { uniqueIdentifier });
  expect((await stored(uniqueIdentifier)).lastChange).toBe(lastChange);
});
